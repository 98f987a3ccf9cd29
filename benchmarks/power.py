"""How often a verdict finds a change of the loss with size, and how often there is none to find.

python benchmarks/power.py             to docs/measured/power.json

Budgets over a factor of 32 in size, three seeds each; the loss changes evenly in ln N, or along a
power law with a floor that is nearly reached. The change is in units of the noise of a budget's
mean over seeds. Nothing is trained: what is measured is the rule of the verdict alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from finscale.files import write_text_atomic
from finscale.scaling.points import Point
from finscale.scaling.verdict import judge

OUT = Path(__file__).parents[1] / "docs" / "measured" / "power.json"
N_REPETITIONS, N_SEEDS, SPAN, NOISE, LOSS = 200, 3, 32.0, 0.003, 0.35
BUDGETS = (6, 8, 12)
CHANGES = (0.0, 3.0, 6.0, 12.0)

Shape = Callable[[float], float]
"""Share of the change that has happened at a share of the way in ln N."""

SHAPES: dict[str, tuple[float, Shape]] = {
    "falls evenly": (-1.0, lambda way: way),
    "rises evenly": (1.0, lambda way: way),
    # Half of it gone with every fifth of the way.
    "falls to a floor": (-1.0, lambda way: (1.0 - 0.5 ** (5.0 * way)) / (1.0 - 0.5**5)),
}


def verdicts(n_budgets: int, sign: float, shape: Shape, change: float) -> dict[str, int]:
    """Count the kinds of the verdicts on repeated draws."""
    rng = np.random.default_rng(7)
    noise = NOISE / np.sqrt(N_SEEDS)
    ways = np.linspace(0.0, 1.0, n_budgets)
    kinds = []
    for repetition in range(N_REPETITIONS):
        points = [
            Point(
                f"b{k}",
                round(5000 * SPAN**way),
                tuple(
                    LOSS + sign * change * noise * shape(way) + NOISE * rng.standard_normal(N_SEEDS)
                ),
            )
            for k, way in enumerate(ways)
        ]
        kinds.append(judge(points, n_bootstrap=400, seed=repetition).kind)
    return {kind: kinds.count(kind) for kind in ("falls", "rises", "no_evidence")}


def main() -> None:
    """Measure, and write what was found."""
    rows = []
    for name, (sign, shape) in SHAPES.items():
        for change in CHANGES:
            if change == 0.0 and name != "falls evenly":
                continue
            for n_budgets in BUDGETS:
                counts = verdicts(n_budgets, sign, shape, change)
                wanted = "falls" if sign < 0 else "rises"
                n = N_REPETITIONS - counts["no_evidence"] if change == 0.0 else counts[wanted]
                interval = binomtest(n, N_REPETITIONS).proportion_ci(method="exact")
                rows.append(
                    {
                        "truth": "nothing" if change == 0.0 else name,
                        "change": change,
                        "n_budgets": n_budgets,
                        "counts": counts,
                        "rate": n / N_REPETITIONS,
                        "low": float(interval.low),
                        "high": float(interval.high),
                    }
                )
                print(rows[-1])
    document = {
        "command": "python benchmarks/power.py",
        "n_repetitions": N_REPETITIONS,
        "n_seeds": N_SEEDS,
        "rows": rows,
    }
    write_text_atomic(OUT, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

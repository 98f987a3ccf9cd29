"""The time of a surface's bootstrap: 4,000 samples of 240 points, all fitted at once.

python benchmarks/fitting.py             to docs/measured/fitting.json
python benchmarks/fitting.py --samples N

The ratio is against scipy's BFGS on one sample at a time, with the same objective, its analytic
gradient, and one start at the optimum of the points: the cheapest way to do it with an optimiser
from a library. Times are those of the processor, so that other processes hardly matter.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import scipy
from scipy import optimize

from finscale.files import write_json_atomic
from finscale.scaling.estimate import estimate_law
from finscale.scaling.laws import FloatArray, Surface
from finscale.scaling.resampling import draw_counts, resample_points

OUT = Path(__file__).parents[1] / "docs" / "measured" / "fitting.json"
TRUTH = {"E": 1.817, "A": 482.0, "B": 2085.4, "alpha": 0.3478, "beta": 0.3658}
N_POINTS, SEED, DELTA, N_REPEATS = 240, 0, 1e-3, 3


def planted() -> tuple[FloatArray, FloatArray, FloatArray]:
    budget = np.resize([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21], N_POINTS)
    place = np.linspace(-1.0, 1.0, -(-N_POINTS // 9)).repeat(9)[:N_POINTS]
    n = np.clip(np.sqrt(budget / 120.0) * np.exp(1.6 * place), 4e7, 1.6e10)
    d = budget / (6.0 * n)
    noise = 0.01 * np.random.default_rng(SEED).standard_normal(N_POINTS)
    return n, d, Surface.predict(TRUTH, n, d) * np.exp(noise)


def scipy_values(
    n: FloatArray, d: FloatArray, loss: FloatArray, counts_SP: FloatArray, start: FloatArray
) -> FloatArray:
    """Fit each sample by itself, in the same coordinates, and return its objective."""
    log_n, log_d, log_loss = (
        np.log(n) - np.log(n).mean(),
        np.log(d) - np.log(d).mean(),
        np.log(loss),
    )

    def objective(theta: FloatArray, weight_P: FloatArray) -> tuple[float, FloatArray]:
        e, a, b, alpha, beta = theta
        parts = np.exp([np.full_like(log_n, e), a - alpha * log_n, b - beta * log_d])
        total = parts.sum(axis=0)
        residual = np.log(total) - log_loss
        psi = np.clip(residual, -DELTA, DELTA)
        pull = weight_P * psi / total
        slopes = parts @ pull, -(parts[1] * log_n) @ pull, -(parts[2] * log_d) @ pull
        gradient = np.array([*slopes[0], slopes[1], slopes[2]])
        return float((weight_P * psi * (residual - psi / 2)).sum()), gradient

    return np.array(
        [
            optimize.minimize(
                objective, start, args=(weight_P,), jac=True, method="BFGS", options={"gtol": 1e-9}
            ).fun
            for weight_P in counts_SP
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--subset", type=int, default=100, help="samples that scipy fits")
    settings = parser.parse_args()
    n, d, loss = planted()
    fit = estimate_law(Surface, [n, d], loss)
    cpu_s, wall_s = [], []
    for _ in range(N_REPEATS):
        started_cpu, started = time.process_time(), time.perf_counter()
        refits = resample_points(fit, loss, n_samples=settings.samples, seed=SEED)
        cpu_s.append(time.process_time() - started_cpu)
        wall_s.append(time.perf_counter() - started)
    # The same samples as above: the draws depend on the seed and the number of samples alone.
    rng = np.random.default_rng(SEED)
    counts_SP = draw_counts(rng, np.arange(N_POINTS), settings.samples, 5)[: settings.subset]
    started_cpu = time.process_time()
    values_S = scipy_values(n, d, loss, counts_SP, fit.best.theta_K)
    scipy_s = (time.process_time() - started_cpu) * settings.samples / settings.subset
    excess_S = values_S / refits.value_S[: settings.subset] - 1.0
    found = {
        "command": "python benchmarks/fitting.py",
        "n_points": N_POINTS,
        "n_samples": settings.samples,
        "cpu_s": round(statistics.median(cpu_s), 3),
        "wall_s": round(statistics.median(wall_s), 3),
        "converged": int(refits.converged_S.sum()),
        "scipy_cpu_s": round(scipy_s, 1),
        "scipy_samples": settings.subset,
        "ratio": round(scipy_s / statistics.median(cpu_s), 1),
        "scipy_worse_by_max": float(f"{excess_S.max():.3g}"),
        "scipy_better_by_max": float(f"{-excess_S.min():.3g}"),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    for name, value in found.items():
        print(f"{name:20} {value}")
    write_json_atomic(OUT, found)


if __name__ == "__main__":
    main()

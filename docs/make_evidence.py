"""Write the figures of docs/evidence.md anew, from the files in docs/measured.

python docs/make_evidence.py

The text is written by hand; what stands between ``<!-- figures: NAME -->`` and ``<!-- end -->`` is
not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finscale.files import read_json, write_text_atomic

DOCS = Path(__file__).parent
MEASURED = DOCS / "measured"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)

Figures = Mapping[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(share: float) -> str:
    """Write a share as 4.5%."""
    return f"{100.0 * share:.1f}%"


def share(found: Figures) -> str:
    """Write a rate with its interval, as 4.5% (2.7 to 7.0)."""
    return f"{percent(found['rate'])} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def laws(measured: Figures) -> str:
    """Show the coverage of the intervals of fitted laws."""
    rows = [
        [
            design,
            ", ".join(f"{name} {percent(rate)}" for name, rate in one["coverage"].items()),
            str(one["n_repetitions"]),
        ]
        for design, one in measured["designs"].items()
    ]
    return table(["planted law", "intervals that hold the planted value", "repetitions"], rows)


_CLAIMS = {
    "pair_excludes_zero": "paired interval excludes 0",
    "pair_says_better": "paired interval below 0",
    "spa_rejects": "SPA at 5%",
    "set_loses_the_best": "95% set loses the best",
}
_SIGHTS = {
    "pair_says_better": "paired interval below 0",
    "spa_rejects": "SPA at 5%",
    "set_drops_the_benchmark": "set drops the benchmark",
    "set_loses_the_best": "set loses the best",
}


def equal_models(measured: Figures) -> str:
    """Show false claims of the comparisons among equal models."""
    stated = 1.0 - measured["confidence"]
    above = [
        f"{text} ({design})"
        for design, one in measured["designs"].items()
        for claim, text in _CLAIMS.items()
        # Half of the mistakes of a two-sided interval lie on either side.
        if one["rates"][claim]["low"] > stated / (2.0 if claim == "pair_says_better" else 1.0)
        and not one["is_better"]
    ]
    told = f"Significantly above the nominal rate: {'; '.join(above) or 'none'}."
    repetitions = {one["n_repetitions"] for one in measured["designs"].values()}
    counted = (
        f"Repetitions: {max(repetitions):,} of each; with a better model {min(repetitions):,}."
    )
    return f"{_designs(measured, _CLAIMS, is_better=False)}\n\n{told} {counted}"


def one_is_better(measured: Figures) -> str:
    """Show what the comparisons see of a model that is better."""
    return _designs(measured, _SIGHTS, is_better=True)


def _designs(measured: Figures, claims: Mapping[str, str], *, is_better: bool) -> str:
    chosen = [one for one in measured["designs"].values() if one["is_better"] == is_better]
    gain = ["gain in nats"] if is_better else []
    rows = [
        [
            f"{one['horizon_bars']}",
            f"{one['n_dates']:,}",
            *([f"{one['mean_gain_nats']:.4f}"] if is_better else []),
            *(share(one["rates"][claim]) for claim in claims),
        ]
        for one in chosen
    ]
    return table(["horizon", "dates", *gain, *claims.values()], rows)


_NULLS = {
    "falls_on_test": "the loss falls with size, on test",
    "falls_on_validation": "the loss falls with size, on validation",
    "rises_on_test": "the loss rises with size, on test",
    "beats_the_baseline": "a budget beats the base rate and the best baseline",
    "beats_the_base_rate": "a budget beats the base rate",
    "base_rate_left_out_of_confidence_set": "the base rate is not in the confidence set",
    "superior_to_volatility": "may be true: superior to the volatility baseline (SPA)",
}


def nulls(measured: Figures) -> str:
    """Show false positives of whole studies on data that hold nothing."""
    rates = measured["rates"]
    columns = {"shuffled_labels": "shuffled labels", "random_walk": "random walk", "both": "both"}
    header = ["claim"] + [f"{text} ({rates[n]['n_repetitions']})" for n, text in columns.items()]
    rows = [
        [text, *(f"{rates[null][claim]['n']}: {share(rates[null][claim])}" for null in columns)]
        for claim, text in _NULLS.items()
    ]
    above = [
        f"{_NULLS[claim]}, {text}"
        for null, text in columns.items()
        for claim in _NULLS
        if rates[null][claim]["above_stated"]
    ]
    said = f"Significantly above {percent(measured['stated_rate'])}: {'; '.join(above) or 'none'}."
    return f"{table(header, rows)}\n\n{said}"


def planted(measured: Figures) -> str:
    """Show the recovery of a planted law, budget by budget, and the verdicts."""
    rows = [_regret_row(measured, budget) for budget in measured["n_parameters"]]
    alphas = [
        [
            law.replace("_", " "),
            _interval(measured["on_labels"]["laws"][law]["alpha"]),
            _interval(measured["by_truth"]["laws"][law]["alpha"]),
            "yes" if is_inside else "no",
        ]
        for law, is_inside in measured["alpha_of_truth_in_interval"].items()
    ]
    laws_header = ["law", "alpha on the labels", "alpha of the expected losses", "truth inside"]
    return "\n\n".join(
        [
            table(_REGRET_HEADER, rows),
            table(laws_header, alphas),
            f"On the labels: {measured['on_labels']['sentence']}",
            measured["sentence"],
        ]
    )


def _interval(found: Figures) -> str:
    return f"{found['estimate']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def regrets(measured: Figures) -> str:
    """Show the regret of every model of a study on a simulated market."""
    ordered = sorted(measured["regrets"].items(), key=lambda item: item[1]["expected"]["value"])
    rows = [_regret_row(measured, model) for model, _ in ordered]
    return f"{table(_REGRET_HEADER, rows)}\n\n{measured['sentence']}"


_REGRET_HEADER = ["model", "parameters", "expected loss", "expected regret", "realised regret"]


def _regret_row(measured: Figures, model: str) -> list[str]:
    one, n_parameters = measured["regrets"][model], measured["n_parameters"].get(model)
    return [
        model,
        "" if n_parameters is None else f"{n_parameters:,}",
        f"{one['expected_loss']:.4f}",
        *(_regret(one[name]) for name in ("expected", "realised")),
    ]


def _regret(found: Figures) -> str:
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def leaks(measured: Figures) -> str:
    """Show what became of every planted leak."""
    rows = [
        [one["leak"], one["outcome"], one["said"] or one["top_of_report"] or "(no alarm)"]
        for one in measured["leaks"].values()
    ]
    return table(["planted", "outcome", "refusal, or first line of the report"], rows)


def quickstart(measured: Figures) -> str:
    """Show the quickstart's skill table with intervals, and what the comparisons say."""
    cells = measured["cells"]
    horizons = {cell: cell.partition("_")[0] for cell in cells}
    first = next(iter(cells.values()))
    rows = []
    for model in first["models"]:
        row = [model.replace("_", " ")]
        for one in cells.values():
            found = one["models"][model]
            mark = " ●" if found["in_confidence_set"] else ""
            row.append(f"{_signed_interval(found['skill'])}{mark}")
        rows.append(row)
    tests = [
        [
            horizons[cell],
            *(
                f"{name.replace('_', ' ')}: p = {p:.3f}"
                for name, p in one["superior_ability"].items()
            ),
            one["correction"],
        ]
        for cell, one in cells.items()
    ]
    tests_header = [
        "horizon",
        "SPA over volatility",
        "SPA over the best other baseline",
        "correction",
    ]
    verdicts = "\n".join(
        f"- **{horizons[cell]}**: {one['sentence']}" for cell, one in cells.items()
    )
    return "\n\n".join(
        [table(["model", *horizons.values()], rows), table(tests_header, tests), verdicts]
    )


def power(measured: Figures) -> str:
    """Show how often the verdict says what is so, by change and number of budgets."""
    rows = measured["rows"]
    numbers = sorted({row["n_budgets"] for row in rows})
    cases = dict.fromkeys((row["truth"], row["change"]) for row in rows)
    found = {(row["truth"], row["change"], row["n_budgets"]): row for row in rows}
    return table(
        ["truth", "change over noise", *(f"{n} budgets" for n in numbers)],
        [
            [
                "nothing: falls or rises is said" if truth == "nothing" else truth,
                f"{change:g}",
                *(_rate(found[truth, change, n]) for n in numbers),
            ]
            for truth, change in cases
        ],
    )


def _rate(found: Figures) -> str:
    low, high = 100 * found["low"], 100 * found["high"]
    return f"{100 * found['rate']:.1f}% ({low:.1f} to {high:.1f})"


def walked(measured: Figures) -> str:
    """Show the skill of each budget's winner in every block of history it was walked through."""
    found = {cell.partition("_")[0]: one["walk_forward"] for cell, one in measured["cells"].items()}
    rows = [
        [horizon, model.replace("_", " "), *(f"{skill:+.3f}" for skill in skills)]
        for horizon, one in found.items()
        for model, skills in one["skills"].items()
    ]
    blocks = next(iter(found.values()))["blocks"]
    spans = [f"{first[:7]} to {last[:7]}" for first, last in blocks]
    budgets = [str(budget) for budget in next(iter(measured["cells"].values()))["budgets"]]
    ahead = "; ".join(
        f"{name.replace('_', ' ')} in {_n_ahead(found.values(), name, budgets)}"
        for name in next(iter(found.values()))["skills"]
        if name not in budgets
    )
    n_blocks = len(blocks) * len(found)
    said = f"Ahead of every budget, of {n_blocks} blocks and horizons: {ahead}."
    return f"{table(['horizon', 'model', *spans], rows)}\n\n{said}"


def _n_ahead(found: Iterable[Figures], baseline: str, budgets: Sequence[str]) -> int:
    """Count the blocks in which a baseline has more skill than any budget."""
    return sum(
        own > max(one["skills"][budget][block] for budget in budgets)
        for one in found
        for block, own in enumerate(one["skills"][baseline])
    )


def _signed_interval(found: Figures) -> str:
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


# Name of a block to the file it is made of, and how.
BLOCKS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "laws": ("coverage.json", laws),
    "equal_models": ("comparisons.json", equal_models),
    "one_is_better": ("comparisons.json", one_is_better),
    "nulls": ("nulls.json", nulls),
    "planted": ("recovery_planted.json", planted),
    "leaks": ("leaks.json", leaks),
    "quickstart": ("quickstart.json", quickstart),
    "power": ("power.json", power),
    "walked": ("quickstart.json", walked),
    "regret": ("recovery_simulated.json", regrets),
}


def fill(document: str, measured: Path = MEASURED) -> str:
    """Return the document with the figures of every block written anew."""

    def block(found: re.Match[str]) -> str:
        name, make = BLOCKS[found.group(2)]
        return f"{found.group(1)}\n{make(read_json(measured / name))}\n\n{found.group(3)}"

    return _BLOCK.sub(block, document)


def main() -> None:
    """Fill the document in place."""
    path = DOCS / "evidence.md"
    write_text_atomic(path, fill(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()

"""What the report says of a simulated market, where the best possible forecast is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finscale.report.numbers import number, signed
from finscale.report.tables import Table
from finscale.report.theme import display

_COLUMNS = ("expected_loss", "expected", "realised")
_PARTS = ("validation", "test")


def describe_truth(summary: Mapping[str, Any], cell: str) -> dict[str, Any] | None:
    """Return the sentence and the table of regrets of one cell; None where no truth is known."""
    truth = summary.get("truth", {}).get(cell)
    if truth is None:
        return None
    best = [f"{truth['best_possible'][part]:.4f}" for part in _PARTS]
    rows: list[tuple[str, ...]] = [("best possible", best[0], "0", "0", best[1], "0", "0")]
    rows += [
        (display(model), *(_text(parts[part], name) for part in _PARTS for name in _COLUMNS))
        for model, parts in truth["regrets"].items()
    ]
    titles = ("expected loss", "expected regret", "realised regret")
    header = ("model", *(f"{title}, {part}" for part in _PARTS for title in titles))
    planted = truth["planted"]
    return {
        "sentence": "" if planted is None else planted["sentence"],
        "table": Table(header, tuple(rows)),
    }


def _text(regret: Mapping[str, float], name: str) -> str:
    return (signed if name == "realised" else number)(regret[name], 4)

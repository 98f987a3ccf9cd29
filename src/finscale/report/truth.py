"""What the report says of a simulated market, where the best possible forecast is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finscale.report.numbers import estimate_text, number
from finscale.report.tables import Table
from finscale.report.theme import display


def describe_truth(summary: Mapping[str, Any], cell: str) -> dict[str, Any] | None:
    """Return the sentence and the table of regrets of one cell; None where no truth is known."""
    truth = summary.get("truth", {}).get(cell)
    if truth is None:
        return None
    rows: list[tuple[str, ...]] = [
        ("best possible", number(truth["best_possible"]["test"], 4), "0", "0", "0")
    ]
    rows += [
        (
            display(model),
            number(parts["test"]["expected_loss"], 4),
            estimate_text(parts["test"]["expected"], 4),
            estimate_text(parts["test"]["realised"], 4, sign=True),
            estimate_text(parts["validation"]["expected"], 4),
        )
        for model, parts in truth["regrets"].items()
    ]
    header = (
        *("model", "expected loss, test", "expected regret, test", "realised regret, test"),
        "expected regret, validation",
    )
    planted = truth["planted"]
    return {
        "sentence": "" if planted is None else planted["sentence"],
        "table": Table(header, tuple(rows)),
    }

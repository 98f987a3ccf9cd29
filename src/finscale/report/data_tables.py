"""Tables of the data: symbols, what was odd about their bars, and skill on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from finscale.evaluation.metrics import log_loss, skill
from finscale.report.tables import NOTHING, Table, number, signed
from finscale.report.theme import display

# A page is read by people; a panel's every symbol is in data.json.
_N_SHOWN = 40


def symbols_table(data: Mapping[str, Any]) -> Table:
    """Return every symbol's bars, dates, first usable row and hash."""
    rows = [
        (
            one["symbol"],
            one["first_date"],
            one["last_date"],
            str(one["provenance"].get("prices", NOTHING)),
            one["bars_hash"][:12],
            f"{one['n_bars']:,}",
            f"{one['first_usable_row'] + 1:,}",
        )
        for one in data.get("symbols", [])[:_N_SHOWN]
    ]
    header = ("symbol", "first", "last", "prices", "SHA-256 of the bars", "bars")
    return Table((*header, "first row with all features"), tuple(rows), n_text=5)


def warnings_table(data: Mapping[str, Any]) -> Table:
    """Return what was odd about the bars, and kept."""
    rows = [
        (one["symbol"], finding["message"], _places(finding), f"{finding['n']:,}")
        for one in data.get("symbols", [])
        for finding in one["warnings"]
    ]
    return Table(("symbol", "warning", "for instance", "cases"), tuple(rows[:_N_SHOWN]), n_text=3)


def _places(finding: Mapping[str, Any]) -> str:
    return ", ".join(finding["dates"][:3]) or NOTHING


def symbol_skill_table(cell: Mapping[str, Any], predictions: pl.DataFrame) -> Table | None:
    """Return skill on test by symbol, of the best baseline and budget; None for one symbol.

    Skill is measured from the training base rate over all symbols. The best are those of the
    lowest validation loss; a budget's forecast is the average over its seeds.
    """
    test = predictions.filter((pl.col("part") == "test") & pl.col("seed").is_null())
    if test.is_empty() or test["symbol"].n_unique() < 2 or cell["base_rate"] is None:
        return None
    losses = {
        label: budget["seed_mean"]["validation"]["log_loss"]
        for label, budget in cell["budgets"].items()
        if budget["seed_mean"] is not None
    }
    best_budget = min(losses, key=losses.__getitem__, default=None)
    models = [name for name in (cell["best_baseline"], best_budget) if name is not None]
    base_rate = cell["base_rate"]
    by_symbol: dict[str, dict[str, Any]] = {}
    chosen = test.filter(pl.col("model").is_in(models))
    for (symbol, model), rows in chosen.group_by("symbol", "model", maintain_order=True):
        labels = rows["label"].to_numpy()
        loss = log_loss(rows["probability"].to_numpy(), labels)
        base = log_loss(np.full(len(labels), base_rate), labels)
        place = by_symbol.setdefault(str(symbol), {"n": len(rows), "rate": labels.mean()})
        place[str(model)] = skill(loss, base)
    table = tuple(
        (
            symbol,
            f"{one['n']:,}",
            f"{number(100 * one['rate'], digits=1)}%",
            *(signed(one.get(model)) for model in models),
        )
        for symbol, one in list(by_symbol.items())[:_N_SHOWN]
    )
    return Table(("symbol", "predictions", "events", *map(display, models)), table)

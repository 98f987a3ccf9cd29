"""Tables of the data: symbols, what was odd about their bars, and skill on each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from finscale.evaluation.metrics import log_loss, skill
from finscale.market.repair import describe_repair
from finscale.report.numbers import NOTHING, number, signed
from finscale.report.tables import Table
from finscale.report.theme import display

# A page is read by people.
_N_SHOWN = 40


def symbols_table(data: Mapping[str, Any]) -> Table:
    """Return every symbol's bars, dates, repairs, first usable row and hash, and the context's."""
    rows = [
        (
            _name(one),
            one["first_date"],
            one["last_date"],
            str(one["provenance"].get("prices", NOTHING)),
            "; ".join(map(describe_repair, one["provenance"].get("repairs", []))) or NOTHING,
            one["bars_hash"][:12],
            f"{one['n_bars']:,}",
            f"{one['first_usable_row'] + 1:,}" if "first_usable_row" in one else NOTHING,
        )
        for one in _all_series(data)
    ]
    header = ("symbol", "first", "last", "prices", "repairs", "SHA-256 of the bars", "bars")
    return Table((*header, "first row with all features"), _shown(rows), n_text=6)


def warnings_table(data: Mapping[str, Any]) -> Table:
    """Return what was odd about the bars, and kept."""
    rows = [
        (_name(one), finding["message"], _places(finding), f"{finding['n']:,}")
        for one in _all_series(data)
        for finding in one["warnings"]
    ]
    return Table(("symbol", "warning", "for instance", "cases"), _shown(rows), n_text=3)


def _all_series(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the context, which is never many, and the symbols."""
    # Records of runs made before context was described have its names only.
    return [*data.get("context_series", []), *data.get("symbols", [])]


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['symbol']} (context {one['name']})" if "name" in one else str(one["symbol"])


def _shown(
    rows: Sequence[tuple[str, ...]], place: str = "data.json"
) -> tuple[tuple[str, ...], ...]:
    """Return the rows that a page shows, and one that says how many more there are."""
    n_more = len(rows) - _N_SHOWN
    if n_more <= 0:
        return tuple(rows)
    note = f"… and {n_more:,} more, in {place}"
    return (*rows[:_N_SHOWN], (note, *[""] * (len(rows[0]) - 1)))


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
    table = [
        (
            symbol,
            f"{one['n']:,}",
            f"{number(100 * one['rate'], digits=1)}%",
            *(signed(one.get(model)) for model in models),
        )
        for symbol, one in by_symbol.items()
    ]
    header = ("symbol", "predictions", "events", *map(display, models))
    return Table(header, _shown(table, "predictions.parquet"))

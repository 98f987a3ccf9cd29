"""What makes bars invalid: the one home of the rules."""

from __future__ import annotations

import polars as pl

from finscale.errors import DataError
from finscale.market.bars import PRICES, SCHEMA


def validate_bars(frame: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """Return ``frame`` with the columns of :data:`SCHEMA`, or refuse it.

    Parameters
    ----------
    frame
        Columns named and typed as in :data:`SCHEMA`; further columns are dropped.
    source
        What to call the data in messages: a path or the name of a data set.

    Raises
    ------
    DataError
        Naming the source, the first bad row (counted from 1, with its date) and the fix.
    """
    require_columns(frame, tuple(SCHEMA), source=source)
    bars = frame.select(SCHEMA.names()).cast(SCHEMA)
    if bars.is_empty():
        raise DataError(f"{source}: no rows; give at least a few hundred bars")
    symbols = bars["symbol"].unique(maintain_order=True).to_list()
    if len(symbols) > 1:
        raise DataError(
            f"{source}: holds {len(symbols)} symbols ({', '.join(map(str, symbols[:5]))}); "
            "choose one with data.symbol"
        )
    for bad, fault, fix in _faults():
        rows = bars.select(bad.fill_null(value=False).arg_true()).to_series()
        if len(rows):
            row = int(rows[0])
            more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
            raise DataError(f"{source}: row {row + 1} ({bars['date'][row]}): {fault}{more}; {fix}")
    return bars


def require_columns(frame: pl.DataFrame, names: tuple[str, ...], *, source: str) -> None:
    """Check that columns are there.

    Raises
    ------
    DataError
        Naming those that are not, and those that are.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(
            f"{source}: no column {', '.join(missing)}; needed are {', '.join(names)} "
            f"(found {', '.join(frame.columns) or 'none'})"
        )


def _faults() -> list[tuple[pl.Expr, str, str]]:
    """Each fault as (expression that is true in bad rows, what is wrong, the fix)."""
    numbers = (*PRICES, "volume")
    missing = [
        (pl.col(name).is_null(), f"{name} is missing", "fill it in or drop the row")
        for name in ("symbol", "date", *numbers)
    ]
    infinite = [
        (~pl.col(name).is_finite(), f"{name} is not a finite number", "correct it or drop the row")
        for name in numbers
    ]
    positive = [
        (pl.col(name) <= 0, f"{name} is not positive", "correct it or drop the row")
        for name in PRICES
    ]
    order = "sort the rows by date, oldest first, one row per session"
    return [
        *missing,
        *infinite,
        *positive,
        (pl.col("volume") < 0, "volume is negative", "correct it; use 0 where none was traded"),
        (pl.col("high") < pl.col("low"), "high is below low", "correct the bar"),
        (
            pl.col("high") < pl.max_horizontal("open", "close"),
            "high is below open or close",
            "correct the bar, and use all raw or all adjusted prices",
        ),
        (
            pl.col("low") > pl.min_horizontal("open", "close"),
            "low is above open or close",
            "correct the bar, and use all raw or all adjusted prices",
        ),
        (pl.col("date").diff().dt.total_days() == 0, "date is the same as in the row above", order),
        (pl.col("date").diff().dt.total_days() < 0, "date is before the row above", order),
    ]

"""What is odd in valid bars, and is kept: warnings, recorded with the data set."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.market.bars import PRICES
from finscale.market.calendars import find_gaps
from finscale.market.findings import ROW, rows_where
from finscale.market.symbol_bars import Finding

FEW_BARS = 500
SPLIT_RATIOS = (1.5, 2, 3, 4, 5, 7, 10, 20, 25, 50)
_SPLIT_TOLERANCE = 0.03
_SPLIT_DEVIATIONS = 10.0
_OVERNIGHT_SHARE = 0.8


def find_oddities(
    bars: pl.DataFrame, calendar: str | None, today: dt.date | None
) -> Iterator[Finding]:
    """List the warnings about valid bars.

    Parameters
    ----------
    bars
        The columns of the schema and row numbers; one row at least, sorted, valid.
    calendar
        The exchange calendar to compare dates with, if any.
    today
        The date whose bar may not be complete yet, if that is to be looked at.

    Raises
    ------
    DataError
        If there is no such calendar.
    """
    yield from _length(bars)
    yield from _volume(bars)
    yield from _stale(bars)
    yield from _jumps(bars)
    if today is not None:
        rows, dates = rows_where(bars, bars["date"] == today)
        if rows:
            message = "the bar of today may not be complete"
            fix = "take it after the close, or drop it (--repair drop_today)"
            yield Finding("bar_of_today", "warning", message, fix, rows, dates)
    if calendar is not None:
        dates_T = bars["date"].to_numpy().astype("datetime64[D]")
        yield from find_gaps(dates_T, bars[ROW].to_numpy().astype(np.int64), calendar)


def find_split_like(open_T: NDArray[np.float64], close_T: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for each bar whether the price jumps into it as it does in a split.

    The close is n or 1/n times the one before, within 3%, for an n of :data:`SPLIT_RATIOS`; at
    least 80% of that log return are made overnight, before the open; and it lies more than 10
    robust standard deviations (1.4826 × median absolute deviation) of the series' log returns from
    their median. Crashes and squeezes rarely meet all three.
    """
    found_T = np.zeros(len(close_T), dtype=np.bool_)
    if len(close_T) < 3:
        return found_T
    step = np.log(close_T[1:] / close_T[:-1])
    overnight = np.log(open_T[1:] / close_T[:-1])
    middle = np.median(step)
    deviation = 1.4826 * np.median(np.abs(step - middle))
    size = np.abs(step)
    distance = np.abs(size[:, None] - np.log(np.array(SPLIT_RATIOS))).min(axis=1)
    found_T[1:] = (
        (distance <= math.log1p(_SPLIT_TOLERANCE))
        & (overnight * np.sign(step) >= _OVERNIGHT_SHARE * size)
        & (np.abs(step - middle) > _SPLIT_DEVIATIONS * deviation)
    )
    return found_T


def _length(bars: pl.DataFrame) -> Iterator[Finding]:
    if len(bars) < FEW_BARS:
        word = "bar" if len(bars) == 1 else "bars"
        message = f"only {len(bars)} {word}, and features look back up to 254"
        fix = f"give at least {FEW_BARS}, better some thousand"
        yield Finding("few_bars", "warning", message, fix)
    days = bars["date"].diff().dt.total_days().median()
    if isinstance(days, float) and days > 3:
        message = f"bars are {days:g} days apart (median)"
        fix = "give daily bars; weekly and monthly ones are made from them"
        yield Finding("not_daily", "warning", message, fix)


def _volume(bars: pl.DataFrame) -> Iterator[Finding]:
    rows, dates = rows_where(bars, bars["volume"] == 0)
    if len(rows) == len(bars):
        message = "no bar has volume, as for an index or an exchange rate"
        fix = "expect nothing of features made from volume"
        yield Finding("no_volume", "warning", message, fix)
    elif rows:
        fix = "check whether there was trade, or drop the rows (--repair drop_zero_volume)"
        yield Finding("zero_volume", "warning", "volume is 0", fix, rows, dates)


def _stale(bars: pl.DataFrame) -> Iterator[Finding]:
    same = (pl.col(name) == pl.col(name).shift() for name in (*PRICES, "volume"))
    rows, dates = rows_where(bars, bars.select(pl.all_horizontal(*same)).to_series())
    if rows:
        message = "prices and volume are those of the bar before"
        fix = "check whether the source repeats bars on days without trade"
        yield Finding("stale_bar", "warning", message, fix, rows, dates)


def _jumps(bars: pl.DataFrame) -> Iterator[Finding]:
    found = find_split_like(bars["open"].to_numpy(), bars["close"].to_numpy())
    rows, dates = rows_where(bars, pl.Series(found))
    if rows:
        message = "the price jumps overnight as in a split"
        fix = "check it; where prices are not adjusted for it, take adjusted ones"
        fix += " (--prices adjusted)"
        yield Finding("split_like", "warning", message, fix, rows, dates)

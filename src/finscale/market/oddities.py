"""What is odd in valid bars, and is kept: warnings, recorded with the data set."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.market.bars import PRICES, FloatArray
from finscale.market.calendars import find_gaps
from finscale.market.findings import ROW, rows_where
from finscale.market.odd_prices import find_odd_prices
from finscale.market.symbol_bars import Finding

FEW_BARS = 500
# Trade grows and dries up by less than this from one month to the next.
_VOLUME_RATIO = 30.0
_VOLUME_BARS = 20


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
    yield from _volume_break(bars)
    yield from _stale(bars)
    yield from find_odd_prices(bars)
    if today is not None:
        rows, dates = rows_where(bars, bars["date"] == today)
        if rows:
            message = "the bar of today may not be complete"
            fix = "take it after the close, or drop it (--repair drop_today)"
            yield Finding("bar_of_today", "warning", message, fix, rows, dates)
    if calendar is not None:
        dates_T = bars["date"].to_numpy().astype("datetime64[D]")
        yield from find_gaps(dates_T, bars[ROW].to_numpy().astype(np.int64), calendar)


def find_volume_breaks(volume_T: FloatArray) -> NDArray[np.bool_]:
    """Tell for each bar whether volume has another level from it on.

    The medians of the 20 bars before it and of the 20 from it on differ by a factor of 30 or more.
    That is so of several bars around a break; the one with the largest step is named.

    Parameters
    ----------
    volume_T
        Positive.
    """
    found_T = np.zeros(len(volume_T), dtype=np.bool_)
    if len(volume_T) < 2 * _VOLUME_BARS:
        return found_T
    logs_T = np.log(volume_T)
    level = np.median(np.lib.stride_tricks.sliding_window_view(logs_T, _VOLUME_BARS), axis=1)
    # Bar t of these has 20 bars before it and 20 from it on.
    change = np.abs(level[_VOLUME_BARS:] - level[:-_VOLUME_BARS])
    rows = np.flatnonzero(change >= math.log(_VOLUME_RATIO)) + _VOLUME_BARS
    step = np.abs(np.diff(logs_T, prepend=logs_T[0]))
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > _VOLUME_BARS) + 1):
        if len(run):
            found_T[run[np.argmax(step[run])]] = True
    return found_T


def _length(bars: pl.DataFrame) -> Iterator[Finding]:
    if len(bars) < FEW_BARS:
        word = "bar" if len(bars) == 1 else "bars"
        message = f"only {len(bars)} {word}, and features look back over a year of them"
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


def _volume_break(bars: pl.DataFrame) -> Iterator[Finding]:
    traded = bars.filter(pl.col("volume") > 0)
    rows, dates = rows_where(traded, pl.Series(find_volume_breaks(traded["volume"].to_numpy())))
    if rows:
        message = (
            f"from here on volume is {_VOLUME_RATIO:g} times or more what it was, or that much less"
        )
        fix = "check whether its unit changes (shares, lots, thousands), and use one"
        yield Finding("volume_break", "warning", message, fix, rows, dates)

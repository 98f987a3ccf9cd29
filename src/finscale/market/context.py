"""Context series: another market's value as it was known at each bar's close.

The rule for days that one of the two markets lacks: a bar sees the newest value of its own date or
before, and never a later one. Bars before the series begins see nothing (NaN); after that, a value
that is too old is refused, because a series that stopped looks like a market that stands still.

Which close comes first is not in the dates. The VIX is computed until 16:15 New York time, a
quarter of an hour after the stock market's close: its value of the same date is known well before
the next session, but whoever decides at 16:00 sees the session before (``lag_sessions=1``). Tokyo
closes before New York opens, so to New York bars its value of the same date is known; to Tokyo
bars the New York close of the same date lies ahead, and ``lag_sessions=1`` is needed.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from finscale.errors import DataError
from finscale.market.bars import OHLCV, FloatArray, to_arrays
from finscale.study_data import ContextSeries

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FIX = "correct it or drop the row"


def join_series(
    bars: OHLCV, settings: ContextSeries, series: pl.DataFrame, *, source: str
) -> OHLCV:
    """Return the bars with the closes of a series, as its settings say.

    Parameters
    ----------
    bars
        T valid bars, of any time scale.
    settings
        Its name, the age its values may have, and its lag.
    series
        Its own valid daily bars.
    source
        What to call the series in messages.

    Raises
    ------
    DataError
        As :func:`join_context`.
    """
    arrays = to_arrays(series)
    return join_context(
        bars,
        settings.name,
        arrays.date,
        arrays.close,
        max_staleness_days=settings.max_staleness_days,
        lag_sessions=settings.lag_sessions,
        source=source,
    )


def join_context(
    bars: OHLCV,
    name: str,
    dates: ArrayLike,
    values: ArrayLike,
    *,
    max_staleness_days: int,
    lag_sessions: int = 0,
    source: str,
) -> OHLCV:
    """Return the bars with a context series as of each close.

    Parameters
    ----------
    bars
        T valid bars.
    name
        What to call the series; features of it are named ``{name}_…``, so lower case letters,
        digits and underscores.
    dates, values
        The series: its sessions, strictly increasing, and its positive values at their close.
    max_staleness_days
        The series' newest session on or before a bar's date may be this many calendar days older
        than the bar, 4 to let a long weekend pass. It is the series' gaps that are limited: what a
        lag adds does not count.
    lag_sessions
        Move every value to the series' own session this many later, for a market that closes
        after ours.
    source
        What to call the series in messages: a path or the name of a data set.

    Returns
    -------
    OHLCV
        New bars whose ``context[name]`` holds T values, read-only; NaN in the rows before the
        first known value and nowhere else.

    Raises
    ------
    DataError
        If the name, the order, a value or an age is not as above; the message names the source,
        the first bad row (counted from 1, with its date) or session, and the fix.
    """
    _check_name(name, bars)
    if max_staleness_days < 0 or lag_sessions < 0:
        raise DataError(
            f"context {name}: max_staleness_days is {max_staleness_days} and lag_sessions "
            f"{lag_sessions}; give whole numbers from 0"
        )
    days, numbers = _checked(dates, values, f"{source}: context {name}")
    newest = np.searchsorted(days, bars.date, side="right") - 1
    known = newest - lag_sessions
    if not (known >= 0).any():
        begins = f"begins on {days[0]}" if len(days) else "has no rows"
        raise DataError(
            f"{source}: context {name} {begins} and has no value for any of the bars from "
            f"{bars.date[0]} to {bars.date[-1]}; give a series of their time"
        )
    seen = np.where(known >= 0, numbers[np.maximum(known, 0)], np.nan)
    age_days = (bars.date - days[np.maximum(newest, 0)]).astype(np.int64)
    stale = np.flatnonzero((known >= 0) & (age_days > max_staleness_days))
    if len(stale):
        first = stale[0]
        rows = f"{len(stale)} {'row is' if len(stale) == 1 else 'rows are'} too old"
        raise DataError(
            f"{source}: context {name}: on {bars.date[first]} its newest value is that of "
            f"{days[newest[first]]}, {age_days[first]} days before, and max_staleness_days is "
            f"{max_staleness_days} ({rows} in all, the last on {bars.date[stale[-1]]}); "
            f"fill the gap in the series, use bars that end before it, or allow older values"
        )
    seen.flags.writeable = False
    return dataclasses.replace(bars, context={**bars.context, name: seen})


def _check_name(name: str, bars: OHLCV) -> None:
    if not _NAME.fullmatch(name):
        raise DataError(
            f"context {name!r}: features are named after the series; "
            "use lower case letters, digits and underscores, with a letter first"
        )
    if name in bars.context:
        raise DataError(f"context {name}: joined twice; give each series a name of its own")


def _checked(
    dates: ArrayLike, values: ArrayLike, place: str
) -> tuple[NDArray[np.datetime64], FloatArray]:
    """Return a series in order and positive, or refuse it."""
    days: NDArray[np.datetime64] = np.asarray(dates, dtype="datetime64[D]")
    numbers = np.asarray(values, dtype=np.float64)
    if days.ndim != 1 or days.shape != numbers.shape:
        raise DataError(
            f"{place}: {days.size} dates and {numbers.size} values; give one value per date"
        )
    not_later = np.zeros(len(days), dtype=np.bool_)
    not_later[1:] = days[1:] <= days[:-1]
    faults = (
        (np.isnat(days), "its date is missing", _FIX),
        (not_later, "its date is not after the row above", "sort the rows, one per session"),
        (~np.isfinite(numbers), "its value is not a finite number", _FIX),
        (numbers <= 0, "its value is not positive", _FIX),
    )
    for bad, fault, fix in faults:
        rows = np.flatnonzero(bad)
        if len(rows):
            more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
            raise DataError(f"{place}: row {rows[0] + 1} ({days[rows[0]]}): {fault}{more}; {fix}")
    return days, numbers

"""Bars of several sessions, made from daily ones.

A bar of several sessions is labelled by the last of them, the session at whose close it is
complete and known. Bars made from a prefix of the history are therefore a prefix of the bars made
from all of it.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from finscale.errors import DataError

TIME_SCALES = ("daily", "2d", "3d", "5d", "weekly", "monthly")

_BLOCKS = {"2d": 2, "3d": 3, "5d": 5}
_PERIODS = {"weekly": "1w", "monthly": "1mo"}

Period = Callable[[pl.Expr], pl.Expr]
"""Dates to what orders the periods they lie in."""


def resample(bars: pl.DataFrame, scale: str) -> pl.DataFrame:
    """Return bars of a coarser time scale.

    The open is that of the first session, the close and the date those of the last, the high and
    the low the extremes, the volume the sum.

    Parameters
    ----------
    bars
        Valid daily bars of one symbol (:data:`finscale.market.bars.SCHEMA`).
    scale
        One of :data:`TIME_SCALES`.

        - ``daily``: the bars as they are.
        - ``2d``, ``3d``, ``5d``: the sessions of n weekdays (Monday to Friday), counted from
          Thursday, 1 January 1970, on, so that the bars of all symbols end on the same days; 5d
          runs from Thursday to Wednesday. A holiday makes a bar of fewer sessions.
        - ``weekly``, ``monthly``: the sessions of an ISO week (Monday to Sunday) or calendar month.

        A session on a Saturday or Sunday counts to the Monday after it. The last bar is kept only
        if its last date alone says that it is complete: the weekday after it lies in another
        period. So a week that a holiday ends on a Thursday is not there before the next session
        is. The first bar holds what there is of its period; no other bar depends on where the
        history begins.

    Returns
    -------
    polars.DataFrame
        Valid bars in the same columns.

    Raises
    ------
    DataError
        If there is no such scale, or not one bar is complete.
    """
    if scale not in TIME_SCALES:
        raise DataError(f"unknown time scale {scale!r}; choose one of {', '.join(TIME_SCALES)}")
    if scale == "daily":
        return bars
    period = _block(_BLOCKS[scale]) if scale in _BLOCKS else _calendar_period(_PERIODS[scale])
    after_last = pl.col("date").last() + pl.duration(days=1)
    coarse = (
        bars.with_columns(period(pl.col("date")).alias("_period"))
        .filter(pl.col("_period") < period(after_last))
        .group_by("_period", maintain_order=True)
        .agg(
            pl.col("symbol").first(),
            pl.col("date").last(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .drop("_period")
    )
    if coarse.is_empty():
        raise DataError(
            f"{bars.height} daily bars make no complete {scale} bar; give a longer history or "
            "choose a finer time scale"
        )
    return coarse


def _block(n_weekdays: int) -> Period:
    """Return what numbers the blocks of n weekdays since 1970."""

    def number(date: pl.Expr) -> pl.Expr:
        # Day 0 is a Thursday, and three weekdays of its week are before it.
        days = _weekday_from(date).to_physical().cast(pl.Int64) + 3
        weekdays = 5 * (days // 7) + days % 7 - 3
        return weekdays // n_weekdays

    return number


def _calendar_period(every: str) -> Period:
    """Return what gives the beginning of a week or month.

    Were a weekend session part of the week before it, a bar known on Friday would change on
    Saturday; in a market that trades from Sunday on, the week does begin there.
    """
    return lambda date: _weekday_from(date).dt.truncate(every)


def _weekday_from(date: pl.Expr) -> pl.Expr:
    """Return the first date from ``date`` on that is no Saturday or Sunday."""
    weekday = date.dt.weekday()
    return date + pl.duration(days=pl.when(weekday > 5).then(8 - weekday).otherwise(0))

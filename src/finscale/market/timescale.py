"""Bars of several sessions, made from daily ones.

A bar of several sessions is labelled by the last of them, the session at whose close it is
complete and known. Bars made from a prefix of the history are therefore a prefix of the bars made
from all of it.
"""

from __future__ import annotations

import polars as pl

from finscale.errors import DataError

TIME_SCALES = ("daily", "2d", "3d", "5d", "weekly", "monthly")

_BLOCKS = {"2d": 2, "3d": 3, "5d": 5}
_PERIODS = {"weekly": "1w", "monthly": "1mo"}


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
        - ``2d``, ``3d``, ``5d``: blocks of n sessions counted from the first bar. An incomplete
          last block is left out. Sessions added at the end never regroup the others; a history
          that begins on another day does, so cut it, if at all, by a multiple of n sessions.
        - ``weekly``, ``monthly``: the sessions of an ISO week (Monday to Sunday) or calendar month;
          one on a Saturday or Sunday counts to the Monday after it. The last period is kept only
          if its last date alone says that it is complete: the weekday (Monday to Friday) after it
          lies in another period. So a week that a holiday ends on a Thursday is not there before
          the next session is.

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
    number, is_complete = _blocks(_BLOCKS[scale]) if scale in _BLOCKS else _periods(_PERIODS[scale])
    coarse = (
        bars.with_columns(number.alias("_number"), is_complete.alias("_is_complete"))
        .filter("_is_complete")
        .group_by("_number", maintain_order=True)
        .agg(
            pl.col("symbol").first(),
            pl.col("date").last(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .drop("_number")
    )
    if coarse.is_empty():
        raise DataError(
            f"{bars.height} daily bars make no complete {scale} bar; give a longer history or "
            "choose a finer time scale"
        )
    return coarse


def _blocks(n_sessions: int) -> tuple[pl.Expr, pl.Expr]:
    """Return the number of each session's block, and whether the block is complete."""
    number = pl.int_range(pl.len()) // n_sessions
    return number, number < pl.len() // n_sessions


def _periods(every: str) -> tuple[pl.Expr, pl.Expr]:
    """Return the beginning of each session's period, and whether the period is complete.

    Were a weekend session part of the week before it, a bar known on Friday would change on
    Saturday; in a market that trades from Sunday on, the week does begin there.
    """
    date = pl.col("date")
    begin = _weekday_from(date).dt.truncate(every)
    begin_of_next = _weekday_from(date.last() + pl.duration(days=1)).dt.truncate(every)
    return begin, begin < begin_of_next


def _weekday_from(date: pl.Expr) -> pl.Expr:
    """Return the first date from ``date`` on that is no Saturday or Sunday."""
    weekday = date.dt.weekday()
    return date + pl.duration(days=pl.when(weekday > 5).then(8 - weekday).otherwise(0))

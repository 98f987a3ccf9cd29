"""Weekly and monthly bars made from daily ones, and which of them is known at each session.

A session on a Saturday or Sunday counts to the Monday after it. So a period is complete after a
session, as judged by its date alone, once the next weekday (Monday to Friday) lies in another
period, and no session to come can change it. Where a holiday ends a period early, it counts as
complete from the first session of the next one on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from finscale.market.bars import OHLCV, FloatArray

View = Literal["weekly", "monthly"]


@dataclass(frozen=True)
class PeriodBars:
    """Bars of P periods in which there was a session, oldest first.

    The last one may not be over, and the first may have begun before the first session.

    Attributes
    ----------
    open, high, low, close
        Of the period, P values each.
    volume
        Mean volume per session of the period, so that a week with a holiday compares.
    known
        For each of the T sessions, the number of the last period complete by then; -1 if none.
    """

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    known: NDArray[np.int64]

    def by_session(self, values: FloatArray, lookback_bars: int) -> FloatArray:
        """Return for each session the value of the last complete period.

        NaN in the first ``lookback_bars`` rows, where a period before it may have been cut.
        """
        result = np.where(self.known >= 0, values[self.known], np.nan)
        result[:lookback_bars] = np.nan
        return result


def period_bars(bars: OHLCV, view: View) -> PeriodBars:
    """Return weekly or monthly bars. At least one session is needed."""
    days = bars.date.astype("datetime64[D]").astype(np.int64)
    period = _period(_weekday_from(days), view)
    is_complete = period != _period(_weekday_from(days + 1), view)
    is_first = np.append(True, period[1:] != period[:-1])
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(days)) - 1
    return PeriodBars(
        open=bars.open[first],
        high=np.maximum.reduceat(bars.high, first),
        low=np.minimum.reduceat(bars.low, first),
        close=bars.close[last],
        volume=np.add.reduceat(bars.volume, first) / (last - first + 1),
        known=np.cumsum(is_first) - 1 - ~is_complete,
    )


def lookback_bars(view: View, n_periods: int) -> int:
    """Return the rows before t in which the last ``n_periods`` complete periods lie, at most.

    With the close before the first of them, in a market that trades seven days a week. Weekly:
    the current week has 6 sessions before it is complete, then come n_periods of 7, and one row
    more for the close. Monthly: k + 1 months in a row have at most 31 (k + 1) days and, as weekend
    sessions count to the month after, two days more; less one, as the current one is not complete.
    """
    return 7 * (n_periods + 1) - 1 if view == "weekly" else 31 * (n_periods + 1) + 1


def _period(days: NDArray[np.int64], view: View) -> NDArray[np.int64]:
    """Return a number for the period of each day, larger for later ones."""
    if view == "weekly":
        # Day 0, 1 January 1970, was a Thursday; weeks begin on Monday.
        return (days + 3) // 7
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def _weekday_from(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each day, or the Monday after it where it is a Saturday or Sunday."""
    weekday = (days + 3) % 7
    return days + np.where(weekday > 4, 7 - weekday, 0)

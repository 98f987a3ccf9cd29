"""Which side, how long for, how long ago: signs and counts over a bounded stretch of bars.

An average of equal prices can miss them by the last bit. Differences below a part in 10^12 are
therefore no difference, so that a frozen price lies on its own average and not to one side of it.
"""

from __future__ import annotations

import numpy as np

from finscale.features.rolling import rolling_sum
from finscale.market.bars import FloatArray

_ROUNDING = 1e-12


def gap(values: FloatArray, level: FloatArray) -> FloatArray:
    """Return values - level, and exactly zero where rounding alone may have parted them."""
    difference = values - level
    return np.where(np.abs(difference) <= _ROUNDING * np.abs(level), 0.0, difference)


def side(values: FloatArray, level: FloatArray) -> FloatArray:
    """Return 1 where the values lie above the level, -1 below, 0 on it."""
    return np.sign(gap(values, level))


def run_length(states: FloatArray, cap: int) -> FloatArray:
    """Return for how many bars, up to and including t, the state has been what it is at t.

    Counts to ``cap`` at most, so that it reads rows t - cap + 1 … t; NaN while there are fewer.
    """
    row = np.arange(len(states))
    changed = np.ones(len(states), dtype=np.bool_)
    changed[1:] = states[1:] != states[:-1]
    start = np.maximum.accumulate(np.where(changed, row, 0))
    length = np.minimum(row - start + 1, cap).astype(np.float64)
    return np.where(np.isnan(rolling_sum(states, cap)), np.nan, length)


def signed_run(states: FloatArray, cap: int) -> FloatArray:
    """Return the run of the present sign as a share of ``cap``, with that sign; in [-1, 1]."""
    return np.sign(states) * run_length(states, cap) / cap


def bars_since_max(values: FloatArray, n_bars: int) -> FloatArray:
    """Return how many bars before t the maximum of rows t - n_bars + 1 … t stands.

    The latest of equals counts; a window that holds NaN gives NaN. A window is the union of two
    that overlap, each of a power of two rows.
    """
    length = len(values)
    if length < n_bars:
        return np.full(length, np.nan)
    best, row, width = values, np.arange(length), 1
    while 2 * width <= n_bars:
        best, row = _later_of_equals(best, row, width)
        width *= 2
    if width < n_bars:
        best, row = _later_of_equals(best, row, n_bars - width)
    since = np.full(length, np.nan)
    since[n_bars - 1 :] = np.arange(n_bars - 1, length) - row[: length - n_bars + 1]
    return (
        since
        if np.isfinite(values).all()
        else np.where(np.isnan(rolling_sum(values, n_bars)), np.nan, since)
    )


def bars_since_min(values: FloatArray, n_bars: int) -> FloatArray:
    """Return how many bars before t the minimum of rows t - n_bars + 1 … t stands."""
    return bars_since_max(-values, n_bars)


def _later_of_equals(best: FloatArray, row: np.ndarray, step: int) -> tuple[FloatArray, np.ndarray]:
    newer = best[step:] >= best[:-step]
    return (
        np.where(newer, best[step:], best[:-step]),
        np.where(newer, row[step:], row[:-step]),
    )

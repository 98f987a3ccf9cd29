"""Small causal building blocks shared by the feature families."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from finscale.market.bars import FloatArray

# A hundredth of a basis point: what a volatility, range or deviation of log prices counts at least.
LEAST_MOVE = 1e-6
# Averages that fade without end are nothing once they are this small a part of the price.
FADED = 1e-9


def lagged_log_ratio(numerator: FloatArray, denominator: FloatArray, lag: int) -> FloatArray:
    """Return ln(numerator[t] / denominator[t - lag]); NaN in the first ``lag`` rows."""
    ratio = np.full(len(numerator), np.nan)
    ratio[lag:] = np.log(numerator[lag:] / denominator[: max(len(denominator) - lag, 0)])
    return ratio


def lagged(values: FloatArray, lag: int) -> FloatArray:
    """Return values[t - lag]; NaN in the first ``lag`` rows."""
    result = np.full(len(values), np.nan)
    result[lag:] = values[: max(len(values) - lag, 0)]
    return result


def indicator(holds: NDArray[np.bool_], known: FloatArray) -> FloatArray:
    """Return 1 where something holds and 0 where it does not; NaN where ``known`` is NaN."""
    return np.where(np.isnan(known), np.nan, holds.astype(np.float64))


def rolling_sum(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the sum of rows t - n_bars + 1 … t; NaN while there are fewer.

    Like everything rolling here, a value depends on the rows of its own window and on nothing
    else, to the last bit: no running total carries rounding errors along the series, as the ones
    of TA-Lib's SMA, STDDEV and MFI do, which a few of the indicators are. Windows are
    put together from blocks of 1, 2, 4, … rows, which takes log2(n_bars) passes over the series.
    NaN in a window makes NaN.
    """
    (total,) = _fold((values,), lambda one, other, _n, _m: (one[0] + other[0],), n_bars)
    return _pad(total, n_bars, len(values))


def rolling_mean(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the mean of rows t - n_bars + 1 … t; NaN while there are fewer."""
    return rolling_sum(values, n_bars) / n_bars


def rolling_max(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the maximum of rows t - n_bars + 1 … t; NaN while there are fewer."""
    (best,) = _fold((values,), lambda one, other, _n, _m: (np.maximum(one[0], other[0]),), n_bars)
    return _pad(best, n_bars, len(values))


def rolling_min(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the minimum of rows t - n_bars + 1 … t; NaN while there are fewer."""
    return -rolling_max(-values, n_bars)


def rolling_var(values: FloatArray, n_bars: int, *, ddof: int = 0) -> FloatArray:
    """Return the variance of rows t - n_bars + 1 … t; NaN while there are fewer.

    Blocks are merged by the update of Chan, Golub & LeVeque (1983), American Statistician 37(3),
    eq. 2.1, which does not cancel: equal values have a variance of exactly zero.
    """
    (_, m2) = _fold((values, np.zeros(len(values))), _merge_variance, n_bars)
    return _pad(m2 / (n_bars - ddof), n_bars, len(values))


def rolling_std(values: FloatArray, n_bars: int, *, ddof: int = 0) -> FloatArray:
    """Return the standard deviation of rows t - n_bars + 1 … t; NaN while there are fewer."""
    return np.sqrt(rolling_var(values, n_bars, ddof=ddof))


def rolling_cov(one: FloatArray, other: FloatArray, n_bars: int) -> FloatArray:
    """Return the covariance (over n) of two series on rows t - n_bars + 1 … t."""
    (_, _, c2) = _fold((one, other, np.zeros(len(one))), _merge_covariance, n_bars)
    return _pad(c2 / n_bars, n_bars, len(one))


def rolling_corr(one: FloatArray, other: FloatArray, n_bars: int) -> FloatArray:
    """Return the correlation on rows t - n_bars + 1 … t; zero where a series does not move."""
    spread = np.sqrt(rolling_var(one, n_bars) * rolling_var(other, n_bars))
    return np.clip(_or_zero(rolling_cov(one, other, n_bars), spread), -1, 1)


def rolling_slope(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the least-squares slope per bar over rows t - n_bars + 1 … t."""
    time = np.arange(len(values), dtype=np.float64)
    return rolling_cov(time, values, n_bars) / ((n_bars**2 - 1) / 12)


def rolling_skew_kurtosis(values: FloatArray, n_bars: int) -> tuple[FloatArray, FloatArray]:
    """Return skewness m3 / m2^1.5 and excess kurtosis m4 / m2^2 - 3 of rows t - n_bars + 1 … t.

    Both are zero where the values are all equal. Blocks are merged as in Pébay (2008), Sandia
    report SAND2008-6212, eq. 2.1.
    """
    zeros = np.zeros(len(values))
    _, m2, m3, m4 = _fold((values, zeros, zeros, zeros), _merge_four_moments, n_bars)
    skew = np.sqrt(n_bars) * _or_zero(m3, m2**1.5)
    kurtosis = _or_zero(n_bars * m4, m2**2)
    excess = np.where(m2 > 0, kurtosis - 3, np.where(np.isnan(m2), np.nan, 0.0))
    return _pad(skew, n_bars, len(values)), _pad(excess, n_bars, len(values))


def rolling_rank(values: FloatArray, n_bars: int) -> FloatArray:
    """Return where the value of row t stands among rows t - n_bars + 1 … t, in [0, 1].

    The share of the other rows below it, ties counting one half.
    """
    if len(values) < n_bars:
        return np.full(len(values), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, n_bars)
    last = windows[:, -1:]
    below = np.count_nonzero(windows < last, axis=1)
    ties = np.count_nonzero(windows == last, axis=1) - 1
    rank = (below + ties / 2) / (n_bars - 1)
    # A window with NaN has no rank; comparing with NaN would have counted it as above.
    return np.where(np.isnan(rolling_sum(values, n_bars)), np.nan, _pad(rank, n_bars, len(values)))


_Blocks = tuple[FloatArray, ...]
_Merge = Callable[[_Blocks, _Blocks, int, int], _Blocks]


def _fold(rows: _Blocks, merge: _Merge, n_bars: int) -> _Blocks:
    """Merge the rows of every window [i, i + n_bars); one entry per whole window, by first row.

    ``merge(older, newer, n, m)`` joins blocks of n and m rows that follow each other. Windows are
    made of the powers of two in ``n_bars``.
    """
    length = len(rows[0])
    if length < n_bars:
        return tuple(np.empty(0) for _ in rows)
    block, width = rows, 1
    window: _Blocks = ()
    covered = 0
    left = n_bars
    while True:
        if left & 1:
            if covered:
                stop = length - covered - width + 1
                older = tuple(part[:stop] for part in window)
                window = merge(older, tuple(part[covered:] for part in block), covered, width)
            else:
                window = block
            covered += width
        left >>= 1
        if not left:
            return window
        older = tuple(part[:-width] for part in block)
        block = merge(older, tuple(part[width:] for part in block), width, width)
        width *= 2


def _merge_variance(one: _Blocks, other: _Blocks, n: int, m: int) -> _Blocks:
    mean, m2 = one
    step = other[0] - mean
    return mean + step * (m / (n + m)), m2 + other[1] + step * step * (n * m / (n + m))


def _merge_covariance(one: _Blocks, other: _Blocks, n: int, m: int) -> _Blocks:
    step_x, step_y = other[0] - one[0], other[1] - one[1]
    share = m / (n + m)
    c2 = one[2] + other[2] + step_x * step_y * (n * share)
    return one[0] + step_x * share, one[1] + step_y * share, c2


def _merge_four_moments(one: _Blocks, other: _Blocks, n: int, m: int) -> _Blocks:
    mean, a2, a3, a4 = one
    b2, b3, b4 = other[1:]
    total = n + m
    step = (other[0] - mean) / total
    step2 = step * step
    m2 = a2 + b2 + step2 * (n * m * total)
    m3 = a3 + b3 + step2 * step * (n * m * (n - m) * total) + 3 * step * (n * b2 - m * a2)
    m4 = (
        a4
        + b4
        + step2 * step2 * (n * m * (n * n - n * m + m * m) * total)
        + 6 * step2 * (n * n * b2 + m * m * a2)
        + 4 * step * (n * b3 - m * a3)
    )
    return mean + step * m, m2, m3, m4


def _pad(windows: FloatArray, n_bars: int, length: int) -> FloatArray:
    """Put the windows, listed by first row, at the row they end with."""
    result = np.full(length, np.nan)
    if len(windows):
        result[n_bars - 1 :] = windows
    return result


def _or_zero(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient; zero where the denominator is zero, NaN where it is NaN."""
    result = np.where(np.isnan(denominator), np.nan, 0.0)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def ratio_or(numerator: FloatArray, denominator: FloatArray, otherwise: float) -> FloatArray:
    """Return numerator / denominator, and ``otherwise`` where the denominator is zero."""
    result = np.full(len(numerator), otherwise)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def ema_memory_bars(n_bars: int, *, wilder: bool = False, cascaded: int = 1) -> int:
    """Return the rows after which exponential smoothing has forgotten its start to 1e-6.

    Through ``cascaded`` averages of smoothing a, the start keeps after k rows at most the weight
    sum_{j < cascaded} C(k, j) a^j (1 - a)^(k - j); a = 2 / (n + 1), or 1 / n for Wilder's
    smoothing. The averages' own first ``n_bars`` rows, which seed them, come on top.
    """
    smoothing = 1 / n_bars if wilder else 2 / (n_bars + 1)
    n_rows = 0
    while _start_weight(n_rows, smoothing, cascaded) >= 1e-6:
        n_rows += 1
    return n_rows + cascaded * n_bars


def _start_weight(n_rows: int, smoothing: float, cascaded: int) -> float:
    return sum(
        math.comb(n_rows, j) * smoothing**j * (1 - smoothing) ** (n_rows - j)
        for j in range(min(cascaded, n_rows + 1))
    )

"""What weekly and monthly bars show: one value per period, in the same words for both."""

from __future__ import annotations

import numpy as np

from finscale.features.period_bars import PeriodBars
from finscale.features.rolling import (
    LEAST_MOVE,
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_corr,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_sum,
)
from finscale.features.runs import signed_run
from finscale.market.bars import OHLCV, FloatArray

# A market that did not move has the log volatility of one hundredth of a basis point, and a period
# without a range or without trade counts as one with a thousandth of the average.
_LEAST_RATIO = 1e-3


def log_return(periods: PeriodBars, n: int) -> FloatArray:
    """Return ln(C_p / C_{p-n})."""
    return lagged_log_ratio(periods.close, periods.close, n)


def close_position(periods: PeriodBars) -> FloatArray:
    """Return the place of the close in the period's range; one half if it is flat."""
    return ratio_or(periods.close - periods.low, periods.high - periods.low, 0.5)


def log_range(periods: PeriodBars) -> FloatArray:
    """Return ln(ln(H / L)), at least ln(1e-6)."""
    return np.asarray(np.log(np.maximum(_range(periods), LEAST_MOVE)))


def range_ratio(periods: PeriodBars, n: int) -> FloatArray:
    """Return the log of the range over its mean of n periods; zero where all are flat."""
    return _log_ratio_to_mean(_range(periods), n)


def volume_ratio(periods: PeriodBars, n: int) -> FloatArray:
    """Return the log of volume per session over its mean of n periods; zero without trade."""
    return _log_ratio_to_mean(periods.volume, n)


def log_volatility(periods: PeriodBars, n: int) -> FloatArray:
    """Return the log root mean square of n returns, at least ln(1e-6)."""
    variance = rolling_mean(log_return(periods, 1) ** 2, n)
    return np.asarray(0.5 * np.log(np.maximum(variance, LEAST_MOVE**2)))


def stochastic(periods: PeriodBars, n: int) -> FloatArray:
    """Return the place of the close in the range of n periods; one half if it is flat."""
    low = rolling_min(periods.low, n)
    return ratio_or(periods.close - low, rolling_max(periods.high, n) - low, 0.5)


def average_distance(periods: PeriodBars, n: int) -> FloatArray:
    """Return C / SMA_n(C) - 1."""
    return periods.close / rolling_mean(periods.close, n) - 1


def relative_strength(periods: PeriodBars, n: int) -> FloatArray:
    """Return the share of gains in the moves of n periods; one half without moves."""
    returns = log_return(periods, 1)
    return ratio_or(rolling_sum(np.maximum(returns, 0.0), n), rolling_sum(np.abs(returns), n), 0.5)


def rising_share(periods: PeriodBars, n: int) -> FloatArray:
    """Return the share of n periods that closed higher than the one before."""
    returns = log_return(periods, 1)
    return rolling_mean(np.where(np.isnan(returns), np.nan, returns > 0), n)


def streak(periods: PeriodBars, most: int) -> FloatArray:
    """Return the signed run of rising or falling closes over ``most``, in [-1, 1]."""
    return signed_run(np.sign(log_return(periods, 1)), most)


def autocorrelation(periods: PeriodBars, n: int) -> FloatArray:
    """Return the correlation of n returns with those of the period before; zero if constant."""
    returns = log_return(periods, 1)
    return rolling_corr(returns, lagged(returns, 1), n)


def breakout(periods: PeriodBars) -> FloatArray:
    """Return 1 for a close above the high of the period before, -1 for below its low, else 0."""
    above = periods.close > lagged(periods.high, 1)
    below = periods.close < lagged(periods.low, 1)
    return above.astype(np.float64) - below


def range_overlap(periods: PeriodBars) -> FloatArray:
    """Return what two periods' ranges share of their union, negative if apart; one if flat."""
    high, low = lagged(periods.high, 1), lagged(periods.low, 1)
    shared = np.minimum(periods.high, high) - np.maximum(periods.low, low)
    return ratio_or(shared, np.maximum(periods.high, high) - np.minimum(periods.low, low), 1.0)


def choppiness(periods: PeriodBars, n: int) -> FloatArray:
    """Return 1 - log range of n periods over the sum of theirs, in [0, 1) without gaps; 0 if flat.

    Gaps between periods belong to the whole range only, which may then exceed the sum: zero.
    """
    whole = np.log(rolling_max(periods.high, n) / rolling_min(periods.low, n))
    parts = rolling_sum(_range(periods), n)
    return 1 - ratio_or(whole, np.maximum(parts, whole), 1.0)


def close_against(bars: OHLCV, levels: FloatArray) -> FloatArray:
    """Return the log distance of each session's close from a level known by then."""
    return np.asarray(np.log(bars.close / levels))


def _range(periods: PeriodBars) -> FloatArray:
    return np.asarray(np.log(periods.high / periods.low))


def _log_ratio_to_mean(values: FloatArray, n: int) -> FloatArray:
    ratio = ratio_or(values, rolling_mean(values, n), 1.0)
    return np.asarray(np.log(np.maximum(ratio, _LEAST_RATIO)))

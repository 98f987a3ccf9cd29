"""Statistics of what holding would have earned and cost: reward to risk, and drawdowns."""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    LEAST_MOVE,
    lagged_log_ratio,
    ratio_or,
    rolling_mean,
    rolling_std,
)
from finscale.market.bars import OHLCV, FloatArray

_MAGDON = "Magdon-Ismail & Atiya (2004), Risk 17(10)"

# A deviation below a hundredth of a basis point a day is rounding noise.


@feature(
    family="statistics",
    meaning="mean over standard deviation of the last {n} returns",
    formula="mean_{n}(r) / sd_{n}(r)",
    reference="Sharpe (1994), J. Portfolio Management 21(1)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20, 250),
)
def sharpe_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the daily Sharpe ratio, not annualised; the deviation is 1e-6 at least."""
    return _sharpe(bars.log_return, n)


@feature(
    family="statistics",
    meaning="mean return of {n} bars over their downside deviation, bounded",
    formula="m / (|m| + d), m = mean_{n}(r), d = sqrt(mean_{n}(min(r, 0)^2))",
    reference="Sortino & van der Meer (1991), J. Portfolio Management 17(4)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(40,),
)
def sortino_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return s / (1 + |s|) of the Sortino ratio s, in [-1, 1]; zero without moves."""
    mean = rolling_mean(bars.log_return, n)
    downside = np.sqrt(rolling_mean(np.minimum(bars.log_return, 0.0) ** 2, n))
    return ratio_or(mean, np.abs(mean) + downside, 0.0)


@feature(
    family="statistics",
    meaning="return of {n} bars over their worst drawdown, bounded",
    formula="R / (|R| + D), R = ln(C_t / C_{{t-{n}}}), D = -ln(1 - worst drawdown)",
    reference="Young (1991), Futures 20, Calmar ratio",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60,),
)
def calmar_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return c / (1 + |c|) of the Calmar ratio c, in [-1/2, 1]; zero without moves."""
    gain = lagged_log_ratio(bars.close, bars.close, n)
    drawdown = -np.log(_lowest_from_peak(bars.close, n + 1))
    return ratio_or(gain, np.abs(gain) + drawdown, 0.0)


@feature(
    family="statistics",
    meaning="worst loss from a high to a later low within the last {n} closes",
    formula="min over i <= j of C_j / C_i - 1 in {n} bars",
    reference=_MAGDON,
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(60, 250),
)
def max_drawdown(bars: OHLCV, n: int) -> FloatArray:
    """Return the maximum drawdown, in (-1, 0]."""
    return _lowest_from_peak(bars.close, n) - 1


@feature(
    family="statistics",
    meaning="worst fall against best rise within the last {n} closes",
    formula="(U - D) / (U + D), U = max ln(C_j / C_i), D = max ln(C_i / C_j), i <= j",
    reference="Pospisil, Vecer & Hadjiliadis (2009), Stochastic Processes and their Applications "
    "119(8)",
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(60, 250),
)
def rise_fall_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return which of rise and fall was the larger, in [-1, 1]; zero without moves."""
    fall = -np.log(_lowest_from_peak(bars.close, n))
    rise = -np.log(_lowest_from_peak(1 / bars.close, n))
    return ratio_or(rise - fall, rise + fall, 0.0)


def _sharpe(returns: FloatArray, n: int) -> FloatArray:
    return rolling_mean(returns, n) / np.maximum(rolling_std(returns, n), LEAST_MOVE)


def _lowest_from_peak(prices: FloatArray, n: int) -> FloatArray:
    """Return the lowest price of n rows over the highest before it, the lowest such quotient."""
    result = np.full(len(prices), np.nan)
    n_windows = len(prices) - n + 1
    if n_windows < 1:
        return result
    peak = prices[:n_windows].copy()
    lowest = np.ones(n_windows)
    # Step by step for all windows at once.
    for step in range(1, n):
        price = prices[step : step + n_windows]
        np.maximum(peak, price, out=peak)
        np.minimum(lowest, price / peak, out=lowest)
    result[n - 1 :] = lowest
    return result

"""Statistics of returns: moments, extremes, and how often the price moves how far."""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    indicator,
    lagged,
    ratio_or,
    rolling_mean,
    rolling_skew_kurtosis,
    rolling_std,
)
from finscale.market.bars import OHLCV, FloatArray

_CONT = "Cont (2001), Quantitative Finance 1(2)"

# A return or a deviation below a hundredth of a basis point is rounding noise.


@feature(
    family="statistics",
    meaning="skewness of the last {n} returns",
    formula="mean_{n}((r - m)^3) / sd_{n}(r)^3, m = mean_{n}(r)",
    reference="Harvey & Siddique (2000), J. Finance 55(3)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20, 60, 250),
)
def return_skewness(bars: OHLCV, n: int) -> FloatArray:
    """Return the skewness of returns; zero where they are all equal."""
    return rolling_skew_kurtosis(bars.log_return, n)[0]


@feature(
    family="statistics",
    meaning="log kurtosis of the last {n} returns, ln 3 for a normal distribution",
    formula="ln(mean_{n}((r - m)^4) / sd_{n}(r)^4), m = mean_{n}(r)",
    reference=_CONT,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20, 120),
)
def log_return_kurtosis(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the kurtosis of returns; ln 3 where they are all equal."""
    kurtosis = rolling_skew_kurtosis(bars.log_return, n)[1] + 3
    # No distribution has a kurtosis below one; rounding may.
    return np.asarray(np.log(np.maximum(kurtosis, 1.0)))


@feature(
    family="statistics",
    meaning="return of the session in standard deviations of the last {n}",
    formula="(r_t - mean_{n}(r)) / sd_{n}(r)",
    reference=_CONT,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(10,),
)
def return_zscore(bars: OHLCV, n: int) -> FloatArray:
    """Return the standardised return, at most sqrt(n - 1); zero where nothing moves."""
    returns = bars.log_return
    return ratio_or(returns - rolling_mean(returns, n), rolling_std(returns, n), 0.0)


@feature(
    family="statistics",
    meaning="share of the last {n} bars whose high reached 1% above the close before",
    formula="mean_{n}(H_t / C_{{t-1}} >= 1.01)",
    reference="Own construction, after the threshold events of Christoffersen & Diebold (2006), "
    "Management Science 52(8)",
    inputs=["high", "close"],
    lookback_bars=lambda n: n,
    over=(10, 60),
)
def one_percent_rise_share(bars: OHLCV, n: int) -> FloatArray:
    """Return how often the high came 1% above the last close, in [0, 1]."""
    before = lagged(bars.close, 1)
    return rolling_mean(indicator(bars.high / before >= 1.01, before), n)


@feature(
    family="statistics",
    meaning="share of the last {n} bars whose low fell 1% below the close before",
    formula="mean_{n}(L_t / C_{{t-1}} <= 0.99)",
    reference="Own construction, after the threshold events of Christoffersen & Diebold (2006), "
    "Management Science 52(8)",
    inputs=["low", "close"],
    lookback_bars=lambda n: n,
    over=(10, 60),
)
def one_percent_fall_share(bars: OHLCV, n: int) -> FloatArray:
    """Return how often the low came 1% below the last close, in [0, 1]."""
    before = lagged(bars.close, 1)
    return rolling_mean(indicator(bars.low / before <= 0.99, before), n)


@feature(
    family="statistics",
    meaning="coefficient of variation of the last {n} absolute returns",
    formula="sd_{n}(|r|) / mean_{n}(|r|)",
    reference="Taylor (1986), Modelling Financial Time Series, ch. 2",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def absolute_return_variation(bars: OHLCV, n: int) -> FloatArray:
    """Return how unequal the absolute returns are, at most sqrt(n - 1); zero if all are equal."""
    size = np.abs(bars.log_return)
    return ratio_or(rolling_std(size, n), rolling_mean(size, n), 0.0)


@feature(
    family="statistics",
    meaning="share of the last {n} returns beyond two deviations of the last {m}",
    formula="mean_{n}(|r| > 2 sqrt(mean_{m}(r^2)))",
    reference=_CONT + ", heavy tails",
    inputs=["close"],
    lookback_bars=lambda n, m: n + m - 1,
    over=((20, 120),),
)
def extreme_return_share(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return how often a return was extreme when it came, in [0, 1]."""
    size, limit = np.abs(bars.log_return), _two_deviations(bars, m)
    return rolling_mean(indicator(size > limit, limit), n)


@feature(
    family="statistics",
    meaning="extreme gains less extreme losses among the last {n} returns",
    formula="mean_{n}(r > 2s) - mean_{n}(r < -2s), s = sqrt(mean_{m}(r^2))",
    reference=_CONT + ", gain/loss asymmetry",
    inputs=["close"],
    lookback_bars=lambda n, m: n + m - 1,
    over=[(60, 120)],
)
def extreme_gain_share_balance(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the share of extreme gains less that of extreme losses, in [-1, 1]."""
    returns, limit = bars.log_return, _two_deviations(bars, m)
    return rolling_mean(indicator(returns > limit, limit) - indicator(returns < -limit, limit), n)


def _two_deviations(bars: OHLCV, n: int) -> FloatArray:
    return 2 * np.sqrt(rolling_mean(bars.log_return**2, n))

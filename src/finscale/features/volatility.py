"""Volatility: average true range, realised and range-based estimators.

All are logs of a daily standard deviation (or of a range in units of price): volatility is close
to log-normal (Andersen, Bollerslev, Diebold & Labys 2001), so that a linear model reads its log.
"""

from __future__ import annotations

import math

import numpy as np
import talib

from finscale.features.registry import feature
from finscale.features.rolling import ema_memory_bars, lagged_log_ratio, rolling_mean
from finscale.market.bars import OHLCV, FloatArray

# A market that did not move at all has the log volatility of one hundredth of a basis point.
_FLOOR = 1e-6


def _log_volatility(variance: FloatArray) -> FloatArray:
    return np.asarray(0.5 * np.log(np.maximum(variance, _FLOOR**2)))


@feature(
    family="volatility",
    meaning="log of the 14-bar average true range over the close",
    formula="ln(ATR_14 / C)",
    reference="Wilder (1978), New Concepts in Technical Trading Systems",
    inputs=["high", "low", "close"],
    lookback_bars=ema_memory_bars(14, wilder=True),
)
def log_natr_14(bars: OHLCV) -> FloatArray:
    """Return the log of the normalised average true range."""
    true_range = talib.ATR(bars.high, bars.low, bars.close, 14)
    return np.asarray(np.log(np.maximum(true_range / bars.close, _FLOOR)))


@feature(
    family="volatility",
    meaning="log of the day's range",
    formula="ln(ln(H / L))",
    reference="Alizadeh, Brandt & Diebold (2002), J. Finance 57(3)",
    inputs=["high", "low"],
    lookback_bars=0,
)
def log_range(bars: OHLCV) -> FloatArray:
    """Return the log of the bar's log range."""
    return np.asarray(np.log(np.maximum(np.log(bars.high / bars.low), _FLOOR)))


@feature(
    family="volatility",
    meaning="log realised volatility of 5 bars",
    formula="ln sqrt(mean_5(r^2)), r = ln(C_t / C_{{t-1}})",
    reference="Andersen, Bollerslev, Diebold & Labys (2001), J. Financial Economics 61(1)",
    inputs=["close"],
    lookback_bars=5,
)
def log_realized_volatility_5(bars: OHLCV) -> FloatArray:
    """Return the log of the 5-bar root mean square return."""
    returns = lagged_log_ratio(bars.close, bars.close, 1)
    return _log_volatility(rolling_mean(returns**2, 5))


@feature(
    family="volatility",
    meaning="log realised volatility of 20 bars",
    formula="ln sqrt(mean_20(r^2)), r = ln(C_t / C_{{t-1}})",
    reference="Andersen, Bollerslev, Diebold & Labys (2001), J. Financial Economics 61(1)",
    inputs=["close"],
    lookback_bars=20,
)
def log_realized_volatility_20(bars: OHLCV) -> FloatArray:
    """Return the log of the 20-bar root mean square return."""
    returns = lagged_log_ratio(bars.close, bars.close, 1)
    return _log_volatility(rolling_mean(returns**2, 20))


@feature(
    family="volatility",
    meaning="log Parkinson volatility of 10 bars",
    formula="ln sqrt(mean_10(ln(H/L)^2) / (4 ln 2))",
    reference="Parkinson (1980), J. Business 53(1)",
    inputs=["high", "low"],
    lookback_bars=9,
)
def log_parkinson_volatility_10(bars: OHLCV) -> FloatArray:
    """Return the log of the 10-bar Parkinson estimator."""
    squared_range = np.log(bars.high / bars.low) ** 2
    return _log_volatility(rolling_mean(squared_range, 10) / (4 * math.log(2)))

"""Volatility: its level, by average true range, realised and range-based estimators.

All are logs of a daily standard deviation (or of a range in units of price): volatility is close
to log-normal (Andersen, Bollerslev, Diebold & Ebens 2001), so that a linear model reads its log.
"""

from __future__ import annotations

import math

import numpy as np
import talib

from finscale.features.registry import feature
from finscale.features.rolling import (
    LEAST_MOVE,
    ema_memory_bars,
    rolling_max,
    rolling_mean,
    rolling_min,
)
from finscale.features.variance import (
    garman_klass_variance,
    log_gap,
    log_span,
    log_volatility,
    yang_zhang_variance,
)
from finscale.market.bars import OHLCV, FloatArray

_SORTINO = "Sortino & van der Meer (1991), J. Portfolio Management 17(4)"


@feature(
    family="volatility",
    meaning="log of the {n}-bar average true range over the close",
    formula="ln(ATR_{n} / C)",
    reference="Wilder (1978), New Concepts in Technical Trading Systems",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: ema_memory_bars(n, wilder=True),
    over=(14,),
)
def log_natr(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the normalised average true range."""
    true_range = talib.ATR(bars.high, bars.low, bars.close, n)
    return np.asarray(np.log(np.maximum(true_range / bars.close, LEAST_MOVE)))


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
    return np.asarray(np.log(np.maximum(log_span(bars), LEAST_MOVE)))


@feature(
    family="volatility",
    meaning="log realised volatility of {n} bars",
    formula="ln sqrt(mean_{n}(r^2)), r = ln(C_t / C_{{t-1}})",
    reference="Andersen, Bollerslev, Diebold & Ebens (2001), J. Financial Economics 61(1)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(5, 20, 60, 120, 252),
)
def log_realized_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square return."""
    return log_volatility(rolling_mean(bars.log_return**2, n))


@feature(
    family="volatility",
    meaning="log Parkinson volatility of {n} bars",
    formula="ln sqrt(mean_{n}(ln(H/L)^2) / (4 ln 2))",
    reference="Parkinson (1980), J. Business 53(1)",
    inputs=["high", "low"],
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def log_parkinson_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of Parkinson's estimator."""
    return log_volatility(rolling_mean(log_span(bars) ** 2, n) / (4 * math.log(2)))


@feature(
    family="volatility",
    meaning="log Garman-Klass volatility of {n} bars",
    formula="ln sqrt(mean_{n}(ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2))",
    reference="Garman & Klass (1980), J. Business 53(1)",
    inputs=["open", "high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(3,),
)
def log_garman_klass_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of Garman and Klass's estimator."""
    return log_volatility(rolling_mean(garman_klass_variance(bars), n))


@feature(
    family="volatility",
    meaning="log Yang-Zhang volatility of {n} bars, free of the drift and with the gaps",
    formula="ln sqrt(var_{n}(ln(O_t/C_{{t-1}})) + k var_{n}(ln(C/O)) + (1 - k) RS_{n}), "
    "k = 0.34 / (1.34 + ({n} + 1) / ({n} - 1)), RS the mean Rogers-Satchell variance",
    reference="Yang & Zhang (2000), J. Business 73(3)",
    inputs=["open", "high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(30,),
)
def log_yang_zhang_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of Yang and Zhang's estimator."""
    return log_volatility(yang_zhang_variance(bars, n))


@feature(
    family="volatility",
    meaning="log downside deviation of {n} bars",
    formula="ln sqrt(mean_{n}(min(r, 0)^2))",
    reference=_SORTINO,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(5, 20),
)
def log_downside_deviation(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square of the losses."""
    return log_volatility(rolling_mean(np.minimum(bars.log_return, 0) ** 2, n))


@feature(
    family="volatility",
    meaning="log upside deviation of {n} bars",
    formula="ln sqrt(mean_{n}(max(r, 0)^2))",
    reference=_SORTINO,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(5,),
)
def log_upside_deviation(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square of the gains."""
    return log_volatility(rolling_mean(np.maximum(bars.log_return, 0) ** 2, n))


@feature(
    family="volatility",
    meaning="log volatility of the overnight gaps of {n} bars",
    formula="ln sqrt(mean_{n}(ln(O_t / C_{{t-1}})^2))",
    reference="Lockwood & Linn (1990), J. Finance 45(2)",
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(20, 120),
)
def log_overnight_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square gap."""
    return log_volatility(rolling_mean(log_gap(bars) ** 2, n))


@feature(
    family="volatility",
    meaning="log ulcer index: depth of the drawdowns from the {n}-bar high, over {n} bars",
    formula="ln sqrt(mean_{n}(ln(C / max_{n}(C))^2))",
    reference="Martin & McCann (1989), The Investor's Guide to Fidelity Funds",
    inputs=["close"],
    lookback_bars=lambda n: 2 * n - 2,
    over=(14, 120),
)
def log_ulcer_index(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the root mean square log drawdown."""
    drawdown = np.log(bars.close / rolling_max(bars.close, n))
    return log_volatility(rolling_mean(drawdown**2, n))


@feature(
    family="volatility",
    meaning="log of the largest absolute return of {n} bars",
    formula="ln max_{n}(|r|)",
    reference="Bali, Cakici & Whitelaw (2011), J. Financial Economics 99(2)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def log_largest_move(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the largest absolute return."""
    return log_volatility(rolling_max(bars.log_return**2, n))


@feature(
    family="volatility",
    meaning="log of the range that {n} bars span together",
    formula="ln(ln(max_{n}(H) / min_{n}(L)))",
    reference="Alizadeh, Brandt & Diebold (2002), J. Finance 57(3)",
    inputs=["high", "low"],
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def log_window_range(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the log range of the window."""
    span = np.log(rolling_max(bars.high, n) / rolling_min(bars.low, n))
    return np.asarray(np.log(np.maximum(span, LEAST_MOVE)))

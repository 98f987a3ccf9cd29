"""Trend: distances from moving averages, MACD, ADX, Aroon."""

from __future__ import annotations

import numpy as np
import talib

from finscale.features.registry import feature
from finscale.features.rolling import ema_memory_bars
from finscale.market.bars import OHLCV, FloatArray

_MURPHY = "Murphy (1999), Technical Analysis of the Financial Markets, ch. 9"


def _sma_distance(bars: OHLCV, n_bars: int) -> FloatArray:
    return np.asarray(bars.close / talib.SMA(bars.close, n_bars) - 1)


@feature(
    family="trend",
    meaning="distance of the close from its 10-bar average",
    formula="C / SMA_10(C) - 1",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=9,
)
def sma_distance_10(bars: OHLCV) -> FloatArray:
    """Return the relative distance from the 10-bar simple average."""
    return _sma_distance(bars, 10)


@feature(
    family="trend",
    meaning="distance of the close from its 20-bar average",
    formula="C / SMA_20(C) - 1",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=19,
)
def sma_distance_20(bars: OHLCV) -> FloatArray:
    """Return the relative distance from the 20-bar simple average."""
    return _sma_distance(bars, 20)


@feature(
    family="trend",
    meaning="distance of the close from its 50-bar average",
    formula="C / SMA_50(C) - 1",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=49,
)
def sma_distance_50(bars: OHLCV) -> FloatArray:
    """Return the relative distance from the 50-bar simple average."""
    return _sma_distance(bars, 50)


@feature(
    family="trend",
    meaning="distance of the close from its 12-bar exponential average",
    formula="C / EMA_12(C) - 1",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=ema_memory_bars(12),
)
def ema_distance_12(bars: OHLCV) -> FloatArray:
    """Return the relative distance from the 12-bar exponential average."""
    return np.asarray(bars.close / talib.EMA(bars.close, 12) - 1)


@feature(
    family="trend",
    meaning="MACD histogram over price",
    formula="(MACD_{{12,26}} - its EMA_9) / C",
    reference="Appel (2005), Technical Analysis: Power Tools for Active Investors",
    inputs=["close"],
    lookback_bars=ema_memory_bars(26) + 9,
)
def macd_histogram(bars: OHLCV) -> FloatArray:
    """Return the MACD histogram as a fraction of the close."""
    _, _, histogram = talib.MACD(bars.close, 12, 26, 9)
    return np.asarray(histogram / bars.close)


@feature(
    family="trend",
    meaning="strength of the trend, whatever its direction",
    formula="ADX_14 / 100",
    reference="Wilder (1978), New Concepts in Technical Trading Systems",
    inputs=["high", "low", "close"],
    lookback_bars=ema_memory_bars(14, wilder=True, cascaded=2),
)
def adx_14(bars: OHLCV) -> FloatArray:
    """Return the average directional index, in [0, 1]."""
    return np.asarray(talib.ADX(bars.high, bars.low, bars.close, 14) / 100)


@feature(
    family="trend",
    meaning="bars since the 25-bar low less bars since the 25-bar high",
    formula="Aroon oscillator / 100",
    reference="Chande (1995), Technical Analysis of Stocks & Commodities 13(9)",
    inputs=["high", "low"],
    lookback_bars=25,
)
def aroon_oscillator_25(bars: OHLCV) -> FloatArray:
    """Return the Aroon oscillator, in [-1, 1]."""
    return np.asarray(talib.AROONOSC(bars.high, bars.low, 25) / 100)

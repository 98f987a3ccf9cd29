"""Momentum: returns over several bars, and bounded oscillators."""

from __future__ import annotations

import numpy as np
import talib

from finscale.features.registry import feature
from finscale.features.rolling import (
    ema_memory_bars,
    lagged_log_ratio,
    ratio_or,
    rolling_mean,
)
from finscale.market.bars import OHLCV, FloatArray

_JEGADEESH = "Jegadeesh & Titman (1993), J. Finance 48(1)"


@feature(
    family="momentum",
    meaning="log return of the last 5 bars",
    formula="ln(C_t / C_{{t-5}})",
    reference=_JEGADEESH,
    inputs=["close"],
    lookback_bars=5,
)
def return_5(bars: OHLCV) -> FloatArray:
    """Return the five-bar log return."""
    return lagged_log_ratio(bars.close, bars.close, 5)


@feature(
    family="momentum",
    meaning="log return of the last 10 bars",
    formula="ln(C_t / C_{{t-10}})",
    reference=_JEGADEESH,
    inputs=["close"],
    lookback_bars=10,
)
def return_10(bars: OHLCV) -> FloatArray:
    """Return the ten-bar log return."""
    return lagged_log_ratio(bars.close, bars.close, 10)


@feature(
    family="momentum",
    meaning="share of gains in the moves of the close",
    formula="RSI_14 / 100",
    reference="Wilder (1978), New Concepts in Technical Trading Systems",
    inputs=["close"],
    lookback_bars=ema_memory_bars(14, wilder=True),
)
def rsi_14(bars: OHLCV) -> FloatArray:
    """Return the relative strength index, in [0, 1]; one half while the close has never moved."""
    strength = talib.RSI(bars.close, 14) / 100
    unmoved = np.logical_and.accumulate(bars.close == bars.close[0])
    return np.asarray(np.where(unmoved & np.isfinite(strength), 0.5, strength))


@feature(
    family="momentum",
    meaning="place of the close in the 14-bar range",
    formula="(C - min L) / (max H - min L)",
    reference="Lane (1984), Technical Analysis of Stocks & Commodities 2(3)",
    inputs=["high", "low", "close"],
    lookback_bars=13,
)
def stochastic_k_14(bars: OHLCV) -> FloatArray:
    """Return the unsmoothed stochastic %K, in [0, 1]; one half in a flat range."""
    lowest, highest = talib.MIN(bars.low, 14), talib.MAX(bars.high, 14)
    return ratio_or(bars.close - lowest, highest - lowest, 0.5)


@feature(
    family="momentum",
    meaning="typical price from its 20-bar mean in mean absolute deviations",
    formula="CCI_20 / 100",
    reference="Lambert (1980), Commodities 9(10)",
    inputs=["high", "low", "close"],
    lookback_bars=19,
)
def cci_20(bars: OHLCV) -> FloatArray:
    """Return the commodity channel index over 100; zero in a flat range."""
    price = bars.typical_price
    mean = rolling_mean(price, 20)
    deviation = np.full(len(price), np.nan)
    if len(price) >= 20:
        windows = np.lib.stride_tricks.sliding_window_view(price, 20)
        deviation[19:] = np.abs(windows - mean[19:, None]).mean(axis=1)
    # A flat window leaves rounding noise in both terms; its index is zero, not noise over noise.
    flat = deviation < 1e-12 * mean
    return ratio_or(np.where(flat, 0.0, price - mean), np.where(flat, 1.0, 1.5 * deviation), 0.0)


@feature(
    family="momentum",
    meaning="close in the Bollinger band",
    formula="(C - SMA_20(C)) / (2 sd_20(C))",
    reference="Bollinger (2001), Bollinger on Bollinger Bands",
    inputs=["close"],
    lookback_bars=19,
)
def bollinger_position_20(bars: OHLCV) -> FloatArray:
    """Return the close's place in the band, -1 and 1 at its edges; zero in a flat band."""
    distance = bars.close - talib.SMA(bars.close, 20)
    deviation = talib.STDDEV(bars.close, 20)
    return ratio_or(distance, 2 * deviation, 0.0)

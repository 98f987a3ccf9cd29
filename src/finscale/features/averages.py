"""Moving averages beyond the simple and the exponential one."""

from __future__ import annotations

import math

import numpy as np
import talib

from finscale.features.rolling import rolling_mean, rolling_slope
from finscale.market.bars import FloatArray


def ema(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the exponential average of smoothing 2 / (n + 1), seeded with the first n's mean."""
    return np.asarray(talib.EMA(values, n_bars))


def wilder_average(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the exponential average of smoothing 1 / n, Wilder (1978).

    Its memory is that of an exponential average of 2 n - 1 bars. TA-Lib's own oscillators treat
    what is smaller than 1e-14 as zero, whatever the unit of price; this does not.
    """
    return ema(values, 2 * n_bars - 1)


def wma(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the average with weights 1, 2, …, n, the newest row the heaviest.

    It stands two thirds of the way along the window's regression line.
    """
    return rolling_mean(values, n_bars) + rolling_slope(values, n_bars) * ((n_bars - 1) / 6)


def hull_average(values: FloatArray, n_bars: int) -> FloatArray:
    """Return WMA_sqrt(n)(2 WMA_{n/2} - WMA_n), Hull (2005); reads ``hull_memory_bars`` rows."""
    raw = 2 * wma(values, n_bars // 2) - wma(values, n_bars)
    return wma(raw, math.isqrt(n_bars))


def hull_memory_bars(n_bars: int) -> int:
    """Return the rows before t that Hull's average reads."""
    return n_bars - 1 + math.isqrt(n_bars) - 1


def log_price(close: FloatArray) -> FloatArray:
    """Return ln(C_t / C_0).

    What is taken of it must not depend on its level. Relative to the first close and not in
    units of money, so that another currency changes no bit.
    """
    return np.asarray(np.log(close / close[0]))

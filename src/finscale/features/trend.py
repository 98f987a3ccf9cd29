"""Trend: where the price stands to its moving averages, and where those are going."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import talib

from finscale.features.averages import (
    ema,
    hull_average,
    hull_memory_bars,
)
from finscale.features.registry import feature
from finscale.features.rolling import (
    ema_memory_bars,
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
)
from finscale.features.runs import gap, side
from finscale.market.bars import OHLCV, FloatArray

_MURPHY = "Murphy (1999), Technical Analysis of the Financial Markets, ch. 9"
_BROCK = "Brock, Lakonishok & LeBaron (1992), J. Finance 47(5)"
_HULL = "Hull (2005), How to reduce lag in a moving average"
_ICHIMOKU = "Patel (2010), Trading with Ichimoku Clouds, after Hosoda (1969)"
_RIBBON = "Han, Zhou & Zhu (2016), J. Financial Economics 122(2), averages of many lengths"
_N_RIBBON = 6


@feature(
    family="trend",
    meaning="distance of the close from its {n}-bar average",
    formula="C / SMA_{n}(C) - 1",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(10, 20, 50, 200),
)
def sma_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative distance from the simple average."""
    return np.asarray(bars.close / talib.SMA(bars.close, n) - 1)


@feature(
    family="trend",
    meaning="distance of the close from its {n}-bar exponential average",
    formula="C / EMA_{n}(C) - 1",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=ema_memory_bars,
    over=(12,),
)
def ema_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative distance from the exponential average."""
    return bars.close / ema(bars.close, n) - 1


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
    meaning="distance of the close from its Hull average of {n} bars",
    formula="1 - HMA_{n}(C) / C",
    reference=_HULL,
    inputs=["close"],
    lookback_bars=hull_memory_bars,
    over=(16,),
)
def hull_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the distance from Hull's average, which a fall may take below zero, over the close."""
    return 1 - hull_average(bars.close, n) / bars.close


@feature(
    family="trend",
    meaning="change of the Hull average of {n} bars over the last bar",
    formula="(HMA_{n}(C)_t - HMA_{n}(C)_{{t-1}}) / C_t",
    reference=_HULL,
    inputs=["close"],
    lookback_bars=lambda n: hull_memory_bars(n) + 1,
    over=(16,),
)
def hull_slope(bars: OHLCV, n: int) -> FloatArray:
    """Return the last step of Hull's average over the close."""
    average = hull_average(bars.close, n)
    return (average - lagged(average, 1)) / bars.close


@feature(
    family="trend",
    meaning="distance between the {fast}- and the {slow}-bar average",
    formula="SMA_{fast}(C) / SMA_{slow}(C) - 1",
    reference=_BROCK,
    inputs=["close"],
    lookback_bars=lambda _fast, slow: slow - 1,
    over=[(5, 20), (50, 200)],
)
def sma_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the fast average's relative distance from the slow one."""
    return rolling_mean(bars.close, fast) / rolling_mean(bars.close, slow) - 1


@feature(
    family="trend",
    meaning="change of the {n}-bar average over {step} bars",
    formula="ln(SMA_{n}(C)_t / SMA_{n}(C)_{{t-{step}}})",
    reference=_MURPHY,
    inputs=["close"],
    lookback_bars=lambda n, step: n - 1 + step,
    over=[(20, 10)],
)
def sma_slope(bars: OHLCV, n: int, step: int) -> FloatArray:
    """Return the average's log change."""
    average = rolling_mean(bars.close, n)
    return lagged_log_ratio(average, average, step)


@feature(
    family="trend",
    meaning="change of the {step}-bar slope of the {n}-bar average",
    formula="ln(A_t A_{{t-2*{step}}} / A_{{t-{step}}}^2), A = SMA_{n}(C)",
    reference="Ardila, Forrò & Sornette (2021), Physica A 569, acceleration of the price",
    inputs=["close"],
    lookback_bars=lambda n, step: n - 1 + 2 * step,
    over=[(100, 50)],
)
def sma_curvature(bars: OHLCV, n: int, step: int) -> FloatArray:
    """Return the second difference of the log of the average."""
    average = rolling_mean(bars.close, n)
    slope = lagged_log_ratio(average, average, step)
    return slope - lagged(slope, step)


@feature(
    family="trend",
    meaning="are six averages from {fast} to {slow} bars in the order of a rise or of a fall",
    formula="mean of sign(A_k - A_{{k+1}}), A_k = SMA of {fast} + k ({slow} - {fast}) / 5 bars",
    reference=_RIBBON,
    inputs=["close"],
    lookback_bars=lambda _fast, slow: slow - 1,
    over=[(10, 60), (25, 200)],
)
def ribbon_order(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return 1 where every faster average is above the next, -1 where below."""
    ribbon = _ribbon(bars, fast, slow)
    signs = [side(one, other) for one, other in pairwise(ribbon)]
    return sum(signs[1:], signs[0]) / len(signs)


@feature(
    family="trend",
    meaning="spread of six averages from {fast} to {slow} bars",
    formula="(max A_k - min A_k) / C, A_k = SMA of {fast} + k ({slow} - {fast}) / 5 bars",
    reference=_RIBBON,
    inputs=["close"],
    lookback_bars=lambda _fast, slow: slow - 1,
    over=[(10, 60)],
)
def ribbon_width(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the ribbon's width as a fraction of the close."""
    ribbon = np.stack(_ribbon(bars, fast, slow))
    return np.asarray((ribbon.max(axis=0) - ribbon.min(axis=0)) / bars.close)


def _ribbon(bars: OHLCV, fast: int, slow: int) -> list[FloatArray]:
    step = (slow - fast) // (_N_RIBBON - 1)
    return [rolling_mean(bars.close, fast + k * step) for k in range(_N_RIBBON)]


@feature(
    family="trend",
    meaning="share of six averages from 5 to 200 bars that lie below the close",
    formula="mean of (1 + sign(C - SMA_n(C))) / 2, n = 5, 10, 20, 50, 100, 200",
    reference=_RIBBON,
    inputs=["close"],
    lookback_bars=199,
)
def averages_below_close_5_200(bars: OHLCV) -> FloatArray:
    """Return the share of averages below the close, in [0, 1]."""
    periods = (5, 10, 20, 50, 100, 200)
    signs = [side(bars.close, rolling_mean(bars.close, n)) for n in periods]
    return 0.5 + sum(signs[1:], signs[0]) / (2 * len(periods))


def _midpoint(bars: OHLCV, n_bars: int) -> FloatArray:
    return (rolling_max(bars.high, n_bars) + rolling_min(bars.low, n_bars)) / 2


@feature(
    family="trend",
    meaning="Ichimoku conversion line above its base line",
    formula="(M_{fast} - M_{slow}) / C, M_n = (max_n H + min_n L) / 2",
    reference=_ICHIMOKU,
    inputs=["high", "low", "close"],
    lookback_bars=lambda _fast, slow: slow - 1,
    over=[(9, 26)],
)
def ichimoku_conversion_base(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the distance between the lines as a fraction of the close."""
    return (_midpoint(bars, fast) - _midpoint(bars, slow)) / bars.close


def _cloud(bars: OHLCV, fast: int, base: int, slow: int) -> tuple[FloatArray, FloatArray]:
    """Return the two spans of the cloud drawn over row t, from what was known ``base`` bars ago."""
    first = (_midpoint(bars, fast) + _midpoint(bars, base)) / 2
    return lagged(first, base), lagged(_midpoint(bars, slow), base)


@feature(
    family="trend",
    meaning="distance of the close from the Ichimoku cloud, zero inside",
    formula=(
        "(C - clip(C, min(A, B), max(A, B))) / C, A = ((M_{fast} + M_{base}) / 2)_{{t-{base}}}, "
        "B = (M_{slow})_{{t-{base}}}, M_n = (max_n H + min_n L) / 2"
    ),
    reference=_ICHIMOKU,
    inputs=["high", "low", "close"],
    lookback_bars=lambda _fast, base, slow: slow - 1 + base,
    over=[(9, 26, 52)],
)
def ichimoku_cloud_distance(bars: OHLCV, fast: int, base: int, slow: int) -> FloatArray:
    """Return how far the close is outside the cloud, as a fraction of it."""
    one, other = _cloud(bars, fast, base, slow)
    inside = np.clip(bars.close, np.minimum(one, other), np.maximum(one, other))
    return np.asarray((bars.close - inside) / bars.close)


@feature(
    family="trend",
    meaning="signed thickness of the Ichimoku cloud",
    formula=(
        "(A - B) / C, A = ((M_{fast} + M_{base}) / 2)_{{t-{base}}}, "
        "B = (M_{slow})_{{t-{base}}}, M_n = (max_n H + min_n L) / 2"
    ),
    reference=_ICHIMOKU,
    inputs=["high", "low", "close"],
    lookback_bars=lambda _fast, base, slow: slow - 1 + base,
    over=[(9, 26, 52)],
)
def ichimoku_cloud_thickness(bars: OHLCV, fast: int, base: int, slow: int) -> FloatArray:
    """Return the first span above the second, as a fraction of the close."""
    one, other = _cloud(bars, fast, base, slow)
    return (one - other) / bars.close


@feature(
    family="trend",
    meaning="close above a rainbow of {n} repeated two-bar averages, in the range of the closes",
    formula=(
        "(C - mean_k A_k) / (max(C_{{t-{n}}} … C_t) - min(C_{{t-{n}}} … C_t)), "
        "A_k = SMA_2(A_{{k-1}}), A_0 = C, k = 1 … {n}"
    ),
    reference="Widner (1997), Technical Analysis of Stocks & Commodities 15(7)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(10,),
)
def rainbow_oscillator(bars: OHLCV, n: int) -> FloatArray:
    """Return the rainbow oscillator, in [-1, 1]; zero where the close did not move."""
    average, total = bars.close, np.zeros(len(bars))
    for _ in range(n):
        average = rolling_mean(average, 2)
        total = total + average
    span = rolling_max(bars.close, n + 1) - rolling_min(bars.close, n + 1)
    return ratio_or(gap(bars.close, total / n), span, 0.0)


@feature(
    family="trend",
    meaning="body of the Heikin-Ashi candle",
    formula="(X_t - Y_t) / C_t, X = (O + H + L + C) / 4, Y_t = (Y_{{t-1}} + X_{{t-1}}) / 2",
    reference="Valcu (2004), Technical Analysis of Stocks & Commodities 22(2)",
    inputs=["open", "high", "low", "close"],
    lookback_bars=ema_memory_bars(3) + 1,
)
def heikin_ashi_body(bars: OHLCV) -> FloatArray:
    """Return the averaged candle's close less its open, as a fraction of the close."""
    close = (bars.open + bars.high + bars.low + bars.close) / 4
    # Halving the distance to the last close at each step is an exponential average of 3 bars.
    return (close - lagged(ema(close, 3), 1)) / bars.close


@feature(
    family="trend",
    meaning="mean body of {n} candles over their mean range",
    formula="mean_{n}(C - O) / mean_{n}(H - L)",
    reference="Chande & Kroll (1994), The New Technical Trader, Qstick",
    inputs=["open", "high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(8, 30),
)
def qstick(bars: OHLCV, n: int) -> FloatArray:
    """Return Qstick in units of range, in [-1, 1]; zero where there was no range."""
    body = rolling_mean(bars.close - bars.open, n)
    return ratio_or(body, rolling_mean(bars.high - bars.low, n), 0.0)

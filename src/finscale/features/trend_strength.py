"""Trend: how straight the way of the price is, and how strong."""

from __future__ import annotations

import numpy as np
import talib

from finscale.features.averages import wilder_average
from finscale.features.registry import feature
from finscale.features.rolling import (
    ema_memory_bars,
    lagged,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_sum,
)
from finscale.features.runs import bars_since_max, bars_since_min, gap, side
from finscale.market.bars import OHLCV, FloatArray

_WILDER = "Wilder (1978), New Concepts in Technical Trading Systems"
_CHANDE = "Chande (1995), Technical Analysis of Stocks & Commodities 13(9)"


@feature(
    family="trend",
    meaning="strength of the trend, whatever its direction",
    formula="ADX_14 / 100",
    reference=_WILDER,
    inputs=["high", "low", "close"],
    lookback_bars=ema_memory_bars(14, wilder=True, cascaded=2),
)
def adx_14(bars: OHLCV) -> FloatArray:
    """Return the average directional index, in [0, 1]."""
    return np.asarray(talib.ADX(bars.high, bars.low, bars.close, 14) / 100)


def _directional(bars: OHLCV, n_bars: int) -> tuple[FloatArray, FloatArray]:
    """Return the smoothed directional movements, up and down, over the smoothed true range."""
    rise, fall = bars.high - lagged(bars.high, 1), lagged(bars.low, 1) - bars.low
    # The rise is larger than the fall where the middle of the bar moves up.
    middle = bars.high + bars.low
    direction = side(middle, lagged(middle, 1))
    up = np.where(direction > 0, np.maximum(rise, 0.0), 0.0)
    down = np.where(direction < 0, np.maximum(fall, 0.0), 0.0)
    up[:1] = down[:1] = np.nan
    true_range = wilder_average(bars.true_range, n_bars)
    plus = ratio_or(wilder_average(up, n_bars), true_range, 0.0)
    return plus, ratio_or(wilder_average(down, n_bars), true_range, 0.0)


def _directional_balance(bars: OHLCV, n_bars: int) -> FloatArray:
    plus, minus = _directional(bars, n_bars)
    return ratio_or(plus - minus, plus + minus, 0.0)


@feature(
    family="trend",
    meaning="directional movement up of {n} bars in true ranges",
    formula="S_{n}(+DM) / S_{n}(TR), S = Wilder's average",
    reference=_WILDER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: ema_memory_bars(2 * n - 1) + n,
    over=(14,),
)
def directional_movement_up(bars: OHLCV, n: int) -> FloatArray:
    """Return +DI, in [0, 1]."""
    return _directional(bars, n)[0]


@feature(
    family="trend",
    meaning="directional movement down of {n} bars in true ranges",
    formula="S_{n}(-DM) / S_{n}(TR), S = Wilder's average",
    reference=_WILDER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: ema_memory_bars(2 * n - 1) + n,
    over=(14,),
)
def directional_movement_down(bars: OHLCV, n: int) -> FloatArray:
    """Return -DI, in [0, 1]."""
    return _directional(bars, n)[1]


@feature(
    family="trend",
    meaning="directional movement up less down, over both, of {n} bars",
    formula="(+DI_{n} - -DI_{n}) / (+DI_{n} + -DI_{n})",
    reference=_WILDER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: ema_memory_bars(2 * n - 1) + n,
    over=(14,),
)
def directional_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return the signed directional index, in [-1, 1]; zero where nothing moved."""
    return _directional_balance(bars, n)


@feature(
    family="trend",
    meaning="strength of the trend by Wilder's averages of {n} bars",
    formula="S_{n}(|+DI_{n} - -DI_{n}| / (+DI_{n} + -DI_{n})), S = Wilder's average",
    reference=_WILDER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: ema_memory_bars(2 * n - 1, cascaded=2) + 1,
    over=(7,),
)
def trend_strength(bars: OHLCV, n: int) -> FloatArray:
    """Return the average directional index of any period, in [0, 1]."""
    return wilder_average(np.abs(_directional_balance(bars, n)), n)


@feature(
    family="trend",
    meaning="change over {step} bars of the strength of the trend by averages of {n} bars",
    formula="trend_strength_{n}_t - trend_strength_{n}_{{t-{step}}}",
    reference=_WILDER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n, step: ema_memory_bars(2 * n - 1, cascaded=2) + 1 + step,
    over=[(7, 10)],
)
def trend_strength_change(bars: OHLCV, n: int, step: int) -> FloatArray:
    """Return whether the trend gains or loses strength, in [-1, 1]."""
    strength = trend_strength(bars, n)
    return strength - lagged(strength, step)


@feature(
    family="trend",
    meaning="bars since the 25-bar low less bars since the 25-bar high",
    formula="Aroon oscillator / 100",
    reference=_CHANDE,
    inputs=["high", "low"],
    lookback_bars=25,
)
def aroon_oscillator_25(bars: OHLCV) -> FloatArray:
    """Return the Aroon oscillator, in [-1, 1]."""
    return np.asarray(talib.AROONOSC(bars.high, bars.low, 25) / 100)


@feature(
    family="trend",
    meaning="bars since the {n}-bar low less bars since the {n}-bar high, as a share of {n}",
    formula="(bars since min(L_{{t-{n}}} … L_t) - bars since max(H_{{t-{n}}} … H_t)) / {n}",
    reference=_CHANDE,
    inputs=["high", "low"],
    lookback_bars=lambda n: n,
    over=(10, 120),
)
def low_to_high_time(bars: OHLCV, n: int) -> FloatArray:
    """Return the Aroon oscillator of any period, in [-1, 1]."""
    return (bars_since_min(bars.low, n + 1) - bars_since_max(bars.high, n + 1)) / n


@feature(
    family="trend",
    meaning="Vortex up less Vortex down of {n} bars",
    formula="sum_{n}(|H_t - L_{{t-1}}| - |L_t - H_{{t-1}}|) / sum_{n}(TR)",
    reference="Botes & Siepman (2010), Technical Analysis of Stocks & Commodities 28(1)",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(14, 42),
)
def vortex_difference(bars: OHLCV, n: int) -> FloatArray:
    """Return the difference of the Vortex indicators; zero where there was no range."""
    up = np.abs(bars.high - lagged(bars.low, 1))
    down = np.abs(bars.low - lagged(bars.high, 1))
    return ratio_or(rolling_sum(up - down, n), rolling_sum(bars.true_range, n), 0.0)


def _path(bars: OHLCV, n_bars: int) -> FloatArray:
    """Return the way that the close went in n bars, up and down."""
    return rolling_sum(np.abs(bars.close - lagged(bars.close, 1)), n_bars)


@feature(
    family="trend",
    meaning="net move of {n} bars over the way gone",
    formula="|C_t - C_{{t-{n}}}| / sum_{n}(|C_i - C_{{i-1}}|)",
    reference="Kaufman (1995), Smarter Trading",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(10, 20, 120),
)
def efficiency_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return Kaufman's efficiency ratio, in [0, 1]; zero where the close never moved."""
    move = np.abs(bars.close - lagged(bars.close, n))
    return np.minimum(ratio_or(move, _path(bars, n), 0.0), 1.0)


@feature(
    family="trend",
    meaning="range of the close in {n} bars over the way gone",
    formula="(max(C_{{t-{n}}} … C_t) - min(C_{{t-{n}}} … C_t)) / sum_{n}(|C_i - C_{{i-1}}|)",
    reference="White (1991), Futures, August, vertical horizontal filter",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(90,),
)
def vertical_horizontal_filter(bars: OHLCV, n: int) -> FloatArray:
    """Return the vertical horizontal filter, in [0, 1]; zero where the close never moved."""
    span = rolling_max(bars.close, n + 1) - rolling_min(bars.close, n + 1)
    return np.minimum(ratio_or(span, _path(bars, n), 0.0), 1.0)


@feature(
    family="trend",
    meaning="choppiness of {n} bars: 0 on a straight way, 1 without any progress",
    formula="ln(sum_{n}(TR) / (max_{n} max(H, C_{{i-1}}) - min_{n} min(L, C_{{i-1}}))) / ln({n})",
    reference="Burke (1993), Futures, October, after Dreiss",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(14, 50),
)
def choppiness(bars: OHLCV, n: int) -> FloatArray:
    """Return the choppiness index, in [0, 1]; one where there was no range."""
    before = lagged(bars.close, 1)
    highest = rolling_max(np.maximum(bars.high, before), n)
    lowest = rolling_min(np.minimum(bars.low, before), n)
    ratio = ratio_or(rolling_sum(bars.true_range, n), highest - lowest, float(n))
    return np.asarray(np.log(np.maximum(ratio, 1.0)) / np.log(n))


@feature(
    family="trend",
    meaning="fractal dimension of the range of {n} bars",
    formula=(
        "ln(min(max((R_a + R_b) / ({n} / 2) / (R / {n}), 1), 4)) / ln 2, R = max H - min L, of "
        "halves a and b"
    ),
    reference="Ehlers (2005), Technical Analysis of Stocks & Commodities 23(10)",
    inputs=["high", "low"],
    lookback_bars=lambda n: n - 1,
    over=(20, 60, 120),
)
def fractal_dimension(bars: OHLCV, n: int) -> FloatArray:
    """Return the dimension, 1 for a line and 2 for a plane, in [0, 2]; one without any range."""
    half = n // 2
    newer = rolling_max(bars.high, half) - rolling_min(bars.low, half)
    whole = rolling_max(bars.high, n) - rolling_min(bars.low, n)
    ratio = ratio_or(2 * (newer + lagged(newer, half)), whole, 2.0)
    return np.asarray(np.log2(np.clip(ratio, 1.0, 4.0)))


@feature(
    family="trend",
    meaning="farthest rise less farthest fall of up to {n} bars, against a random walk",
    formula=(
        "max_i((H_t - L_{{t-i}}) / (mean_i(TR) sqrt(i))) - "
        "max_i((H_{{t-i}} - L_t) / (mean_i(TR) sqrt(i))), i = 2 … {n}"
    ),
    reference="Poulos (1991), Technical Analysis of Stocks & Commodities 9(2)",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(40,),
)
def random_walk_index(bars: OHLCV, n: int) -> FloatArray:
    """Return the difference of the random walk indices; zero where there was no range."""
    up, down = np.full(len(bars), -np.inf), np.full(len(bars), -np.inf)
    total = bars.true_range.copy()
    for i in range(2, n + 1):
        total += lagged(bars.true_range, i - 1)
        scale = total / np.sqrt(i)
        up = np.maximum(up, ratio_or(bars.high - lagged(bars.low, i), scale, 0.0))
        down = np.maximum(down, ratio_or(lagged(bars.high, i) - bars.low, scale, 0.0))
    return np.asarray(up - down)


@feature(
    family="trend",
    meaning="share of closes above the {n}-bar average, by distance, over half of {n} bars",
    formula="sum max(D, 0) / sum |D| over {n}/2 bars, D = C - SMA_{n}(C)",
    reference="Pee (2002), Technical Analysis of Stocks & Commodities 20(6)",
    inputs=["close"],
    lookback_bars=lambda n: n - 1 + n // 2 - 1,
    over=(30,),
)
def trend_intensity(bars: OHLCV, n: int) -> FloatArray:
    """Return the trend intensity index, in [0, 1]; one half where the close never moved."""
    distance = gap(bars.close, rolling_mean(bars.close, n))
    above = rolling_sum(np.maximum(distance, 0.0), n // 2)
    return ratio_or(above, rolling_sum(np.abs(distance), n // 2), 0.5)


@feature(
    family="trend",
    meaning="{n}-bar range moved up or down against the {n} bars before",
    formula=(
        "(B - S) / (|B| + |S|), B = max_{n} H - (min_{n} L)_{{t-{n}}}, "
        "S = (max_{n} H)_{{t-{n}}} - min_{n} L"
    ),
    reference="Pee (2004), Technical Analysis of Stocks & Commodities 22(12)",
    inputs=["high", "low"],
    lookback_bars=lambda n: 2 * n - 1,
    over=(15,),
)
def trend_trigger(bars: OHLCV, n: int) -> FloatArray:
    """Return the trend trigger factor, bounded to [-1, 1] by the absolute values below."""
    highest, lowest = rolling_max(bars.high, n), rolling_min(bars.low, n)
    buying, selling = highest - lagged(lowest, n), lagged(highest, n) - lowest
    return ratio_or(buying - selling, np.abs(buying) + np.abs(selling), 0.0)

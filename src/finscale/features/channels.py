"""Channels: where the price stands in its range, how wide the range is and how it moves."""

from __future__ import annotations

import numpy as np

from finscale.features.averages import log_price
from finscale.features.registry import feature
from finscale.features.rolling import (
    LEAST_MOVE,
    lagged,
    ratio_or,
    rolling_corr,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_rank,
    rolling_slope,
    rolling_std,
)
from finscale.features.runs import gap
from finscale.market.bars import OHLCV, FloatArray

_DONCHIAN = "Donchian (1960), Financial Analysts J. 16(6)"
_BOLLINGER = "Bollinger (2001), Bollinger on Bollinger Bands"
_KELTNER = "Keltner (1960), How to Make Money in Commodities"
_RAFF = "Raff (1991), Technical Analysis of Stocks & Commodities 9(10)"
_CARTER = "Carter (2005), Mastering the Trade"
_CRABEL = "Crabel (1990), Day Trading with Short Term Price Patterns"
_PERSON = "Person (2004), A Complete Guide to Technical Trading Tactics"

# A range that is not there has the log width of one hundredth of a basis point.
# A range that lost all but a thousandth of its width has collapsed; smaller says no more.
_LEAST_RATIO = 1e-3


def _channel(bars: OHLCV, n_bars: int) -> tuple[FloatArray, FloatArray]:
    return rolling_min(bars.low, n_bars), rolling_max(bars.high, n_bars)


@feature(
    family="channels",
    meaning="place of the close in the {n}-bar range",
    formula="(C - min_{n} L) / (max_{n} H - min_{n} L)",
    reference=_DONCHIAN,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(55,),
)
def donchian_position(bars: OHLCV, n: int) -> FloatArray:
    """Return the place in the Donchian channel, in [0, 1]; one half in a flat one."""
    lowest, highest = _channel(bars, n)
    return ratio_or(bars.close - lowest, highest - lowest, 0.5)


@feature(
    family="channels",
    meaning="log of the {fast}-bar range over the {slow}-bar range",
    formula="ln((max_{fast} H - min_{fast} L) / (max_{slow} H - min_{slow} L))",
    reference=_CRABEL,
    inputs=["high", "low"],
    lookback_bars=lambda _fast, slow: slow - 1,
    over=[(5, 20), (20, 120)],
)
def log_width_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log contraction of the range, at most zero; zero where there was none."""
    inner, outer = (_channel(bars, n) for n in (fast, slow))
    ratio = ratio_or(inner[1] - inner[0], outer[1] - outer[0], 1.0)
    return np.asarray(np.log(np.maximum(ratio, _LEAST_RATIO)))


@feature(
    family="channels",
    meaning="close outside the range of the {n} bars before, in mean true ranges; zero inside",
    formula="(max(C - U, 0) - max(D - C, 0)) / mean_{n}(TR), U, D = (max_{n} H, min_{n} L)_{{t-1}}",
    reference=_DONCHIAN,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(20, 120),
)
def donchian_breakout(bars: OHLCV, n: int) -> FloatArray:
    """Return the size of the break-out, signed; zero where there was no range."""
    lowest, highest = (lagged(edge, 1) for edge in _channel(bars, n))
    outside = np.maximum(bars.close - highest, 0.0) - np.maximum(lowest - bars.close, 0.0)
    return ratio_or(outside, rolling_mean(bars.true_range, n), 0.0)


@feature(
    family="channels",
    meaning="place of the open in the range of the {n} bars before, a width beyond it at most",
    formula="clip((O - D) / (U - D), -1, 2), U, D = (max_{n} H, min_{n} L)_{{t-1}}",
    reference=_CRABEL,
    inputs=["open", "high", "low"],
    lookback_bars=lambda n: n,
    over=(5,),
)
def open_position(bars: OHLCV, n: int) -> FloatArray:
    """Return where the session opened in the channel, in [-1, 2]; one half in a flat one."""
    lowest, highest = (lagged(edge, 1) for edge in _channel(bars, n))
    return np.clip(ratio_or(bars.open - lowest, highest - lowest, 0.5), -1.0, 2.0)


@feature(
    family="channels",
    meaning="opening gap beyond the range of the {n} bars before, in mean true ranges",
    formula="(max(O - U, 0) - max(D - O, 0)) / mean_14(TR), U, D = (max_{n} H, min_{n} L)_{{t-1}}",
    reference=_CRABEL,
    inputs=["open", "high", "low", "close"],
    lookback_bars=lambda n: max(n, 14),
    over=(1,),
)
def gap_beyond_range(bars: OHLCV, n: int) -> FloatArray:
    """Return how far the open lies outside the channel, signed; zero inside."""
    lowest, highest = (lagged(edge, 1) for edge in _channel(bars, n))
    outside = np.maximum(bars.open - highest, 0.0) - np.maximum(lowest - bars.open, 0.0)
    return ratio_or(outside, rolling_mean(bars.true_range, 14), 0.0)


@feature(
    family="channels",
    meaning="close above the pivot of the {n} bars before, in mean true ranges",
    formula="(C - P) / mean(TR_{{t-{n}}} … TR_t), P = (max_{n} H + min_{n} L + C)_{{t-1}} / 3",
    reference=_PERSON,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n + 1,
    over=(1,),
)
def pivot_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the distance from the floor trader's pivot; zero where there was no range."""
    lowest, highest = _channel(bars, n)
    pivot = lagged((highest + lowest + bars.close) / 3, 1)
    return ratio_or(gap(bars.close, pivot), rolling_mean(bars.true_range, n + 1), 0.0)


@feature(
    family="channels",
    meaning="overlap of the {n}-bar range with that of the {n} bars before",
    formula="(min(U, U') - max(D, D')) / (max(U, U') - min(D, D')), U, D = max_{n} H, min_{n} L",
    reference="Steidlmayer & Hawkins (2003), Steidlmayer on Markets, overlapping value",
    inputs=["high", "low"],
    lookback_bars=lambda n: 2 * n - 1,
    over=(20,),
)
def range_overlap(bars: OHLCV, n: int) -> FloatArray:
    """Return the shared part of both ranges, in [-1, 1]; negative with a gap, one if flat."""
    lowest, highest = _channel(bars, n)
    low, high = lagged(lowest, n), lagged(highest, n)
    shared = np.minimum(highest, high) - np.maximum(lowest, low)
    return ratio_or(shared, np.maximum(highest, high) - np.minimum(lowest, low), 1.0)


@feature(
    family="channels",
    meaning="middle of the {n}-bar range above the average close, in the range",
    formula="((max_{n} H + min_{n} L) / 2 - SMA_{n}(C)) / (max_{n} H - min_{n} L)",
    reference="Parkinson (1980), J. Business 53(1), extremes against closes",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(40, 120),
)
def range_asymmetry(bars: OHLCV, n: int) -> FloatArray:
    """Return on which side of most closes the range reaches out, in [-0.5, 0.5]."""
    lowest, highest = _channel(bars, n)
    distance = gap((highest + lowest) / 2, rolling_mean(bars.close, n))
    return ratio_or(distance, highest - lowest, 0.0)


def _band_position(bars: OHLCV, n_bars: int) -> FloatArray:
    distance = gap(bars.close, rolling_mean(bars.close, n_bars))
    return ratio_or(distance, 2 * rolling_std(bars.close, n_bars), 0.0)


@feature(
    family="channels",
    meaning="rank of the width of the Bollinger band of {n} bars in the last {window}",
    formula="rank of sd_{n}(C) / SMA_{n}(C) in {window} bars, 0 … 1",
    reference=_BOLLINGER,
    inputs=["close"],
    lookback_bars=lambda n, window: n + window - 2,
    over=[(20, 120)],
)
def band_width_rank(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return how wide the band is for its time, in [0, 1]; low in a squeeze."""
    width = rolling_std(bars.close, n) / rolling_mean(bars.close, n)
    # Windows with the same closes in another order are a tie; rounding must not decide it.
    return rolling_rank(np.round(width, 12), window)


@feature(
    family="channels",
    meaning="closes above less closes below the Bollinger band of {n} bars, share of {window}",
    formula="mean_{window}((z > 1) - (z < -1)), z = (C - SMA_{n}(C)) / (2 sd_{n}(C))",
    reference=_BOLLINGER,
    inputs=["close"],
    lookback_bars=lambda n, window: n + window - 2,
    over=[(20, 60)],
)
def band_break_balance(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return on which side the band was broken more often, in [-1, 1]."""
    # On the edge is not outside, whatever rounding makes of it.
    place = np.round(_band_position(bars, n), 9)
    outside = np.where(np.abs(place) > 1, np.sign(place), place * 0.0)
    return rolling_mean(outside, window)


@feature(
    family="channels",
    meaning="change over {step} bars of the close's place in the Bollinger band of {n} bars",
    formula="z_t - z_{{t-{step}}}, z = (C - SMA_{n}(C)) / (2 sd_{n}(C))",
    reference=_BOLLINGER,
    inputs=["close"],
    lookback_bars=lambda n, step: n - 1 + step,
    over=[(50, 20)],
)
def band_position_change(bars: OHLCV, n: int, step: int) -> FloatArray:
    """Return how far the close moved across the band."""
    place = _band_position(bars, n)
    return place - lagged(place, step)


@feature(
    family="channels",
    meaning="close in the Keltner channel of {n} bars",
    formula="(C - SMA_{n}(P)) / mean_{n}(TR), P = (H + L + C) / 3",
    reference=_KELTNER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(5,),
)
def keltner_position(bars: OHLCV, n: int) -> FloatArray:
    """Return the distance from the middle line in true ranges; zero where there was none."""
    distance = gap(bars.close, rolling_mean(bars.typical_price, n))
    return ratio_or(distance, rolling_mean(bars.true_range, n), 0.0)


@feature(
    family="channels",
    meaning="log width of the Bollinger band over that of the Keltner channel, {n} bars",
    formula="ln(2 sd_{n}(C) / (1.5 mean_{n}(TR)))",
    reference=_CARTER,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def log_squeeze(bars: OHLCV, n: int) -> FloatArray:
    """Return how far the bands are from inside the channel; zero where there was no range."""
    spread = 2 * rolling_std(bars.close, n)
    ratio = ratio_or(spread, 1.5 * rolling_mean(bars.true_range, n), 1.0)
    return np.asarray(np.log(np.maximum(ratio, _LEAST_RATIO)))


@feature(
    family="channels",
    meaning="close above the regression line of {n} bars, in standard errors",
    formula="(ln C_t - F_t) / sqrt(var_{n}(ln C) (1 - corr_{n}(i, ln C)^2)), F = line's end",
    reference=_RAFF,
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def regression_channel_position(bars: OHLCV, n: int) -> FloatArray:
    """Return the residual of the last close in units of the residuals' spread."""
    price = log_price(bars.close)
    time = np.arange(len(bars), dtype=np.float64)
    end = rolling_mean(price, n) + rolling_slope(price, n) * ((n - 1) / 2)
    spread = rolling_std(price, n) * np.sqrt(1 - rolling_corr(time, price, n) ** 2)
    return ratio_or(price - end, np.where(spread < LEAST_MOVE, 0.0, spread), 0.0)


@feature(
    family="channels",
    meaning="place of the close between lines along the slopes of {n} highs and lows",
    formula=(
        "(C - D) / (U - D), U = max_i(H_{{t-i}} + i slope_{n}(H)), "
        "D = min_i(L_{{t-i}} + i slope_{n}(L)), i < {n}"
    ),
    reference="Widner (1995), Technical Analysis of Stocks & Commodities 13(7)",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(14,),
)
def projection_position(bars: OHLCV, n: int) -> FloatArray:
    """Return the projection oscillator, in [0, 1]; one half in a flat band."""
    rise, fall = rolling_slope(bars.high, n), rolling_slope(bars.low, n)
    upper, lower = bars.high, bars.low
    for age in range(1, n):
        upper = np.maximum(upper, lagged(bars.high, age) + age * rise)
        lower = np.minimum(lower, lagged(bars.low, age) + age * fall)
    return ratio_or(gap(bars.close, lower), gap(upper, lower), 0.5)

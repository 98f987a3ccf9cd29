"""Momentum: oscillators made of averages of the price, and of averages over the bar's body."""

from __future__ import annotations

import numpy as np

from finscale.features.averages import ema
from finscale.features.registry import feature
from finscale.features.rolling import (
    FADED,
    ema_memory_bars,
    lagged,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_sum,
)
from finscale.market.bars import OHLCV, FloatArray

_APPEL = "Appel (2005), Technical Analysis: Power Tools for Active Investors"
_PRING = "Pring (1992), Technical Analysis of Stocks & Commodities 10(9)"
_BLAU = "Blau (1991), Technical Analysis of Stocks & Commodities 9(11)"
_VIGOR = "Ehlers (2002), Technical Analysis of Stocks & Commodities 20(1)"


@feature(
    family="momentum",
    meaning="distance between the {fast}- and the {slow}-bar exponential average",
    formula="EMA_{fast}(C) / EMA_{slow}(C) - 1",
    reference=_APPEL,
    inputs=["close"],
    lookback_bars=lambda _fast, slow: ema_memory_bars(slow),
    over=[(12, 26)],
)
def percentage_price_oscillator(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the MACD line as a fraction of its slow average."""
    return ema(bars.close, fast) / ema(bars.close, slow) - 1


def _true_strength(bars: OHLCV, slow: int, fast: int) -> FloatArray:
    move = bars.close - lagged(bars.close, 1)
    net = ema(ema(move, slow), fast)
    way = ema(ema(np.abs(move), slow), fast)
    return ratio_or(net, np.where(way < FADED * bars.close, 0.0, way), 0.0)


def _true_strength_memory_bars(slow: int, fast: int) -> int:
    # Behind a slow average a fast one at most doubles or so what is left of the start.
    return ema_memory_bars(slow) + 2 * fast + 1


@feature(
    family="momentum",
    meaning="moves of the close over their size, both smoothed twice, {slow} and {fast} bars",
    formula="E(C_t - C_{{t-1}}) / E(|C_t - C_{{t-1}}|), E = EMA_{fast}(EMA_{slow}(.))",
    reference=_BLAU,
    inputs=["close"],
    lookback_bars=_true_strength_memory_bars,
    over=[(25, 13)],
)
def true_strength(bars: OHLCV, slow: int, fast: int) -> FloatArray:
    """Return the true strength index, in [-1, 1]; zero once the moves have faded."""
    return _true_strength(bars, slow, fast)


@feature(
    family="momentum",
    meaning="true strength index less its {signal}-bar mean",
    formula=(
        "X - mean_{signal}(X), X = E(C_t - C_{{t-1}}) / E(|C_t - C_{{t-1}}|), "
        "E = EMA_{fast}(EMA_{slow}(.))"
    ),
    reference=_BLAU,
    inputs=["close"],
    lookback_bars=lambda slow, fast, signal: _true_strength_memory_bars(slow, fast) + signal - 1,
    over=[(25, 13, 7)],
)
def true_strength_signal_gap(bars: OHLCV, slow: int, fast: int, signal: int) -> FloatArray:
    """Return the true strength index above its signal line."""
    strength = _true_strength(bars, slow, fast)
    return strength - rolling_mean(strength, signal)


@feature(
    family="momentum",
    meaning="buying pressure over true range, of 7, 14 and 28 bars",
    formula=("(4 a_7 + 2 a_14 + a_28) / 7, a_n = sum_n(C - min(L, C_{{t-1}})) / sum_n(TR)"),
    reference="Williams (1985), Technical Analysis of Stocks & Commodities 3(4)",
    inputs=["high", "low", "close"],
    lookback_bars=28,
)
def ultimate_oscillator_7_14_28(bars: OHLCV) -> FloatArray:
    """Return the ultimate oscillator, in [0, 1]; one half where there was no range."""
    pressure = bars.close - np.minimum(bars.low, lagged(bars.close, 1))
    fast, middle, slow = (
        ratio_or(rolling_sum(pressure, n), rolling_sum(bars.true_range, n), 0.5)
        for n in (7, 14, 28)
    )
    return (4 * fast + 2 * middle + slow) / 7


@feature(
    family="momentum",
    meaning="Fisher transform of the smoothed place of the middle price in its {n}-bar range",
    formula="artanh(clip(mean_5(2 K - 1), -0.999, 0.999)), K = place of (H + L) / 2 in {n} bars",
    reference="Ehlers (2002), Technical Analysis of Stocks & Commodities 20(11), a mean of 5",
    inputs=["high", "low"],
    lookback_bars=lambda n: n + 3,
    over=(10, 60),
)
def fisher_transform(bars: OHLCV, n: int) -> FloatArray:
    """Return Fisher's transform, in ±3.8; zero in a flat range."""
    price = (bars.high + bars.low) / 2
    lowest, highest = rolling_min(price, n), rolling_max(price, n)
    place = 2 * ratio_or(price - lowest, highest - lowest, 0.5) - 1
    return np.asarray(np.arctanh(np.clip(rolling_mean(place, 5), -0.999, 0.999)))


@feature(
    family="momentum",
    meaning="close of half a window ago against the average of {n} bars",
    formula="C_{{t-{n}/2-1}} / SMA_{n}(C) - 1",
    reference="Achelis (2001), Technical Analysis from A to Z, causal form",
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(20, 60, 120),
)
def detrended_price(bars: OHLCV, n: int) -> FloatArray:
    """Return the detrended price oscillator as known at t."""
    return lagged(bars.close, n // 2 + 1) / rolling_mean(bars.close, n) - 1


@feature(
    family="momentum",
    meaning="Know Sure Thing less its 9-bar mean",
    formula=(
        "X - mean_9(X), X = (A_10(R_10) + 2 A_10(R_15) + 3 A_10(R_20) + 4 A_15(R_30)) / 10, "
        "R_n = C_t / C_{{t-n}} - 1, A = SMA"
    ),
    reference=_PRING,
    inputs=["close"],
    lookback_bars=52,
)
def know_sure_thing_signal_gap_9(bars: OHLCV) -> FloatArray:
    """Return the Know Sure Thing above its signal line."""
    steps = ((10, 10), (15, 10), (20, 10), (30, 15))
    total = np.zeros(len(bars))
    for weight, (n_bars, smooth) in enumerate(steps, start=1):
        change = bars.close / lagged(bars.close, n_bars) - 1
        total += weight * rolling_mean(change, smooth)
    return (total - rolling_mean(total, 9)) / 10


@feature(
    family="momentum",
    meaning="mean of body over range of {n} bars",
    formula="mean_{n}((C - O) / (H - L))",
    reference="Livshin (2001), Technical Analysis of Stocks & Commodities 19(8)",
    inputs=["open", "high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(14,),
)
def balance_of_power(bars: OHLCV, n: int) -> FloatArray:
    """Return the mean balance of power, in [-1, 1]; a bar without range counts zero."""
    return rolling_mean(ratio_or(bars.close - bars.open, bars.high - bars.low, 0.0), n)


def _weights_1221(values: FloatArray) -> FloatArray:
    return (values + 2 * lagged(values, 1) + 2 * lagged(values, 2) + lagged(values, 3)) / 6


@feature(
    family="momentum",
    meaning="relative vigour of {n} bars less its 4-bar mean",
    formula="X - W(X), X = sum_{n} W(C - O) / sum_{n} W(H - L), W = weights 1, 2, 2, 1 of 4 bars",
    reference=_VIGOR,
    inputs=["open", "high", "low", "close"],
    lookback_bars=lambda n: n - 1 + 6,
    over=(10,),
)
def relative_vigor_signal_gap(bars: OHLCV, n: int) -> FloatArray:
    """Return the vigour index above its signal line."""
    body = rolling_sum(_weights_1221(bars.close - bars.open), n)
    vigor = ratio_or(body, rolling_sum(_weights_1221(bars.high - bars.low), n), 0.0)
    return vigor - _weights_1221(vigor)


@feature(
    family="momentum",
    meaning="rises of the high over rises of the high and falls of the low, {n} bars",
    formula="U / (U + D), U = sum_{n} max(H_i - H_{{i-1}}, 0), D = sum_{n} max(L_{{i-1}} - L_i, 0)",
    reference="DeMark (1994), The New Science of Technical Analysis",
    inputs=["high", "low"],
    lookback_bars=lambda n: n,
    over=(14,),
)
def demarker(bars: OHLCV, n: int) -> FloatArray:
    """Return the DeMarker, in [0, 1]; one half where neither moved outward."""
    rise = rolling_sum(np.maximum(bars.high - lagged(bars.high, 1), 0.0), n)
    fall = rolling_sum(np.maximum(lagged(bars.low, 1) - bars.low, 0.0), n)
    return ratio_or(rise, rise + fall, 0.5)

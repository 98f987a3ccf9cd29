"""Momentum: the oscillators of technical analysis, bounded or relative to price."""

from __future__ import annotations

import numpy as np
import talib

from finscale.features.averages import wilder_average
from finscale.features.registry import feature
from finscale.features.rolling import (
    FADED,
    ema_memory_bars,
    lagged,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_rank,
    rolling_sum,
)
from finscale.features.runs import run_length
from finscale.market.bars import OHLCV, FloatArray

_WILDER = "Wilder (1978), New Concepts in Technical Trading Systems"
_LANE = "Lane (1984), Technical Analysis of Stocks & Commodities 2(3)"
_CHANDE = "Chande & Kroll (1994), The New Technical Trader"
_ELDER = "Elder (1993), Trading for a Living"

# A bounded index that moved by less than this did not move.
_ROUNDING = 1e-12


@feature(
    family="momentum",
    meaning="share of gains in the moves of the close",
    formula="RSI_14 / 100",
    reference=_WILDER,
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
    meaning="share of gains in the moves of the close, Wilder's averages of {n} bars",
    formula="S_{n}(max(C_t - C_{{t-1}}, 0)) / S_{n}(|C_t - C_{{t-1}}|), S = Wilder's average",
    reference=_WILDER,
    inputs=["close"],
    lookback_bars=lambda n: ema_memory_bars(2 * n - 1) + 2 * n,
    over=(2,),
)
def relative_strength(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative strength index of any period, in [0, 1]."""
    return _relative_strength(bars.close, n, FADED * bars.close)


def _relative_strength(values: FloatArray, n_bars: int, faded: FloatArray) -> FloatArray:
    """Return the smoothed rises over the smoothed moves; one half where the moves have faded."""
    move = values - lagged(values, 1)
    rise = wilder_average(np.maximum(move, 0.0), n_bars)
    both = wilder_average(np.abs(move), n_bars)
    return ratio_or(rise, np.where(both < faded, 0.0, both), 0.5)


@feature(
    family="momentum",
    meaning="change of the 14-bar RSI over {n} bars",
    formula="(RSI_14_t - RSI_14_{{t-{n}}}) / 100",
    reference=_WILDER,
    inputs=["close"],
    lookback_bars=lambda n: ema_memory_bars(14, wilder=True) + n,
    over=(20,),
)
def rsi_14_change(bars: OHLCV, n: int) -> FloatArray:
    """Return the change of the relative strength index, in [-1, 1]."""
    strength = rsi_14(bars)
    return strength - lagged(strength, n)


@feature(
    family="momentum",
    meaning="mean of a 3-bar RSI, a 2-bar RSI of the streak and the return's rank in 100 bars",
    formula=(
        "(RSI_3(C) + RSI_2(s) + rank_100(r)) / 3, each 0 … 1, "
        "s = signed closes in a row, at most 20"
    ),
    reference="Connors & Alvarez (2012), An Introduction to ConnorsRSI",
    inputs=["close"],
    lookback_bars=100,
)
def connors_rsi_3_2_100(bars: OHLCV) -> FloatArray:
    """Return Connors' RSI, in [0, 1]."""
    sign = np.sign(bars.log_return)
    streak = sign * run_length(sign, 20)
    return (
        _relative_strength(bars.close, 3, FADED * bars.close)
        + _relative_strength(streak, 2, np.full(len(bars), FADED))
        + rolling_rank(bars.log_return, 100)
    ) / 3


@feature(
    family="momentum",
    meaning="gains less losses over both, {n} bars",
    formula="(C_t - C_{{t-{n}}}) / sum_{n} |C_i - C_{{i-1}}|",
    reference=_CHANDE,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(9, 120),
)
def chande_momentum(bars: OHLCV, n: int) -> FloatArray:
    """Return the Chande momentum oscillator, in [-1, 1]; zero where the close never moved."""
    return _chande_momentum(bars.close, n)


def _chande_momentum(values: FloatArray, n_bars: int, lag: int = 1) -> FloatArray:
    move = values - lagged(values, lag)
    up = rolling_sum(np.maximum(move, 0.0), n_bars)
    down = rolling_sum(np.maximum(-move, 0.0), n_bars)
    return ratio_or(up - down, up + down, 0.0)


@feature(
    family="momentum",
    meaning="gains less losses over both, of {lag}-bar moves, {n} bars",
    formula="sum_{n}(C_i - C_{{i-{lag}}}) / sum_{n} |C_i - C_{{i-{lag}}}|",
    reference="Altman (1993), Technical Analysis of Stocks & Commodities 11(2), plain sums",
    inputs=["close"],
    lookback_bars=lambda n, lag: n - 1 + lag,
    over=[(20, 5)],
)
def relative_momentum(bars: OHLCV, n: int, lag: int) -> FloatArray:
    """Return the relative momentum index, in [-1, 1]; zero where the close never moved."""
    return _chande_momentum(bars.close, n, lag)


@feature(
    family="momentum",
    meaning="place of the {n}-bar Chande momentum in its own {n}-bar range",
    formula="(X - min_{n} X) / (max_{n} X - min_{n} X), X = (G - D) / (G + D), sums of moves",
    reference=f"{_CHANDE}, stochastic RSI, plain sums",
    inputs=["close"],
    lookback_bars=lambda n: 2 * n - 1,
    over=(40,),
)
def stochastic_momentum_place(bars: OHLCV, n: int) -> FloatArray:
    """Return the stochastic of the momentum, in [0, 1]; one half where it did not change."""
    momentum = _chande_momentum(bars.close, n)
    lowest, highest = rolling_min(momentum, n), rolling_max(momentum, n)
    span = highest - lowest
    return ratio_or(momentum - lowest, np.where(span < _ROUNDING, 0.0, span), 0.5)


@feature(
    family="momentum",
    meaning="rank of the close less rank of the {n}-bar Chande momentum, both in {window} bars",
    formula="rank_{window}(C) - rank_{window}((G - D) / (G + D)), sums of {n} moves",
    reference=f"{_ELDER}, divergence",
    inputs=["close"],
    lookback_bars=lambda n, window: n + window - 1,
    over=[(14, 20), (14, 60)],
)
def momentum_divergence(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return a positive number where the price is high and its momentum is not, in [-1, 1]."""
    momentum = np.round(_chande_momentum(bars.close, n), 12)
    return rolling_rank(bars.close, window) - rolling_rank(momentum, window)


@feature(
    family="momentum",
    meaning="place of the close in the 14-bar range",
    formula="(C - min L) / (max H - min L)",
    reference=_LANE,
    inputs=["high", "low", "close"],
    lookback_bars=13,
)
def stochastic_k_14(bars: OHLCV) -> FloatArray:
    """Return the unsmoothed stochastic %K, in [0, 1]; one half in a flat range."""
    return _stochastic(bars, 14)


def _stochastic(bars: OHLCV, n_bars: int) -> FloatArray:
    lowest, highest = rolling_min(bars.low, n_bars), rolling_max(bars.high, n_bars)
    return ratio_or(bars.close - lowest, highest - lowest, 0.5)


@feature(
    family="momentum",
    meaning="mean of {smooth} places of the close in the {n}-bar range",
    formula="mean_{smooth}((C - min_{n} L) / (max_{n} H - min_{n} L))",
    reference=_LANE,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n, smooth: n + smooth - 2,
    over=[(14, 3)],
)
def stochastic_d(bars: OHLCV, n: int, smooth: int) -> FloatArray:
    """Return the smoothed stochastic %D, in [0, 1]."""
    return rolling_mean(_stochastic(bars, n), smooth)


@feature(
    family="momentum",
    meaning="place of the close in the {n}-bar range less its mean of {smooth} bars",
    formula="K - mean_{smooth}(K), K = (C - min_{n} L) / (max_{n} H - min_{n} L)",
    reference=_LANE,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n, smooth: n + smooth - 2,
    over=((60, 10),),
)
def stochastic_k_less_d(bars: OHLCV, n: int, smooth: int) -> FloatArray:
    """Return %K above %D, in [-1, 1]."""
    place = _stochastic(bars, n)
    return place - rolling_mean(place, smooth)


@feature(
    family="momentum",
    meaning="typical price from its {n}-bar mean in mean absolute deviations",
    formula="(P - mean_{n}(P)) / (1.5 mean_{n} |P_i - mean_{n}(P)|), P = (H + L + C) / 3",
    reference="Lambert (1980), Commodities 9(10)",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(5, 20),
)
def cci(bars: OHLCV, n: int) -> FloatArray:
    """Return the commodity channel index over 100; zero in a flat range."""
    price = bars.typical_price
    mean = rolling_mean(price, n)
    deviation = np.full(len(price), np.nan)
    if len(price) >= n:
        windows = np.lib.stride_tricks.sliding_window_view(price, n)
        deviation[n - 1 :] = np.abs(windows - mean[n - 1 :, None]).mean(axis=1)
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

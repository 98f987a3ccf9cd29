"""Candle: the shape of one bar and of a few bars, as shares of their range.

All are ratios of distances within bars. A bar without a range has no body and no shadow.
"""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    ratio_or,
    rolling_corr,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
)
from finscale.market.bars import OHLCV, FloatArray

_BAR = ["open", "high", "low", "close"]
_PLACE = ["high", "low", "close"]
_NISON = "Nison (1991), Japanese Candlestick Charting Techniques"
_MORRIS = "Morris (2006), Candlestick Charting Explained, 3rd ed."
_WILLIAMS = "Williams (1999), Long-Term Secrets to Short-Term Trading"
_BROOKS = "Brooks (2012), Trading Price Action Trends"


def body(bars: OHLCV) -> FloatArray:
    """Return C - O."""
    return bars.close - bars.open


def span(bars: OHLCV) -> FloatArray:
    """Return H - L."""
    return bars.high - bars.low


def upper_shadow(bars: OHLCV) -> FloatArray:
    """Return H - max(O, C)."""
    return bars.high - np.maximum(bars.open, bars.close)


def lower_shadow(bars: OHLCV) -> FloatArray:
    """Return min(O, C) - L."""
    return np.minimum(bars.open, bars.close) - bars.low


def close_place(bars: OHLCV) -> FloatArray:
    """Return the place of the close in the bar, in [-1, 1]; zero in a flat bar."""
    return ratio_or(2 * bars.close - bars.high - bars.low, span(bars), 0.0)


@feature(
    family="candle",
    meaning="body of the candle as a share of its range",
    formula="(C - O) / (H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=0,
)
def candle_body(bars: OHLCV) -> FloatArray:
    """Return the signed body, in [-1, 1]; zero for a flat bar."""
    return ratio_or(body(bars), span(bars), 0.0)


@feature(
    family="candle",
    meaning="upper shadow of the candle as a share of its range",
    formula="(H - max(O, C)) / (H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=0,
)
def upper_shadow_share(bars: OHLCV) -> FloatArray:
    """Return the upper shadow, in [0, 1]; zero for a flat bar."""
    return ratio_or(upper_shadow(bars), span(bars), 0.0)


@feature(
    family="candle",
    meaning="lower shadow of the candle as a share of its range",
    formula="(min(O, C) - L) / (H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=0,
)
def lower_shadow_share(bars: OHLCV) -> FloatArray:
    """Return the lower shadow, in [0, 1]; zero for a flat bar."""
    return ratio_or(lower_shadow(bars), span(bars), 0.0)


@feature(
    family="candle",
    meaning="bodies of {n} bars as a share of their ranges, whatever their direction",
    formula="sum_{n}(|C - O|) / sum_{n}(H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def body_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of the bodies, in [0, 1]; zero for flat bars."""
    return ratio_or(rolling_sum(np.abs(body(bars)), n), rolling_sum(span(bars), n), 0.0)


@feature(
    family="candle",
    meaning="upper shadows of {n} bars as a share of their ranges",
    formula="sum_{n}(H - max(O, C)) / sum_{n}(H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def average_upper_shadow(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of the upper shadows, in [0, 1]; zero for flat bars."""
    return ratio_or(rolling_sum(upper_shadow(bars), n), rolling_sum(span(bars), n), 0.0)


@feature(
    family="candle",
    meaning="lower shadows of {n} bars as a share of their ranges",
    formula="sum_{n}(min(O, C) - L) / sum_{n}(H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(5,),
)
def average_lower_shadow(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of the lower shadows, in [0, 1]; zero for flat bars."""
    return ratio_or(rolling_sum(lower_shadow(bars), n), rolling_sum(span(bars), n), 0.0)


@feature(
    family="candle",
    meaning="body against the mean body of {n} bars, whatever its direction",
    formula="arsinh(|C - O| / mean_{n}(|C - O|))",
    reference=_NISON,
    inputs=["open", "close"],
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def body_expansion(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative size of the body; zero where there are no bodies."""
    size = np.abs(body(bars))
    return np.arcsinh(ratio_or(size, rolling_mean(size, n), 0.0))


@feature(
    family="candle",
    meaning="mean place of the close in the bars of the last {n}",
    formula="mean_{n}((2C - H - L) / (H - L))",
    reference=_WILLIAMS,
    inputs=_PLACE,
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def close_location(bars: OHLCV, n: int) -> FloatArray:
    """Return the mean place of the close, in [-1, 1]; a flat bar counts as zero."""
    return rolling_mean(close_place(bars), n)


@feature(
    family="candle",
    meaning="spread of the place of the close in its bar over {n} bars",
    formula="sd_{n}((2C - H - L) / (H - L))",
    reference=_WILLIAMS,
    inputs=_PLACE,
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def close_location_dispersion(bars: OHLCV, n: int) -> FloatArray:
    """Return the standard deviation of the place of the close."""
    return rolling_std(close_place(bars), n)


@feature(
    family="candle",
    meaning="autocorrelation of the place of the close in its bar over {n} bars",
    formula="corr_{n}(x_t, x_{{t-1}}), x = (2C - H - L) / (H - L)",
    reference=_WILLIAMS,
    inputs=_PLACE,
    lookback_bars=lambda n: n,
    over=(20,),
)
def close_location_autocorrelation(bars: OHLCV, n: int) -> FloatArray:
    """Return the first autocorrelation of the place of the close."""
    place = close_place(bars)
    return rolling_corr(place, lagged(place, 1), n)


@feature(
    family="candle",
    meaning="correlation of the place of the close with the next return over {n} bars",
    formula="corr_{n}(x_{{t-1}}, r_t), x = (2C - H - L) / (H - L)",
    reference=_WILLIAMS,
    inputs=_PLACE,
    lookback_bars=lambda n: n,
    over=(60,),
)
def close_location_lead(bars: OHLCV, n: int) -> FloatArray:
    """Return how far strong closes were followed by gains."""
    return rolling_corr(lagged(close_place(bars), 1), bars.log_return, n)


@feature(
    family="candle",
    meaning="body of the candle that the last {n} bars make together, as a share of its range",
    formula="(C_t - O_{{t-{n}+1}}) / (max_{n}(H) - min_{n}(L))",
    reference=_MORRIS,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def joined_candle_body(bars: OHLCV, n: int) -> FloatArray:
    """Return the signed body of the joined candle, in [-1, 1]; zero in a flat range."""
    _, top, bottom = _joined(bars, n)
    return ratio_or(bars.close - lagged(bars.open, n - 1), top - bottom, 0.0)


@feature(
    family="candle",
    meaning="upper shadow of the candle that {n} bars make together, as a share of its range",
    formula="(max_{n}(H) - max(O_{{t-{n}+1}}, C_t)) / (max_{n}(H) - min_{n}(L))",
    reference=_MORRIS,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(3, 60),
)
def joined_upper_shadow(bars: OHLCV, n: int) -> FloatArray:
    """Return the upper shadow of the joined candle, in [0, 1]; zero in a flat range."""
    opened, top, bottom = _joined(bars, n)
    return ratio_or(top - np.maximum(opened, bars.close), top - bottom, 0.0)


@feature(
    family="candle",
    meaning="lower shadow of the candle that {n} bars make together, as a share of its range",
    formula="(min(O_{{t-{n}+1}}, C_t) - min_{n}(L)) / (max_{n}(H) - min_{n}(L))",
    reference=_MORRIS,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(3, 60),
)
def joined_lower_shadow(bars: OHLCV, n: int) -> FloatArray:
    """Return the lower shadow of the joined candle, in [0, 1]; zero in a flat range."""
    opened, top, bottom = _joined(bars, n)
    return ratio_or(np.minimum(opened, bars.close) - bottom, top - bottom, 0.0)


def _joined(bars: OHLCV, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return open, high and low of n bars taken as one."""
    return lagged(bars.open, n - 1), rolling_max(bars.high, n), rolling_min(bars.low, n)


@feature(
    family="candle",
    meaning="hammer: a long lower shadow, low in the range of {n} bars",
    formula="(min(O, C) - L) / (H - L) (1 - (M - min_{n}(L)) / (max_{n}(H) - min_{n}(L))), "
    "M = (H + L) / 2",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def hammer(bars: OHLCV, n: int) -> FloatArray:
    """Return the strength of the hammer, in [0, 1]."""
    return lower_shadow_share(bars) * (1 - _middle_place(bars, n))


@feature(
    family="candle",
    meaning="shooting star: a long upper shadow, high in the range of {n} bars",
    formula="(H - max(O, C)) / (H - L) (M - min_{n}(L)) / (max_{n}(H) - min_{n}(L)), "
    "M = (H + L) / 2",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def shooting_star(bars: OHLCV, n: int) -> FloatArray:
    """Return the strength of the shooting star, in [0, 1]."""
    return upper_shadow_share(bars) * _middle_place(bars, n)


def _middle_place(bars: OHLCV, n: int) -> FloatArray:
    bottom, top = rolling_min(bars.low, n), rolling_max(bars.high, n)
    return ratio_or((bars.high + bars.low) / 2 - bottom, top - bottom, 0.5)


@feature(
    family="candle",
    meaning="how doji-like the last {n} bars were: bodies below a fifth of the range",
    formula="mean_{n}(max(1 - 5 |C - O| / (H - L), 0))",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def doji_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the mean likeness, in [0, 1]; a flat bar is a doji."""
    return rolling_mean(np.maximum(1 - 5 * np.abs(candle_body(bars)), 0), n)


@feature(
    family="candle",
    meaning="how far rising candles without shadows outweigh falling ones over {n} bars",
    formula="mean_{n}(sign(C - O) max(5 |C - O| / (H - L) - 4, 0))",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(40,),
)
def marubozu_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of bodies of four fifths of the range and more, in [-1, 1]."""
    share = candle_body(bars)
    return rolling_mean(np.sign(share) * np.maximum(5 * np.abs(share) - 4, 0), n)


@feature(
    family="candle",
    meaning="rising or falling candles in a row, of {n} at most",
    formula="sign(C - O) (number of latest candles of that sign, at most {n}) / {n}",
    reference="Caginalp & Laurent (1998), Applied Mathematical Finance 5(3-4)",
    inputs=["open", "close"],
    lookback_bars=lambda n: n - 1,
    over=(8,),
)
def candle_run(bars: OHLCV, n: int) -> FloatArray:
    """Return the signed length of the run, in [-1, 1]; zero after a bar without a body."""
    colour = np.sign(body(bars))
    length, unbroken = np.zeros(len(bars)), np.ones(len(bars))
    for back in range(n):
        before = lagged(colour, back)
        unbroken = np.where(np.isnan(before), np.nan, unbroken * (before == colour))
        length = length + unbroken
    return colour * length / n


@feature(
    family="candle",
    meaning="share of bars of another colour than the one before over {n} bars",
    formula="mean_{n}((1 - sign(C_t - O_t) sign(C_{{t-1}} - O_{{t-1}})) / 2)",
    reference="Caginalp & Laurent (1998), Applied Mathematical Finance 5(3-4)",
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(10, 120),
)
def colour_change_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of changes, in [0, 1]; a bar without a body counts one half."""
    colour = np.sign(body(bars))
    return rolling_mean((1 - colour * lagged(colour, 1)) / 2, n)


@feature(
    family="candle",
    meaning="persistence of bodies over {n} bars: whether a body follows its like",
    formula="sum_{n}(b_t b_{{t-1}}) / sqrt(sum_{n}(b_t^2) sum_{n}(b_{{t-1}}^2)), "
    "b = (C - O) / (H - L)",
    reference=_BROOKS,
    inputs=_BAR,
    lookback_bars=lambda n: n,
    over=(5,),
)
def body_persistence(bars: OHLCV, n: int) -> FloatArray:
    """Return the uncentred autocorrelation, in [-1, 1]; zero where there are no bodies."""
    share = candle_body(bars)
    squares = rolling_sum(share**2, n)
    before = lagged(share, 1)
    size = np.sqrt(squares * rolling_sum(before**2, n))
    return np.clip(ratio_or(rolling_sum(share * before, n), size, 0.0), -1, 1)

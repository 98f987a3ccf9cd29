"""Candle: bars against the bars before – gaps, overlaps, inside and outside bars, reversals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finscale.features.candle import body, candle_body, close_place, span
from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
)
from finscale.market.bars import OHLCV, FloatArray

_BAR = ["open", "high", "low", "close"]
_HIGH_LOW = ["high", "low"]
_CRABEL = "Crabel (1990), Day Trading with Short Term Price Patterns and Opening Range Breakout"
_NISON = "Nison (1991), Japanese Candlestick Charting Techniques"
_GAPS = "Bulkowski (2005), Encyclopedia of Chart Patterns, 2nd ed., ch. 19"
_BROOKS = "Brooks (2012), Trading Price Action Trends"
_DEMARK = "DeMark (1994), The New Science of Technical Analysis"


def _before(values: FloatArray) -> FloatArray:
    return lagged(values, 1)


def _share(happened: FloatArray | NDArray[np.bool_], n: int) -> FloatArray:
    """Return the mean of an indicator that compares with the bar before, unknown in row 0."""
    known = np.asarray(happened, dtype=np.float64).copy()
    known[:1] = np.nan
    return rolling_mean(known, n)


@feature(
    family="candle",
    meaning="gap as a share of the mean range of {n} bars",
    formula="arsinh((O_t - C_{{t-1}}) / mean_{n}(H - L))",
    reference=_GAPS,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def gap_to_range(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative gap; zero where there is no range."""
    return np.arcsinh(ratio_or(bars.open - _before(bars.close), rolling_mean(span(bars), n), 0.0))


@feature(
    family="candle",
    meaning="gaps of {n} bars as a share of gaps and bodies",
    formula="sum_{n}(|O_t - C_{{t-1}}|) / sum_{n}(|O_t - C_{{t-1}}| + |C - O|)",
    reference=_GAPS,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(120,),
)
def gap_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of the gaps, in [0, 1]; zero where nothing moved."""
    gaps = rolling_sum(np.abs(bars.open - _before(bars.close)), n)
    return ratio_or(gaps, gaps + rolling_sum(np.abs(body(bars)), n), 0.0)


@feature(
    family="candle",
    meaning="gaps up less gaps down over {n} bars as a share of all gaps",
    formula="sum_{n}(O_t - C_{{t-1}}) / sum_{n}(|O_t - C_{{t-1}}|)",
    reference=_GAPS,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def gap_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of the gaps, in [-1, 1]; zero without gaps."""
    gap = bars.open - _before(bars.close)
    return ratio_or(rolling_sum(gap, n), rolling_sum(np.abs(gap), n), 0.0)


@feature(
    family="candle",
    meaning="share of the gaps of {n} bars that the same day's trade filled",
    formula="sum_{n}(min(B, |G|)) / sum_{n}(|G|), G = O_t - C_{{t-1}}, "
    "B = O - L where G > 0 and H - O elsewhere",
    reference=_GAPS,
    inputs=_BAR,
    lookback_bars=lambda n: n,
    over=(20,),
)
def gap_fill_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the filled share, in [0, 1]; one half without gaps."""
    before = _before(bars.close)
    gap = bars.open - before
    back = np.where(gap > 0, bars.open - bars.low, bars.high - bars.open)
    filled = np.minimum(back, np.abs(gap))
    return ratio_or(rolling_sum(filled, n), rolling_sum(np.abs(gap), n), 0.5)


@feature(
    family="candle",
    meaning="whether bodies went on in the direction of the gap over {n} bars",
    formula="sum_{n}(sign(O_t - C_{{t-1}}) (C - O)) / sum_{n}(|C - O|)",
    reference=_GAPS,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(10,),
)
def gap_follow_through(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance, in [-1, 1], below zero where gaps were sold or bought back."""
    followed = np.sign(bars.open - _before(bars.close)) * body(bars)
    return ratio_or(rolling_sum(followed, n), rolling_sum(np.abs(body(bars)), n), 0.0)


@feature(
    family="candle",
    meaning="overlap of each range with the one before, mean of {n} bars",
    formula="mean_{n}((min(H_t, H_{{t-1}}) - max(L_t, L_{{t-1}})) / "
    "(max(H_t, H_{{t-1}}) - min(L_t, L_{{t-1}})))",
    reference=_BROOKS,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n,
    over=(1, 5),
)
def bar_overlap(bars: OHLCV, n: int) -> FloatArray:
    """Return the mean overlap, in [-1, 1], below zero where ranges do not touch."""
    high, low = _before(bars.high), _before(bars.low)
    shared = np.minimum(bars.high, high) - np.maximum(bars.low, low)
    return rolling_mean(
        ratio_or(shared, np.maximum(bars.high, high) - np.minimum(bars.low, low), 1.0), n
    )


@feature(
    family="candle",
    meaning="share of inside bars among the last {n}",
    formula="mean_{n}(H_t <= H_{{t-1}} and L_t >= L_{{t-1}})",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n,
    over=(10, 60),
)
def inside_bar_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of bars within the one before, in [0, 1]."""
    inside = (bars.high <= _before(bars.high)) & (bars.low >= _before(bars.low))
    return _share(inside, n)


@feature(
    family="candle",
    meaning="share of outside bars among the last {n}",
    formula="mean_{n}(H_t > H_{{t-1}} and L_t < L_{{t-1}})",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n,
    over=(20, 60),
)
def outside_bar_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of bars around the one before, in [0, 1]."""
    outside = (bars.high > _before(bars.high)) & (bars.low < _before(bars.low))
    return _share(outside, n)


@feature(
    family="candle",
    meaning="share of closes above the last high less closes below the last low over {n} bars",
    formula="mean_{n}(C_t > H_{{t-1}}) - mean_{n}(C_t < L_{{t-1}})",
    reference=_DEMARK,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def breakout_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of closes beyond the bar before, in [-1, 1]."""
    above, below = bars.close > _before(bars.high), bars.close < _before(bars.low)
    return _share(above.astype(np.float64) - below, n)


@feature(
    family="candle",
    meaning="share of closes beyond the range of the bar before over {n} bars",
    formula="mean_{n}(C_t > H_{{t-1}} or C_t < L_{{t-1}})",
    reference=_DEMARK,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(60,),
)
def breakout_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of breakouts to either side, in [0, 1]."""
    return _share((bars.close > _before(bars.high)) | (bars.close < _before(bars.low)), n)


@feature(
    family="candle",
    meaning="failed breaks of the last low less failed breaks of the last high over {n} bars",
    formula="mean_{n}(L_t < L_{{t-1}} and C_t > L_{{t-1}}) - "
    "mean_{n}(H_t > H_{{t-1}} and C_t < H_{{t-1}})",
    reference="Connors & Raschke (1996), Street Smarts, on failed breakouts",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(40,),
)
def failed_breakout_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return breaks down less breaks up that did not hold, in [-1, 1]."""
    high, low = _before(bars.high), _before(bars.low)
    held_up = (bars.low < low) & (bars.close > low)
    held_down = (bars.high > high) & (bars.close < high)
    return _share(held_up.astype(np.float64) - held_down, n)


@feature(
    family="candle",
    meaning="rising less falling engulfing bodies over {n} bars",
    formula="mean_{n}(sign(C_t - O_t) (|C_t - O_t| > |C_{{t-1}} - O_{{t-1}}| and colours differ))",
    reference=_NISON,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(10,),
)
def engulfing_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance, in [-1, 1]; a larger body of the other colour engulfs."""
    now, before = body(bars), _before(body(bars))
    engulfs = (now * before < 0) & (np.abs(now) > np.abs(before))
    return _share(np.sign(now) * engulfs, n)


@feature(
    family="candle",
    meaning="harami: bodies that lie within the body before, share of {n} bars",
    formula="mean_{n}(max(O_t, C_t) <= max(O_{{t-1}}, C_{{t-1}}) and "
    "min(O_t, C_t) >= min(O_{{t-1}}, C_{{t-1}}))",
    reference=_NISON,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def harami_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of bodies inside the one before, in [0, 1]."""
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    return _share((top <= _before(top)) & (bottom >= _before(bottom)), n)


@feature(
    family="candle",
    meaning="soldiers and crows: smallest body of {n} bars in one direction",
    formula="max(min_{n}(b), 0) - max(min_{n}(-b), 0), b = (C - O) / (H - L)",
    reference=_NISON,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(3,),
)
def soldiers_and_crows(bars: OHLCV, n: int) -> FloatArray:
    """Return the weakest of n bodies of one colour, in [-1, 1]; zero if colours differ."""
    share = candle_body(bars)
    return np.maximum(rolling_min(share, n), 0) + np.minimum(rolling_max(share, n), 0)


@feature(
    family="candle",
    meaning="tweezers: how far from level the highs of {n} bars are",
    formula="sd_{n}(H) / (sd_{n}(H) + mean_{n}(H - L))",
    reference=_NISON,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def high_unevenness(bars: OHLCV, n: int) -> FloatArray:
    """Return the spread of the highs, in [0, 1); zero where they are level."""
    spread = rolling_std(bars.high, n)
    return ratio_or(spread, spread + rolling_mean(span(bars), n), 0.0)


@feature(
    family="candle",
    meaning="tweezers: how far from level the lows of {n} bars are",
    formula="sd_{n}(L) / (sd_{n}(L) + mean_{n}(H - L))",
    reference=_NISON,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(3,),
)
def low_unevenness(bars: OHLCV, n: int) -> FloatArray:
    """Return the spread of the lows, in [0, 1); zero where they are level."""
    spread = rolling_std(bars.low, n)
    return ratio_or(spread, spread + rolling_mean(span(bars), n), 0.0)


@feature(
    family="candle",
    meaning="closes in the upper part of their bars less closes in the lower part, on wide bars",
    formula="sum_{n}(x (H - L) where H - L > mean_{n}(H - L)) / sum_{n}(H - L), "
    "x = (2C - H - L) / (H - L)",
    reference=_BROOKS,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: 2 * n - 2,
    over=(40,),
)
def wide_bar_close_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of the closes of wide bars, in [-1, 1]; zero for flat bars."""
    width = span(bars)
    usual = rolling_mean(width, n)
    # The mean of equal ranges may fall short of them by a rounding error.
    wide = np.where(np.isnan(usual), np.nan, width > usual * (1 + 1e-9))
    push = rolling_sum(close_place(bars) * width * wide, n)
    return ratio_or(push, rolling_sum(width, n), 0.0)

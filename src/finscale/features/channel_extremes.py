"""Channels: how far and how long ago the highs and lows are."""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
)
from finscale.features.runs import bars_since_max, bars_since_min, signed_run
from finscale.market.bars import OHLCV, FloatArray

_GEORGE = "George & Hwang (2004), J. Finance 59(5)"
_BHOOTRA = "Bhootra & Hur (2013), J. Banking & Finance 37(10)"
_OSLER = "Osler (2000), FRBNY Economic Policy Review 6(2)"
_LO = "Lo, Mamaysky & Wang (2000), J. Finance 55(4), local extremes"


@feature(
    family="channels",
    meaning="distance of the close from the {n}-bar high",
    formula="ln(C / max_{n} H)",
    reference=_GEORGE,
    inputs=["high", "close"],
    lookback_bars=lambda n: n - 1,
    over=(252,),
)
def distance_to_high(bars: OHLCV, n: int) -> FloatArray:
    """Return the log distance, at most zero."""
    return np.asarray(np.log(bars.close / rolling_max(bars.high, n)))


@feature(
    family="channels",
    meaning="distance of the close from the {n}-bar low",
    formula="ln(C / min_{n} L)",
    reference=_GEORGE,
    inputs=["low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(60, 252),
)
def distance_to_low(bars: OHLCV, n: int) -> FloatArray:
    """Return the log distance, at least zero."""
    return np.asarray(np.log(bars.close / rolling_min(bars.low, n)))


@feature(
    family="channels",
    meaning="bars since the {n}-bar high, as a share of {n}",
    formula="(bars since max_{n} H) / ({n} - 1)",
    reference=_BHOOTRA,
    inputs=["high"],
    lookback_bars=lambda n: n - 1,
    over=(60, 252),
)
def bars_since_high(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the high, in [0, 1]."""
    return bars_since_max(bars.high, n) / (n - 1)


@feature(
    family="channels",
    meaning="bars since the {n}-bar low, as a share of {n}",
    formula="(bars since min_{n} L) / ({n} - 1)",
    reference=_BHOOTRA,
    inputs=["low"],
    lookback_bars=lambda n: n - 1,
    over=(60, 252),
)
def bars_since_low(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the low, in [0, 1]."""
    return bars_since_min(bars.low, n) / (n - 1)


@feature(
    family="channels",
    meaning="bars with a new {n}-bar high less bars with a new {n}-bar low, share of {window}",
    formula="mean_{window}((H == max_{n} H) - (L == min_{n} L))",
    reference="Fosback (1976), Stock Market Logic, new highs and lows",
    inputs=["high", "low"],
    lookback_bars=lambda n, window: n + window - 2,
    over=[(20, 60), (120, 120)],
)
def new_extreme_balance(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return new highs less new lows, in [-1, 1]."""
    highest, lowest = rolling_max(bars.high, n), rolling_min(bars.low, n)
    balance = (bars.high == highest).astype(np.float64) - (bars.low == lowest)
    return rolling_mean(np.where(np.isnan(highest), np.nan, balance), window)


@feature(
    family="channels",
    meaning="part of the last leg of the {n}-bar range that is left, signed by the leg",
    formula=(
        "(C - D) / (U - D) if U came last, (C - U) / (U - D) if D did, U, D = max_{n} H, min_{n} L"
    ),
    reference="Frost & Prechter (1978), Elliott Wave Principle, retracements",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n - 1,
    over=(20, 250),
)
def leg_position(bars: OHLCV, n: int) -> FloatArray:
    """Return 1 on top of a rise, 0 once all is retraced, -1 at the bottom of a fall."""
    highest, lowest = rolling_max(bars.high, n), rolling_min(bars.low, n)
    since_high, since_low = bars_since_max(bars.high, n), bars_since_min(bars.low, n)
    leg = np.where(since_high < since_low, bars.close - lowest, bars.close - highest)
    # High and low in the same bar: no leg leads from one to the other.
    return ratio_or(np.where(since_high == since_low, 0.0, leg), highest - lowest, 0.0)


def _last_swing(values: FloatArray, side_bars: int, n_bars: int) -> FloatArray:
    """Return the last local maximum that was known within n bars, or the window's maximum."""
    confirmed = lagged(values, side_bars) == rolling_max(values, 2 * side_bars + 1)
    row = np.arange(len(values))
    last = np.maximum.accumulate(np.where(confirmed, row, -1))
    level = np.where(
        (last >= 0) & (row - last < n_bars),
        values[np.maximum(last - side_bars, 0)],
        rolling_max(values, n_bars),
    )
    level[: n_bars - 1 + 2 * side_bars] = np.nan
    return level


@feature(
    family="channels",
    meaning="close above the last swing high, {side} bars to each side, known within {n} bars",
    formula="ln(C / S), S = last H_s = max(H_{{s-{side}}} … H_{{s+{side}}}), s <= t - {side}",
    reference=f"{_OSLER}; {_LO}",
    inputs=["high", "close"],
    lookback_bars=lambda side, n: n - 1 + 2 * side,
    over=[(5, 60)],
)
def swing_high_distance(bars: OHLCV, side: int, n: int) -> FloatArray:
    """Return the log distance from the resistance; from the n-bar high where none is known."""
    return np.asarray(np.log(bars.close / _last_swing(bars.high, side, n)))


@feature(
    family="channels",
    meaning="close above the last swing low, {side} bars to each side, known within {n} bars",
    formula="ln(C / S), S = last L_s = min(L_{{s-{side}}} … L_{{s+{side}}}), s <= t - {side}",
    reference=f"{_OSLER}; {_LO}",
    inputs=["low", "close"],
    lookback_bars=lambda side, n: n - 1 + 2 * side,
    over=[(5, 60)],
)
def swing_low_distance(bars: OHLCV, side: int, n: int) -> FloatArray:
    """Return the log distance from the support; from the n-bar low where none is known."""
    return np.asarray(np.log(bars.close / -_last_swing(-bars.low, side, n)))


@feature(
    family="channels",
    meaning="consecutive higher or lower highs, up to {cap}, signed",
    formula="sign(H_t - H_{{t-1}}) * min(bars in a row with this sign, {cap}) / {cap}",
    reference="Hamilton (1922), The Stock Market Barometer, after Dow",
    inputs=["high"],
    lookback_bars=lambda cap: cap,
    over=(8,),
)
def high_streak(bars: OHLCV, cap: int) -> FloatArray:
    """Return the streak of highs in one direction, in [-1, 1]."""
    return signed_run(np.sign(bars.high - lagged(bars.high, 1)), cap)


@feature(
    family="channels",
    meaning="consecutive higher or lower lows, up to {cap}, signed",
    formula="sign(L_t - L_{{t-1}}) * min(bars in a row with this sign, {cap}) / {cap}",
    reference="Hamilton (1922), The Stock Market Barometer, after Dow",
    inputs=["low"],
    lookback_bars=lambda cap: cap,
    over=(8,),
)
def low_streak(bars: OHLCV, cap: int) -> FloatArray:
    """Return the streak of lows in one direction, in [-1, 1]."""
    return signed_run(np.sign(bars.low - lagged(bars.low, 1)), cap)

"""Trend: crossings of averages, and how long the price has been on one side of them."""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import lagged, rolling_mean
from finscale.features.runs import run_length, side, signed_run
from finscale.market.bars import OHLCV, FloatArray

_BROCK = "Brock, Lakonishok & LeBaron (1992), J. Finance 47(5)"
_NEELY = "Neely, Rapach, Tu & Zhou (2014), Management Science 60(7)"
_DOW = "Hamilton (1922), The Stock Market Barometer, after Dow"


def _side_of_average(bars: OHLCV, n_bars: int) -> FloatArray:
    return side(bars.close, rolling_mean(bars.close, n_bars))


def _fast_over_slow(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    return side(rolling_mean(bars.close, fast), rolling_mean(bars.close, slow))


@feature(
    family="trend",
    meaning="bars since the close crossed its {n}-bar average, up to {cap}, signed by the side",
    formula="sign(C - SMA_{n}(C)) * min(bars with this sign, {cap}) / {cap}",
    reference=_NEELY,
    inputs=["close"],
    lookback_bars=lambda n, cap: n - 1 + cap - 1,
    over=[(20, 20), (50, 50), (200, 50)],
)
def bars_since_sma_cross(bars: OHLCV, n: int, cap: int) -> FloatArray:
    """Return how long the close has been on its side of the average, in [-1, 1]."""
    return signed_run(_side_of_average(bars, n), cap)


@feature(
    family="trend",
    meaning=(
        "bars since the {fast}- crossed the {slow}-bar average, up to {cap}, signed by the side"
    ),
    formula="sign(SMA_{fast} - SMA_{slow}) * min(bars with this sign, {cap}) / {cap}",
    reference=_BROCK,
    inputs=["close"],
    lookback_bars=lambda _fast, slow, cap: slow - 1 + cap - 1,
    over=[(5, 20, 40), (20, 100, 100), (50, 200, 50)],
)
def bars_since_averages_cross(bars: OHLCV, fast: int, slow: int, cap: int) -> FloatArray:
    """Return how long the fast average has been on its side of the slow one, in [-1, 1]."""
    return signed_run(_fast_over_slow(bars, fast, slow), cap)


@feature(
    family="trend",
    meaning="return since the close crossed its {n}-bar average, at most {cap} bars ago",
    formula="ln(C_t / C_{{t-k}}), k = min(bars on this side of SMA_{n}(C), {cap})",
    reference=_NEELY,
    inputs=["close"],
    lookback_bars=lambda n, cap: n - 1 + cap - 1,
    over=[(20, 20)],
)
def return_since_sma_cross(bars: OHLCV, n: int, cap: int) -> FloatArray:
    """Return the log return since the last close on the other side."""
    length = run_length(_side_of_average(bars, n), cap)
    known = np.flatnonzero(np.isfinite(length))
    result = np.full(len(bars), np.nan)
    before = known - length[known].astype(np.int64)
    # The average needs a bar before the run: only windows of one bar could reach before row 0.
    result[known] = np.log(bars.close[known] / bars.close[np.maximum(before, 0)])
    return result


@feature(
    family="trend",
    meaning="share of the last {n} closes above their {n}-bar average",
    formula="mean_{n}((1 + sign(C - SMA_{n}(C))) / 2)",
    reference=_NEELY,
    inputs=["close"],
    lookback_bars=lambda n: 2 * n - 2,
    over=(60,),
)
def close_above_sma_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of closes above their average, in [0, 1]; on it counts one half."""
    return (1 + rolling_mean(_side_of_average(bars, n), n)) / 2


@feature(
    family="trend",
    meaning="share of the last {window} bars on which the close crossed its {n}-bar average",
    formula="mean_{window}(sign(C - SMA_{n}(C))_i != sign(C - SMA_{n}(C))_{{i-1}})",
    reference="Kaufman (2013), Trading Systems and Methods, whipsaws",
    inputs=["close"],
    lookback_bars=lambda n, window: n + window - 1,
    over=[(10, 20), (20, 60), (50, 120)],
)
def sma_cross_share(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return how often the close changed sides, in [0, 1]."""
    state = _side_of_average(bars, n)
    before = lagged(state, 1)
    changed = np.where(np.isnan(before), np.nan, state != before)
    return rolling_mean(changed, window)


@feature(
    family="trend",
    meaning="bars for which the {n}-bar average has been rising or falling, up to {cap}, signed",
    formula="sign(C_t - C_{{t-{n}}}) * min(bars with this sign, {cap}) / {cap}",
    reference=_NEELY,
    inputs=["close"],
    # An average of n bars rises when the close that enters is above the one that leaves.
    lookback_bars=lambda n, cap: n + cap - 1,
    over=[(10, 20), (50, 50)],
)
def sma_rising_run(bars: OHLCV, n: int, cap: int) -> FloatArray:
    """Return for how long the average has been going its way, in [-1, 1]."""
    return signed_run(np.sign(bars.close - lagged(bars.close, n)), cap)


@feature(
    family="trend",
    meaning="bars with a higher high and a higher low less bars with lower ones, share of {n}",
    formula=("mean_{n}([sign(H_i - H_{{i-1}}) == sign(L_i - L_{{i-1}})] sign(H_i - H_{{i-1}}))"),
    reference=_DOW,
    inputs=["high", "low"],
    lookback_bars=lambda n: n,
    over=(20, 60),
)
def higher_bar_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return bars moved up less bars moved down as a whole, in [-1, 1]."""
    high = np.sign(bars.high - lagged(bars.high, 1))
    low = np.sign(bars.low - lagged(bars.low, 1))
    return rolling_mean(np.where(high == low, high, high * 0.0), n)

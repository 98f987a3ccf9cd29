"""Momentum: returns over several bars, their pace, and what they are made of."""

from __future__ import annotations

from functools import partial

import numpy as np

from finscale.features.registry import Feature, add, feature
from finscale.features.rolling import (
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_rank,
    rolling_sum,
)
from finscale.features.runs import run_length, signed_run
from finscale.market.bars import OHLCV, FloatArray

_JEGADEESH = "Jegadeesh & Titman (1993), J. Finance 48(1)"
_LEHMANN = "Lehmann (1990), Quarterly J. Economics 105(1)"
_MOSKOWITZ = "Moskowitz, Ooi & Pedersen (2012), J. Financial Economics 104(2)"
_LOU = "Lou, Polk & Skouras (2019), J. Financial Economics 134(1)"
_DA = "Da, Gurun & Warachka (2014), Review of Financial Studies 27(7)"
_CONNORS = "Connors & Alvarez (2009), Short Term Trading Strategies That Work"


def _return(bars: OHLCV, n: int) -> FloatArray:
    return lagged_log_ratio(bars.close, bars.close, n)


# By hand and not by decorator: a function cannot be called `return`.
for _n in (3, 5, 10, 20):
    add(
        Feature(
            name=f"return_{_n}",
            family="momentum",
            meaning=f"log return of the last {_n} bars",
            formula=f"ln(C_t / C_{{t-{_n}}})",
            reference=_LEHMANN if _n < 5 else _JEGADEESH,
            inputs=("close",),
            lookback_bars=_n,
            function=partial(_return, n=_n),
        )
    )


@feature(
    family="momentum",
    meaning="log return from {start} bars ago to {end} bars ago",
    formula="ln(C_{{t-{end}}} / C_{{t-{start}}})",
    reference=f"{_JEGADEESH}, a month skipped; Novy-Marx (2012), J. Financial Economics 103(3)",
    inputs=["close"],
    lookback_bars=lambda start, _end: start,
    over=[(252, 21), (63, 21), (252, 126)],
)
def skipped_return(bars: OHLCV, start: int, end: int) -> FloatArray:
    """Return the log return that leaves out the most recent bars."""
    return lagged_log_ratio(lagged(bars.close, end), bars.close, start)


@feature(
    family="momentum",
    meaning="return of {n} bars over the volatility of {window}",
    formula="ln(C_t / C_{{t-{n}}}) / sqrt({n} mean_{window}(r^2))",
    reference=_MOSKOWITZ,
    inputs=["close"],
    lookback_bars=max,
    over=[(5, 60), (60, 250)],
)
def volatility_scaled_return(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return the return in standard deviations; zero where the close never moved."""
    scale = np.sqrt(n * rolling_mean(bars.log_return**2, window))
    return ratio_or(_return(bars, n), scale, 0.0)


@feature(
    family="momentum",
    meaning="return of the last {n} bars less that of the {n} before",
    formula="ln(C_t C_{{t-2*{n}}} / C_{{t-{n}}}^2)",
    reference="Ardila, Forrò & Sornette (2021), Physica A 569",
    inputs=["close"],
    lookback_bars=lambda n: 2 * n,
    over=(20, 60, 120),
)
def return_acceleration(bars: OHLCV, n: int) -> FloatArray:
    """Return the second difference of the log close."""
    recent = _return(bars, n)
    return recent - lagged(recent, n)


@feature(
    family="momentum",
    meaning="do the returns of 5 to 250 bars agree on the direction",
    formula="mean of sign(C_t - C_{{t-n}}), n = 5, 10, 20, 60, 120, 250",
    reference="Hurst, Ooi & Pedersen (2017), J. Portfolio Management 44(1)",
    inputs=["close"],
    lookback_bars=250,
)
def momentum_agreement_5_250(bars: OHLCV) -> FloatArray:
    """Return the mean sign of six returns, in [-1, 1]."""
    periods = (5, 10, 20, 60, 120, 250)
    signs = [np.sign(bars.close - lagged(bars.close, n)) for n in periods]
    return sum(signs[1:], signs[0]) / len(periods)


@feature(
    family="momentum",
    meaning="rank of the {n}-bar return among those of the last {window} bars",
    formula="rank of ln(C_t / C_{{t-{n}}}) in {window} bars, 0 … 1",
    reference=f"{_CONNORS}, percent rank",
    inputs=["close"],
    lookback_bars=lambda n, window: n + window - 1,
    over=[(1, 100), (20, 120), (60, 180)],
)
def return_rank(bars: OHLCV, n: int, window: int) -> FloatArray:
    """Return the share of returns below the present one, ties one half."""
    return rolling_rank(_return(bars, n), window)


@feature(
    family="momentum",
    meaning="return of the last {fast} bars along the direction of the last {slow}",
    formula="sign(C_t - C_{{t-{slow}}}) ln(C_t / C_{{t-{fast}}}) / sqrt({fast} mean_{slow}(r^2))",
    reference=f"{_LEHMANN}; {_MOSKOWITZ}",
    inputs=["close"],
    lookback_bars=lambda _fast, slow: slow,
    over=[(5, 60), (10, 250)],
)
def pullback(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return a negative number while the short move goes against the long one."""
    direction = np.sign(bars.close - lagged(bars.close, slow))
    return direction * volatility_scaled_return(bars, fast, slow)


@feature(
    family="momentum",
    meaning="sum of the overnight returns of {n} bars",
    formula="sum_{n} ln(O_i / C_{{i-1}})",
    reference=_LOU,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(5, 20, 60),
)
def overnight_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the log return earned from the closes to the opens."""
    return rolling_sum(lagged_log_ratio(bars.open, bars.close, 1), n)


@feature(
    family="momentum",
    meaning="sum of the returns from open to close less the overnight returns, {n} bars",
    formula="sum_{n}(ln(C_i / O_i) - ln(O_i / C_{{i-1}}))",
    reference=_LOU,
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(120,),
)
def intraday_less_overnight_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the tug of war between the sessions and the nights."""
    intraday = np.log(bars.close / bars.open)
    return rolling_sum(intraday - lagged_log_ratio(bars.open, bars.close, 1), n)


@feature(
    family="momentum",
    meaning="is the move of {n} bars made of many small returns (low) or a few large ones (high)",
    formula="sign(C_t - C_{{t-{n}}}) (share of r < 0 - share of r > 0 in {n} bars)",
    reference=_DA,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60, 250),
)
def information_discreteness(bars: OHLCV, n: int) -> FloatArray:
    """Return the information discreteness, in [-1, 1]."""
    balance = rolling_mean(np.sign(bars.log_return), n)
    return -np.sign(bars.close - lagged(bars.close, n)) * balance


@feature(
    family="momentum",
    meaning="share of rising closes in {n} bars",
    formula="mean_{n}((1 + sign(C_i - C_{{i-1}})) / 2)",
    reference="Kaufman (2013), Trading Systems and Methods, psychological line",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(10, 60),
)
def rising_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of bars that closed higher, in [0, 1]; unchanged counts one half."""
    return (1 + rolling_mean(np.sign(bars.log_return), n)) / 2


@feature(
    family="momentum",
    meaning="share of 12 blocks of {n} bars that rose",
    formula="mean of (1 + sign(C_{{t-{n} k}} - C_{{t-{n} (k+1)}})) / 2, k = 0 … 11",
    reference="Grinblatt & Moskowitz (2004), J. Financial Economics 71(3)",
    inputs=["close"],
    lookback_bars=lambda n: 12 * n,
    over=(10, 21),
)
def rising_block_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of blocks, each like a month, that closed higher, in [0, 1]."""
    rising = np.sign(bars.close - lagged(bars.close, n))
    total = sum((lagged(rising, n * k) for k in range(1, 12)), rising)
    return (1 + total / 12) / 2


@feature(
    family="momentum",
    meaning="mean gain against mean loss of {n} bars",
    formula="(G - D) / (G + D), G = mean of r > 0, D = mean of -r where r < 0, in {n} bars",
    reference="Kaufman (2013), Trading Systems and Methods, payoff ratio",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60, 250),
)
def gain_loss_size(bars: OHLCV, n: int) -> FloatArray:
    """Return how much larger gains are than losses, in [-1, 1]; zero where there was neither."""
    returns = bars.log_return
    gain = _mean_of_positive(returns, n)
    loss = _mean_of_positive(-returns, n)
    return ratio_or(gain - loss, gain + loss, 0.0)


def _mean_of_positive(values: FloatArray, n_bars: int) -> FloatArray:
    total = rolling_sum(np.maximum(values, 0.0), n_bars)
    count = rolling_sum(np.where(values > 0, 1.0, 0.0), n_bars)
    return ratio_or(total, count, 0.0)


@feature(
    family="momentum",
    meaning="largest gain against largest loss of {n} bars",
    formula="(G - D) / (G + D), G = max(max_{n} r, 0), D = max(-min_{n} r, 0)",
    reference="Bali, Cakici & Whitelaw (2011), J. Financial Economics 99(2)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20, 120),
)
def extreme_return_balance(bars: OHLCV, n: int) -> FloatArray:
    """Return how much larger the best return is than the worst, in [-1, 1]."""
    best = np.maximum(rolling_max(bars.log_return, n), 0.0)
    worst = np.maximum(-rolling_min(bars.log_return, n), 0.0)
    return ratio_or(best - worst, best + worst, 0.0)


@feature(
    family="momentum",
    meaning="consecutive rising or falling closes, up to {cap}, signed",
    formula="sign(C_t - C_{{t-1}}) * min(closes in a row with this sign, {cap}) / {cap}",
    reference=_CONNORS,
    inputs=["close"],
    lookback_bars=lambda cap: cap,
    over=(8,),
)
def streak(bars: OHLCV, cap: int) -> FloatArray:
    """Return the streak of closes in one direction, in [-1, 1]."""
    return signed_run(np.sign(bars.log_return), cap)


@feature(
    family="momentum",
    meaning="return of the streak of rising or falling closes, at most {cap} bars",
    formula="ln(C_t / C_{{t-k}}), k = min(closes in a row with the sign of r_t, {cap})",
    reference=_CONNORS,
    inputs=["close"],
    lookback_bars=lambda cap: cap,
    over=(8,),
)
def streak_return(bars: OHLCV, cap: int) -> FloatArray:
    """Return the log return since the direction last changed."""
    length = run_length(np.sign(bars.log_return), cap)
    known = np.flatnonzero(np.isfinite(length))
    result = np.full(len(bars), np.nan)
    before = known - length[known].astype(np.int64)
    result[known] = np.log(bars.close[known] / bars.close[before])
    return result


@feature(
    family="momentum",
    meaning="longest rise less longest fall of closes in {n} bars, each up to {cap}",
    formula="(max_{n} s + min_{n} s) / 2, s = signed closes in a row over {cap}",
    reference=_CONNORS,
    inputs=["close"],
    lookback_bars=lambda n, cap: n + cap - 1,
    over=[(20, 8)],
)
def longest_streak_balance(bars: OHLCV, n: int, cap: int) -> FloatArray:
    """Return the balance of the longest streaks, in [-1, 1]."""
    state = signed_run(np.sign(bars.log_return), cap)
    rise, fall = rolling_max(state, n), rolling_min(state, n)
    return (np.maximum(rise, 0.0) + np.minimum(fall, 0.0)) / 2


@feature(
    family="momentum",
    meaning="share of {n} bars whose close went the other way than the one before",
    formula="mean_{n}(r_i r_{{i-1}} < 0)",
    reference="Cowles & Jones (1937), Econometrica 5(3), sequences and reversals",
    inputs=["close"],
    lookback_bars=lambda n: n + 1,
    over=(20, 60, 250),
)
def reversal_share(bars: OHLCV, n: int) -> FloatArray:
    """Return how often the direction of the close changed, in [0, 1]."""
    sign = np.sign(bars.log_return)
    product = sign * lagged(sign, 1)
    return rolling_mean(np.where(np.isnan(product), np.nan, product < 0), n)


@feature(
    family="momentum",
    meaning="closes in a row above or below the close 4 bars before, up to 9, signed",
    formula="sign(C_t - C_{{t-4}}) * min(bars in a row with this sign, 9) / 9",
    reference="DeMark (1994), The New Science of Technical Analysis, set-up",
    inputs=["close"],
    lookback_bars=12,
)
def demark_setup_9(bars: OHLCV) -> FloatArray:
    """Return DeMark's set-up count, in [-1, 1]."""
    return signed_run(np.sign(bars.close - lagged(bars.close, 4)), 9)

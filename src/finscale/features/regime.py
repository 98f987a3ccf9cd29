"""Regimes: which state the market is in, as judged from a bounded stretch of bars."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    LEAST_MOVE,
    indicator,
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
)
from finscale.features.runs import side
from finscale.market.bars import OHLCV, FloatArray

_PAGAN = "Pagan & Sossounov (2003), J. Applied Econometrics 18(1), bull and bear markets"
_HAMILTON = "Hamilton (1989), Econometrica 57(2), with fixed parameters"
_SCHWERT = "Schwert (1989), J. Finance 44(5), states of volatility"
_INCLAN = "Inclan & Tiao (1994), J. American Statistical Association 89(427)"
_MOSKOWITZ = "Moskowitz, Ooi & Pedersen (2012), J. Financial Economics 104(2)"

# Volatility is high where that of the last two weeks exceeds that of the last half year.
_SHORT, _LONG = 10, 120

# A session without a range counts as one of a hundredth of a basis point.


@feature(
    family="regime",
    meaning="share of the last {n} closes more than 10% above the {m}-bar low",
    formula="mean_{n}(C > 1.1 min_{m}(L))",
    reference=_PAGAN,
    inputs=["low", "close"],
    lookback_bars=lambda n, m: n + m - 2,
    over=[(60, 190)],
)
def rally_share(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the time spent 10% above the low, in [0, 1]."""
    low = rolling_min(bars.low, m)
    return rolling_mean(indicator(bars.close > 1.1 * low, low), n)


@feature(
    family="regime",
    meaning="how often volatility went from high to low or back in {n} bars",
    formula="mean_{n}((mean_10(r^2) > mean_120(r^2)) is not what it was at t - 1)",
    reference=_SCHWERT,
    inputs=["close"],
    lookback_bars=lambda n: n + _LONG,
    over=(60,),
)
def volatility_regime_changes(bars: OHLCV, n: int) -> FloatArray:
    """Return changes of state per bar, in [0, 1]."""
    is_high = np.maximum(_volatility_side(bars), 0.0)
    return rolling_mean(np.abs(is_high - lagged(is_high, 1)), n)


@feature(
    family="regime",
    meaning="is volatility rising, from spans of 160 bars down to 5",
    formula="mean of sign(mean_n(r^2) - mean_{{2n}}(r^2)), n = 5, 10, 20, 40, 80",
    reference="Müller et al. (1997), J. Empirical Finance 4(2), volatility on several horizons",
    inputs=["close"],
    lookback_bars=160,
)
def volatility_ladder_5_160(bars: OHLCV) -> FloatArray:
    """Return the order of volatilities, 1 if each shorter one is higher, -1 if lower."""
    squares = bars.log_return**2
    means = [rolling_mean(squares, n) for n in (5, 10, 20, 40, 80, 160)]
    steps = [side(short, long) for short, long in pairwise(means)]
    return sum(steps[1:], steps[0]) / len(steps)


@feature(
    family="regime",
    meaning="share of the last {n} bars in a calm rise",
    formula="mean_{n}(C > SMA_50(C) and mean_10(r^2) < mean_120(r^2))",
    reference="Ang & Timmermann (2012), Annual Review of Financial Economics 4",
    inputs=["close"],
    lookback_bars=lambda n: n + _LONG - 1,
    over=(60,),
)
def calm_rise_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the time spent above the average and in low volatility, in [0, 1]."""
    trend, volatility = _trend_side(bars), _volatility_side(bars)
    return rolling_mean(indicator((trend > 0) & (volatility < 0), volatility), n)


@feature(
    family="regime",
    meaning="share of the last {n} bars in a stressed fall",
    formula="mean_{n}(C < SMA_50(C) and mean_10(r^2) > mean_120(r^2))",
    reference="Ang & Timmermann (2012), Annual Review of Financial Economics 4",
    inputs=["close"],
    lookback_bars=lambda n: n + _LONG - 1,
    over=(20,),
)
def stressed_fall_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the time spent below the average and in high volatility, in [0, 1]."""
    trend, volatility = _trend_side(bars), _volatility_side(bars)
    return rolling_mean(indicator((trend < 0) & (volatility > 0), volatility), n)


@feature(
    family="regime",
    meaning="the largest break of the variance within {n} bars, positive where it rose",
    formula="sqrt({n} / 2) D at max |D_k|, D_k = k / {n} - sum of the first k r^2 over all {n}",
    reference=_INCLAN,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(120,),
)
def variance_break(bars: OHLCV, n: int) -> FloatArray:
    """Return the signed statistic of the break; beyond 1.36 it is significant at 5%."""
    return _variance_break(bars, n)[0]


@feature(
    family="regime",
    meaning="bars since the largest break of the variance within {n} bars",
    formula="({n} - k) / {n} at max |D_k|, D_k = k / {n} - sum of the first k r^2 over all {n}",
    reference=_INCLAN,
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(120,),
)
def variance_break_age(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the break over n, in [0, 1); zero without moves."""
    return _variance_break(bars, n)[1]


@feature(
    family="regime",
    meaning="share of the last {n} returns with the sign of the {m}-bar return before",
    formula="mean_{n}(r_t ln(C_{{t-1}} / C_{{t-1-{m}}}) > 0)",
    reference=_MOSKOWITZ,
    inputs=["close"],
    lookback_bars=lambda n, m: n + m,
    over=[(60, 20)],
)
def trend_following_share(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return how often the trend went on, in [0, 1]."""
    before = lagged(lagged_log_ratio(bars.close, bars.close, m), 1)
    return rolling_mean(indicator(np.sign(bars.log_return) * np.sign(before) > 0, before), n)


@feature(
    family="regime",
    meaning="how often in {n} bars the {m}-bar return had the sign it had {m} bars before",
    formula="mean_{n}(sign(x_t) sign(x_{{t-{m}}})), x_t = ln(C_t / C_{{t-{m}}})",
    reference=_MOSKOWITZ,
    inputs=["close"],
    lookback_bars=lambda n, m: n + 2 * m - 1,
    over=[(60, 5), (120, 20)],
)
def trend_sign_persistence(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the persistence of the trend's direction, in [-1, 1]."""
    sign = np.sign(bars.close - lagged(bars.close, m))
    return rolling_mean(sign * lagged(sign, m), n)


@feature(
    family="regime",
    meaning="probability of the turbulent of two states, from the last {n} bars",
    formula="filter of z = r / sqrt(mean_120(r^2)): N(0, 0.6^2) or N(0, 1.6^2), 5% switch",
    reference=_HAMILTON,
    inputs=["close"],
    lookback_bars=lambda n: n + _LONG - 1,
    over=(60,),
)
def turbulence_probability(bars: OHLCV, n: int) -> FloatArray:
    """Return the filtered probability of turbulence, in [0, 1], from even odds n bars ago."""
    calm, wild = 0.6, 1.6
    scaled = _scaled_return(bars)
    likelihood = np.exp(scaled**2 / 2 * (1 / calm**2 - 1 / wild**2)) * (calm / wild)
    return _filtered(likelihood, n, 0.05)


@feature(
    family="regime",
    meaning="probability of the state of wide ranges, from the last {n} bars",
    formula="filter of z = (x - mean_120(x)) / sd_120(x), x = ln ln(H / L): "
    "N(1/2, 1) or N(-1/2, 1), 5% switch",
    reference="Hamilton & Susmel (1994), J. Econometrics 64(1-2), with fixed parameters",
    inputs=["high", "low"],
    lookback_bars=lambda n: n + _LONG - 2,
    over=(60,),
)
def wide_range_probability(bars: OHLCV, n: int) -> FloatArray:
    """Return the filtered probability of wide ranges, in [0, 1], from even odds n bars ago."""
    level = np.log(np.maximum(np.log(bars.high / bars.low), LEAST_MOVE))
    gap = level - rolling_mean(level, _LONG)
    return _filtered(np.exp(ratio_or(gap, rolling_std(level, _LONG), 0.0)), n, 0.05)


@feature(
    family="regime",
    meaning="evidence for a rise in the mean, gathered over {n} bars",
    formula="S_t = max(0, S_{{t-1}} + z - 1/4) from 0, z = r / sqrt(mean_120(r^2)), over sqrt({n})",
    reference="Page (1954), Biometrika 41(1-2)",
    inputs=["close"],
    lookback_bars=lambda n: n + _LONG - 1,
    over=(60,),
)
def cusum_rise(bars: OHLCV, n: int) -> FloatArray:
    """Return the one-sided cumulative sum for gains, zero or more."""
    return _cusum(_scaled_return(bars), n)


@feature(
    family="regime",
    meaning="evidence for a fall in the mean, gathered over {n} bars",
    formula="S_t = max(0, S_{{t-1}} - z - 1/4) from 0, z = r / sqrt(mean_120(r^2)), over sqrt({n})",
    reference="Page (1954), Biometrika 41(1-2)",
    inputs=["close"],
    lookback_bars=lambda n: n + _LONG - 1,
    over=(60,),
)
def cusum_fall(bars: OHLCV, n: int) -> FloatArray:
    """Return the one-sided cumulative sum for losses, zero or more."""
    return _cusum(-_scaled_return(bars), n)


def _volatility_side(bars: OHLCV) -> FloatArray:
    """Return 1 where volatility is high, -1 where it is low, 0 where nothing moves."""
    squares = bars.log_return**2
    return side(rolling_mean(squares, _SHORT), rolling_mean(squares, _LONG))


def _trend_side(bars: OHLCV) -> FloatArray:
    return side(bars.close, rolling_mean(bars.close, 50))


def _scaled_return(bars: OHLCV) -> FloatArray:
    """Return the return in deviations of 120 bars, at most sqrt(120); zero where nothing moves."""
    returns = bars.log_return
    return ratio_or(returns, np.sqrt(rolling_mean(returns**2, _LONG)), 0.0)


def _filtered(likelihood: FloatArray, n: int, switch: float) -> FloatArray:
    """Return the probability of one state of two after n rows, from likelihood ratios per row."""

    def update(odds: FloatArray, ratio: FloatArray) -> FloatArray:
        return ((1 - switch) * odds + switch) / (switch * odds + (1 - switch)) * ratio

    odds = _recursion(likelihood, n, 1.0, update)
    return odds / (1 + odds)


def _cusum(values: FloatArray, n: int) -> FloatArray:
    def update(total: FloatArray, value: FloatArray) -> FloatArray:
        return np.maximum(total + (value - 0.25), 0.0)

    return _recursion(values, n, 0.0, update) / math.sqrt(n)


def _recursion(
    values: FloatArray,
    n: int,
    start: float,
    update: Callable[[FloatArray, FloatArray], FloatArray],
) -> FloatArray:
    """Run a recursion over rows t - n + 1 … t of every row t, from the same start, all at once."""
    result = np.full(len(values), np.nan)
    n_windows = len(values) - n + 1
    if n_windows < 1:
        return result
    state = np.full(n_windows, start)
    for step in range(n):
        state = update(state, values[step : step + n_windows])
    result[n - 1 :] = state
    return result


def _variance_break(bars: OHLCV, n: int) -> tuple[FloatArray, FloatArray]:
    """Return the signed statistic of the largest break of n squared returns, and its age over n."""
    squares = bars.log_return**2
    statistic, age = np.full(len(squares), np.nan), np.full(len(squares), np.nan)
    n_windows = len(squares) - n + 1
    if n_windows < 1:
        return statistic, age
    total = rolling_sum(squares, n)[n - 1 :]
    passed, largest, place = (np.zeros(n_windows) for _ in range(3))
    # Step by step for all windows at once; without moves every step is a like share of nothing.
    for step in range(1, n):
        passed += squares[step - 1 : step - 1 + n_windows]
        deviation = step / n - ratio_or(passed, total, step / n)
        is_larger = np.abs(deviation) > np.abs(largest)
        np.copyto(largest, deviation, where=is_larger)
        np.copyto(place, (n - step) / n, where=is_larger)
    known = ~np.isnan(total)
    statistic[n - 1 :] = np.where(known, math.sqrt(n / 2) * largest, np.nan)
    age[n - 1 :] = np.where(known, place, np.nan)
    return statistic, age

"""Context features of a volatility index: an implied volatility in percent per year.

X is the index as of each bar's close and x its log change over one bar (see
:mod:`finscale.features.context`). A year is 252 bars: on weekly or monthly ones, the logs of
ratios to the bars' own volatility are shifted by a constant, and the premium compares what differs
in kind.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from finscale.features.context_template import (
    Template,
    collect,
    log_change,
    mean_square,
    slope_on,
    standardized,
)
from finscale.features.rolling import (
    LEAST_MOVE,
    lagged,
    rolling_corr,
    rolling_max,
    rolling_mean,
    rolling_rank,
    rolling_slope,
)
from finscale.market.bars import OHLCV, FloatArray

TEMPLATES: list[Template] = []

_feature = partial(collect, TEMPLATES)

_SESSIONS_PER_YEAR = 252


def _implied_volatility(x: FloatArray) -> FloatArray:
    """Return the standard deviation per session that the index stands for."""
    return x / (100 * math.sqrt(_SESSIONS_PER_YEAR))


@_feature(
    meaning="log of the level of {series}",
    formula="ln(X)",
    reference="Whaley (2000), J. Portfolio Management 26(3)",
    lookback_bars=0,
)
def log_level(_bars: OHLCV, x: FloatArray) -> FloatArray:
    """Return the log of the level."""
    return np.asarray(np.log(x))


@_feature(
    meaning="{n}-bar log change of {series}",
    formula="ln(X_t / X_{{t-{n}}})",
    reference="Whaley (2009), J. Portfolio Management 35(3)",
    lookback_bars=lambda n: n,
    over=(1, 5, 20),
)
def change(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the log change."""
    return log_change(x, n)


@_feature(
    meaning="log of {series} in standard deviations from its {n}-bar mean; 0 if it stood still",
    formula="(ln X - mean_{n}(ln X)) / std_{n}(ln X)",
    reference="Mencía & Sentana (2013), J. Financial Economics 108(2), on mean reversion",
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def zscore(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return how unusual the level is."""
    return standardized(np.log(x), n)


@_feature(
    meaning="share of the last {n} bars on which {series} was lower",
    formula="rank_{n}(X), in [0, 1]",
    reference="Giot (2005), J. Portfolio Management 31(3)",
    lookback_bars=lambda n: n - 1,
    over=(252,),
)
def rank(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return where the level stands among the last ones."""
    return rolling_rank(x, n)


@_feature(
    meaning="slope per bar of log {series} over {n} bars",
    formula="slope_{n}(ln X)",
    reference="Whaley (2009), J. Portfolio Management 35(3); least squares",
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def slope(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the least-squares slope of the log."""
    return rolling_slope(np.log(x), n)


@_feature(
    meaning="log of {series} over its {n}-bar mean",
    formula="ln(X / mean_{n}(X))",
    reference="Mencía & Sentana (2013), J. Financial Economics 108(2), on mean reversion",
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def mean_distance(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the log distance from the mean."""
    return np.asarray(np.log(x / rolling_mean(x, n)))


@_feature(
    meaning="log of {series} over its highest level of {n} bars",
    formula="ln(X / max_{n}(X))",
    reference="Whaley (2000), J. Portfolio Management 26(3), on spikes",
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def below_peak(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the log distance from the highest level."""
    return np.asarray(np.log(x / rolling_max(x, n)))


@_feature(
    meaning="log of the {n}-bar volatility of the changes of {series}",
    formula="ln sqrt(mean_{n}(x^2))",
    reference="Baltussen, van Bekkum & van der Grient (2018), J. Fin. Quant. Analysis 53(4)",
    lookback_bars=lambda n: n,
    over=(20,),
)
def log_volatility(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the log volatility of the series itself."""
    return np.asarray(0.5 * np.log(mean_square(log_change(x), n)))


@_feature(
    meaning="log of {series} over the realised volatility of {n} bars, both per year of 252 bars",
    formula="ln(X/100 / sqrt(252 mean_{n}(r^2)))",
    reference="Carr & Wu (2009), Review of Financial Studies 22(3)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(5, 20, 60),
)
def over_realized_volatility(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return what is expected over what was, in logs."""
    realized = np.sqrt(mean_square(bars.log_return, n))
    return np.asarray(np.log(_implied_volatility(x) / realized))


@_feature(
    meaning="log of {series} over the Parkinson volatility of {n} bars, both per year of 252 bars",
    formula="ln(X/100 / sqrt(252 mean_{n}(ln(H/L)^2) / (4 ln 2)))",
    reference="Parkinson (1980), J. Business 53(1); Carr & Wu (2009), Rev. Fin. Studies 22(3)",
    inputs=("high", "low"),
    lookback_bars=lambda n: n - 1,
    over=(10,),
)
def over_parkinson_volatility(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return what is expected over what the ranges say, in logs."""
    variance = rolling_mean(np.log(bars.high / bars.low) ** 2, n) / (4 * math.log(2))
    realized = np.sqrt(np.maximum(variance, LEAST_MOVE**2))
    return np.asarray(np.log(_implied_volatility(x) / realized))


@_feature(
    meaning="{series} minus the realised volatility of {n} bars, both per year of 252 bars",
    formula="X/100 - sqrt(252 mean_{n}(r^2))",
    reference="Bollerslev, Tauchen & Zhou (2009), Review of Financial Studies 22(11)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(20,),
)
def volatility_premium(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return what is expected beyond what was."""
    realized = np.sqrt(_SESSIONS_PER_YEAR * rolling_mean(bars.log_return**2, n))
    return np.asarray(x / 100 - realized)


@_feature(
    meaning="{n}-bar log return in the standard deviations that {series} foretold before it",
    formula="ln(C_t / C_{{t-{n}}}) / (X_{{t-{n}}}/100 sqrt({n}/252))",
    reference="Blair, Poon & Taylor (2001), J. Econometrics 105(1)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(1, 5),
)
def scaled_return(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the return in units of what was expected of it."""
    foretold = lagged(_implied_volatility(x), n) * math.sqrt(n)
    return np.asarray(log_change(bars.close, n) / foretold)


@_feature(
    meaning="correlation of changes of {series} with returns over {n} bars; 0 if one stood still",
    formula="corr_{n}(x, r)",
    reference="Bekaert & Wu (2000), Review of Financial Studies 13(1)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(60,),
)
def return_correlation(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the correlation with returns."""
    return rolling_corr(log_change(x), bars.log_return, n)


@_feature(
    meaning="slope of changes of {series} on returns over {n} bars; 0 if the price stood still",
    formula="cov_{n}(x, r) / var_{n}(r)",
    reference="Bekaert & Wu (2000), Review of Financial Studies 13(1)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(60,),
)
def return_beta(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the slope on returns."""
    return slope_on(log_change(x), bars.log_return, n)


@_feature(
    meaning="change of {series} that the return, at its {n}-bar slope, does not explain",
    formula="x - r cov_{n}(x, r) / var_{n}(r)",
    reference="Ang, Hodrick, Xing & Zhang (2006), J. Finance 61(1)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(60,),
)
def unexplained_change(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the change beyond what the return explains."""
    change = log_change(x)
    return change - bars.log_return * slope_on(change, bars.log_return, n)

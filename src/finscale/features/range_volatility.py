"""Volatility: estimators against each other, and ranges against those before them."""

from __future__ import annotations

import math

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    LEAST_MOVE,
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_corr,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_rank,
    rolling_std,
    rolling_var,
)
from finscale.features.runs import bars_since_max
from finscale.features.variance import (
    EXPONENTIAL_WINDOW_BARS,
    exponential_mean,
    log_body,
    log_gap,
    log_span,
    log_volatility_ratio,
    parkinson_variance,
    rogers_satchell_variance,
)
from finscale.features.volatility import log_range
from finscale.market.bars import OHLCV, FloatArray

_HIGH_LOW = ["high", "low"]
_ALL_PRICES = ["open", "high", "low", "close"]
_CHOU = "Chou (2005), J. Money, Credit and Banking 37(3)"
_CRABEL = "Crabel (1990), Day Trading with Short Term Price Patterns and Opening Range Breakout"
_MOLNAR = "Molnár (2012), International Review of Financial Analysis 23"


def _log_ratio(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the log ratio of two ranges, each at least 1e-6."""
    floor = LEAST_MOVE
    return np.asarray(np.log(np.maximum(one, floor)) - np.log(np.maximum(other, floor)))


@feature(
    family="volatility",
    meaning="Parkinson volatility of {fast} bars against that of {slow}",
    formula="ln(PK_{fast} / PK_{slow}), PK_n = sqrt(mean_n(ln(H/L)^2) / (4 ln 2))",
    reference="Parkinson (1980), J. Business 53(1)",
    inputs=_HIGH_LOW,
    lookback_bars=lambda _fast, slow: slow - 1,
    over=((5, 20), (20, 120)),
)
def parkinson_volatility_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio of two horizons of Parkinson's estimator."""
    variance = parkinson_variance(bars)
    return log_volatility_ratio(rolling_mean(variance, fast), rolling_mean(variance, slow))


@feature(
    family="volatility",
    meaning="volatility by the ranges of {n} bars against that by their closes",
    formula="ln sqrt(mean_{n}(ln(H/L)^2) / (4 ln 2) / mean_{n}(r^2))",
    reference=_MOLNAR,
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def parkinson_to_realized(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio of Parkinson's to the realised volatility."""
    return log_volatility_ratio(
        rolling_mean(parkinson_variance(bars), n), rolling_mean(bars.log_return**2, n)
    )


@feature(
    family="volatility",
    meaning="volatility free of the intraday drift against that by ranges, over {n} bars",
    formula="ln(RS_{n} / PK_{n}), the Rogers-Satchell and the Parkinson estimator",
    reference="Rogers & Satchell (1991), Annals of Applied Probability 1(4)",
    inputs=_ALL_PRICES,
    lookback_bars=lambda n: n - 1,
    over=(20, 252),
)
def rogers_satchell_to_parkinson(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio of Rogers and Satchell's to Parkinson's volatility."""
    return log_volatility_ratio(
        rolling_mean(rogers_satchell_variance(bars), n), rolling_mean(parkinson_variance(bars), n)
    )


@feature(
    family="volatility",
    meaning="share of the overnight gaps in the variance of {n} bars",
    formula="sum(ln(O_t/C_{{t-1}})^2) / (sum(ln(O_t/C_{{t-1}})^2) + sum(ln(C/O)^2)) over {n} bars",
    reference="Lockwood & Linn (1990), J. Finance 45(2)",
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(5, 20),
)
def overnight_variance_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the overnight share of the variance, in [0, 1]; one half where nothing moved."""
    overnight = rolling_mean(log_gap(bars) ** 2, n)
    return ratio_or(overnight, overnight + rolling_mean(log_body(bars) ** 2, n), 0.5)


@feature(
    family="volatility",
    meaning="share of the rise above the open in the excursions of {n} bars",
    formula="sum(ln(H/O)^2) / (sum(ln(H/O)^2) + sum(ln(O/L)^2)) over {n} bars",
    reference="Patton & Sheppard (2015), Review of Economics and Statistics 97(3)",
    inputs=["open", "high", "low"],
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def upside_range_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the upward share of the squared excursions; one half where there were none."""
    above = rolling_mean(np.log(bars.high / bars.open) ** 2, n)
    below = rolling_mean(np.log(bars.open / bars.low) ** 2, n)
    return ratio_or(above, above + below, 0.5)


@feature(
    family="volatility",
    meaning="range of the day against the mean of the {n} before",
    formula="ln(R_t / mean_{n}(R_{{t-1}})), R = ln(H/L)",
    reference=_CHOU,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n,
    over=(1, 20),
)
def range_surprise(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the range over its expectation from the bars before."""
    span = log_span(bars)
    return _log_ratio(span, lagged(rolling_mean(span, n), 1))


@feature(
    family="volatility",
    meaning="log range against what the ranges of a day, a week and a month before lead to expect",
    formula="x_t - (x_{{t-1}} + mean_5(x_{{t-1}}) + mean_22(x_{{t-1}})) / 3, x = ln(ln(H/L))",
    reference="Corsi (2009), J. Financial Econometrics 7(2)",
    inputs=_HIGH_LOW,
    lookback_bars=22,
)
def har_range_surprise_22(bars: OHLCV) -> FloatArray:
    """Return the surprise against equal weights of the three components."""
    size = log_range(bars)
    expected = (size + rolling_mean(size, 5) + rolling_mean(size, 22)) / 3
    return size - lagged(expected, 1)


@feature(
    family="volatility",
    meaning="mean log range of {fast} bars less that of {slow}: two components of a HAR model",
    formula="mean_{fast}(x) - mean_{slow}(x), x = ln(ln(H/L))",
    reference="Corsi (2009), J. Financial Econometrics 7(2)",
    inputs=_HIGH_LOW,
    lookback_bars=lambda _fast, slow: slow - 1,
    over=((22, 66),),
)
def har_range_contrast(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the difference of two components."""
    size = log_range(bars)
    return rolling_mean(size, fast) - rolling_mean(size, slow)


@feature(
    family="volatility",
    meaning="range of {n} bars together against that of a random walk of their ranges",
    formula="ln(ln(max_{n}(H) / min_{n}(L)) / (sqrt({n}) mean_{n}(ln(H/L))))",
    reference="Feller (1951), Annals of Mathematical Statistics 22(3)",
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(5, 20, 250),
)
def range_growth(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of how much of its ranges the window kept."""
    together = np.log(rolling_max(bars.high, n) / rolling_min(bars.low, n))
    return _log_ratio(together, math.sqrt(n) * rolling_mean(log_span(bars), n))


@feature(
    family="volatility",
    meaning="rank of the range among the last {n}",
    formula="share of the other {n} - 1 bars whose ln(H/L) is smaller, ties one half",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(7,),
)
def range_rank(bars: OHLCV, n: int) -> FloatArray:
    """Return the rank of the log range, in [0, 1]; zero is the narrowest range of n."""
    return rolling_rank(log_span(bars), n)


@feature(
    family="volatility",
    meaning="widest range of {n} bars against their mean",
    formula="ln(max_{n}(R) / mean_{n}(R)), R = ln(H/L)",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(10, 60),
)
def widest_range_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of the widest over the mean range."""
    span = log_span(bars)
    return _log_ratio(rolling_max(span, n), rolling_mean(span, n))


@feature(
    family="volatility",
    meaning="bars since the widest range of {n}, as a share of the window",
    formula="(bars since max_{n}(H/L)) / ({n} - 1)",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(20, 60),
)
def since_widest_range(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the widest range, in [0, 1]."""
    return bars_since_max(bars.high / bars.low, n) / (n - 1)


@feature(
    family="volatility",
    meaning="bars since the narrowest range of {n}, as a share of the window",
    formula="(bars since min_{n}(H/L)) / ({n} - 1)",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def since_narrowest_range(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the narrowest range, in [0, 1]."""
    return bars_since_max(-bars.high / bars.low, n) / (n - 1)


@feature(
    family="volatility",
    meaning="share of the last {n} bars with a range above 1.5 times the mean of {m}",
    formula="mean_{n}(R > 1.5 mean_{m}(R)), R = ln(H/L)",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n, m: n + m - 2,
    over=((10, 60),),
)
def wide_range_share(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the share of wide bars, in [0, 1]."""
    return _share(log_span(bars), 1.5, n, m)


@feature(
    family="volatility",
    meaning="share of the last {n} bars with a range above half the mean of {m}",
    formula="mean_{n}(R > 0.5 mean_{m}(R)), R = ln(H/L)",
    reference=_CRABEL,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n, m: n + m - 2,
    over=((30, 120),),
)
def lively_range_share(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the share of bars that are not narrow, in [0, 1]."""
    return _share(log_span(bars), 0.5, n, m)


def _share(span: FloatArray, factor: float, n: int, m: int) -> FloatArray:
    usual = rolling_mean(span, m)
    above = np.where(np.isnan(usual), np.nan, span > factor * usual)
    return rolling_mean(above, n)


@feature(
    family="volatility",
    meaning="spread of the ranges of {n} bars against their mean",
    formula="sd_{n}(R) / mean_{n}(R), R = ln(H/L)",
    reference=_CHOU,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(252,),
)
def range_variation(bars: OHLCV, n: int) -> FloatArray:
    """Return the coefficient of variation of the range; zero for flat bars."""
    span = log_span(bars)
    return ratio_or(rolling_std(span, n), rolling_mean(span, n), 0.0)


@feature(
    family="volatility",
    meaning="spread of the log range over {n} bars: volatility of volatility",
    formula="sd_{n}(ln(ln(H/L)))",
    reference="Alizadeh, Brandt & Diebold (2002), J. Finance 57(3)",
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def log_range_dispersion(bars: OHLCV, n: int) -> FloatArray:
    """Return the standard deviation of the log range."""
    return rolling_std(log_range(bars), n)


@feature(
    family="volatility",
    meaning="autocorrelation of the log range over {n} bars: how volatility clusters",
    formula="corr_{n}(x_t, x_{{t-1}}), x = ln(ln(H/L))",
    reference=_CHOU,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n,
    over=(20, 60),
)
def range_autocorrelation(bars: OHLCV, n: int) -> FloatArray:
    """Return the first autocorrelation of the log range."""
    size = log_range(bars)
    return rolling_corr(size, lagged(size, 1), n)


@feature(
    family="volatility",
    meaning="roughness of log volatility over {n} bars: the exponent of its increments",
    formula="ln(sd_{n}(x_t - x_{{t-4}}) / sd_{n}(x_t - x_{{t-1}})) / ln 4, x = ln(ln(H/L))",
    reference="Gatheral, Jaisson & Rosenbaum (2018), Quantitative Finance 18(6)",
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n + 3,
    over=(60, 250),
)
def range_roughness(bars: OHLCV, n: int) -> FloatArray:
    """Return the scaling exponent of the log range; zero where it does not move."""
    size = log_range(bars)
    long, short = (rolling_var(size - lagged(size, lag), n) for lag in (4, 1))
    return log_volatility_ratio(long, short) / math.log(4)


@feature(
    family="volatility",
    meaning="change of the smoothed range over 10 bars",
    formula="ln(E_t / E_{{t-10}}), E = EMA_10(ln(H/L)) of 128 bars",
    reference="Chaikin, in Achelis (2001), Technical Analysis from A to Z",
    inputs=_HIGH_LOW,
    lookback_bars=EXPONENTIAL_WINDOW_BARS + 9,
)
def chaikin_volatility_10(bars: OHLCV) -> FloatArray:
    """Return the log change of the exponentially smoothed range."""
    smooth = exponential_mean(log_span(bars), 10)
    return _log_ratio(smooth, lagged(smooth, 10))


@feature(
    family="volatility",
    meaning="mass index: ranges that widen and narrow again over {n} bars",
    formula="mean_{n}(E / EMA_9(E)) - 1, E = EMA_9(ln(H/L)), each of 64 bars",
    reference="Dorsey (1992), Technical Analysis of Stocks & Commodities 10(6)",
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: 2 * (64 - 1) + n - 1,
    over=(25,),
)
def mass_index(bars: OHLCV, n: int) -> FloatArray:
    """Return the mass index."""
    smooth = exponential_mean(log_span(bars), 9, 64)
    return rolling_mean(ratio_or(smooth, exponential_mean(smooth, 9, 64), 1.0), n) - 1


@feature(
    family="volatility",
    meaning="how much more the highs of {n} bars moved than the lows",
    formula="ln(sd_{n}(ln(H_t/H_{{t-1}})) / sd_{n}(ln(L_t/L_{{t-1}})))",
    reference=_MOLNAR,
    inputs=_HIGH_LOW,
    lookback_bars=lambda n: n,
    over=(20, 60),
)
def high_to_low_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio of the volatilities of highs and of lows."""
    highs = rolling_var(lagged_log_ratio(bars.high, bars.high, 1), n)
    return log_volatility_ratio(highs, rolling_var(lagged_log_ratio(bars.low, bars.low, 1), n))


@feature(
    family="volatility",
    meaning="correlation of returns with log ranges over {n} bars",
    formula="corr_{n}(r, ln(ln(H/L)))",
    reference="Christie (1982), J. Financial Economics 10(4)",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(60, 252),
)
def return_range_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation; zero where either does not move."""
    return rolling_corr(bars.log_return, log_range(bars), n)

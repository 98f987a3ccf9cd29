"""Volatility of returns: its asymmetry, its jumps, its own volatility, and how it changes."""

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
    rolling_sum,
    rolling_var,
)
from finscale.features.runs import bars_since_max
from finscale.features.variance import (
    EXPONENTIAL_WINDOW_BARS,
    exponential_mean,
    log_body,
    log_gap,
    log_volatility,
    log_volatility_ratio,
)
from finscale.market.bars import OHLCV, FloatArray

_CLOSE = ["close"]
_SEMIVARIANCE = (
    "Barndorff-Nielsen, Kinnebrock & Shephard (2010), in Volatility and Time Series Econometrics"
)
_QUARTICITY = "Barndorff-Nielsen & Shephard (2002), J. Royal Statistical Society B 64(2)"
_BALTUSSEN = (
    "Baltussen, van Bekkum & van der Grient (2018), J. Financial and Quantitative Analysis 53(4)"
)
_SCHWERT = "Schwert (1989), J. Finance 44(5)"
_RISKMETRICS = "J.P. Morgan & Reuters (1996), RiskMetrics Technical Document, 4th ed., ch. 5"
_KELLY = "Kelly & Jiang (2014), Review of Financial Studies 27(10)"


def _log_realized(bars: OHLCV, n: int) -> FloatArray:
    return log_volatility(rolling_mean(bars.log_return**2, n))


@feature(
    family="volatility",
    meaning="share of the losses in the variance of {n} bars",
    formula="sum_{n}(min(r, 0)^2) / sum_{n}(r^2)",
    reference=_SEMIVARIANCE,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(20, 250),
)
def downside_variance_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the downside share of the variance, in [0, 1]; one half where nothing moved."""
    losses = np.minimum(bars.log_return, 0) ** 2
    return ratio_or(rolling_sum(losses, n), rolling_sum(bars.log_return**2, n), 0.5)


@feature(
    family="volatility",
    meaning="losses of the last {fast} bars against those of {slow}",
    formula="ln sqrt(mean_{fast}(min(r, 0)^2) / mean_{slow}(min(r, 0)^2))",
    reference="Patton & Sheppard (2015), Review of Economics and Statistics 97(3)",
    inputs=_CLOSE,
    lookback_bars=lambda _fast, slow: slow,
    over=((10, 120),),
)
def downside_deviation_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio of two horizons of the downside deviation."""
    losses = np.minimum(bars.log_return, 0) ** 2
    return log_volatility_ratio(rolling_mean(losses, fast), rolling_mean(losses, slow))


@feature(
    family="volatility",
    meaning="share of jumps in the variance of {n} bars, by bipower variation",
    formula="max(0, 1 - (pi/2) sum_{n}(|r_t r_{{t-1}}|) / sum_{n}(r^2))",
    reference="Barndorff-Nielsen & Shephard (2004), J. Financial Econometrics 2(1)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 1,
    over=(20, 250),
)
def bipower_jump_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the jump share, in [0, 1]; zero where nothing moved."""
    size = np.abs(bars.log_return)
    smooth = math.pi / 2 * rolling_sum(size * lagged(size, 1), n)
    return np.maximum(0, 1 - ratio_or(smooth, rolling_sum(size**2, n), 1.0))


@feature(
    family="volatility",
    meaning="variance by medians of three returns against the realised, over {n} bars",
    formula="ln sqrt(c mean_{n}(med(|r_t|, |r_{{t-1}}|, |r_{{t-2}}|)^2) / mean_{n}(r^2)), "
    "c = pi / (6 - 4 sqrt(3) + pi)",
    reference="Andersen, Dobrev & Schaumburg (2012), J. Econometrics 169(1)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 2,
    over=(10, 120),
)
def median_to_realized(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio of the median-based to the realised volatility."""
    one = np.abs(bars.log_return)
    two, three = lagged(one, 1), lagged(one, 2)
    median = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
    scale = math.pi / (6 - 4 * math.sqrt(3) + math.pi)
    return log_volatility_ratio(scale * rolling_mean(median**2, n), rolling_mean(one**2, n))


@feature(
    family="volatility",
    meaning="share of the largest return in the variance of {n} bars",
    formula="max_{n}(r^2) / sum_{n}(r^2)",
    reference=_KELLY,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(5, 250),
)
def largest_move_share(bars: OHLCV, n: int) -> FloatArray:
    """Return the share of the largest squared return; 1 / n where nothing moved."""
    squares = bars.log_return**2
    return ratio_or(rolling_max(squares, n), rolling_sum(squares, n), 1 / n)


@feature(
    family="volatility",
    meaning="realised quarticity of {n} bars against the squared variance",
    formula="ln(({n}/3) sum_{n}(r^4) / sum_{n}(r^2)^2)",
    reference=_QUARTICITY,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(20,),
)
def log_quarticity_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio, zero for normal returns; ln(1/3) where nothing moved."""
    squares = bars.log_return**2
    variance = rolling_sum(squares, n)
    return np.asarray(np.log(ratio_or(n / 3 * rolling_sum(squares**2, n), variance**2, 1 / 3)))


@feature(
    family="volatility",
    meaning="how evenly the variance is spread over {n} bars: entropy of its shares",
    formula="-sum_{n}(p ln p) / ln {n}, p = r^2 / sum_{n}(r^2)",
    reference="Shannon (1948), Bell System Technical Journal 27(3)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(10,),
)
def variance_entropy(bars: OHLCV, n: int) -> FloatArray:
    """Return the normalised entropy, in [0, 1]; one where nothing moved."""
    squares = bars.log_return**2
    total = rolling_sum(squares, n)
    logs = squares * np.log(np.where(squares > 0, squares, 1.0))
    entropy = np.log(np.where(total > 0, total, 1.0)) - ratio_or(rolling_sum(logs, n), total, 0.0)
    share = np.clip(entropy / math.log(n), 0, 1)
    return np.where(total == 0, 1.0, share)


@feature(
    family="volatility",
    meaning="bars since the largest absolute return of {n}, as a share of the window",
    formula="(bars since max_{n}(|r|)) / ({n} - 1)",
    reference=_KELLY,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(60, 250),
)
def since_largest_move(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the largest move, in [0, 1]."""
    return bars_since_max(np.abs(bars.log_return), n) / (n - 1)


@feature(
    family="volatility",
    meaning="volatility of the last {n} bars against that of the {n} before",
    formula="ln sqrt(mean_{n}(r_t^2) / mean_{n}(r_{{t-{n}}}^2))",
    reference=_SCHWERT,
    inputs=_CLOSE,
    lookback_bars=lambda n: 2 * n,
    over=(5, 20),
)
def realized_volatility_change(bars: OHLCV, n: int) -> FloatArray:
    """Return the log change of the realised volatility from window to window."""
    level = _log_realized(bars, n)
    return level - lagged(level, n)


@feature(
    family="volatility",
    meaning="volatility of the log volatility of {n} bars over {m} bars",
    formula="sd_{m}(ln RV_{n}), RV_{n} = sqrt(mean_{n}(r^2))",
    reference=_BALTUSSEN,
    inputs=_CLOSE,
    lookback_bars=lambda n, m: n + m - 1,
    over=((5, 20), (5, 60), (10, 120)),
)
def volatility_of_volatility(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the standard deviation of the log realised volatility."""
    return rolling_std(_log_realized(bars, n), m)


@feature(
    family="volatility",
    meaning="rank of the volatility of {n} bars among those of the last {m}",
    formula="share of the other {m} - 1 values of mean_{n}(r^2) that are smaller, ties one half",
    reference=_SCHWERT,
    inputs=_CLOSE,
    lookback_bars=lambda n, m: n + m - 1,
    over=((20, 120), (10, 240)),
)
def realized_volatility_rank(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the rank of the realised volatility, in [0, 1]."""
    # Windows of the same moves are equal, in whatever order these were added up.
    return rolling_rank(np.round(_log_realized(bars, n), 9), m)


@feature(
    family="volatility",
    meaning="place of the volatility of {n} bars between its extremes of the last {m}",
    formula="(x - min_{m}(x)) / (max_{m}(x) - min_{m}(x)), x = ln sqrt(mean_{n}(r^2))",
    reference=_SCHWERT,
    inputs=_CLOSE,
    lookback_bars=lambda n, m: n + m - 1,
    over=((20, 60),),
)
def realized_volatility_place(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the place of the log volatility, in [0, 1]; one half where it did not change."""
    level = _log_realized(bars, n)
    lowest = rolling_min(level, m)
    return ratio_or(level - lowest, rolling_max(level, m) - lowest, 0.5)


@feature(
    family="volatility",
    meaning="share of the last {m} bars on which volatility of {fast} exceeded that of {slow}",
    formula="mean_{m}(mean_{fast}(r^2) > mean_{slow}(r^2))",
    reference="Hamilton & Susmel (1994), J. Econometrics 64(1-2)",
    inputs=_CLOSE,
    lookback_bars=lambda _fast, slow, m: slow + m - 1,
    over=((5, 20, 20),),
)
def turbulent_share(bars: OHLCV, fast: int, slow: int, m: int) -> FloatArray:
    """Return the share of turbulent bars, in [0, 1]."""
    squares = bars.log_return**2
    usual = rolling_mean(squares, slow)
    above = np.where(np.isnan(usual), np.nan, rolling_mean(squares, fast) > usual)
    return rolling_mean(above, m)


@feature(
    family="volatility",
    meaning="leverage effect: correlation of a return with the next squared return over {n} bars",
    formula="corr_{n}(r_{{t-1}}, r_t^2)",
    reference="Bouchaud, Matacz & Potters (2001), Physical Review Letters 87(22)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 1,
    over=(60, 250),
)
def leverage_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation, below zero where losses raise volatility."""
    return rolling_corr(lagged(bars.log_return, 1), bars.log_return**2, n)


@feature(
    family="volatility",
    meaning="correlation of absolute returns with the volatility of the 5 bars before, over {n}",
    formula="corr_{n}(|r_t|, sqrt(mean_5(r_{{t-1}}^2)))",
    reference=_SCHWERT,
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 5,
    over=(60,),
)
def volatility_persistence(bars: OHLCV, n: int) -> FloatArray:
    """Return how far volatility foretells the size of the next return."""
    before = lagged(np.sqrt(rolling_mean(bars.log_return**2, 5)), 1)
    return rolling_corr(np.abs(bars.log_return), before, n)


@feature(
    family="volatility",
    meaning="size of the return against the volatility expected before it, of a span of {n} bars",
    formula="ln(1 + |r_t| / s_{{t-1}}), s = sqrt(EMA_{n}(r^2)) of 128 bars",
    reference=_RISKMETRICS,
    inputs=_CLOSE,
    lookback_bars=EXPONENTIAL_WINDOW_BARS + 1,
    over=(32,),
)
def volatility_surprise(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of one plus the standardised size of the return."""
    return np.log1p(np.abs(_standardized(bars, n)))


def _standardized(bars: OHLCV, n: int) -> FloatArray:
    variance = lagged(exponential_mean(bars.log_return**2, n), 1)
    return bars.log_return / np.sqrt(np.maximum(variance, LEAST_MOVE**2))


@feature(
    family="volatility",
    meaning="exponentially weighted volatility of a span of {fast} bars against that of {slow}",
    formula="ln sqrt(EMA_{fast}(r^2) / EMA_{slow}(r^2)), each of 128 bars",
    reference=_RISKMETRICS,
    inputs=_CLOSE,
    lookback_bars=EXPONENTIAL_WINDOW_BARS,
    over=((8, 32),),
)
def ewma_volatility_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio of two exponentially weighted volatilities."""
    squares = bars.log_return**2
    return log_volatility_ratio(exponential_mean(squares, fast), exponential_mean(squares, slow))


@feature(
    family="volatility",
    meaning="standard deviation of returns over {fast} bars against that over {slow}",
    formula="ln(sd_{fast}(r) / sd_{slow}(r))",
    reference="Connors & Raschke (1996), Street Smarts",
    inputs=_CLOSE,
    lookback_bars=lambda _fast, slow: slow,
    over=((6, 100),),
)
def historical_volatility_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio of two historical volatilities."""
    returns = bars.log_return
    return log_volatility_ratio(rolling_var(returns, fast), rolling_var(returns, slow))


@feature(
    family="volatility",
    meaning="relative volatility index: share of rising bars in the 10-bar deviations of {n}",
    formula="sum_{n}(sd_10(C) where r > 0) / sum_{n}(sd_10(C) where r != 0)",
    reference="Dorsey (1993), Technical Analysis of Stocks & Commodities 11(6)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 8,
    over=(14, 60),
)
def relative_volatility_index(bars: OHLCV, n: int) -> FloatArray:
    """Return the index, in [0, 1]; one half where nothing moved."""
    spread = rolling_std(bars.close, 10)
    rising, moving = spread * (bars.log_return > 0), spread * (bars.log_return != 0)
    return ratio_or(rolling_sum(rising, n), rolling_sum(moving, n), 0.5)


@feature(
    family="volatility",
    meaning="volatility of closes against that of typical prices over {n} bars",
    formula="ln sqrt(mean_{n}(r^2) / mean_{n}(ln(P_t / P_{{t-1}})^2)), P = (H + L + C) / 3",
    reference="French & Roll (1986), J. Financial Economics 17(1)",
    inputs=["high", "low", "close"],
    lookback_bars=lambda n: n,
    over=(60,),
)
def close_to_typical_volatility(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio, high where closes bounce about the day's middle."""
    middle = lagged_log_ratio(bars.typical_price, bars.typical_price, 1)
    return log_volatility_ratio(rolling_mean(bars.log_return**2, n), rolling_mean(middle**2, n))


@feature(
    family="volatility",
    meaning="correlation of the gap with the day after it over {n} bars",
    formula="corr_{n}(ln(O_t / C_{{t-1}}), ln(C / O))",
    reference="Lou, Polk & Skouras (2019), J. Financial Economics 134(1)",
    inputs=["open", "close"],
    lookback_bars=lambda n: n,
    over=(20, 250),
)
def overnight_intraday_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation of overnight and intraday returns; zero without gaps."""
    return rolling_corr(log_gap(bars), log_body(bars), n)

"""Statistics of returns in time: autocorrelation, variance ratios, leverage, mean reversion."""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_corr,
    rolling_mean,
    rolling_sum,
    rolling_var,
)
from finscale.market.bars import OHLCV, FloatArray

_CAMPBELL = "Campbell, Lo & MacKinlay (1997), The Econometrics of Financial Markets, ch. 2"


@feature(
    family="statistics",
    meaning="correlation of returns with those {lag} bars before, over {n} bars",
    formula="corr_{n}(r_t, r_{{t-{lag}}})",
    reference=_CAMPBELL,
    inputs=["close"],
    lookback_bars=lambda lag, n: n + lag,
    over=((1, 20), (1, 60), (1, 240), (2, 60), (5, 60)),
)
def return_autocorrelation(bars: OHLCV, lag: int, n: int) -> FloatArray:
    """Return the autocorrelation of returns; zero where they do not vary."""
    return _autocorrelation(bars.log_return, lag, n)


@feature(
    family="statistics",
    meaning="correlation of squared returns with those {lag} bars before, over {n} bars",
    formula="corr_{n}(r_t^2, r_{{t-{lag}}}^2)",
    reference="Engle (1982), Econometrica 50(4)",
    inputs=["close"],
    lookback_bars=lambda lag, n: n + lag,
    over=[(1, 120), (2, 120)],
)
def squared_return_autocorrelation(bars: OHLCV, lag: int, n: int) -> FloatArray:
    """Return the autocorrelation of squared returns; zero where they do not vary."""
    return _autocorrelation(bars.log_return**2, lag, n)


@feature(
    family="statistics",
    meaning="partial correlation of absolute returns with those two bars before, over {n} bars",
    formula="(a2 - a1^2) / (1 - a1^2), ak = corr_{n}(|r_t|, |r_{{t-k}}|)",
    reference="Box & Jenkins (1970), Time Series Analysis, ch. 3",
    inputs=["close"],
    lookback_bars=lambda n: n + 2,
    over=(240,),
)
def absolute_return_partial_autocorrelation(bars: OHLCV, n: int) -> FloatArray:
    """Return the partial autocorrelation at lag 2, in [-1, 1]; zero where lag 1 says it all."""
    size = np.abs(bars.log_return)
    first, second = _autocorrelation(size, 1, n), _autocorrelation(size, 2, n)
    # The two sample correlations are of different rows, so that the quotient may leave its bounds.
    return np.clip(ratio_or(second - first**2, 1 - first**2, 0.0), -1, 1)


@feature(
    family="statistics",
    meaning="variance of {q}-bar returns over {q} times that of one-bar returns, in {n} bars",
    formula="VR({q}) of the last {n} r, overlapping, unbiased",
    reference="Lo & MacKinlay (1988), Review of Financial Studies 1(1)",
    inputs=["close"],
    lookback_bars=lambda _q, n: n,
    over=[(5, 60), (10, 120), (20, 240)],
)
def variance_ratio(bars: OHLCV, q: int, n: int) -> FloatArray:
    """Return the variance ratio: 1 for a random walk, above where moves go on; 1 without moves."""
    returns = bars.log_return
    mean = rolling_mean(returns, n)
    several = lagged_log_ratio(bars.close, bars.close, q)
    n_several = n - q + 1
    squares = rolling_var(several, n_several) + (rolling_mean(several, n_several) - q * mean) ** 2
    # Lo & MacKinlay's m: q (n - q + 1) (1 - q / n), for a mean over n - q + 1 sums.
    long = squares / (q * (1 - q / n))
    return ratio_or(long, rolling_var(returns, n, ddof=1), 1.0)


@feature(
    family="statistics",
    meaning="correlation of {h}-bar returns with those just before, over {n} bars",
    formula="corr_{n}(x_t, x_{{t-{h}}}), x_t = ln(C_t / C_{{t-{h}}})",
    reference="Fama & French (1988), J. Political Economy 96(2)",
    inputs=["close"],
    lookback_bars=lambda h, n: n + 2 * h - 1,
    over=[(5, 120), (20, 200)],
)
def horizon_autocorrelation(bars: OHLCV, h: int, n: int) -> FloatArray:
    """Return the autocorrelation of overlapping long returns; zero where they do not vary."""
    return _autocorrelation(lagged_log_ratio(bars.close, bars.close, h), h, n)


@feature(
    family="statistics",
    meaning="how {h}-bar moves foretell the size of the {h} daily moves after, over {n} bars",
    formula="corr_{n}(mean_{h}(|r|)_t, |ln(C_{{t-{h}}} / C_{{t-2*{h}}})|)",
    reference="Müller et al. (1997), J. Empirical Finance 4(2), coarse and fine volatility",
    inputs=["close"],
    lookback_bars=lambda h, n: n + 2 * h - 1,
    over=[(5, 120)],
)
def coarse_fine_volatility_correlation(bars: OHLCV, h: int, n: int) -> FloatArray:
    """Return the correlation of fine volatility with coarse volatility before it."""
    coarse = np.abs(lagged_log_ratio(bars.close, bars.close, h))
    return rolling_corr(rolling_mean(np.abs(bars.log_return), h), lagged(coarse, h), n)


@feature(
    family="statistics",
    meaning="asymmetry of returns under time reversal, over {n} bars",
    formula="mean_{n}(r_t^2 r_{{t-1}} - r_t r_{{t-1}}^2) / mean_{n}((|r_t|^3 + |r_{{t-1}}|^3) / 2)",
    reference="Ramsey & Rothman (1996), J. Money, Credit and Banking 28(1)",
    inputs=["close"],
    lookback_bars=lambda n: n + 1,
    over=(60,),
)
def time_reversal_asymmetry(bars: OHLCV, n: int) -> FloatArray:
    """Return how differently the series would run backwards, in [-2, 2]; zero without moves."""
    now, before = bars.log_return, lagged(bars.log_return, 1)
    size = (np.abs(now) ** 3 + np.abs(before) ** 3) / 2
    return ratio_or(rolling_sum(now * before * (now - before), n), rolling_sum(size, n), 0.0)


@feature(
    family="statistics",
    meaning="correlation of the close's change with its level before, over {n} bars",
    formula="corr_{n}(C_t - C_{{t-1}}, C_{{t-1}}) = z / sqrt(z^2 + {n} - 2), z = Dickey-Fuller t",
    reference="Dickey & Fuller (1979), J. American Statistical Association 74(366)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60, 240),
)
def dickey_fuller_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the pull to the mean, in [-1, 1]: the more negative, the more stationary."""
    before = lagged(bars.close, 1)
    return rolling_corr(bars.close - before, before, n)


@feature(
    family="statistics",
    meaning="more or fewer changes of direction in {n} bars than chance would make",
    formula="(R - E(R)) / sd(R), R = runs of r > 0 and r <= 0",
    reference="Wald & Wolfowitz (1940), Annals of Mathematical Statistics 11(2); Fama (1965)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(120,),
)
def runs_test(bars: OHLCV, n: int) -> FloatArray:
    """Return the z-value of the runs test: negative where direction persists; zero in one run."""
    returns = bars.log_return
    rises = np.where(np.isnan(returns), np.nan, (returns > 0).astype(np.float64))
    n_up = rolling_sum(rises, n)
    n_runs = 1 + rolling_sum(np.abs(rises - lagged(rises, 1)), n - 1)
    product = 2 * n_up * (n - n_up)
    variance = product * (product - n) / (n**2 * (n - 1))
    # With rises or falls only, there is one run and no variance.
    return ratio_or(n_runs - product / n - 1, np.sqrt(np.maximum(variance, 0.0)), 0.0)


def _autocorrelation(values: FloatArray, lag: int, n: int) -> FloatArray:
    return rolling_corr(values, lagged(values, lag), n)

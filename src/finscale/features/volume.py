"""Volume: how much is traded against what is usual, how it changes, spreads and clusters.

Volume enters as a ratio to its own average only, so that its unit does not matter. A market
without volume gives constants.
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
    rolling_rank,
    rolling_skew_kurtosis,
    rolling_slope,
    rolling_std,
    rolling_sum,
)
from finscale.features.runs import bars_since_max
from finscale.features.variance import log_span
from finscale.market.bars import OHLCV, FloatArray

_VOLUME = ["volume"]
_KARPOFF = "Karpoff (1987), J. Financial and Quantitative Analysis 22(1)"
_GERVAIS = "Gervais, Kaniel & Mingelgrin (2001), J. Finance 56(3)"
_CHORDIA = "Chordia, Subrahmanyam & Anshuman (2001), J. Financial Economics 59(1)"
_LEE = "Lee & Swaminathan (2000), J. Finance 55(5)"
_GALLANT = "Gallant, Rossi & Tauchen (1992), Review of Financial Studies 5(2)"

# A session without trade has no log volume; it counts as one with a thousandth of the average.
LEAST_RELATIVE_VOLUME = 1e-3


def log_volume_ratio(volume: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the log ratio of two volumes, within ±ln(1000); zero where both are zero."""
    from_none = np.where(volume > 0, 1 / LEAST_RELATIVE_VOLUME, 1.0)
    ratio = np.where(reference == 0, from_none, ratio_or(volume, reference, 1.0))
    return np.asarray(np.log(np.clip(ratio, LEAST_RELATIVE_VOLUME, 1 / LEAST_RELATIVE_VOLUME)))


def _log_relative(bars: OHLCV) -> FloatArray:
    """Return log volume over its 20-bar mean: a series that has no unit."""
    return log_volume_ratio(bars.volume, rolling_mean(bars.volume, 20))


@feature(
    family="volume",
    meaning="volume of {fast} bars against that of {slow}",
    formula="ln(mean_{fast}(V) / mean_{slow}(V))",
    reference=_LEE,
    inputs=_VOLUME,
    lookback_bars=lambda _fast, slow: slow - 1,
    over=((5, 20),),
)
def average_volume_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio of two average volumes; zero where nothing was traded."""
    return log_volume_ratio(rolling_mean(bars.volume, fast), rolling_mean(bars.volume, slow))


@feature(
    family="volume",
    meaning="volume of the last {n} bars against that of the {n} before",
    formula="ln(mean_{n}(V_t) / mean_{n}(V_{{t-{n}}}))",
    reference=_KARPOFF,
    inputs=_VOLUME,
    lookback_bars=lambda n: 2 * n - 1,
    over=(1, 120),
)
def volume_change(bars: OHLCV, n: int) -> FloatArray:
    """Return the log change of volume, within ±ln(1000)."""
    mean = rolling_mean(bars.volume, n)
    return log_volume_ratio(mean, lagged(mean, n))


@feature(
    family="volume",
    meaning="trend of volume over {n} bars",
    formula="{n} times the least-squares slope of V over {n} bars / mean_{n}(V)",
    reference=_LEE,
    inputs=_VOLUME,
    lookback_bars=lambda n: n - 1,
    over=(40,),
)
def volume_trend(bars: OHLCV, n: int) -> FloatArray:
    """Return how much the fitted volume rises over the window, in its mean."""
    return ratio_or(n * rolling_slope(bars.volume, n), rolling_mean(bars.volume, n), 0.0)


@feature(
    family="volume",
    meaning="spread of volume over {n} bars against its mean",
    formula="sd_{n}(V) / mean_{n}(V)",
    reference=_CHORDIA,
    inputs=_VOLUME,
    lookback_bars=lambda n: n - 1,
    over=(5, 20),
)
def volume_variation(bars: OHLCV, n: int) -> FloatArray:
    """Return the coefficient of variation of volume; zero without volume."""
    return ratio_or(rolling_std(bars.volume, n), rolling_mean(bars.volume, n), 0.0)


@feature(
    family="volume",
    meaning="spread of the daily change of log volume over {n} bars",
    formula="sd_{n}(ln(V_t / V_{{t-1}}))",
    reference=_CHORDIA,
    inputs=_VOLUME,
    lookback_bars=lambda n: n,
    over=(10,),
)
def volume_change_dispersion(bars: OHLCV, n: int) -> FloatArray:
    """Return the standard deviation of the log change of volume."""
    return rolling_std(log_volume_ratio(bars.volume, lagged(bars.volume, 1)), n)


@feature(
    family="volume",
    meaning="rank of volume among the last {n} bars",
    formula="share of the other {n} - 1 bars of smaller V, ties one half",
    reference=_GERVAIS,
    inputs=_VOLUME,
    lookback_bars=lambda n: n - 1,
    over=(50,),
)
def volume_rank(bars: OHLCV, n: int) -> FloatArray:
    """Return the rank of volume, in [0, 1]; one half without volume."""
    return rolling_rank(bars.volume, n)


@feature(
    family="volume",
    meaning="largest volume of {n} bars against their mean",
    formula="ln(max_{n}(V) / mean_{n}(V))",
    reference=_GERVAIS,
    inputs=_VOLUME,
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def largest_volume_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return how far volume is concentrated in one bar; zero without volume."""
    return log_volume_ratio(rolling_max(bars.volume, n), rolling_mean(bars.volume, n))


@feature(
    family="volume",
    meaning="bars since the largest volume of {n}, as a share of the window",
    formula="(bars since max_{n}(V)) / ({n} - 1)",
    reference=_GERVAIS,
    inputs=_VOLUME,
    lookback_bars=lambda n: n - 1,
    over=(20, 60),
)
def since_largest_volume(bars: OHLCV, n: int) -> FloatArray:
    """Return the age of the largest volume, in [0, 1]."""
    return bars_since_max(bars.volume, n) / (n - 1)


@feature(
    family="volume",
    meaning="share of the last {n} bars of more volume than the mean of {m}",
    formula="mean_{n}(V > mean_{m}(V))",
    reference=_GERVAIS,
    inputs=_VOLUME,
    lookback_bars=lambda n, m: n + m - 2,
    over=((10, 20),),
)
def busy_share(bars: OHLCV, n: int, m: int) -> FloatArray:
    """Return the share of busy bars, in [0, 1]; zero without volume."""
    usual = rolling_mean(bars.volume, m)
    # The mean of equal volumes may fall short of them by a rounding error.
    above = bars.volume > usual * (1 + 1e-9)
    return rolling_mean(np.where(np.isnan(usual), np.nan, above), n)


@feature(
    family="volume",
    meaning="share of the rises in the changes of volume over {n} bars",
    formula="sum_{n}(max(V_t - V_{{t-1}}, 0)) / sum_{n}(|V_t - V_{{t-1}}|)",
    reference="Wilder (1978), New Concepts in Technical Trading Systems, applied to volume",
    inputs=_VOLUME,
    lookback_bars=lambda n: n,
    over=(5, 14),
)
def volume_strength(bars: OHLCV, n: int) -> FloatArray:
    """Return the relative strength of volume, in [0, 1]; one half where it does not change."""
    change = bars.volume - lagged(bars.volume, 1)
    rises = rolling_sum(np.maximum(change, 0), n)
    return ratio_or(rises, rolling_sum(np.abs(change), n), 0.5)


@feature(
    family="volume",
    meaning="autocorrelation of relative volume over {n} bars",
    formula="corr_{n}(x_t, x_{{t-1}}), x = ln(V / mean_20(V))",
    reference=_GALLANT,
    inputs=_VOLUME,
    lookback_bars=lambda n: n + 19,
    over=(20, 230),
)
def volume_autocorrelation(bars: OHLCV, n: int) -> FloatArray:
    """Return the first autocorrelation of log relative volume."""
    size = _log_relative(bars)
    return rolling_corr(size, lagged(size, 1), n)


@feature(
    family="volume",
    meaning="skewness of relative volume over {n} bars",
    formula="skew_{n}(ln(V / mean_20(V)))",
    reference=_GALLANT,
    inputs=_VOLUME,
    lookback_bars=lambda n: n + 18,
    over=(40, 120),
)
def volume_skewness(bars: OHLCV, n: int) -> FloatArray:
    """Return the skewness of log relative volume."""
    return rolling_skew_kurtosis(_log_relative(bars), n)[0]


@feature(
    family="volume",
    meaning="how evenly volume is spread over {n} bars: entropy of its shares",
    formula="-sum_{n}(p ln p) / ln {n}, p = V / sum_{n}(V)",
    reference="Shannon (1948), Bell System Technical Journal 27(3)",
    inputs=_VOLUME,
    lookback_bars=lambda n: n - 1,
    over=(30,),
)
def volume_entropy(bars: OHLCV, n: int) -> FloatArray:
    """Return the normalised entropy, in [0, 1]; one without volume."""
    total = rolling_sum(bars.volume, n)
    entropy = np.zeros(len(bars))
    for back in range(n):
        share = ratio_or(lagged(bars.volume, back), total, 1 / n)
        entropy -= share * np.log(np.where(share > 0, share, 1.0))
    return np.asarray(np.clip(np.where(np.isnan(total), np.nan, entropy) / np.log(n), 0, 1))


@feature(
    family="volume",
    meaning="effort against result: volume against what the day's range leads to expect",
    formula="ln((V_t / mean_{n}(V)) / (R_t / mean_{n}(R))), R = ln(H/L)",
    reference="Pruden (2007), The Three Skills of Top Trading, ch. 4",
    inputs=["high", "low", "volume"],
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def volume_to_range(bars: OHLCV, n: int) -> FloatArray:
    """Return log relative volume less the log relative range; zero without volume."""
    span, usual = log_span(bars), rolling_mean(bars.volume, n)
    effort = log_volume_ratio(bars.volume, usual)
    return np.where(usual == 0, 0.0, effort - log_volume_ratio(span, rolling_mean(span, n)))


@feature(
    family="volume",
    meaning="correlation of volume with the range over {n} bars",
    formula="corr_{n}(V, ln(H/L))",
    reference="Tauchen & Pitts (1983), Econometrica 51(2)",
    inputs=["high", "low", "volume"],
    lookback_bars=lambda n: n - 1,
    over=(20,),
)
def volume_range_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation; zero where either does not change."""
    return rolling_corr(bars.volume, log_span(bars), n)

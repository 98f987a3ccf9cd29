"""Context features of another market's price or index level.

X is the price as of each bar's close and x its log change over one bar (see
:mod:`finscale.features.context`).
"""

from __future__ import annotations

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
from finscale.features.rolling import lagged, lagged_log_ratio, rolling_corr, rolling_max
from finscale.market.bars import OHLCV, FloatArray

TEMPLATES: list[Template] = []

_feature = partial(collect, TEMPLATES)


@_feature(
    meaning="{n}-bar log return of {series}",
    formula="ln(X_t / X_{{t-{n}}})",
    reference="Rapach, Strauss & Zhou (2013), J. Finance 68(4)",
    lookback_bars=lambda n: n,
    over=(1, 5, 20),
)
def log_return(_bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the log return of the series."""
    return log_change(x, n)


@_feature(
    meaning="{n}-bar log return beyond that of {series}",
    formula="ln(C_t / C_{{t-{n}}}) - ln(X_t / X_{{t-{n}}})",
    reference="Levy (1967), J. Finance 22(4)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(1, 20, 60),
)
def relative_strength(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the return beyond that of the series."""
    return log_change(bars.close, n) - log_change(x, n)


@_feature(
    meaning="log return from {n} to {skipped} bars ago beyond that of {series}",
    formula="ln(C_{{t-{skipped}}} / C_{{t-{n}}}) - ln(X_{{t-{skipped}}} / X_{{t-{n}}})",
    reference="Jegadeesh & Titman (1993), J. Finance 48(1)",
    inputs=("close",),
    lookback_bars=lambda n, _skipped: n,
    over=((252, 21),),
)
def momentum_difference(bars: OHLCV, x: FloatArray, n: int, skipped: int) -> FloatArray:
    """Return the momentum beyond that of the series."""

    def momentum(values: FloatArray) -> FloatArray:
        return lagged_log_ratio(lagged(values, skipped), values, n)

    return momentum(bars.close) - momentum(x)


@_feature(
    meaning="correlation of returns with those of {series} over {n} bars; 0 if one stood still",
    formula="corr_{n}(r, x)",
    reference="Longin & Solnik (2001), J. Finance 56(2)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(60,),
)
def correlation(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the correlation of returns."""
    return rolling_corr(bars.log_return, log_change(x), n)


@_feature(
    meaning="correlation of returns with those of {series} a bar before, over {n} bars",
    formula="corr_{n}(r_t, x_{{t-1}})",
    reference="Lo & MacKinlay (1990), Review of Financial Studies 3(2)",
    inputs=("close",),
    lookback_bars=lambda n: n + 1,
    over=(60,),
)
def lead_correlation(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the correlation of returns with those of a bar before."""
    return rolling_corr(bars.log_return, lagged(log_change(x), 1), n)


@_feature(
    meaning="slope of returns on those of {series} over {n} bars; 0 if {series} stood still",
    formula="cov_{n}(r, x) / var_{n}(x)",
    reference="Sharpe (1964), J. Finance 19(3)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(60,),
)
def beta(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the slope of returns on those of the series."""
    return slope_on(bars.log_return, log_change(x), n)


@_feature(
    meaning="return that the one of {series}, at its {n}-bar slope, does not explain",
    formula="r - x cov_{n}(r, x) / var_{n}(x)",
    reference="Blitz, Huij & Martens (2011), J. Empirical Finance 18(3)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(60,),
)
def unexplained_return(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the return beyond what the series explains."""
    change = log_change(x)
    return bars.log_return - change * slope_on(bars.log_return, change, n)


@_feature(
    meaning="price over {series} in standard deviations from its {n}-bar mean; 0 if it stood still",
    formula="(C/X - mean_{n}(C/X)) / std_{n}(C/X)",
    reference="Gatev, Goetzmann & Rouwenhorst (2006), Review of Financial Studies 19(3)",
    inputs=("close",),
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def spread_zscore(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return how unusual the relative price is."""
    return standardized(bars.close / x, n)


@_feature(
    meaning="log of the realised volatility of {n} bars over that of {series}",
    formula="ln sqrt(mean_{n}(r^2) / mean_{n}(x^2))",
    reference="Schwert (1989), J. Finance 44(5)",
    inputs=("close",),
    lookback_bars=lambda n: n,
    over=(20, 60),
)
def volatility_ratio(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the log ratio of volatilities."""
    own, other = (mean_square(one, n) for one in (bars.log_return, log_change(x)))
    return np.asarray(0.5 * np.log(own / other))


@_feature(
    meaning="log fall from the highest close of {n} bars beyond that of {series}",
    formula="ln(C / max_{n}(C)) - ln(X / max_{n}(X))",
    reference="Magdon-Ismail & Atiya (2004), Risk 17(10)",
    inputs=("close",),
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def drawdown_difference(bars: OHLCV, x: FloatArray, n: int) -> FloatArray:
    """Return the fall from the peak beyond that of the series."""
    return np.asarray(
        np.log(bars.close / rolling_max(bars.close, n)) - np.log(x / rolling_max(x, n))
    )

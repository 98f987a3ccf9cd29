"""Statistics of returns that rest on their order: asymmetry and weight of the tails."""

from __future__ import annotations

import numpy as np
import polars as pl

from finscale.features.registry import feature
from finscale.features.rolling import ratio_or, rolling_mean, rolling_std
from finscale.market.bars import OHLCV, FloatArray

_KIM = "Kim & White (2004), Finance Research Letters 1(1)"


@feature(
    family="statistics",
    meaning="which outer twentieth of the last {n} returns lies farther from the median",
    formula="(q95 + q05 - 2 q50) / (q95 - q05), q = quantiles of r over {n} bars",
    reference=_KIM + ", after Hinkley (1975), Biometrika 62(1)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60, 250),
)
def tail_asymmetry(bars: OHLCV, n: int) -> FloatArray:
    """Return the quantile skewness of the tails, in [-1, 1]; zero if they are the same."""
    return _quantile_skewness(bars.log_return, n, 0.05)


@feature(
    family="statistics",
    meaning="how much wider the tails of the last {n} returns are than their middle half",
    formula="1 - (q75 - q25) / (q95 - q05), q = quantiles of r over {n} bars",
    reference=_KIM + ", after Crow & Siddiqui (1967), J. American Statistical Association 62(317)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60, 250),
)
def tail_weight(bars: OHLCV, n: int) -> FloatArray:
    """Return the tails' share of the range, in [0, 1], 0.59 if normal; zero without a range."""
    returns = bars.log_return
    middle = _rolling_quantile(returns, n, 0.75) - _rolling_quantile(returns, n, 0.25)
    outer = _rolling_quantile(returns, n, 0.95) - _rolling_quantile(returns, n, 0.05)
    return 1 - ratio_or(middle, outer, 1.0)


@feature(
    family="statistics",
    meaning="mean less median of the last {n} returns in standard deviations",
    formula="(mean_{n}(r) - q50) / sd_{n}(r)",
    reference="Hotelling & Solomons (1932), Annals of Mathematical Statistics 3(2)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60,),
)
def mean_median_gap(bars: OHLCV, n: int) -> FloatArray:
    """Return the nonparametric skewness, in [-1, 1]; zero where all returns are equal."""
    returns = bars.log_return
    gap = rolling_mean(returns, n) - _rolling_quantile(returns, n, 0.5)
    # Rounding noise over rounding noise, where returns differ by nothing else, stays in bounds.
    return np.clip(ratio_or(gap, rolling_std(returns, n), 0.0), -1, 1)


@feature(
    family="statistics",
    meaning="loss that one return in twenty exceeded, in deviations, over {n} bars",
    formula="-q05 / sqrt(mean_{n}(r^2)), q05 = quantile of r over {n} bars",
    reference="Jorion (2006), Value at Risk, ch. 5",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(250,),
)
def scaled_value_at_risk(bars: OHLCV, n: int) -> FloatArray:
    """Return the historical value at risk over volatility, 1.64 if normal; zero without moves."""
    returns = bars.log_return
    return ratio_or(-_rolling_quantile(returns, n, 0.05), np.sqrt(rolling_mean(returns**2, n)), 0.0)


def _quantile_skewness(values: FloatArray, n: int, tail: float) -> FloatArray:
    low, middle, high = (_rolling_quantile(values, n, one) for one in (tail, 0.5, 1 - tail))
    # The median lies between the two, but for rounding.
    return np.clip(ratio_or(high + low - 2 * middle, high - low, 0.0), -1, 1)


def _rolling_quantile(values: FloatArray, n: int, share: float) -> FloatArray:
    """Return a quantile of rows t - n + 1 … t, linear between ranks; only row 0 may be NaN."""
    result = np.full(len(values), np.nan)
    known = pl.Series(values[1:])
    quantile = known.rolling_quantile(share, "linear", window_size=n, min_samples=n)
    result[1:] = quantile.to_numpy()
    return result

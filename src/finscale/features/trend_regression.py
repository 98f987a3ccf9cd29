"""Trend: lines and parabolas through the price."""

from __future__ import annotations

import numpy as np

from finscale.features.averages import log_price
from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    rolling_corr,
    rolling_slope,
    rolling_sum,
)
from finscale.market.bars import OHLCV, FloatArray

_CLENOW = "Clenow (2015), Stocks on the Move, regression of the log price"


@feature(
    family="trend",
    meaning="slope of the regression line through {n} log closes, times {n}",
    formula="{n} cov_{n}(i, ln C_i) / var_{n}(i)",
    reference=_CLENOW,
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def regression_slope(bars: OHLCV, n: int) -> FloatArray:
    """Return the log move along the regression line of the window."""
    return n * rolling_slope(log_price(bars.close), n)


@feature(
    family="trend",
    meaning="slope of the regression line through {n} log closes, less that of the {n} before",
    formula="s_t - s_{{t-{n}}}, s = {n} cov_{n}(i, ln C_i) / var_{n}(i)",
    reference=_CLENOW,
    inputs=["close"],
    lookback_bars=lambda n: 2 * n - 1,
    over=(60,),
)
def regression_slope_change(bars: OHLCV, n: int) -> FloatArray:
    """Return the change of the window's log move along its regression line."""
    slope = regression_slope(bars, n)
    return slope - lagged(slope, n)


@feature(
    family="trend",
    meaning="share of the variance of {n} log closes that a straight line explains",
    formula="corr_{n}(i, ln C_i)^2",
    reference=_CLENOW,
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(20, 60, 120, 250),
)
def regression_r_squared(bars: OHLCV, n: int) -> FloatArray:
    """Return R² of the regression on time, in [0, 1]; zero where the close never moved."""
    return time_correlation(bars, n) ** 2


@feature(
    family="trend",
    meaning="correlation of {n} log closes with time",
    formula="corr_{n}(i, ln C_i)",
    reference="Draper & Smith (1998), Applied Regression Analysis, ch. 1",
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(40,),
)
def time_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation with time, in [-1, 1]; zero where the close never moved."""
    time = np.arange(len(bars), dtype=np.float64)
    return rolling_corr(time, log_price(bars.close), n)


@feature(
    family="trend",
    meaning="pairs of {n} closes that rise less those that fall, over all pairs",
    formula="sum_{{i<j}} sign(C_j - C_i) / ({n} ({n} - 1) / 2)",
    reference="Mann (1945), Econometrica 13(3); Kendall (1938), Biometrika 30(1/2)",
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(15,),
)
def kendall_trend(bars: OHLCV, n: int) -> FloatArray:
    """Return Kendall's tau of closes and time, in [-1, 1]; ties count nothing."""
    concordant = np.zeros(len(bars))
    for lag in range(1, n):
        concordant += rolling_sum(np.sign(bars.close - lagged(bars.close, lag)), n - lag)
    return concordant / (n * (n - 1) / 2)


@feature(
    family="trend",
    meaning="bend of the parabola through {n} log closes: turning up or down",
    formula="least-squares coefficient of x^2 in ln C ~ 1 + x + x^2, x from -1 to 1 over {n} bars",
    reference="Draper & Smith (1998), Applied Regression Analysis, ch. 12",
    inputs=["close"],
    lookback_bars=lambda n: n - 1,
    over=(60,),
)
def quadratic_bend(bars: OHLCV, n: int) -> FloatArray:
    """Return the log move that the parabola adds to the line between its middle and its ends."""
    x = np.linspace(-1.0, 1.0, n)
    weight = x**2 - np.mean(x**2)
    weight /= np.sum(weight**2)
    price = log_price(bars.close)
    total = np.zeros(len(bars))
    for age in range(n):
        total += weight[n - 1 - age] * (lagged(price, age) - price)
    return total

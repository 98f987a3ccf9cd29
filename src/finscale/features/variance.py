"""The variance of one bar by its open, high, low and close, and what is made of variances.

Bars as long as a session: variances are per session, of log prices.
"""

from __future__ import annotations

import math

import numpy as np

from finscale.features.rolling import LEAST_MOVE, lagged, rolling_mean, rolling_var
from finscale.market.bars import OHLCV, FloatArray

# A power of two; a bar that old still counts 0.04% in the longest average here, of 32 bars.
EXPONENTIAL_WINDOW_BARS = 128


def log_volatility(variance: FloatArray) -> FloatArray:
    """Return the log of the standard deviation, at least ln(1e-6)."""
    return np.asarray(0.5 * np.log(np.maximum(variance, LEAST_MOVE**2)))


def log_volatility_ratio(variance: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the log ratio of two standard deviations, each at least 1e-6."""
    return log_volatility(variance) - log_volatility(reference)


def log_span(bars: OHLCV) -> FloatArray:
    """Return the log range ln(H / L) of each bar."""
    return np.asarray(np.log(bars.high / bars.low))


def log_gap(bars: OHLCV) -> FloatArray:
    """Return the overnight return ln(O_t / C_{t-1}); NaN in the first row."""
    return np.asarray(np.log(bars.open / lagged(bars.close, 1)))


def log_body(bars: OHLCV) -> FloatArray:
    """Return the return from open to close, ln(C / O)."""
    return np.asarray(np.log(bars.close / bars.open))


def parkinson_variance(bars: OHLCV) -> FloatArray:
    """Return ln(H / L)^2 / (4 ln 2), Parkinson (1980)."""
    return log_span(bars) ** 2 / (4 * math.log(2))


def garman_klass_variance(bars: OHLCV) -> FloatArray:
    """Return ln(H / L)^2 / 2 - (2 ln 2 - 1) ln(C / O)^2, Garman & Klass (1980)."""
    return 0.5 * log_span(bars) ** 2 - (2 * math.log(2) - 1) * log_body(bars) ** 2


def rogers_satchell_variance(bars: OHLCV) -> FloatArray:
    """Return ln(H/O) ln(H/C) + ln(L/O) ln(L/C), Rogers & Satchell (1991)."""
    above = np.log(bars.high / bars.open) * np.log(bars.high / bars.close)
    below = np.log(bars.low / bars.open) * np.log(bars.low / bars.close)
    return np.asarray(above + below)


def yang_zhang_variance(bars: OHLCV, n_bars: int) -> FloatArray:
    """Return the estimator of Yang & Zhang (2000), eq. 7, over ``n_bars`` bars.

    The variance of the gaps, plus k times that of the bodies, plus 1 - k times the mean of
    Rogers and Satchell's; k = 0.34 / (1.34 + (n + 1) / (n - 1)).
    """
    k = 0.34 / (1.34 + (n_bars + 1) / (n_bars - 1))
    gaps = rolling_var(log_gap(bars), n_bars, ddof=1)
    bodies = rolling_var(log_body(bars), n_bars, ddof=1)
    return gaps + k * bodies + (1 - k) * rolling_mean(rogers_satchell_variance(bars), n_bars)


def exponential_mean(
    values: FloatArray, n_bars: int, window_bars: int = EXPONENTIAL_WINDOW_BARS
) -> FloatArray:
    """Return the exponentially weighted mean, of smoothing 2 / (n + 1), of the last rows.

    Unlike the endless average it forgets altogether, and a value depends on its window only.
    ``window_bars`` is a power of two; at four times ``n_bars`` older rows would weigh 0.04%.
    """
    keep = 1 - 2 / (n_bars + 1)
    total, width = values, 1
    while width < window_bars:
        total = total[width:] + keep**width * total[: max(len(total) - width, 0)]
        width *= 2
    result = np.full(len(values), np.nan)
    if len(total):
        result[width - 1 :] = total * ((1 - keep) / (1 - keep**width))
    return result

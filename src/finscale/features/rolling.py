"""Small causal building blocks shared by the feature families."""

from __future__ import annotations

import math

import numpy as np
import talib

from finscale.market.bars import FloatArray


def lagged_log_ratio(numerator: FloatArray, denominator: FloatArray, lag: int) -> FloatArray:
    """Return ln(numerator[t] / denominator[t - lag]); NaN in the first ``lag`` rows."""
    ratio = np.full(len(numerator), np.nan)
    ratio[lag:] = np.log(numerator[lag:] / denominator[: max(len(denominator) - lag, 0)])
    return ratio


def rolling_mean(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the mean of rows t - n_bars + 1 … t; NaN while there are fewer.

    Leading NaNs are kept; each window is summed afresh, so that no rounding error is carried
    along the series.
    """
    mean = np.full(len(values), np.nan)
    if len(values) >= n_bars:
        mean[n_bars - 1 :] = np.lib.stride_tricks.sliding_window_view(values, n_bars).mean(axis=1)
    return mean


def ratio_or(numerator: FloatArray, denominator: FloatArray, otherwise: float) -> FloatArray:
    """Return numerator / denominator, and ``otherwise`` where the denominator is zero."""
    result = np.full(len(numerator), otherwise)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def ema_memory_bars(n_bars: int, *, wilder: bool = False, cascaded: int = 1) -> int:
    """Return the rows after which exponential smoothing has forgotten its start to 1e-6.

    Through ``cascaded`` averages of smoothing a, the start keeps after k rows at most the weight
    sum_{j < cascaded} C(k, j) a^j (1 - a)^(k - j); a = 2 / (n + 1), or 1 / n for Wilder's
    smoothing. The averages' own first ``n_bars`` rows, which seed them, come on top.
    """
    smoothing = 1 / n_bars if wilder else 2 / (n_bars + 1)
    n_rows = 0
    while _start_weight(n_rows, smoothing, cascaded) >= 1e-6:
        n_rows += 1
    return n_rows + cascaded * n_bars


def _start_weight(n_rows: int, smoothing: float, cascaded: int) -> float:
    return sum(
        math.comb(n_rows, j) * smoothing**j * (1 - smoothing) ** (n_rows - j)
        for j in range(min(cascaded, n_rows + 1))
    )


def typical_price(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return (H + L + C) / 3."""
    return np.asarray(talib.TYPPRICE(high, low, close))

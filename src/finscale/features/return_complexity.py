"""Statistics of returns as a shape: self-similarity, entropy, fractal dimension, runs, cycles."""

from __future__ import annotations

import math

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
    rolling_var,
)
from finscale.features.runs import run_length
from finscale.market.bars import OHLCV, FloatArray

_HURST_LAGS = (1, 2, 4, 8, 16)
_LONGEST_RUN = 20


@feature(
    family="statistics",
    meaning="Hurst exponent of the last {n} bars, from the growth of moves with their span",
    formula=(
        "min(max(slope of ln sqrt(mean(ln(C_t / C_{{t-q}})^2)) on ln q, 0), 1), q = 1, 2, 4, 8, 16"
    ),
    reference="Di Matteo, Aste & Dacorogna (2005), J. Banking & Finance 29(4)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(120, 240),
)
def hurst_exponent(bars: OHLCV, n: int) -> FloatArray:
    """Return the generalised Hurst exponent of order 2, in [0, 1]; one half without moves."""
    moments = [
        rolling_mean(lagged_log_ratio(bars.close, bars.close, q) ** 2, n - q + 1)
        for q in _HURST_LAGS
    ]
    largest = moments[0]
    for one in moments[1:]:
        largest = np.maximum(largest, one)
    # A price that comes back exactly after q bars has no moves of that span: a millionth, instead.
    least = np.where(largest > 0, 1e-12 * largest, 1.0)
    log_lags = [math.log(q) for q in _HURST_LAGS]
    mean = math.fsum(log_lags) / len(log_lags)
    spread = math.fsum((one - mean) ** 2 for one in log_lags)
    slope = np.zeros(len(bars))
    for one, log_lag in zip(moments, log_lags, strict=True):
        slope = slope + 0.5 * np.log(np.maximum(one, least)) * ((log_lag - mean) / spread)
    return np.where(largest == 0, 0.5, np.clip(slope, 0, 1))


@feature(
    family="statistics",
    meaning="rescaled range of the last {n} returns, on the scale of the Hurst exponent",
    formula="ln(range of cumulative r - mean_{n}(r), over sd_{n}(r)) / ln({n})",
    reference="Mandelbrot & Wallis (1969), Water Resources Research 5(5)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(60, 240),
)
def rescaled_range(bars: OHLCV, n: int) -> FloatArray:
    """Return ln(R/S) / ln(n), in [0, 1]; one half without moves."""
    returns = bars.log_return
    result = np.full(len(returns), np.nan)
    n_windows = len(returns) - n + 1
    if n_windows < 1:
        return result
    mean = rolling_mean(returns, n)[n - 1 :]
    path, highest, lowest = (np.zeros(n_windows) for _ in range(3))
    # Step by step for all windows at once: the path is measured from each window's own mean.
    for step in range(n):
        path += returns[step : step + n_windows] - mean
        np.maximum(highest, path, out=highest)
        np.minimum(lowest, path, out=lowest)
    deviation = rolling_std(returns, n)[n - 1 :]
    ratio = np.maximum(ratio_or(highest - lowest, deviation, math.sqrt(n)), 1.0)
    result[n - 1 :] = np.minimum(np.log(ratio) / math.log(n), 1.0)
    return result


@feature(
    family="statistics",
    meaning="disorder of the patterns that three closes in a row make, over {n} bars",
    formula="entropy of the order of C_{{t-2}}, C_{{t-1}}, C_t, over ln 6",
    reference="Bandt & Pompe (2002), Physical Review Letters 88(17)",
    inputs=["close"],
    lookback_bars=lambda n: n + 1,
    over=(60, 240),
)
def permutation_entropy(bars: OHLCV, n: int) -> FloatArray:
    """Return the entropy of orders of three, in [0, 1]; of equal closes, the later is higher."""
    now, before, first = bars.close, lagged(bars.close, 1), lagged(bars.close, 2)
    # Three comparisons tell the six orders apart; two of the eight words cannot occur.
    word = (before >= first) + 2 * (now >= before) + 4 * (now >= first)
    return _entropy(np.where(np.isnan(first), np.nan, word), 8, n) / math.log(6)


@feature(
    family="statistics",
    meaning="disorder of the signs of three returns in a row, over {n} bars",
    formula="entropy of (r_{{t-2}} > 0, r_{{t-1}} > 0, r_t > 0), over ln 8",
    reference="Risso (2008), Research in International Business and Finance 22(3)",
    inputs=["close"],
    lookback_bars=lambda n: n + 2,
    over=(60,),
)
def sign_entropy(bars: OHLCV, n: int) -> FloatArray:
    """Return the entropy of words of three signs, in [0, 1]."""
    returns = bars.log_return
    rises = np.where(np.isnan(returns), np.nan, (returns > 0).astype(np.float64))
    return _entropy(rises + 2 * lagged(rises, 1) + 4 * lagged(rises, 2), 8, n) / math.log(8)


@feature(
    family="statistics",
    meaning="disorder of the returns of {n} bars in five bins of their deviation",
    formula="entropy of r / sd_20 in bins cut at -1.5, -0.5, 0.5, 1.5, over ln 5",
    reference="Maasoumi & Racine (2002), J. Econometrics 107(1-2), entropy of returns",
    inputs=["close"],
    lookback_bars=lambda n: n + 19,
    over=(60,),
)
def scaled_return_entropy(bars: OHLCV, n: int) -> FloatArray:
    """Return the entropy of standardised returns, in [0, 1]."""
    returns = bars.log_return
    scaled = ratio_or(returns, np.sqrt(rolling_mean(returns**2, 20)), 0.0)
    place = np.searchsorted([-1.5, -0.5, 0.5, 1.5], scaled)
    return _entropy(np.where(np.isnan(scaled), np.nan, place), 5, n) / math.log(5)


@feature(
    family="statistics",
    meaning="fractal dimension of the path of {n} closes: 1 for a straight line",
    formula=(
        "ln {n} / (ln {n} + ln(max(d / P, 1 / sqrt({n})))), d = max |ln(C_i / C_{{t-{n}}})|, "
        "P = sum_{n}(|r|)"
    ),
    reference="Katz (1988), Computers in Biology and Medicine 18(3)",
    inputs=["close"],
    lookback_bars=lambda n: n,
    over=(20, 120),
)
def katz_dimension(bars: OHLCV, n: int) -> FloatArray:
    """Return the fractal dimension of the path, in [1, 2]; one without moves, two at most."""
    start = lagged(bars.close, n)
    highest, lowest = rolling_max(bars.close, n), rolling_min(bars.close, n)
    reach = np.maximum(np.abs(np.log(highest / start)), np.abs(np.log(lowest / start)))
    # A path that never leaves its start by more than 1 / sqrt(n) of its length counts as filling.
    share = ratio_or(reach, rolling_sum(np.abs(bars.log_return), n), 1.0)
    share = np.clip(share, 1 / math.sqrt(n), 1.0)
    return np.asarray(math.log(n) / (math.log(n) + np.log(share)))


@feature(
    family="statistics",
    meaning="longest run of rising closes, up to 20, that ran in the last {n} bars",
    formula="max_{n}(closes in a row with r > 0, at most 20) / 20",
    reference="Fama (1965), J. Business 38(1), runs",
    inputs=["close"],
    lookback_bars=lambda n: n + _LONGEST_RUN - 1,
    over=(60,),
)
def longest_gain_run(bars: OHLCV, n: int) -> FloatArray:
    """Return the longest run of gains, in [0, 1]."""
    return _longest_run(bars.log_return, n)


@feature(
    family="statistics",
    meaning="longest run of falling closes, up to 20, that ran in the last {n} bars",
    formula="max_{n}(closes in a row with r < 0, at most 20) / 20",
    reference="Fama (1965), J. Business 38(1), runs",
    inputs=["close"],
    lookback_bars=lambda n: n + _LONGEST_RUN - 1,
    over=(60,),
)
def longest_loss_run(bars: OHLCV, n: int) -> FloatArray:
    """Return the longest run of losses, in [0, 1]."""
    return _longest_run(-bars.log_return, n)


@feature(
    family="statistics",
    meaning="share of the variance of {n} returns in a cycle of {period} bars",
    formula="2 |sum_{n}(r exp(2 pi i t / {period}))|^2 / ({n}^2 var_{n}(r))",
    reference="Schuster (1898), Terrestrial Magnetism 3(1), periodogram",
    inputs=["close"],
    lookback_bars=lambda _period, n: n,
    over=((5, 60), (20, 120)),
)
def cycle_power(bars: OHLCV, period: int, n: int) -> FloatArray:
    """Return the periodogram at one frequency, in [0, 1]; zero without moves. n holds cycles."""
    returns = bars.log_return
    angle = 2 * math.pi * (np.arange(len(returns)) % period) / period
    power = (
        rolling_sum(returns * np.cos(angle), n) ** 2 + rolling_sum(returns * np.sin(angle), n) ** 2
    )
    return np.minimum(ratio_or(2 * power, n**2 * rolling_var(returns, n), 0.0), 1.0)


def _longest_run(values: FloatArray, n: int) -> FloatArray:
    holds = np.where(np.isnan(values), np.nan, (values > 0).astype(np.float64))
    return rolling_max(holds * run_length(holds, _LONGEST_RUN), n) / _LONGEST_RUN


def _entropy(codes: FloatArray, n_codes: int, n: int) -> FloatArray:
    """Return the entropy in nats of codes 0 … n_codes - 1 among rows t - n + 1 … t."""
    total = np.zeros(len(codes))
    for code in range(n_codes):
        share = rolling_mean(np.where(np.isnan(codes), np.nan, codes == code), n)
        total = total - share * np.log(np.where(share > 0, share, 1.0))
    return np.where(np.isnan(rolling_sum(codes, n)), np.nan, np.maximum(total, 0.0))

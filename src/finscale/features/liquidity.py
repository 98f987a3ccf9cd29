"""Volume: what it costs to trade – illiquidity, impact, spreads – and how moves go with volume."""

from __future__ import annotations

import math

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    ratio_or,
    rolling_corr,
    rolling_cov,
    rolling_mean,
    rolling_std,
)
from finscale.features.variance import log_span
from finscale.features.volume import log_volume_ratio
from finscale.market.bars import OHLCV, FloatArray

_CLOSE = ["close", "volume"]
_PRICES = ["high", "low", "close"]
_AMIHUD = "Amihud (2002), J. Financial Markets 5(1)"
_KYLE = "Kyle (1985), Econometrica 53(6)"
_KARPOFF = "Karpoff (1987), J. Financial and Quantitative Analysis 22(1)"


@feature(
    family="volume",
    meaning="illiquidity, return per money traded, of {fast} bars against that of {slow}",
    formula="ln(A_{fast} / A_{slow}), A_n = mean_n(|r|) / mean_n(C V)",
    reference=_AMIHUD,
    inputs=_CLOSE,
    lookback_bars=lambda _fast, slow: slow,
    over=((5, 60), (60, 252)),
)
def illiquidity_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio, moves and money each within a factor of 1000; zero without volume."""
    size, money = np.abs(bars.log_return), bars.close * bars.volume
    moves, traded = (
        log_volume_ratio(rolling_mean(one, fast), rolling_mean(one, slow)) for one in (size, money)
    )
    return np.where(rolling_mean(money, slow) == 0, 0.0, moves - traded)


@feature(
    family="volume",
    meaning="money traded on {fast} bars against that on {slow}",
    formula="ln(mean_{fast}(C V) / mean_{slow}(C V))",
    reference="Brennan, Chordia & Subrahmanyam (1998), J. Financial Economics 49(3)",
    inputs=_CLOSE,
    lookback_bars=lambda _fast, slow: slow - 1,
    over=((40, 120),),
)
def money_volume_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
    """Return the log ratio of money volumes; zero where nothing was traded."""
    money = bars.close * bars.volume
    return log_volume_ratio(rolling_mean(money, fast), rolling_mean(money, slow))


@feature(
    family="volume",
    meaning="price impact of volume over {n} bars, against moves as large without it",
    formula="ln(mean_{n}(|r| V) mean_{n}(V) / (mean_{n}(V^2) mean_{n}(|r|)))",
    reference=_KYLE,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(60, 250),
)
def kyle_impact(bars: OHLCV, n: int) -> FloatArray:
    """Return the log of Kyle's lambda with its units taken out; zero without moves or volume."""
    size, volume = np.abs(bars.log_return), bars.volume
    mean = rolling_mean(volume, n)
    together = ratio_or(rolling_mean(size * volume, n), rolling_mean(size, n), 0.0)
    spread = ratio_or(rolling_mean(volume**2, n), mean, 0.0)
    return np.where(together == 0, 0.0, log_volume_ratio(together, spread))


@feature(
    family="volume",
    meaning="correlation of returns with volume over {n} bars",
    formula="corr_{n}(r, V)",
    reference=_KARPOFF,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(20,),
)
def return_volume_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation; zero where either does not change."""
    return rolling_corr(bars.log_return, bars.volume, n)


@feature(
    family="volume",
    meaning="correlation of the size of returns with volume over {n} bars",
    formula="corr_{n}(|r|, V)",
    reference="Jones, Kaul & Lipson (1994), Review of Financial Studies 7(4)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(60,),
)
def size_volume_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation; zero where either does not change."""
    return rolling_corr(np.abs(bars.log_return), bars.volume, n)


@feature(
    family="volume",
    meaning="correlation of returns with the volume of the bar before, over {n} bars",
    formula="corr_{n}(r_t, V_{{t-1}})",
    reference="Gervais, Kaniel & Mingelgrin (2001), J. Finance 56(3)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(20, 250),
)
def volume_lead_correlation(bars: OHLCV, n: int) -> FloatArray:
    """Return how far volume foretells the return; zero where either does not change."""
    return rolling_corr(bars.log_return, lagged(bars.volume, 1), n)


@feature(
    family="volume",
    meaning="reversal of moves made on volume, over {n} bars",
    formula="corr_{n}(r_t, sign(r_{{t-1}}) V_{{t-1}})",
    reference="Pástor & Stambaugh (2003), J. Political Economy 111(3)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 1,
    over=(20,),
)
def volume_reversal(bars: OHLCV, n: int) -> FloatArray:
    """Return the correlation, below zero where pushed prices come back."""
    flow = np.sign(bars.log_return) * bars.volume
    return rolling_corr(bars.log_return, lagged(flow, 1), n)


@feature(
    family="volume",
    meaning="variance of {n} bars weighted by volume against the plain one",
    formula="ln sqrt((sum_{n}(r^2 V) / sum_{n}(V)) / mean_{n}(r^2))",
    reference="Clark (1973), Econometrica 41(1)",
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(10, 120),
)
def volume_weighted_volatility_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio; zero where nothing was traded or moved."""
    squares, traded = bars.log_return**2, rolling_mean(bars.volume, n)
    weighted = ratio_or(rolling_mean(squares * bars.volume, n), traded, 0.0)
    return np.where(traded == 0, 0.0, 0.5 * log_volume_ratio(weighted, rolling_mean(squares, n)))


@feature(
    family="volume",
    meaning="effective spread by the bounce of closes over {n} bars, in deviations of the return",
    formula="2 sqrt(max(-cov_{n}(r_t, r_{{t-1}}), 0)) / sd_{{{n}+1}}(r)",
    reference="Roll (1984), J. Finance 39(4)",
    inputs=["close"],
    lookback_bars=lambda n: n + 1,
    over=(60, 250),
)
def roll_spread(bars: OHLCV, n: int) -> FloatArray:
    """Return Roll's spread over the volatility; zero where returns do not reverse."""
    returns = bars.log_return
    bounce = np.maximum(-rolling_cov(returns, lagged(returns, 1), n), 0)
    return ratio_or(2 * np.sqrt(bounce), rolling_std(returns, n + 1), 0.0)


@feature(
    family="volume",
    meaning="effective spread by the ranges of one and of two days, mean of {n} bars",
    formula="mean_{n}(max(2 tanh(a/2), 0)) / mean_{n}(R), R = ln(H/L), "
    "a = (sqrt(2b) - sqrt(b)) / (3 - 2 sqrt(2)) - sqrt(g / (3 - 2 sqrt(2))), "
    "b = R_t^2 + R_{{t-1}}^2, g the squared log range of both days, gaps taken out",
    reference="Corwin & Schultz (2012), J. Finance 67(2)",
    inputs=_PRICES,
    lookback_bars=lambda n: n,
    over=(5, 20),
)
def corwin_schultz_spread(bars: OHLCV, n: int) -> FloatArray:
    """Return the mean spread over the mean range, days of negative spread counting as zero."""
    spread = rolling_mean(np.maximum(_corwin_schultz(bars), 0), n)
    return ratio_or(spread, rolling_mean(log_span(bars), n), 0.0)


def _corwin_schultz(bars: OHLCV) -> FloatArray:
    before = lagged(bars.close, 1)
    # A day that stayed away from the last close is moved back to it (their section II.C).
    back = np.where(bars.low > before, before / bars.low, 1.0)
    back = np.where(bars.high < before, before / bars.high, back)
    span = log_span(bars)
    both = np.log(
        np.maximum(bars.high * back, lagged(bars.high, 1))
        / np.minimum(bars.low * back, lagged(bars.low, 1))
    )
    beta, scale = span**2 + lagged(span, 1) ** 2, 3 - 2 * math.sqrt(2)
    alpha = (math.sqrt(2) - 1) * np.sqrt(beta) / scale - both / math.sqrt(scale)
    return np.asarray(2 * np.tanh(alpha / 2))


@feature(
    family="volume",
    meaning="effective spread by closes against the middles of two days, over {n} bars",
    formula="2 sqrt(max(mean_{n}((c_{{t-1}} - m_{{t-1}}) (c_{{t-1}} - m_t)), 0)) / "
    "mean_{n}(ln(H/L)), c = ln C, m = ln sqrt(H L)",
    reference="Abdi & Ranaldo (2017), Review of Financial Studies 30(12)",
    inputs=_PRICES,
    lookback_bars=lambda n: n,
    over=(10, 40),
)
def abdi_ranaldo_spread(bars: OHLCV, n: int) -> FloatArray:
    """Return the spread over the mean range; zero where the estimate is below zero."""
    before = lagged(bars.close, 1)
    high, low = lagged(bars.high, 1), lagged(bars.low, 1)
    same = (np.log(before / high) + np.log(before / low)) / 2
    following = (np.log(before / bars.high) + np.log(before / bars.low)) / 2
    product = np.maximum(rolling_mean(same * following, n), 0)
    return ratio_or(2 * np.sqrt(product), rolling_mean(log_span(bars), n), 0.0)

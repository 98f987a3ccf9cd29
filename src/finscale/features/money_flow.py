"""Volume: where the money flows, by the sign of the move and the place of the close."""

from __future__ import annotations

import math

import numpy as np
import scipy.special
import talib

from finscale.features.candle import close_place
from finscale.features.registry import feature
from finscale.features.rolling import (
    lagged,
    lagged_log_ratio,
    ratio_or,
    rolling_corr,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
)
from finscale.features.volume import log_volume_ratio
from finscale.market.bars import OHLCV, FloatArray

_CLOSE = ["close", "volume"]
_BAR = ["high", "low", "close", "volume"]
_CHAIKIN = "Chaikin, in Colby (2003), The Encyclopedia of Technical Market Indicators"
_GRANVILLE = "Granville (1963), New Key to Stock Market Profits"
_KARPOFF = "Karpoff (1987), J. Financial and Quantitative Analysis 22(1)"
_ELDER = "Elder (1993), Trading for a Living"
_FOSBACK = "Fosback (1976), Stock Market Logic"
_VPIN = "Easley, López de Prado & O'Hara (2012), Review of Financial Studies 25(5)"
_VWAP = "Berkowitz, Logue & Noser (1988), J. Finance 43(1)"
_BLUME = "Blume, Easley & O'Hara (1994), J. Finance 49(1)"
_STEIDLMAYER = "Steidlmayer & Koy (1986), Markets and Market Logic"


@feature(
    family="volume",
    meaning="share of volume-weighted price in rising bars",
    formula="MFI_{n} / 100",
    reference="Quong & Soudack (1989), Technical Analysis of Stocks & Commodities 7(3)",
    inputs=_BAR,
    lookback_bars=lambda n: n,
    over=(14, 40),
)
def money_flow_index(bars: OHLCV, n: int) -> FloatArray:
    """Return the money flow index, in [0, 1]; one half where no money moved."""
    index = talib.MFI(bars.high, bars.low, bars.close, bars.volume, n) / 100
    moves = np.diff(bars.typical_price, prepend=np.nan) != 0
    active = rolling_mean((moves & (bars.volume > 0)).astype(np.float64), n)
    return np.asarray(np.where(active == 0, 0.5, index))


@feature(
    family="volume",
    meaning="Chaikin money flow of {n} bars",
    formula="sum(V (2C - H - L) / (H - L)) / sum(V)",
    reference=_CHAIKIN,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(20, 60),
)
def chaikin_money_flow(bars: OHLCV, n: int) -> FloatArray:
    """Return the Chaikin money flow, in [-1, 1]; zero where nothing was traded."""
    flow = close_place(bars) * bars.volume
    return ratio_or(rolling_mean(flow, n), rolling_mean(bars.volume, n), 0.0)


@feature(
    family="volume",
    meaning="rising less falling volume of {n} bars, as a share: on-balance volume of a window",
    formula="sum_{n}(sign(r) V) / sum_{n}(V)",
    reference=_GRANVILLE,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(3, 30),
)
def signed_volume(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of volume, in [-1, 1]; zero where nothing was traded."""
    flow = np.sign(bars.log_return) * bars.volume
    return ratio_or(rolling_sum(flow, n), rolling_sum(bars.volume, n), 0.0)


@feature(
    family="volume",
    meaning="mean volume of rising bars against that of falling bars, over {n}",
    formula="ln(mean_{n}(V where r > 0) / mean_{n}(V where r < 0))",
    reference=_KARPOFF,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(60,),
)
def up_down_volume_ratio(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio, within ±ln(1000); zero where one side is missing."""
    rise, fall = (_mean_where(bars.volume, s * bars.log_return, n) for s in (1, -1))
    return np.where(rise == 0, 0.0, log_volume_ratio(rise, fall))


def _mean_where(values: FloatArray, sign: FloatArray, n: int) -> FloatArray:
    chosen = np.where(np.isnan(sign), np.nan, sign > 0)
    return ratio_or(rolling_sum(values * chosen, n), rolling_sum(chosen, n), 0.0)


@feature(
    family="volume",
    meaning="force index: volume-weighted moves of {n} bars, as a share of their size",
    formula="sum_{n}(r V) / sum_{n}(|r| V)",
    reference=_ELDER,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(2, 13),
)
def force_index(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of force, in [-1, 1]; zero where nothing moved."""
    force = bars.log_return * bars.volume
    return ratio_or(rolling_sum(force, n), rolling_sum(np.abs(force), n), 0.0)


@feature(
    family="volume",
    meaning="mean return of {n} bars weighted by volume less the plain one, in deviations",
    formula="(sum_{n}(r V) / sum_{n}(V) - mean_{n}(r)) / sd_{n}(r)",
    reference=_BLUME,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(10,),
)
def volume_confirmation(bars: OHLCV, n: int) -> FloatArray:
    """Return whether volume came with the rises; zero where nothing was traded or moved."""
    returns = bars.log_return
    weighted = ratio_or(rolling_sum(returns * bars.volume, n), rolling_sum(bars.volume, n), np.nan)
    plain = rolling_mean(returns, n)
    # Without volume there is no weighting, and no difference.
    excess = np.where(rolling_sum(bars.volume, n) == 0, 0.0, weighted - plain)
    return ratio_or(excess, rolling_std(returns, n), 0.0)


@feature(
    family="volume",
    meaning="ease of movement: moves of the day's middle per volume over {n} bars, as a share",
    formula="sum_{n}(E) / sum_{n}(|E|), E = ln(M_t/M_{{t-1}}) ln(H/L) / max(V / mean_{n}(V), 0.1), "
    "M = (H + L) / 2",
    reference="Arms (1989), The Arms Index, ch. 10",
    inputs=["high", "low", "volume"],
    lookback_bars=lambda n: 2 * n - 2,
    over=(14,),
)
def ease_of_movement(bars: OHLCV, n: int) -> FloatArray:
    """Return the balance of easy moves, in [-1, 1]; zero where nothing was traded or moved."""
    middle, usual = (bars.high + bars.low) / 2, rolling_mean(bars.volume, n)
    relative = np.maximum(ratio_or(bars.volume, usual, 1.0), 0.1)
    moves = lagged_log_ratio(middle, middle, 1) * np.log(bars.high / bars.low)
    ease = np.where(usual == 0, 0.0, moves / relative)
    return ratio_or(rolling_sum(ease, n), rolling_sum(np.abs(ease), n), 0.0)


@feature(
    family="volume",
    meaning="distance of the close from the volume-weighted price of {n} bars",
    formula="ln(C / (sum_{n}(P V) / sum_{n}(V))), P = (H + L + C) / 3",
    reference=_VWAP,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(35,),
)
def vwap_distance(bars: OHLCV, n: int) -> FloatArray:
    """Return the log distance; zero where nothing was traded."""
    return np.asarray(np.log(bars.close / _vwap(bars, n, bars.close)))


@feature(
    family="volume",
    meaning="volume-weighted price of {n} bars against their plain mean price",
    formula="ln((sum_{n}(P V) / sum_{n}(V)) / mean_{n}(P)), P = (H + L + C) / 3",
    reference=_VWAP,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(10, 40),
)
def vwap_to_average(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio: whether volume was traded high or low; zero without volume."""
    plain = rolling_mean(bars.typical_price, n)
    return np.asarray(np.log(_vwap(bars, n, plain) / plain))


def _vwap(bars: OHLCV, n: int, otherwise: FloatArray) -> FloatArray:
    """Return the volume-weighted price, and ``otherwise`` where nothing was traded."""
    traded = rolling_sum(bars.volume, n)
    weighted = ratio_or(rolling_sum(bars.typical_price * bars.volume, n), traded, np.nan)
    return np.where(traded == 0, otherwise, weighted)


@feature(
    family="volume",
    meaning="mean volume of the closes of {n} bars below the close against those above it",
    formula="ln(mean_{n}(V where C < C_t) / mean_{n}(V where C > C_t))",
    reference=_STEIDLMAYER,
    inputs=_CLOSE,
    lookback_bars=lambda n: n - 1,
    over=(20, 120),
)
def volume_below_to_above(bars: OHLCV, n: int) -> FloatArray:
    """Return the log ratio, within ±ln(1000); zero where one side is missing."""
    volume_below, below, volume_above, above = np.zeros((4, len(bars)))
    for back in range(1, n):
        now, then, volume = bars.close[back:], bars.close[:-back], bars.volume[:-back]
        lower, higher = then < now, then > now
        volume_below[back:] += lower * volume
        volume_above[back:] += higher * volume
        below[back:] += lower
        above[back:] += higher
    both = ratio_or(volume_below, below, 0.0), ratio_or(volume_above, above, 0.0)
    ratio = np.where((below == 0) | (above == 0), 0.0, log_volume_ratio(*both))
    ratio[: n - 1] = np.nan
    return ratio


@feature(
    family="volume",
    meaning="place of the volume in the price range of {n} bars",
    formula="min(max((sum_{n}(P V) / sum_{n}(V) - min_{n}(L)) / (max_{n}(H) - min_{n}(L)), 0), 1), "
    "P = (H + L + C) / 3",
    reference=_STEIDLMAYER,
    inputs=_BAR,
    lookback_bars=lambda n: n - 1,
    over=(20, 250),
)
def vwap_place(bars: OHLCV, n: int) -> FloatArray:
    """Return where in the range the volume was traded, in [0, 1]; one half without either."""
    lowest, highest = rolling_min(bars.low, n), rolling_max(bars.high, n)
    width = np.where(rolling_max(bars.volume, n) == 0, 0.0, highest - lowest)
    return np.clip(ratio_or(_vwap(bars, n, lowest) - lowest, width, 0.5), 0, 1)


@feature(
    family="volume",
    meaning="return on bars of rising volume as a share of all moves of {n} bars",
    formula="sum_{n}(r where V_t > V_{{t-1}}) / sum_{n}(|r|)",
    reference=_FOSBACK,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(250,),
)
def positive_volume_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the positive volume index of a window, in [-1, 1]."""
    return _return_where(bars, 1, n)


@feature(
    family="volume",
    meaning="return on bars of falling volume as a share of all moves of {n} bars",
    formula="sum_{n}(r where V_t < V_{{t-1}}) / sum_{n}(|r|)",
    reference=_FOSBACK,
    inputs=_CLOSE,
    lookback_bars=lambda n: n,
    over=(60,),
)
def negative_volume_return(bars: OHLCV, n: int) -> FloatArray:
    """Return the negative volume index of a window, in [-1, 1]."""
    return _return_where(bars, -1, n)


def _return_where(bars: OHLCV, sign: int, n: int) -> FloatArray:
    change = sign * (bars.volume - lagged(bars.volume, 1))
    chosen = rolling_sum(bars.log_return * (change > 0), n)
    return ratio_or(chosen, rolling_sum(np.abs(bars.log_return), n), 0.0)


@feature(
    family="volume",
    meaning="order imbalance of {n} bars, by bulk classification of volume",
    formula="sum_{n}(V |2 Phi(r / s) - 1|) / sum_{n}(V), s = sd_20(r)",
    reference=_VPIN,
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 19,
    over=(50,),
)
def order_imbalance(bars: OHLCV, n: int) -> FloatArray:
    """Return the imbalance, in [0, 1]; zero where nothing was traded or moved."""
    return _imbalance(np.abs(_bulk(bars)), bars.volume, n)


def _bulk(bars: OHLCV) -> FloatArray:
    """Return the share bought less the share sold of each bar, 2 Phi(z) - 1."""
    score = ratio_or(bars.log_return, rolling_std(bars.log_return, 20), 0.0)
    return np.asarray(scipy.special.erf(score / math.sqrt(2)))


def _imbalance(share: FloatArray, volume: FloatArray, n: int) -> FloatArray:
    traded = rolling_sum(np.where(np.isnan(share), np.nan, volume), n)
    return ratio_or(rolling_sum(share * volume, n), traded, 0.0)


@feature(
    family="volume",
    meaning="autocorrelation of signed volume over {n} bars",
    formula="corr_{n}(sign(r_t) V_t, sign(r_{{t-1}}) V_{{t-1}})",
    reference=_GRANVILLE,
    inputs=_CLOSE,
    lookback_bars=lambda n: n + 1,
    over=(250,),
)
def signed_volume_autocorrelation(bars: OHLCV, n: int) -> FloatArray:
    """Return how far buying follows buying; zero where nothing was traded."""
    flow = np.sign(bars.log_return) * bars.volume
    return rolling_corr(flow, lagged(flow, 1), n)

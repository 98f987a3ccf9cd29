"""The five features taken straight from the bar: O, H, L, C and V, made stationary."""

from __future__ import annotations

import numpy as np

from finscale.features.registry import feature
from finscale.features.rolling import lagged_log_ratio, ratio_or, rolling_mean
from finscale.features.volume import LEAST_RELATIVE_VOLUME
from finscale.market.bars import OHLCV, FloatArray

_CAMPBELL = "Campbell, Lo & MacKinlay (1997), The Econometrics of Financial Markets, ch. 1"


@feature(
    family="price",
    meaning="log return of the session",
    formula="ln(C_t / C_{{t-1}})",
    reference=_CAMPBELL,
    inputs=["close"],
    lookback_bars=1,
)
def return_1(bars: OHLCV) -> FloatArray:
    """Return the one-bar log return."""
    return lagged_log_ratio(bars.close, bars.close, 1)


@feature(
    family="price",
    meaning="overnight gap",
    formula="ln(O_t / C_{{t-1}})",
    reference=_CAMPBELL,
    inputs=["open", "close"],
    lookback_bars=1,
)
def overnight_gap(bars: OHLCV) -> FloatArray:
    """Return the log gap from the last close to the open."""
    return lagged_log_ratio(bars.open, bars.close, 1)


@feature(
    family="price",
    meaning="how far the high stands above the close",
    formula="ln(H_t / C_t)",
    reference="Parkinson (1980), J. Business 53(1), range notation",
    inputs=["high", "close"],
    lookback_bars=0,
)
def high_above_close(bars: OHLCV) -> FloatArray:
    """Return the log distance from close to high."""
    return np.asarray(np.log(bars.high / bars.close))


@feature(
    family="price",
    meaning="how far the low lies below the close",
    formula="ln(C_t / L_t)",
    reference="Parkinson (1980), J. Business 53(1), range notation",
    inputs=["low", "close"],
    lookback_bars=0,
)
def low_below_close(bars: OHLCV) -> FloatArray:
    """Return the log distance from low to close."""
    return np.asarray(np.log(bars.close / bars.low))


@feature(
    family="price",
    meaning="volume against its own 20-bar average",
    formula="ln(V_t / mean_20(V))",
    reference="Karpoff (1987), J. Financial and Quantitative Analysis 22(1)",
    inputs=["volume"],
    lookback_bars=19,
)
def volume_ratio_20(bars: OHLCV) -> FloatArray:
    """Return log relative volume, at least ln(0.001); zero where nothing was traded at all."""
    relative = ratio_or(bars.volume, rolling_mean(bars.volume, 20), 1.0)
    return np.asarray(np.log(np.maximum(relative, LEAST_RELATIVE_VOLUME)))

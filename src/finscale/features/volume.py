"""Volume and money flow."""

from __future__ import annotations

import numpy as np
import talib

from finscale.features.registry import feature
from finscale.features.rolling import ratio_or, rolling_mean
from finscale.market.bars import OHLCV, FloatArray


@feature(
    family="volume",
    meaning="share of volume-weighted price in rising bars",
    formula="MFI_14 / 100",
    reference="Quong & Soudack (1989), Technical Analysis of Stocks & Commodities 7(3)",
    inputs=["high", "low", "close", "volume"],
    lookback_bars=14,
)
def money_flow_index_14(bars: OHLCV) -> FloatArray:
    """Return the money flow index, in [0, 1]; one half where no money moved."""
    index = talib.MFI(bars.high, bars.low, bars.close, bars.volume, 14) / 100
    moves = np.diff(bars.typical_price, prepend=np.nan) != 0
    active = rolling_mean((moves & (bars.volume > 0)).astype(np.float64), 14)
    return np.asarray(np.where(active == 0, 0.5, index))


@feature(
    family="volume",
    meaning="Chaikin money flow of 20 bars",
    formula="sum(V (2C - H - L) / (H - L)) / sum(V)",
    reference="Chaikin, in Colby (2003), The Encyclopedia of Technical Market Indicators",
    inputs=["high", "low", "close", "volume"],
    lookback_bars=19,
)
def chaikin_money_flow_20(bars: OHLCV) -> FloatArray:
    """Return the Chaikin money flow, in [-1, 1]; zero where nothing was traded."""
    place = ratio_or(2 * bars.close - bars.high - bars.low, bars.high - bars.low, 0.0)
    return ratio_or(rolling_mean(place * bars.volume, 20), rolling_mean(bars.volume, 20), 0.0)

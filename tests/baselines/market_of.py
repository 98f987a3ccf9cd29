"""Bars of which the volatility that made them is known."""

from __future__ import annotations

import numpy as np

from finscale.baselines.series import SymbolSeries
from finscale.market.bars import OHLCV

DAY = np.datetime64("2001-01-01")


def bars_of(returns: np.ndarray, overshoot: np.ndarray | None = None) -> OHLCV:
    """Return bars with these log-returns, that open where the last one closed.

    ``overshoot`` is how far the high and the low lie beyond open and close, as logarithms.
    """
    close = 100 * np.exp(np.cumsum(returns))
    opening = np.concatenate([[100.0], close[:-1]])
    beyond = np.exp(np.zeros(len(returns)) if overshoot is None else overshoot)
    high, low = np.maximum(opening, close) * beyond, np.minimum(opening, close) / beyond
    dates = DAY + np.arange(len(returns))
    return OHLCV(dates, opening, high, low, close, np.ones(len(returns)))


def series_of(bars: OHLCV, n_train: int) -> SymbolSeries:
    """Return a symbol that is trained on its first rows."""
    return SymbolSeries(bars, offset=0, train=np.arange(60, n_train), first_seen=1)

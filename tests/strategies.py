"""Hypothesis strategies that several test modules share."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import strategies as st

from finscale.market.bars import OHLCV, SCHEMA

_SHARES = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])


def make_bars(
    n_bars: int,
    *,
    seed: int = 0,
    level: float = 100.0,
    volatility: float = 0.01,
    flat_share: float = 0.0,
    frozen_share: float = 0.0,
    idle_share: float = 0.0,
    jump_share: float = 0.0,
) -> OHLCV:
    """Return valid bars of a random walk.

    Shares are those of bars without a range (high == low), of closes equal to the one before, of
    sessions without volume, and of jumps of the close by up to a factor of 20.
    """
    rng = np.random.default_rng(seed)

    def chosen(share: float) -> np.ndarray:
        return rng.random(n_bars) < share

    step = volatility * rng.standard_normal(n_bars)
    step += np.where(chosen(jump_share), rng.uniform(-3.0, 3.0, n_bars), 0.0)
    step[chosen(frozen_share)] = 0.0
    close = level * np.exp(np.clip(np.cumsum(step), -7.0, 7.0))
    gap, above, below = volatility * np.abs(rng.standard_normal((3, n_bars)))
    opened = close * np.exp(gap * rng.choice([-1.0, 1.0], n_bars))
    flat = chosen(flat_share)
    opened[flat] = close[flat]
    high = np.where(flat, close, np.maximum(opened, close) * np.exp(above))
    low = np.where(flat, close, np.minimum(opened, close) * np.exp(-below))
    volume = np.where(chosen(idle_share), 0.0, np.round(1e6 * np.exp(rng.standard_normal(n_bars))))
    days = np.cumsum(rng.integers(1, 5, n_bars))
    date = np.datetime64("2000-01-03", "D") + days.astype("timedelta64[D]")
    return OHLCV(date=date, open=opened, high=high, low=low, close=close, volume=volume)


def bars(min_size: int = 1, max_size: int = 300) -> st.SearchStrategy[OHLCV]:
    """Valid bars of one symbol: flat bars, sessions without volume, frozen prices, big jumps."""
    return st.builds(
        make_bars,
        st.integers(min_size, max_size),
        seed=st.integers(0, 2**32 - 1),
        level=st.sampled_from([1e-3, 1.0, 100.0, 1e5]),
        volatility=st.sampled_from([1e-4, 0.01, 0.1]),
        flat_share=_SHARES,
        frozen_share=_SHARES,
        idle_share=_SHARES,
        jump_share=st.sampled_from([0.0, 0.0, 0.05]),
    )


def to_frame(bars: OHLCV, symbol: str = "TEST") -> pl.DataFrame:
    """Return bars as the frame a source returns."""
    columns = {name: getattr(bars, name) for name in SCHEMA.names()[1:]}
    return pl.DataFrame(columns).with_columns(symbol=pl.lit(symbol)).select(SCHEMA.names())

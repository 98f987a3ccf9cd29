"""Each symbol's own bars beside its training anchors, for models of one series at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finscale.baselines.folds import FloatArray
from finscale.dataset.cell import CellData
from finscale.market.bars import OHLCV
from finscale.splits import IntArray

MIN_OWN_ROWS = 500
"""A symbol with fewer training rows is given the model of all symbols together."""


@dataclass(frozen=True)
class SymbolSeries:
    """One symbol.

    Attributes
    ----------
    offset
        Number of its first row among the rows of all symbols.
    train
        Its training anchors, as rows of its own bars, ascending.
    first_seen
        First row of the first training window.
    """

    bars: OHLCV
    offset: int
    train: IntArray
    first_seen: int

    @property
    def stop_seen(self) -> int:
        """The row after the last training anchor."""
        return int(self.train[-1]) + 1 if len(self.train) else self.first_seen

    @property
    def has_own(self) -> bool:
        """Whether it has training rows enough for a model of its own."""
        return len(self.train) >= MIN_OWN_ROWS


def symbol_series(data: CellData) -> tuple[SymbolSeries, ...]:
    """Return every symbol of a cell, in its order."""
    found = []
    for bars, offset in zip(data.bars, data.offsets.tolist(), strict=False):
        rows = data.split.train - offset
        train = rows[(rows >= 0) & (rows < len(bars))]
        first = int(train[0]) - data.context_length + 1 if len(train) else 0
        found.append(SymbolSeries(bars, offset, train, max(first, 0)))
    return tuple(found)


def log_moves(price: FloatArray, close: FloatArray) -> FloatArray:
    """Return log(price of a row / close of the row before); zero in the first row."""
    return np.concatenate([[0.0], np.log(price[1:] / close[:-1])])

"""What a fitted baseline is, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from finscale.baselines.folds import FloatArray
from finscale.dataset.cell import CellData
from finscale.splits import IntArray


@dataclass(frozen=True)
class Fitted:
    """A baseline after its fit.

    Attributes
    ----------
    predict
        From anchor rows to the probability of label 1 at each, float64; of the task ``return`` to
        that of every bin, (B, K).
    chosen
        What was chosen inside the training rows, by name; empty where there is nothing to choose.
    """

    predict: Callable[[IntArray], FloatArray]
    chosen: Mapping[str, float]


Fit = Callable[[CellData, int], Fitted]
"""From a cell and a seed to a baseline fitted on the cell's training anchors.

Of labels it reads those of the training anchors, of bars and features no row after the last one
that those labels reach.
"""

"""The directions along which many correlated inputs vary most, found without all of them in memory.

A window of 60 rows of 25 features has 1,500 inputs, of 100 features 6,000, and neighbouring rows
say much the same. What lies outside of the leading directions has so little variance that an L2
penalty takes it out of a linear model anyway; inside them, the model and its penalty are the same
as on the inputs themselves, since a rotation changes neither, and are solved far faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finscale.baselines.folds import FloatArray
from finscale.splits import IntArray

MAX_DIRECTIONS = 256
_N_PASSES = 3
_BATCH_ROWS = 4096

Inputs = Callable[[IntArray], Tensor]
"""From B rows to their B × D inputs, float32."""


@dataclass(frozen=True)
class Directions:
    """Inputs less their mean over training rows, in K orthonormal directions.

    Attributes
    ----------
    mean_D, basis_DK
        float32.
    """

    inputs: Inputs
    mean_D: Tensor
    basis_DK: Tensor

    def coordinates(self, rows: IntArray) -> FloatArray:
        """Return the N × K coordinates of rows; their columns are uncorrelated in training.

        In double precision, so that a row's do not depend on which rows stand beside it.
        """
        mean_D, basis_DK = self.mean_D.double(), self.basis_DK.double()
        parts = [(x.double() - mean_D) @ basis_DK for x in _batches(self.inputs, rows)]
        return np.asarray(torch.cat(parts).numpy())


def leading_directions(inputs: Inputs, rows: IntArray) -> Directions:
    """Find at most `MAX_DIRECTIONS` directions of the largest variance over training rows.

    By subspace iteration on the covariance (Halko, Martinsson & Tropp 2011, "Finding structure with
    randomness", SIAM Review 53, alg. 4.4) from a start that is always the same.
    """
    n_inputs = inputs(rows[:1]).shape[1]
    mean_D = sum((x.sum(0) for x in _batches(inputs, rows)), torch.zeros(n_inputs)) / len(rows)
    n_directions = min(MAX_DIRECTIONS, n_inputs, len(rows))
    start = torch.randn(n_inputs, n_directions, generator=torch.Generator().manual_seed(0))
    basis_DK = torch.linalg.qr(start).Q
    for _ in range(_N_PASSES):
        product = torch.zeros_like(basis_DK)
        for x in _batches(inputs, rows):
            centred = x - mean_D
            product += centred.T @ (centred @ basis_DK)
        basis_DK = torch.linalg.qr(product).Q
    # Within the subspace: the axes of the cloud, the longest first.
    z_NK = Directions(inputs, mean_D, basis_DK).coordinates(rows)
    _, axes_KK = np.linalg.eigh(z_NK.T @ z_NK)
    rotation = torch.from_numpy(np.ascontiguousarray(axes_KK[:, ::-1], dtype=np.float32))
    return Directions(inputs, mean_D, basis_DK @ rotation)


def _batches(inputs: Inputs, rows: IntArray) -> Iterator[Tensor]:
    for start in range(0, len(rows), _BATCH_ROWS):
        yield inputs(rows[start : start + _BATCH_ROWS])

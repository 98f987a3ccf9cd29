"""Logistic regressions on whole windows: on every value of them, and on a few summaries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from finscale.baselines.contract import Fitted
from finscale.baselines.directions import Inputs, leading_directions
from finscale.baselines.folds import (
    MAX_ROWS,
    Fold,
    least_loss,
    one_thread,
    ordered_folds,
    total_nats,
)
from finscale.baselines.path import logistic_path
from finscale.dataset.cell import CellData
from finscale.splits import IntArray

STRENGTHS: tuple[float, ...] = tuple(10.0 ** (exponent / 2) for exponent in range(-12, -1))
"""Inverse strengths C, from 1e-6 to 0.1; a window has many times the inputs of a row."""

MAX_FITTED_ROWS = 200_000
"""Of more training rows than this, so many are drawn: 256 weights need no more."""

HALF_LIFE_BARS = 5


def fit_linear_window(data: CellData, _: int) -> Fitted:
    """Fit on every value of the transformer's window: context length × features inputs."""
    return _fit(data, window_values(data))


def fit_logistic_window(data: CellData, _: int) -> Fitted:
    """Fit on summaries of the transformer's window, each scaled to the same spread."""
    summaries = window_summaries(data)
    seen = summaries(drawn(data.split.train, MAX_ROWS))
    mean_S, spread_S = seen.mean(0), seen.std(0, correction=0)
    spread_S[spread_S == 0] = 1.0
    return _fit(data, lambda rows: (summaries(rows) - mean_S) / spread_S)


def window_values(data: CellData) -> Inputs:
    """Return a function from B rows to their B × (L·F) windows, the oldest row first."""
    windows = data.windows(data.context_length, torch.device("cpu"))
    return lambda rows: windows.inputs(torch.from_numpy(rows)).flatten(1)


def window_summaries(data: CellData) -> Inputs:
    """Return a function from B rows to B × 4F summaries of their windows.

    Of every feature: the last value, the mean with weights that halve every five rows back, the
    mean, and the standard deviation.
    """
    windows = data.windows(data.context_length, torch.device("cpu"))
    age_L = torch.arange(data.context_length - 1, -1, -1)
    weight_L = 0.5 ** (age_L / HALF_LIFE_BARS)
    weight_L /= weight_L.sum()

    def summarise(rows: IntArray) -> Tensor:
        x_BLF = windows.inputs(torch.from_numpy(rows))
        recent_BF = (x_BLF * weight_L[:, None]).sum(1)
        spread_BF = x_BLF.std(1, correction=0)
        return torch.cat([x_BLF[:, -1], recent_BF, x_BLF.mean(1), spread_BF], dim=1)

    return summarise


def drawn(rows: IntArray, n_most: int) -> IntArray:
    """Return the rows, or so many of them where there are more, ascending, always the same."""
    if len(rows) <= n_most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, n_most, replace=False))


def _fit(data: CellData, inputs: Inputs) -> Fitted:
    rows = drawn(data.split.train, MAX_FITTED_ROWS)
    y_N = data.labels_T[rows]
    with one_thread():
        directions = leading_directions(inputs, drawn(rows, MAX_ROWS))
        z_NK = directions.coordinates(rows)

        def losses(fold: Fold) -> list[float]:
            z_validation, y_validation = z_NK[fold.validation], y_N[fold.validation]
            return [
                total_nats(line.probabilities(z_validation), y_validation)
                for line in logistic_path(z_NK[fold.train], y_N[fold.train], STRENGTHS)
            ]

        folds = ordered_folds(data.date[rows], y_N, data.cell.horizon_bars)
        strength = least_loss(folds, STRENGTHS, losses)
        (line,) = logistic_path(z_NK, y_N, [strength])
    return Fitted(lambda rows: line.probabilities(directions.coordinates(rows)), {"C": strength})

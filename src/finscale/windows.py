"""The model's input: features scaled by training statistics, and windows gathered on the device.

Shape suffixes: T rows, F features, B windows in a batch, L rows in a window (context length).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The range from the 5% to the 95% quantile of a normal distribution, in its interquartile ranges.
_NORMAL_RANGE_IQRS = 3.2897 / 1.3490


@dataclass(frozen=True)
class Scaler:
    """Robust standardisation: (x - median) / scale, clipped.

    The scale is the larger of the interquartile range and the range from the 5% to the 95%
    quantile over 2.44, which are equal for a normal distribution. An interquartile range alone
    collapses when half of the training values are nearly the same: the overnight gap of an index
    whose source gave the previous close as the open for years has one of 1e-5, and every gap of a
    later, better source would be clipped.

    Attributes
    ----------
    median_F, scale_F
        float32, from training rows only. A feature whose 5% and 95% quantiles are the same is
        divided by one.
    clip
        Scaled values are clipped to ± this.
    """

    median_F: NDArray[np.float32]
    scale_F: NDArray[np.float32]
    clip: float

    @staticmethod
    def fit(values_TF: NDArray[np.float32], clip: float) -> Scaler:
        """Fit on training rows; every value has to be finite."""
        least_F, lower_F, median_F, upper_F, most_F = np.quantile(
            values_TF, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0
        )
        scale_F = np.maximum(upper_F - lower_F, (most_F - least_F) / _NORMAL_RANGE_IQRS)
        return Scaler(
            median_F=median_F.astype(np.float32),
            scale_F=np.where(scale_F > 0, scale_F, 1.0).astype(np.float32),
            clip=clip,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics, JSON-ready."""
        return {
            "median": self.median_F.tolist(),
            "scale": self.scale_F.tolist(),
            "clip": self.clip,
        }

    def transform(self, values_TF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scaled and clipped values, float32; NaN stays NaN."""
        scaled_TF = (values_TF - self.median_F) / self.scale_F
        return np.asarray(np.clip(scaled_TF, -self.clip, self.clip))


class Windows:
    """Windows and labels by row number, without a copy of any window until it is asked for.

    Parameters
    ----------
    values_TF
        Scaled features, float32.
    labels_T
        float32; only rows with a label may be asked for.
    context_length
        L; the window of row t is rows t - L + 1 … t.
    device
        Where the matrix lives and batches are gathered.
    """

    def __init__(
        self,
        values_TF: NDArray[np.float32],
        labels_T: NDArray[np.float32],
        *,
        context_length: int,
        device: torch.device,
    ) -> None:
        self.context_length = context_length
        self.device = device
        matrix_TF = torch.from_numpy(np.ascontiguousarray(values_TF)).to(device)
        n_rows, self.n_features = matrix_TF.shape
        # A window is L·F consecutive floats of the matrix, so the windows of all rows are one
        # overlapping strided view, and a batch is a plain row gather from it.
        self._windows = matrix_TF.as_strided(
            (n_rows - context_length + 1, context_length * self.n_features), (self.n_features, 1)
        )
        self._labels_T = torch.from_numpy(labels_T).to(device)

    def inputs(self, rows_B: Tensor) -> Tensor:
        """Return ``x_BLF`` for anchor rows (int64, on the device)."""
        first_B = rows_B - (self.context_length - 1)
        return self._windows.index_select(0, first_B).view(-1, self.context_length, self.n_features)

    def labels(self, rows_B: Tensor) -> Tensor:
        """Return ``y_B``, float32: 0 or 1, or the number of the class."""
        return self._labels_T.index_select(0, rows_B)

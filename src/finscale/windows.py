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


@dataclass(frozen=True)
class Scaler:
    """Robust standardisation: (x - median) / IQR, clipped.

    Attributes
    ----------
    median_F, iqr_F
        float32, from training rows only. A feature whose IQR is zero is divided by one.
    clip
        Scaled values are clipped to ± this.
    """

    median_F: NDArray[np.float32]
    iqr_F: NDArray[np.float32]
    clip: float

    @staticmethod
    def fit(values_TF: NDArray[np.float32], clip: float) -> Scaler:
        """Fit on training rows; every value has to be finite."""
        lower_F, median_F, upper_F = np.quantile(values_TF, [0.25, 0.5, 0.75], axis=0)
        iqr_F = upper_F - lower_F
        return Scaler(
            median_F=median_F.astype(np.float32),
            iqr_F=np.where(iqr_F > 0, iqr_F, 1.0).astype(np.float32),
            clip=clip,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics, JSON-ready."""
        return {
            "median": self.median_F.tolist(),
            "iqr": self.iqr_F.tolist(),
            "clip": self.clip,
        }

    def transform(self, values_TF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scaled and clipped values, float32; NaN stays NaN."""
        scaled_TF = (values_TF - self.median_F) / self.iqr_F
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
        """Return ``y_B``, float32 in {0, 1}."""
        return self._labels_T.index_select(0, rows_B)

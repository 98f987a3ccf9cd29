"""Probabilities and log-loss of a model's outputs, of one logit or of one per class.

With one logit there is the probability of label 1, shape (B,); with K classes there is that of
each, shape (B, K), and the label is the number of the class.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from finscale.evaluation.metrics import EPS, FloatArray, row_log_loss, sigmoid
from finscale.tasks import BaseRate


def to_probabilities(outputs: npt.ArrayLike) -> FloatArray:
    """Return the probabilities of logits, in float64: (B,) of (B,), and (B, K) of (B, K)."""
    logits = np.asarray(outputs, dtype=np.float64)
    return sigmoid(logits) if logits.ndim == 1 else np.asarray(special.softmax(logits, axis=1))


def row_loss(p: npt.ArrayLike, labels_B: npt.ArrayLike) -> FloatArray:
    """Log-loss of each row in nats, shape (B,), with probabilities clipped to EPS from below.

    Raises
    ------
    ValueError
        If shapes do not fit, or probabilities or labels are outside their ranges.
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim == 1:
        return row_log_loss(p, labels_B)
    labels = np.asarray(labels_B, dtype=np.float64)
    if p.ndim != 2 or labels.shape != p.shape[:1] or p.size == 0:
        raise ValueError(f"probabilities {p.shape} and labels {labels.shape} do not fit together")
    if not np.isin(labels, np.arange(p.shape[1])).all():
        raise ValueError(f"labels must be whole numbers from 0 to {p.shape[1] - 1}")
    if not (p.min() >= 0.0 and np.allclose(p.sum(axis=1), 1.0, rtol=0.0, atol=1e-6)):
        raise ValueError("probabilities must be at least 0 and add up to 1")
    own_B = np.take_along_axis(p, labels.astype(np.int64)[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.clip(own_B, EPS, 1.0)))


def constant_forecast(base_rate: BaseRate, n_rows: int) -> FloatArray:
    """Return the training base rate as the forecast of every row, (B,) or (B, K)."""
    share = np.asarray(base_rate, dtype=np.float64)
    return np.full(n_rows, share) if share.ndim == 0 else np.tile(share, (n_rows, 1))


def base_loss(base_rate: BaseRate, labels_B: npt.ArrayLike) -> float:
    """Mean log-loss of always forecasting the training base rate, in nats."""
    labels = np.asarray(labels_B)
    return float(row_loss(constant_forecast(base_rate, len(labels)), labels).mean())

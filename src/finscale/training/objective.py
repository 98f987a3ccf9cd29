"""The loss that is trained: log-loss in nats, of one logit or of one per class."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from finscale.tasks import BaseRate


def summed_loss(outputs: Tensor, labels_B: Tensor) -> Tensor:
    """Return the sum of the log-losses of a batch.

    Parameters
    ----------
    outputs
        Logits: (B,) of label 1, or (B, K) of each class.
    labels_B
        Floats: 0 or 1, or the number of the class.
    """
    if outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs, labels_B, reduction="sum")
    return functional.cross_entropy(outputs, labels_B.long(), reduction="sum")


def mean_loss(outputs: Tensor, labels_B: Tensor) -> float:
    """Return the mean log-loss, computed in float64 on the CPU."""
    outputs, labels_B = outputs.cpu().double(), labels_B.cpu().double()
    if outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs, labels_B).item()
    return functional.cross_entropy(outputs, labels_B.long()).item()


def first_outputs(base_rate: BaseRate) -> tuple[float, ...]:
    """Return the outputs whose probabilities are the base rate: a logit, or a logarithm each."""
    if isinstance(base_rate, float):
        return (math.log(base_rate / (1 - base_rate)),)
    return tuple(math.log(share) for share in base_rate)

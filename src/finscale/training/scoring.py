"""Logits without gradients, in chunks that fit into memory."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import scoring_bytes_per_sample
from finscale.models.patch_transformer import PatchTransformer
from finscale.training.memory import is_out_of_memory, release_memory
from finscale.windows import Windows

_log = logging.getLogger(__name__)

# More at a time is no faster, and less than this is little beside what training takes.
_MAX_WINDOWS = 1024
_MAX_BYTES = 64 * 2**20


def scoring_batch(arch: Architecture, shape: InputShape) -> int:
    """Return how many windows to score at a time.

    It does not depend on how training is cut into micro-batches, so neither does the loss.
    """
    n_windows = _MAX_BYTES // scoring_bytes_per_sample(arch, shape)
    return min(_MAX_WINDOWS, max(1, n_windows))


def score(model: PatchTransformer, windows: Windows, rows_B: Tensor) -> Tensor:
    """Return the logits of every row in ``rows_B``, (B,) or (B, K), float32, dropout off."""
    n_windows = scoring_batch(model.architecture, model.shape)
    return score_fitting(model, windows, rows_B, n_windows)[0]


@torch.no_grad()
def score_fitting(
    model: PatchTransformer, windows: Windows, rows_B: Tensor, scoring_batch: int
) -> tuple[Tensor, int]:
    """Return the logits, and how many windows at a time fitted into memory.

    When memory runs out their number is halved, and scoring goes on where it was.

    Parameters
    ----------
    scoring_batch
        Windows at a time to begin with.
    """
    model.eval()
    logits: list[Tensor] = []
    n_done = 0
    while n_done < len(rows_B):
        chunk = rows_B[n_done : n_done + scoring_batch]
        try:
            logits.append(model(windows.inputs(chunk)))
        except (RuntimeError, MemoryError) as error:
            if scoring_batch == 1 or not is_out_of_memory(error):
                raise
        else:
            n_done += len(chunk)
            continue
        # Here and not above: the error held on to what the forward pass had made.
        release_memory(windows.device)
        scoring_batch //= 2
        _log.warning("out of memory: scoring goes on with %d windows at a time", scoring_batch)
    return torch.cat(logits), scoring_batch

"""How the effective batch is cut so that an architecture fits in memory."""

from __future__ import annotations

from dataclasses import dataclass

from finscale.errors import LadderError
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import training_memory_bytes

_MIB = 2**20


@dataclass(frozen=True)
class Batching:
    """Samples per forward pass, and how many passes make one optimiser step."""

    micro_batch: int
    accumulation_steps: int

    @property
    def effective_batch(self) -> int:
        """Samples per optimiser step."""
        return self.micro_batch * self.accumulation_steps


def plan_batching(
    arch: Architecture,
    shape: InputShape,
    *,
    effective_batch: int,
    memory_budget_bytes: int,
    bytes_per_value: int,
    dropout: float,
) -> Batching:
    """Choose the largest micro-batch that divides the effective batch and fits in memory.

    Parameters
    ----------
    arch, shape
        The model.
    effective_batch
        Samples per optimiser step, which the plan keeps exactly.
    memory_budget_bytes
        What training may use: weights, gradients, optimiser and activations.
    bytes_per_value
        4 for fp32, 2 for autocast to bf16.
    dropout
        Drop probability; its masks take memory.

    Raises
    ------
    LadderError
        If ``effective_batch`` is not positive, or one sample at a time does not fit.
    """
    if effective_batch < 1:
        raise LadderError(f"effective_batch is {effective_batch}; give a number of 1 or more")

    def needed_bytes(micro_batch: int) -> int:
        return training_memory_bytes(
            arch, shape, micro_batch, bytes_per_value=bytes_per_value, dropout=dropout
        )

    for accumulation_steps in range(1, effective_batch + 1):
        micro_batch, rest = divmod(effective_batch, accumulation_steps)
        if rest == 0 and needed_bytes(micro_batch) <= memory_budget_bytes:
            return Batching(micro_batch, accumulation_steps)
    needed_mib = -(-needed_bytes(1) // _MIB)
    raise LadderError(
        f"architecture {arch.label}: one sample at a time needs {needed_mib} MiB and "
        f"{memory_budget_bytes // _MIB} MiB are available; free memory or take a smaller budget"
    )

"""How the effective batch is cut so that an architecture fits in memory."""

from __future__ import annotations

from dataclasses import dataclass

from finscale.errors import LadderError
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import peak_memory_bytes

_MIB = 2**20


@dataclass(frozen=True)
class Batching:
    """How an optimiser step is fitted into memory.

    Attributes
    ----------
    micro_batch
        Samples per forward pass.
    accumulation_steps
        Passes that make one optimiser step.
    activation_checkpointing
        Whether blocks are computed once more in the backward pass, to keep less of them.
    """

    micro_batch: int
    accumulation_steps: int
    activation_checkpointing: bool = False

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
    device_type: str = "cpu",
) -> Batching:
    """Choose the largest micro-batch that divides the effective batch and fits in memory.

    Activation checkpointing costs a third more work, and is taken only where without it not even
    one sample at a time would fit.

    Parameters
    ----------
    arch, shape
        The model.
    effective_batch
        Samples per optimiser step, which the plan keeps exactly.
    memory_budget_bytes
        What training may use, see :func:`finscale.models.cost.peak_memory_bytes`.
    bytes_per_value
        4 for fp32, 2 for autocast to bf16.
    dropout
        Drop probability; its masks take memory.
    device_type
        What the model is trained on: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    LadderError
        If ``effective_batch`` is not positive, or one sample at a time does not fit either way.
    """
    if effective_batch < 1:
        raise LadderError(f"effective_batch is {effective_batch}; give a number of 1 or more")

    def needed_bytes(micro_batch: int, activation_checkpointing: bool) -> int:
        return peak_memory_bytes(
            arch,
            shape,
            micro_batch,
            accumulating=micro_batch < effective_batch,
            bytes_per_value=bytes_per_value,
            dropout=dropout,
            activation_checkpointing=activation_checkpointing,
            device_type=device_type,
        )

    for activation_checkpointing in (False, True):
        for accumulation_steps in range(1, effective_batch + 1):
            micro_batch, rest = divmod(effective_batch, accumulation_steps)
            if rest == 0 and (
                needed_bytes(micro_batch, activation_checkpointing) <= memory_budget_bytes
            ):
                return Batching(micro_batch, accumulation_steps, activation_checkpointing)
    needed_mib = -(-needed_bytes(1, activation_checkpointing=True) // _MIB)
    raise LadderError(
        f"architecture {arch.label}: one sample at a time needs {needed_mib} MiB and "
        f"{memory_budget_bytes // _MIB} MiB are available; free memory or take a smaller budget"
    )

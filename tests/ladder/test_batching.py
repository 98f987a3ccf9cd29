from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import LadderError
from finscale.ladder.batching import Batching, plan_batching
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import peak_memory_bytes, training_memory_bytes

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
CELL = Architecture(64, 4, 4, 256)


def _needed(micro_batch: int, *, of: int, checkpointing: bool = False) -> int:
    """Bytes for a micro-batch of an effective batch."""
    return peak_memory_bytes(
        CELL,
        SHAPE,
        micro_batch,
        accumulating=micro_batch < of,
        bytes_per_value=4,
        dropout=0.1,
        activation_checkpointing=checkpointing,
    )


def _plan(effective_batch: int, memory_budget_bytes: int, **options: str) -> Batching:
    return plan_batching(
        CELL,
        SHAPE,
        effective_batch=effective_batch,
        memory_budget_bytes=memory_budget_bytes,
        bytes_per_value=4,
        dropout=0.1,
        **options,
    )


def test_the_whole_batch_is_taken_when_it_fits() -> None:
    assert _plan(256, _needed(256, of=256)) == Batching(256, 1, activation_checkpointing=False)


def test_what_accumulation_costs_counts() -> None:
    # Half of the batch would take nearly as much, for the gradients lie between the activations.
    assert _needed(128, of=256) < _needed(256, of=256) - 1
    assert _plan(256, _needed(256, of=256) - 1) == Batching(128, 2)
    assert _plan(256, _needed(128, of=256) - 1) == Batching(64, 4)


def test_a_gpu_has_other_peaks() -> None:
    room = training_memory_bytes(CELL, SHAPE, 256, bytes_per_value=4, dropout=0.1)
    assert _plan(256, room, device_type="cuda") == Batching(256, 1)
    assert _plan(256, room, device_type="cpu").micro_batch < 128


def test_only_divisors_of_the_effective_batch_are_taken() -> None:
    assert _plan(90, _needed(44, of=90)) == Batching(micro_batch=30, accumulation_steps=3)
    assert _plan(7, _needed(7, of=7) - 1) == Batching(micro_batch=1, accumulation_steps=7)


@given(effective_batch=st.integers(1, 300), room=st.integers(1, 300))
def test_a_plan_keeps_the_effective_batch_and_is_the_largest_that_fits(
    effective_batch: int, room: int
) -> None:
    budget = _needed(room, of=room + 1)
    plan = _plan(effective_batch, budget)
    divisors = [n for n in range(1, effective_batch + 1) if effective_batch % n == 0]
    assert plan.effective_batch == effective_batch
    fit = [n for n in divisors if _needed(n, of=effective_batch) <= budget]
    assert plan.micro_batch == max(fit)
    assert not plan.activation_checkpointing


LONG = InputShape(n_features=2, context_length=512, patch_length=2, patch_stride=2)
DEEP = Architecture(16, 48, 4, 32)


def _plan_deep(memory_budget_bytes: int) -> Batching:
    return plan_batching(
        DEEP,
        LONG,
        effective_batch=8,
        memory_budget_bytes=memory_budget_bytes,
        bytes_per_value=4,
        dropout=0.1,
    )


def _needed_deep(micro_batch: int, *, checkpointing: bool) -> int:
    return peak_memory_bytes(
        DEEP,
        LONG,
        micro_batch,
        accumulating=micro_batch < 8,
        bytes_per_value=4,
        dropout=0.1,
        activation_checkpointing=checkpointing,
    )


def test_activation_checkpointing_is_taken_when_one_sample_would_not_fit_without() -> None:
    one_sample = _needed_deep(1, checkpointing=False)
    assert _plan_deep(one_sample) == Batching(1, 8)
    plan = _plan_deep(one_sample - 1)
    assert plan.activation_checkpointing
    # Then as many samples at a time as fit with it.
    assert plan.effective_batch == 8
    assert _needed_deep(plan.micro_batch, checkpointing=True) < one_sample
    assert _needed_deep(2 * plan.micro_batch, checkpointing=True) >= one_sample
    with pytest.raises(LadderError, match="one sample at a time needs"):
        _plan_deep(_needed_deep(1, checkpointing=True) - 1)


def test_what_does_not_fit_says_what_is_needed_and_available() -> None:
    large = Architecture(2048, 32, 16, 8192)
    # 1,612,007,425 parameters at 22 bytes and one sample of activations: 33.0 GiB and more.
    with pytest.raises(LadderError, match=r"needs 33[0-9]{3} MiB and 8192 MiB are available"):
        plan_batching(
            large,
            SHAPE,
            effective_batch=256,
            memory_budget_bytes=8 * 2**30,
            bytes_per_value=2,
            dropout=0.1,
        )


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(LadderError, match="effective_batch is 0"):
        _plan(0, 10**9)

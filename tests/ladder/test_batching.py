from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import LadderError
from finscale.ladder.batching import Batching, plan_batching
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import training_memory_bytes

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
CELL = Architecture(64, 4, 4, 256)


def _needed(micro_batch: int) -> int:
    return training_memory_bytes(CELL, SHAPE, micro_batch, bytes_per_value=4, dropout=0.1)


def _plan(effective_batch: int, memory_budget_bytes: int) -> Batching:
    return plan_batching(
        CELL,
        SHAPE,
        effective_batch=effective_batch,
        memory_budget_bytes=memory_budget_bytes,
        bytes_per_value=4,
        dropout=0.1,
    )


def test_the_whole_batch_is_taken_when_it_fits() -> None:
    assert _plan(256, _needed(256)) == Batching(micro_batch=256, accumulation_steps=1)


def test_one_byte_less_halves_the_micro_batch() -> None:
    assert _plan(256, _needed(256) - 1) == Batching(micro_batch=128, accumulation_steps=2)


def test_only_divisors_of_the_effective_batch_are_taken() -> None:
    assert _plan(90, _needed(44)) == Batching(micro_batch=30, accumulation_steps=3)
    assert _plan(7, _needed(6)) == Batching(micro_batch=1, accumulation_steps=7)


@given(effective_batch=st.integers(1, 300), room=st.integers(1, 300))
def test_a_plan_keeps_the_effective_batch_and_is_the_largest_that_fits(
    effective_batch: int, room: int
) -> None:
    plan = _plan(effective_batch, _needed(room))
    divisors = [n for n in range(1, effective_batch + 1) if effective_batch % n == 0]
    assert plan.effective_batch == effective_batch
    assert plan.micro_batch == max(n for n in divisors if n <= room)


def test_what_does_not_fit_says_what_is_needed_and_available() -> None:
    large = Architecture(2048, 32, 16, 8192)
    # 1,612,007,425 parameters at 18 bytes and one sample of activations: 27.1 GiB and more.
    with pytest.raises(LadderError, match=r"needs 27[0-9]{3} MiB and 8192 MiB are available"):
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

"""Running out of memory: the micro-batch is halved, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import SPLIT, make_job, make_windows
from torch import Tensor

from finscale.errors import LadderError, StopRequestedError
from finscale.models.architecture import Architecture, InputShape
from finscale.models.patch_transformer import PatchTransformer
from finscale.training import loop
from finscale.training.loop import TrainingResult, build_model, score, train
from finscale.training.memory import is_out_of_memory
from finscale.training.scoring import scoring_batch
from finscale.windows import Windows

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 1000000 bytes. Error code 12 (Cannot allocate memory)"
)
ERRORS: dict[str, Callable[[], Exception]] = {
    "cpu": lambda: RuntimeError(CPU_MESSAGE),
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "python": MemoryError,
}


@pytest.fixture(scope="module")
def windows() -> Windows:
    return make_windows(signal=True)


def run(windows: Windows, *, micro_batch: int = 64, **options: Any) -> TrainingResult:
    return train(windows, SPLIT, make_job(windows, micro_batch=micro_batch, epochs=2), **options)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what makes forward passes of more samples than there is room for fail."""
    plain = PatchTransformer.forward

    def limit(
        n_samples: int,
        *,
        error: Callable[[], Exception] = ERRORS["cpu"],
        n_passes: int = 0,
        training: bool = True,
    ) -> None:
        passes = iter(range(n_passes))

        def forward(self: PatchTransformer, x_BLF: Tensor) -> Tensor:
            tight = self.training == training and len(x_BLF) > n_samples
            if tight and next(passes, None) is None:
                raise error()
            return plain(self, x_BLF)

        monkeypatch.setattr(PatchTransformer, "forward", forward)

    return limit


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.curve == other.curve
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name


# --- Telling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        *(make() for make in ERRORS.values()),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_errors_that_say_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError(CPU_MESSAGE), OSError()],
)
def test_errors_that_say_something_else(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_what_the_cpu_allocator_really_says() -> None:
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(refusal.value)


# --- Training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_samples", "n_halvings", "kind"),
    [(59, 1, "cpu"), (32, 1, "cuda"), (31, 2, "python"), (1, 6, "cpu")],
)
def test_the_result_is_that_of_the_smaller_cut(
    windows: Windows,
    room: Callable[..., None],
    n_samples: int,
    n_halvings: int,
    kind: str,
) -> None:
    # Batches are of 60 samples: cut by 64 they come whole.
    fitting = 64 // 2**n_halvings
    expected = run(windows, micro_batch=fitting)
    assert (expected.micro_batch, expected.batch_halvings) == (fitting, 0)
    room(n_samples, error=ERRORS[kind])
    result = run(windows)
    assert (result.micro_batch, result.batch_halvings) == (fitting, n_halvings)
    assert_same(result, expected)


def test_a_step_that_failed_half_way_is_made_anew(
    windows: Windows, room: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batches of 60 cut by 16 take four passes; the second epoch's first step fails at its third.
    steps: list[tuple[int, int]] = []
    plain = loop.TrainingRun.optimizer_step

    def watched(self: loop.TrainingRun, batch: Tensor, step: int) -> Tensor:
        loss = plain(self, batch, step)
        steps.append((step, self.progress.micro_batch))
        return loss

    monkeypatch.setattr(loop.TrainingRun, "optimizer_step", watched)
    expected = run(windows, micro_batch=8)
    whole = run(windows, micro_batch=16)
    steps.clear()
    room(8, n_passes=3 * 5 + 2)  # the fourth pass of 12 samples is tight too: 4 a step
    result = run(windows, micro_batch=16)
    assert steps == [(step, 16) for step in range(4)] + [(step, 8) for step in range(4, 10)]
    assert result.batch_halvings == 1
    # Neither cut alone, but within rounding of both.
    for name, tensor in result.weights.items():
        assert torch.allclose(tensor, expected.weights[name], atol=2e-4), name
        assert torch.allclose(tensor, whole.weights[name], atol=2e-4), name


def test_gradients_of_the_failed_attempt_do_not_count(
    windows: Windows, room: Callable[..., None]
) -> None:
    training = loop.TrainingRun(windows, SPLIT, make_job(windows, micro_batch=16))
    other = loop.TrainingRun(windows, SPLIT, make_job(windows, micro_batch=8))
    batch = next(training.batches(1))
    other.optimizer_step(batch, 0)
    room(8, n_passes=2)
    training.optimizer_step(batch, 0)
    for one, expected in zip(training.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, expected)


def test_halving_is_logged_and_kept_by_a_resumed_run(
    windows: Windows,
    room: Callable[..., None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "c.safetensors"
    expected = run(windows, micro_batch=16)
    room(16)
    given = iter(["go", "go", "stop"])
    with pytest.raises(StopRequestedError):
        run(windows, may_go_on=lambda: next(given), checkpoint=path)
    assert caplog.messages == [
        f"out of memory: 8x2x2x16 goes on with micro-batches of {n}" for n in (32, 16)
    ]
    resumed = run(windows, checkpoint=path)
    assert len(caplog.messages) == 2
    assert (resumed.micro_batch, resumed.batch_halvings) == (16, 2)
    assert_same(resumed, expected)
    assert run(windows, micro_batch=4, checkpoint=path).micro_batch == 4


@pytest.mark.parametrize("kind", ERRORS)
def test_one_sample_that_does_not_fit_is_a_clear_failure(
    windows: Windows, room: Callable[..., None], kind: str
) -> None:
    room(0, error=ERRORS[kind])
    with pytest.raises(LadderError) as failure:
        run(windows)
    assert str(failure.value) == (
        "architecture 8x2x2x16: out of memory, and smaller micro-batches would not help; "
        "free memory or take a smaller budget"
    )


def test_memory_for_the_optimiser_is_a_clear_failure(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(CPU_MESSAGE)

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    with pytest.raises(LadderError, match="smaller micro-batches would not help"):
        run(windows)


def test_other_errors_halve_nothing(windows: Windows, room: Callable[..., None]) -> None:
    room(8, error=lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2"):
        run(windows)


def test_what_the_failed_attempt_held_is_freed(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

    plain = PatchTransformer.forward
    alive: list[int] = []

    def forward(self: PatchTransformer, x_BLF: Tensor) -> Tensor:
        alive.append(Held.alive)
        held = Held()
        if self.training and len(x_BLF) > 16:
            raise RuntimeError(CPU_MESSAGE)
        del held
        return plain(self, x_BLF)

    monkeypatch.setattr(PatchTransformer, "forward", forward)
    assert run(windows).batch_halvings == 2
    assert set(alive) == {0}


# --- Scoring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_samples", "fitting"), [(70, 64), (1, 1)])
def test_scoring_goes_on_with_fewer_windows_at_a_time(
    windows: Windows,
    room: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    n_samples: int,
    fitting: int,
) -> None:
    expected = run(windows)
    assert (expected.scoring_batch, expected.batch_halvings) == (1024, 0)
    room(n_samples, training=False)
    result = run(windows)
    assert result.scoring_batch == fitting
    assert (result.micro_batch, result.batch_halvings) == (64, 0)
    assert f"scoring goes on with {result.scoring_batch} windows" in caplog.messages[-1]
    for point, other in zip(result.curve, expected.curve, strict=True):
        assert point.train_loss == other.train_loss
        assert point.validation_loss == pytest.approx(other.validation_loss, rel=1e-6)


def test_scoring_that_fails_in_the_middle_repeats_and_leaves_out_nothing(
    windows: Windows, room: Callable[..., None]
) -> None:
    model = build_model(make_job(windows), windows.device)
    torch.nn.init.normal_(model.head.weight)
    rows = torch.arange(11, 600).repeat(5)
    expected = score(model, windows, rows)
    # 2,945 windows by 1,024: the second chunk fails.
    room(300, n_passes=1, training=False)
    assert torch.allclose(score(model, windows, rows), expected, atol=1e-5)


def test_scoring_that_cannot_fit_is_a_clear_failure(
    windows: Windows, room: Callable[..., None]
) -> None:
    room(0, training=False)
    with pytest.raises(LadderError, match="out of memory"):
        run(windows)


@pytest.mark.parametrize(
    ("label", "n_windows"),
    [
        ("8x2x2x16", 1024),
        # 60 × 25 values of a window and 11 × (4 × 2048 + 2 × 8192) of a block, 4 bytes each.
        ("2048x4x8x8192", 61),
        ("65536x1x1x262144", 1),
    ],
)
def test_windows_scored_at_a_time_are_a_matter_of_their_size(label: str, n_windows: int) -> None:
    shape = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
    assert scoring_batch(Architecture.parse(label), shape) == n_windows


# --- Activation checkpointing -------------------------------------------------------------------


@pytest.mark.parametrize("micro_batch", [64, 16])
def test_activation_checkpointing_changes_no_result(windows: Windows, micro_batch: int) -> None:
    job = make_job(windows, micro_batch=micro_batch, epochs=2)
    checkpointing = replace(job, batching=replace(job.batching, activation_checkpointing=True))
    assert build_model(checkpointing, windows.device).activation_checkpointing
    assert loop.job_hash(checkpointing) == loop.job_hash(job)
    assert_same(train(windows, SPLIT, checkpointing), train(windows, SPLIT, job))

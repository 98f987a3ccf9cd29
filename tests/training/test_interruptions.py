"""Runs that are left or killed between any two steps, again and again, are still the same run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import SPLIT, make_job, make_windows

from finscale.errors import StopRequestedError
from finscale.training import loop
from finscale.training.checkpoint import load_tensors
from finscale.training.loop import EpochRecord, GoOn, TrainingResult, train
from finscale.training.recipe import TrainingJob
from finscale.windows import Windows
from processes import killed_after

# 300 samples in batches of 60 and 6 epochs: 30 steps.
N_STEPS, STEPS_PER_EPOCH = 30, 5


@pytest.fixture(scope="module")
def windows() -> Windows:
    return make_windows(signal=True)


@pytest.fixture(scope="module")
def whole(windows: Windows) -> TrainingResult:
    return train(windows, SPLIT, job(windows))


def job(windows: Windows) -> TrainingJob:
    return make_job(windows, micro_batch=32, epochs=6)


class Kill(BaseException):
    """Ends a run where nothing can be saved any more."""


def answers(*given: GoOn, then: GoOn = "go") -> Callable[[], GoOn]:
    coming: Iterator[GoOn] = iter(given)
    return lambda: next(coming, then)


def stop_after_steps(n_steps: int) -> Callable[[], GoOn]:
    """Say ``stop`` at the n-th question; after an epoch there is one more than steps."""
    return answers(*["go"] * (n_steps - 1), then="stop")


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.curve == other.curve
    assert (one.best_epoch, one.stop_reason, one.n_steps) == (
        other.best_epoch,
        other.stop_reason,
        other.n_steps,
    )
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name


def steps_in(path: Path) -> int:
    progress = load_tensors(path)[1]["progress"]
    return len(progress["curve"]) * STEPS_PER_EPOCH + int(progress["step"])


@pytest.mark.parametrize("n_asked", [1, 4, 5, 6, 7, 13])
def test_a_run_stopped_within_an_epoch_is_the_run_that_was_not(
    windows: Windows, whole: TrainingResult, tmp_path: Path, n_asked: int
) -> None:
    path = tmp_path / "c.safetensors"
    seen: list[EpochRecord] = []
    with pytest.raises(StopRequestedError):
        train(windows, SPLIT, job(windows), may_go_on=stop_after_steps(n_asked), checkpoint=path)
    # Of six questions five come after steps and one after the epoch.
    assert steps_in(path) == n_asked - n_asked // (STEPS_PER_EPOCH + 1)
    resumed = train(windows, SPLIT, job(windows), on_epoch=seen.append, checkpoint=path)
    assert_same(resumed, whole)
    assert tuple(seen) == whole.curve


@pytest.mark.parametrize("seed", range(8))
def test_stopped_at_random_steps_it_takes_no_step_twice(
    windows: Windows, whole: TrainingResult, tmp_path: Path, seed: int, taken: list[int]
) -> None:
    path, rng = tmp_path / "c.safetensors", np.random.default_rng(seed)
    for _ in range(100):
        stop = stop_after_steps(rng.integers(1, 10))
        try:
            result = train(windows, SPLIT, job(windows), may_go_on=stop, checkpoint=path)
        except StopRequestedError:
            continue
        break
    assert_same(result, whole)
    assert taken == list(range(N_STEPS))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the optimiser steps that were taken, in order."""
    numbers: list[int] = []
    plain = loop.TrainingRun.optimizer_step

    def watched(self: Any, batch: torch.Tensor, step: int) -> torch.Tensor:
        numbers.append(step)
        return plain(self, batch, step)

    monkeypatch.setattr(loop.TrainingRun, "optimizer_step", watched)
    return numbers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still unless it is moved on."""
    now = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def move_on(seconds: float) -> None:
        now[0] += seconds

    return move_on


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_random_steps_it_repeats_what_came_after_the_last_checkpoint(
    windows: Windows,
    tmp_path: Path,
    seed: int,
    taken: list[int],
    clock: Callable[[float], None],
) -> None:
    rng = np.random.default_rng(seed)

    def kill_in(n_steps: int) -> Callable[[], GoOn]:
        left = iter(range(n_steps))

        def ask() -> GoOn:
            # At 100 s a step a checkpoint of every 300 s is one of every third step.
            clock(100.0)
            if next(left, None) is None:
                raise Kill
            return "go"

        return ask

    def run() -> TrainingResult | None:
        try:
            return train(
                windows,
                SPLIT,
                job(windows),
                may_go_on=kill_in(rng.integers(1, 10)),
                checkpoint=tmp_path / "c.safetensors",
            )
        except Kill:
            return None

    n_kills = 0
    while (result := run()) is None:
        n_kills += 1
        assert n_kills < 100
    assert sorted(set(taken)) == list(range(N_STEPS))
    assert n_kills > 3
    # What is redone is bounded.
    assert N_STEPS < len(taken) <= N_STEPS + 3 * n_kills
    assert_same(result, train(windows, SPLIT, job(windows)))


def test_a_checkpoint_is_taken_between_steps_as_often_as_asked_for(
    windows: Windows, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    path = tmp_path / "c.safetensors"
    saved: list[int] = []
    save = loop.TrainingRun.save

    def step_takes_100_s() -> GoOn:
        clock(100.0)
        return "go"

    def watch(self: Any, to: Path) -> None:
        save(self, to)
        saved.append(steps_in(to))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop.TrainingRun, "save", watch)
        train(windows, SPLIT, job(windows), may_go_on=step_takes_100_s, checkpoint=path)
    # Asked 36 times, a checkpoint every 300 s: after each third question.
    assert len(saved) == 12
    assert saved == sorted(saved)
    assert {steps % STEPS_PER_EPOCH for steps in saved} > {0}


def test_finish_epoch_finishes_the_epoch(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"
    seen: list[int] = []
    with pytest.raises(StopRequestedError, match="stopped on request"):
        train(
            windows,
            SPLIT,
            job(windows),
            on_epoch=lambda record: seen.append(record.epoch),
            may_go_on=answers(*["go"] * 7, then="finish_epoch"),
            checkpoint=path,
        )
    assert seen == [1, 2]
    assert steps_in(path) == 2 * STEPS_PER_EPOCH
    assert_same(train(windows, SPLIT, job(windows), checkpoint=path), whole)


def test_a_request_withdrawn_before_the_end_of_the_epoch_is_none(
    windows: Windows, whole: TrainingResult
) -> None:
    result = train(
        windows, SPLIT, job(windows), may_go_on=answers("go", "finish_epoch", "finish_epoch")
    )
    assert_same(result, whole)


def test_time_waited_before_going_on_is_not_the_runs(
    windows: Windows, clock: Callable[[float], None]
) -> None:
    def wait() -> GoOn:
        clock(1000.0)
        return "go"

    def announce(_: EpochRecord) -> None:
        clock(3.0)

    result = train(windows, SPLIT, job(windows), may_go_on=wait, on_epoch=announce)
    # Announcing the last epoch comes after its time was taken.
    assert result.duration_s == 15.0


def test_duration_goes_on_over_interruptions(
    windows: Windows, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    path = tmp_path / "c.safetensors"
    step = loop.TrainingRun.optimizer_step

    def step_takes_2_s(self: Any, batch: torch.Tensor, number: int) -> torch.Tensor:
        clock(2.0)
        return step(self, batch, number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop.TrainingRun, "optimizer_step", step_takes_2_s)
        with pytest.raises(StopRequestedError):
            train(windows, SPLIT, job(windows), may_go_on=stop_after_steps(9), checkpoint=path)
        clock(500.0)
        assert train(windows, SPLIT, job(windows), checkpoint=path).duration_s == 2.0 * N_STEPS


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError("no")])
def test_a_checkpoint_that_cannot_be_written_is_reported_and_training_goes_on(
    windows: Windows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    path = tmp_path / "c.safetensors"

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(loop.TrainingRun, "save", fail)
    result = train(windows, SPLIT, job(windows), checkpoint=path, checkpoint_every_s=0)
    assert len(result.curve) == 6
    assert caplog.messages[0] == f"{path}: the checkpoint could not be written ({error})"
    with pytest.raises(StopRequestedError):
        train(windows, SPLIT, job(windows), may_go_on=stop_after_steps(2), checkpoint=path)


KILLED = """
import sys
from pathlib import Path

sys.path.insert(0, {folder!r})
import torch
from planted import SPLIT, make_job, make_windows
from finscale.training.checkpoint import save_tensors
from finscale.training.loop import train

torch.set_num_threads({n_threads})
windows = make_windows(signal=True)
job = make_job(windows, micro_batch=32, epochs=6)
print("begins", flush=True)
path = Path({path!r})
result = train(windows, SPLIT, job, checkpoint=path, checkpoint_every_s=0)
save_tensors(path.with_name("weights.safetensors"), result.weights, {{}})
"""


@pytest.mark.slow
def test_a_process_killed_at_random_moments_is_still_the_same(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    path, rng = tmp_path / "c.safetensors", np.random.default_rng(3)
    code = KILLED.format(
        folder=str(Path(__file__).parent), path=str(path), n_threads=torch.get_num_threads()
    )
    n_kills = 0
    steps = [0]
    for attempt in range(7):
        started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        with killed_after(started) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if attempt < 6:
                time.sleep(rng.uniform(0.0, 0.15))
                os.kill(process.pid, signal.SIGKILL)
            if process.wait() == 0:
                break
        n_kills += 1
        if path.exists():
            steps.append(steps_in(path))
    assert n_kills >= 1
    assert steps == sorted(steps)
    weights, _ = load_tensors(tmp_path / "weights.safetensors")
    for name, tensor in whole.weights.items():
        assert torch.equal(weights[name], tensor), name

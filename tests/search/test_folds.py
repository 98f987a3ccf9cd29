from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finscale.dataset.cell import Cell, CellData, prepare_folds
from finscale.dataset.market import load_market
from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.evaluation.metrics import log_loss
from finscale.files import write_text_atomic
from finscale.ladder.batching import Batching
from finscale.models.architecture import Architecture, InputShape
from finscale.search.folds import (
    FoldScore,
    discard,
    fold_jobs,
    pooled_base_loss,
    pooled_loss,
    take_over,
    train_folds,
)
from finscale.training.loop import DivergedError, TrainingResult, train
from finscale.training.recipe import Recipe, TrainingJob
from tiny import tiny_study

STUDY = tiny_study(
    {"split.train_frac": 0.12, "split.validation_frac": 0.04, "split.n_folds": 3, "horizons": [5]}
)
JOB = TrainingJob(
    architecture=Architecture(4, 1, 1, 8),
    shape=InputShape(25, 60, 10, 5),
    recipe=Recipe(5e-3, 1e-3, 0.1, 1, 3),
    settings=STUDY.training,
    batching=Batching(512, 1),
    seed=5,
    base_rate=0.5,
    precision="fp32",
)


@functools.cache
def folds() -> tuple[CellData, ...]:
    return prepare_folds(STUDY, load_market(STUDY), Cell(5, "threshold_1pct"))


def train_one(data: CellData, job: TrainingJob, **options: Any) -> TrainingResult:
    torch.set_num_threads(1)
    return train(data.windows(60, torch.device("cpu")), data.split, job, **options)


def outcome(scores: Sequence[FoldScore]) -> list[FoldScore]:
    return [replace(score, duration_s=0.0) for score in scores]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FoldScore, ...]:
    return train_folds(
        folds(), JOB, train_one, checkpoint=tmp_path_factory.mktemp("whole") / "trial.safetensors"
    )


def score(n_rows: int, loss: float, base_loss: float) -> FoldScore:
    return FoldScore(1, n_rows, base_loss, loss, 0.5, 1, (), "epochs", 1.0)


def test_pooled_losses_by_hand() -> None:
    scores = [score(100, 0.6, 0.7), score(300, 0.4, 0.5)]
    # (100 x 0.6 + 300 x 0.4) / 400 and (100 x 0.7 + 300 x 0.5) / 400.
    assert pooled_loss(scores) == pytest.approx(0.45)
    assert pooled_base_loss(scores) == pytest.approx(0.55)


def test_the_pooled_loss_is_that_of_all_rows_together() -> None:
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, n).astype(float) for n in (50, 200, 130)]
    probabilities = [rng.uniform(0.1, 0.9, len(one)) for one in labels]
    scores = [
        score(len(one), log_loss(p, one), 0.0) for p, one in zip(probabilities, labels, strict=True)
    ]
    together = log_loss(np.concatenate(probabilities), np.concatenate(labels))
    assert pooled_loss(scores) == pytest.approx(together)


def test_a_fold_is_trained_like_any_run(scores: tuple[FoldScore, ...], tmp_path: Path) -> None:
    second = folds()[1]
    own = replace(JOB, base_rate=second.base_rate, seed=fold_jobs(folds(), JOB)[1].seed)
    alone = train_one(second, own)
    assert scores[1].curve == alone.curve
    assert scores[1].validation_loss == alone.validation_loss
    assert scores[1].n_rows == len(second.split.validation)
    rate, labels = second.base_rate, second.labels_T[second.split.validation]
    share = float(labels.mean())
    expected = -share * np.log(rate) - (1 - share) * np.log(1 - rate)
    assert scores[1].base_loss == pytest.approx(expected)
    assert [one.fold for one in scores] == [1, 2, 3]


def test_every_fold_has_a_seed_and_a_base_rate_of_its_own() -> None:
    jobs = fold_jobs(folds(), JOB)
    assert len({job.seed for job in jobs} | {JOB.seed}) == 4
    assert [job.base_rate for job in jobs] == [data.base_rate for data in folds()]
    assert len({job.base_rate for job in jobs}) == 3


def test_the_running_score_is_told_after_every_fold(
    scores: tuple[FoldScore, ...], tmp_path: Path
) -> None:
    told: list[float] = []
    started: list[int] = []
    epochs: list[int] = []
    train_folds(
        folds(),
        JOB,
        train_one,
        checkpoint=tmp_path / "trial.safetensors",
        on_start=lambda number, _: started.append(number),
        on_epoch=lambda record: epochs.append(record.epoch),
        on_fold=lambda so_far: told.append(pooled_loss(so_far)),
    )
    assert told == [pooled_loss(scores[:number]) for number in (1, 2, 3)]
    assert started == [1, 2, 3]
    assert epochs == [point.epoch for one in scores for point in one.curve]


class PrunedError(Exception):
    """Ends a trial."""


def test_a_trial_pruned_after_a_fold_trains_no_more(tmp_path: Path) -> None:
    trained: list[CellData] = []

    def watched(data: CellData, job: TrainingJob, **options: Any) -> TrainingResult:
        trained.append(data)
        return train_one(data, job, **options)

    def prune(so_far: Sequence[FoldScore]) -> None:
        if len(so_far) == 2:
            raise PrunedError

    checkpoint = tmp_path / "trial.safetensors"
    with pytest.raises(PrunedError):
        train_folds(folds(), JOB, watched, checkpoint=checkpoint, on_fold=prune)
    assert len(trained) == 2
    discard(checkpoint)
    assert list(tmp_path.iterdir()) == []


def stopping(n_epochs: int) -> Callable[..., TrainingResult]:
    """Return a training that is asked to stop at the n-th epoch of all folds together."""
    asked = iter(range(1, 1000))

    def stopped(data: CellData, job: TrainingJob, **options: Any) -> TrainingResult:
        return train_one(data, job, should_stop=lambda: next(asked) >= n_epochs, **options)

    return stopped


@pytest.mark.parametrize("n_epochs", [1, 2, 4, 6, 7])
def test_a_stopped_trial_goes_on_as_if_it_had_not_been_stopped(
    scores: tuple[FoldScore, ...], tmp_path: Path, n_epochs: int
) -> None:
    checkpoint = tmp_path / "trial.safetensors"
    with pytest.raises(StopRequestedError):
        train_folds(folds(), JOB, stopping(n_epochs), checkpoint=checkpoint)
    told: list[int] = []
    trained: list[int] = []
    again = train_folds(
        folds(),
        JOB,
        train_one,
        checkpoint=checkpoint,
        on_start=lambda number, _: trained.append(number),
        on_fold=lambda so_far: told.append(len(so_far)),
    )
    assert outcome(again) == outcome(scores)
    assert told == [1, 2, 3]
    # What was finished is told again, and not trained again.
    n_finished = sum(
        sum(len(one.curve) for one in scores[:number]) < n_epochs for number in (1, 2, 3)
    )
    assert trained == [1, 2, 3][n_finished:]
    discard(checkpoint)
    assert list(tmp_path.iterdir()) == []


def test_discarding_leaves_other_trials_alone(tmp_path: Path) -> None:
    ours, theirs = (tmp_path / f"x_trial_slot_000{n}.safetensors" for n in (1, 2))
    for checkpoint in (ours, theirs):
        with pytest.raises(StopRequestedError):
            train_folds(folds(), JOB, stopping(4), checkpoint=checkpoint)
    kept = sorted(file.name for file in tmp_path.iterdir() if "0002" in file.name)
    discard(ours)
    assert sorted(file.name for file in tmp_path.iterdir()) == kept != []


def test_another_attempt_takes_over_what_was_kept(
    scores: tuple[FoldScore, ...], tmp_path: Path
) -> None:
    first, second = (tmp_path / f"slot_0001_attempt_000{n}.safetensors" for n in (1, 2))
    # Stopped in the second fold: one is scored, and one has a checkpoint.
    with pytest.raises(StopRequestedError):
        train_folds(folds(), JOB, stopping(len(scores[0].curve) + 1), checkpoint=first)
    take_over(first, second)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "slot_0001_attempt_0002_fold_2.safetensors",
        "slot_0001_attempt_0002_folds.json",
    ]
    again = train_folds(folds(), JOB, stopping(1000), checkpoint=second)
    assert outcome(again) == outcome(scores)
    # There is nothing left to take over, which is no error.
    take_over(first, second)


def test_scores_of_another_job_are_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "trial.safetensors"
    with pytest.raises(StopRequestedError):
        train_folds(folds(), JOB, stopping(4), checkpoint=checkpoint)
    with pytest.raises(RunDirectoryError, match=r"trial_folds.json: scores of another run; remove"):
        train_folds(folds(), replace(JOB, seed=6), train_one, checkpoint=checkpoint)
    write_text_atomic(tmp_path / "trial_folds.json", "{")
    with pytest.raises(RunDirectoryError, match=r"trial_folds.json"):
        train_folds(folds(), JOB, train_one, checkpoint=checkpoint)


def test_a_divergence_is_passed_on(tmp_path: Path) -> None:
    def diverging(*_: Any, **__: Any) -> TrainingResult:
        raise DivergedError("train_loss is nan in epoch 1")

    with pytest.raises(DivergedError):
        train_folds(folds(), JOB, diverging, checkpoint=tmp_path / "trial.safetensors")

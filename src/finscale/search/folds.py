"""A trial on walk-forward folds: a training run per fold, and the pooled loss of them all.

The folds are trained one after another, the oldest and smallest first, so that a trial that falls
behind is given up before its dearest folds. The pooled loss is the mean log-loss over the
validation rows of all folds: what one model per fold would have lost in use, day by day. Of folds
with other event rates none counts more than its rows do, and of trials on the same folds the
order is that of the loss beyond the base rates, since those are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from finscale.dataset.cell import CellData
from finscale.errors import RunDirectoryError
from finscale.evaluation.outcomes import base_loss
from finscale.files import hash_json, move_over, read_json, write_json_atomic
from finscale.seeds import derive_seed
from finscale.training.loop import EpochRecord, TrainingResult, job_hash
from finscale.training.recipe import TrainingJob


@dataclass(frozen=True)
class FoldScore:
    """What a trial reached on one fold; losses are mean log-losses in nats.

    Attributes
    ----------
    fold
        Its number, from 1, the oldest first.
    n_rows
        Validation rows.
    base_loss
        Of the fold's own training base rate on these rows.
    validation_loss, train_loss
        At the best epoch.
    """

    fold: int
    n_rows: int
    base_loss: float
    validation_loss: float
    train_loss: float
    best_epoch: int
    curve: tuple[EpochRecord, ...]
    stop_reason: str
    duration_s: float


class LossOnFold(Protocol):
    """What pooling takes of a fold, be it a score or a record."""

    @property
    def n_rows(self) -> int:
        """Validation rows."""

    @property
    def validation_loss(self) -> float:
        """Mean log-loss in nats."""


class TrainFold(Protocol):
    """Trains one job on the rows of one fold, as :func:`finscale.training.loop.train` does."""

    def __call__(
        self,
        data: CellData,
        job: TrainingJob,
        *,
        on_epoch: Callable[[EpochRecord], None],
        checkpoint: Path,
    ) -> TrainingResult:
        """Return what came out."""


def pooled_loss(scores: Sequence[LossOnFold]) -> float:
    """Return the mean log-loss over the validation rows of the folds."""
    return _pooled([score.validation_loss for score in scores], scores)


def pooled_base_loss(scores: Sequence[FoldScore]) -> float:
    """Return the mean log-loss of each fold's training base rate over the same rows."""
    return _pooled([score.base_loss for score in scores], scores)


def fold_jobs(folds: Sequence[CellData], job: TrainingJob) -> tuple[TrainingJob, ...]:
    """Return the jobs of a trial's folds: with the base rate and a seed of their own.

    With seeds that differ, the pooled loss averages over initial weights too.
    """
    return tuple(
        replace(job, base_rate=data.base_rate, seed=derive_seed(job.seed, "fold", number))
        for number, data in enumerate(folds, start=1)
    )


def train_folds(
    folds: Sequence[CellData],
    job: TrainingJob,
    train: TrainFold,
    *,
    checkpoint: Path,
    on_start: Callable[[int, TrainingJob], None] = lambda _number, _job: None,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    on_fold: Callable[[Sequence[FoldScore]], None] = lambda _: None,
) -> tuple[FoldScore, ...]:
    """Train a job on every fold, or go on where it was left.

    Parameters
    ----------
    folds
        See :func:`finscale.dataset.cell.prepare_folds`.
    job
        Architecture and recipe; base rate and seed are replaced, see :func:`fold_jobs`.
    train
        Trains one fold; what it raises (divergence, a request to stop) is passed on.
    checkpoint
        Names the files that the state is kept in, beside it: one per fold in progress and one
        with the scores of finished folds. :func:`discard` removes them.
    on_start
        Called with the number and the job of a fold that is about to be trained.
    on_fold
        Called with the scores so far after every fold, and again for those before a resumption;
        what it raises ends the trial (pruning).

    Raises
    ------
    RunDirectoryError
        If the kept scores are damaged or belong to another job.
    """
    jobs = fold_jobs(folds, job)
    scores = _restore(checkpoint, jobs)
    for number in range(1, len(scores) + 1):
        on_fold(scores[:number])
    for number in range(len(scores) + 1, len(folds) + 1):
        data, own = folds[number - 1], jobs[number - 1]
        on_start(number, own)
        own_checkpoint = _of_fold(checkpoint, number)
        result = train(data, own, on_epoch=on_epoch, checkpoint=own_checkpoint)
        scores.append(_score(number, data, result))
        kept = {"jobs": _hash(jobs), "scores": [asdict(score) for score in scores]}
        write_json_atomic(_of_scores(checkpoint), kept)
        own_checkpoint.unlink(missing_ok=True)
        on_fold(scores[:number])
    return tuple(scores)


def discard(checkpoint: Path) -> None:
    """Remove what :func:`train_folds` keeps of a trial."""
    for file in _kept(checkpoint):
        file.unlink(missing_ok=True)


def take_over(earlier: Path, own: Path) -> None:
    """Give what an earlier attempt at a trial kept to another, which is named otherwise."""
    for file in _kept(earlier):
        move_over(file, own.with_name(own.stem + file.name.removeprefix(earlier.stem)))


def _pooled(losses: Sequence[float], scores: Sequence[LossOnFold]) -> float:
    total = sum(loss * score.n_rows for loss, score in zip(losses, scores, strict=True))
    return total / sum(score.n_rows for score in scores)


def _score(number: int, data: CellData, result: TrainingResult) -> FoldScore:
    labels = data.labels_T[data.split.validation]
    return FoldScore(
        fold=number,
        n_rows=len(labels),
        base_loss=base_loss(data.base_rate, labels),
        validation_loss=result.validation_loss,
        train_loss=result.train_loss,
        best_epoch=result.best_epoch,
        curve=result.curve,
        stop_reason=result.stop_reason,
        duration_s=result.duration_s,
    )


def _kept(checkpoint: Path) -> list[Path]:
    return sorted(checkpoint.parent.glob(f"{checkpoint.stem}_fold*"))


def _of_fold(checkpoint: Path, number: int) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}_fold_{number}{checkpoint.suffix}")


def _of_scores(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}_folds.json")


def _hash(jobs: Sequence[TrainingJob]) -> str:
    return hash_json([job_hash(job) for job in jobs])


def _restore(checkpoint: Path, jobs: Sequence[TrainingJob]) -> list[FoldScore]:
    path = _of_scores(checkpoint)
    if not path.exists():
        return []
    kept: dict[str, Any] = read_json(path)
    if kept["jobs"] != _hash(jobs):
        raise RunDirectoryError(f"{path}: scores of another run; remove it to train again")
    return [
        FoldScore(**{**raw, "curve": tuple(EpochRecord(**point) for point in raw["curve"])})
        for raw in kept["scores"]
    ]

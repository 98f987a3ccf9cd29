"""One trial: suggest, train, and leave a record, whatever the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from finscale.dataset.cell import CellData
from finscale.errors import LadderError
from finscale.evaluation.metrics import skill
from finscale.evaluation.outcomes import base_loss
from finscale.files import move_over
from finscale.models.cost import training_flops_per_sample
from finscale.progress import RunStart
from finscale.records import (
    CurvePoint,
    FoldRecord,
    TrialRecord,
)
from finscale.search.experiment_run import ExperimentRun, describe_job, model_fields
from finscale.search.folds import (
    FoldScore,
    discard,
    pooled_base_loss,
    pooled_loss,
    take_over,
    train_folds,
)
from finscale.search.pruning import value_of_fold
from finscale.search.slots import DRAWN, FORCED, GIVEN_UP, RECORD, n_losses, numbers_of, slot_of
from finscale.search.space import suggest
from finscale.seeds import derive_seed
from finscale.training.recipe import TrainingJob
from finscale.training.results import DivergedError, EpochRecord, TrainingResult
from finscale.windows import Windows


class TrialGivenUpError(Exception):
    """A trial that loses its worker again and again; the message says how often."""


# What ends one trial and not the search.
TRIAL_FAILURES = (DivergedError, LadderError, torch.OutOfMemoryError, TrialGivenUpError)


@dataclass(frozen=True)
class _Outcome:
    """What an attempt at a trial came to, on one hold-out or pooled over folds."""

    validation_loss: float
    base_loss: float
    train_loss: float
    best_epoch: int | None
    reason: str
    duration_s: float


class Objective:
    """What Optuna minimises: the lowest validation loss of a training run, or of its folds."""

    def __init__(self, run: ExperimentRun) -> None:
        self._run = run
        self._folds = run.make_folds() if run.study.split.n_folds > 1 else ()
        self._windows = run.windows() if not self._folds else None
        labels = run.data.labels_T[run.data.split.validation]
        self._base_loss = base_loss(run.data.base_rate, labels)

    def __call__(self, trial: optuna.Trial) -> float:
        """Run one trial and store its record with it.

        Raises
        ------
        optuna.TrialPruned, DivergedError, LadderError, TrialGivenUpError
            If it ended before its time; its record says why.
        StopRequestedError
            If the user asked to stop; it has a checkpoint and no record.
        """
        attempt = _Attempt(self._run, trial, self._base_loss, self._folds, self._windows)
        started = time.monotonic()
        self._run.start_measuring()
        try:
            attempt.require_hope()
            attempt.train()
        except optuna.TrialPruned:
            attempt.store("pruned", attempt.describe_pruning(), time.monotonic() - started)
            raise
        except TRIAL_FAILURES as error:
            attempt.store("failed", str(error).splitlines()[0], time.monotonic() - started)
            raise
        outcome = attempt.outcome()
        attempt.store("complete", outcome.reason, outcome.duration_s)
        return outcome.validation_loss


class _Attempt:
    """One attempt at a trial: its job, what has come out so far, and its checkpoint."""

    def __init__(
        self,
        run: ExperimentRun,
        trial: optuna.Trial,
        base_loss: float,
        folds: Sequence[CellData],
        windows: Windows | None,
    ) -> None:
        self._run, self._trial, self._base_loss = run, trial, base_loss
        self._folds, self._windows = folds, windows
        trials = trial.study.get_trials(deepcopy=False)
        self._slot = slot_of(trials[trial.number], trials)
        self._n_lost = n_losses(self._slot, trials)
        self._attempts = numbers_of(self._slot, trials)
        self._forced = tuple(trial.user_attrs.get(FORCED, {}).get("reasons", ()))
        self._independent = trial.user_attrs.get(DRAWN, {}).get("independent")
        self._curve: list[CurvePoint] = []
        self._scores: Sequence[FoldScore] = ()
        self._result: TrainingResult | None = None
        self._n_halvings = 0
        architecture, recipe = suggest(trial, run.experiment.architectures, run.study.search.space)
        seed = derive_seed(run.study.seed, run.experiment.name, self._slot)
        # Recorded as a failed trial like any other, so that the search goes on without it.
        self._job, self._problem = run.job_to_record(architecture, recipe, seed)
        if GIVEN_UP in trial.user_attrs:
            self._problem = TrialGivenUpError(trial.user_attrs[GIVEN_UP])

    def require_hope(self) -> None:
        """Raise what makes training pointless, if anything does."""
        if self._problem is not None:
            raise self._problem

    def train(self) -> None:
        """Train from where the last attempt left it."""
        run, job = self._run, self._job
        label = f"trial {self._slot}" + (f" ({', '.join(self._forced)})" if self._forced else "")
        own = self._checkpoint(self._trial.number)
        for number in self._attempts:
            if number != self._trial.number:
                move_over(self._checkpoint(number), own)
                take_over(self._checkpoint(number), own)

        def announce(fold: int = 0) -> None:
            place = f", fold {fold} of {len(self._folds)}" if fold else ""
            run.progress.run_started(
                RunStart(run.experiment.name, label + place, describe_job(job), job.recipe.epochs)
            )

        if self._windows is not None:
            announce()
            self._result = run.train(job, self._windows, on_epoch=self._on_epoch, checkpoint=own)
            self._n_halvings = self._result.batch_halvings
            return
        self._scores = train_folds(
            self._folds,
            job,
            self._train_fold,
            checkpoint=own,
            on_start=lambda fold, _: announce(fold),
            on_epoch=lambda epoch: run.progress.epoch_finished(CurvePoint(**asdict(epoch))),
            on_fold=self._on_fold,
        )

    def outcome(self) -> _Outcome:
        """Return what a trial that ran to its end came to."""
        if self._result is not None:
            result = self._result
            return _Outcome(
                validation_loss=result.validation_loss,
                base_loss=self._base_loss,
                train_loss=result.train_loss,
                best_epoch=result.best_epoch,
                reason=f"stopped by {result.stop_reason}",
                duration_s=result.duration_s,
            )
        return self._pooled()

    def describe_pruning(self) -> str:
        """Say where the trial fell behind."""
        place = f"fold {len(self._scores)}" if self._folds else f"epoch {len(self._curve)}"
        return f"behind the others at {place}"

    def store(self, state: str, reason: str, duration_s: float) -> None:
        """Store the record with the trial, and remove what is not needed any more.

        Raises
        ------
        optuna.exceptions.UpdateFinishedTrialError
            If the trial was given to another worker.
        """
        so_far = self._so_far()
        record = TrialRecord.model_validate(
            {
                **self._run.cell_fields(f"trial/{self._slot}"),
                **model_fields(self._job),
                "micro_batch": (self._result or self._job.batching).micro_batch,
                "trial": self._slot,
                "forced": self._forced,
                "independent": False if self._forced else self._independent,
                "state": state,
                "reason": reason,
                "validation_loss": so_far.validation_loss if so_far else None,
                "validation_skill": (
                    skill(so_far.validation_loss, so_far.base_loss) if so_far else None
                ),
                "train_loss": so_far.train_loss if so_far else None,
                "best_epoch": so_far.best_epoch if so_far else None,
                "curve": self._curve,
                "duration_s": duration_s,
                "flops": self._flops(),
                "retries": self._n_lost,
                "batch_halvings": self._n_halvings,
                "folds": [_fold_record(score) for score in self._scores],
                "machine": self._run.machine_use(),
            }
        )
        self._trial.set_user_attr(RECORD, record.model_dump(mode="json"))
        for number in self._attempts:
            self._checkpoint(number).unlink(missing_ok=True)
            discard(self._checkpoint(number))

    def _so_far(self) -> _Outcome | None:
        """Return what is known of a trial, wherever it ended."""
        if self._scores:
            return self._pooled()
        if not self._curve:
            return None
        best = min(self._curve, key=lambda point: point.validation_loss)
        return _Outcome(
            validation_loss=best.validation_loss,
            base_loss=self._base_loss,
            train_loss=best.train_loss,
            best_epoch=best.epoch,
            reason="",
            duration_s=0.0,
        )

    def _flops(self) -> float:
        """Return the training FLOPs of the epochs that were finished, of all folds."""
        n_samples = len(self._run.data.split.train) * len(self._curve)
        for fold, one in zip(self._folds, self._scores, strict=False):
            n_samples += len(fold.split.train) * len(one.curve)
        return float(n_samples * training_flops_per_sample(self._job.architecture, self._job.shape))

    def _pooled(self) -> _Outcome:
        scores = self._scores
        n_rows = sum(score.n_rows for score in scores)
        return _Outcome(
            validation_loss=pooled_loss(scores),
            base_loss=pooled_base_loss(scores),
            train_loss=sum(score.train_loss * score.n_rows for score in scores) / n_rows,
            best_epoch=None,
            reason=f"{len(scores)} folds",
            duration_s=sum(score.duration_s for score in scores),
        )

    def _train_fold(
        self,
        data: CellData,
        job: TrainingJob,
        *,
        on_epoch: Callable[[EpochRecord], None],
        checkpoint: Path,
    ) -> TrainingResult:
        windows = data.windows(self._run.study.windows.context_length, self._run.device)
        result = self._run.train(
            job, windows, on_epoch=on_epoch, checkpoint=checkpoint, split=data.split
        )
        self._n_halvings += result.batch_halvings
        return result

    def _on_epoch(self, epoch: EpochRecord) -> None:
        point = CurvePoint(**asdict(epoch))
        self._curve.append(point)
        self._run.progress.epoch_finished(point)
        self._trial.report(point.validation_loss, point.epoch)
        self._prune_if_behind()

    def _on_fold(self, scores: Sequence[FoldScore]) -> None:
        self._scores = scores
        self._trial.report(value_of_fold(self._run.study.search, scores), len(scores))
        if len(scores) < len(self._folds):
            self._prune_if_behind()

    def _prune_if_behind(self) -> None:
        if not self._forced and self._trial.should_prune():
            raise optuna.TrialPruned

    def _checkpoint(self, number: int) -> Path:
        return self._run.trial_checkpoint(self._slot, number)


def _fold_record(score: FoldScore) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(score).items() if name in FoldRecord.model_fields}
    return kept | {"curve": [asdict(epoch) for epoch in score.curve]}

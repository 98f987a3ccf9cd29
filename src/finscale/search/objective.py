"""One trial: suggest, train, and leave a record, whatever the outcome."""

from __future__ import annotations

import contextlib
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
from finscale.experiments import Experiment
from finscale.files import move_over, utc_now
from finscale.ladder.batching import Batching, plan_batching
from finscale.machine.device import choose_precision, n_cores, usable_memory_bytes, use_threads
from finscale.machine.idle import Workload
from finscale.machine.sampler import Sampler
from finscale.models.architecture import Architecture
from finscale.models.cost import count_parameters, training_flops_per_sample
from finscale.progress import Progress, RunStart
from finscale.records import (
    CellRecord,
    CurvePoint,
    FoldRecord,
    Identity,
    MachineUse,
    TrialRecord,
)
from finscale.rundir import ExperimentFiles
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
from finscale.splits import Split
from finscale.study import Study
from finscale.training.loop import GoOn, train
from finscale.training.recipe import Recipe, TrainingJob
from finscale.training.results import DivergedError, EpochRecord, TrainingResult
from finscale.windows import Windows


@dataclass(frozen=True)
class ExperimentRun:
    """An experiment with everything that running it takes.

    Attributes
    ----------
    should_stop
        Asked between runs and after every epoch.
    worker
        See :func:`finscale.search.processes.this_worker`.
    make_folds
        Gives the walk-forward folds of the cell.
    memory_share
        Share of the free memory to plan with.
    control
        Asked after every optimiser step; it may wait.
    sampler
        Readings of the machine, if any are taken.
    """

    study: Study
    experiment: Experiment
    data: CellData
    identity: Identity
    code_version: str
    device: torch.device
    files: ExperimentFiles
    progress: Progress
    should_stop: Callable[[], bool]
    worker: str
    make_folds: Callable[[], tuple[CellData, ...]]
    memory_share: float = 1.0
    control: Callable[[], GoOn] = lambda: "go"
    sampler: Sampler | None = None

    def windows(self) -> Windows:
        """Put the experiment's rows on the device."""
        return self.data.windows(self.study.windows.context_length, self.device)

    def job(
        self,
        architecture: Architecture,
        recipe: Recipe,
        seed: int,
        *,
        batching: Batching | None = None,
    ) -> TrainingJob:
        """Describe the training of one architecture with one recipe.

        Raises
        ------
        LadderError
            If no batching is given and even one sample at a time does not fit in memory.
        """
        settings = self.study.training
        precision = choose_precision(settings.precision, self.device, architecture.d_model)
        return TrainingJob(
            architecture=architecture,
            shape=self.experiment.shape,
            recipe=recipe,
            settings=settings,
            batching=batching
            or plan_batching(
                architecture,
                self.experiment.shape,
                effective_batch=settings.effective_batch,
                memory_budget_bytes=int(usable_memory_bytes(self.device) * self.memory_share),
                bytes_per_value=2 if precision == "bf16" else 4,
                dropout=recipe.dropout,
                device_type=self.device.type,
            ),
            seed=seed,
            base_rate=self.data.base_rate,
            precision=precision,
        )

    def job_to_record(
        self, architecture: Architecture, recipe: Recipe, seed: int
    ) -> tuple[TrainingJob, Exception | None]:
        """Describe a training also where memory is too small for it, and say so then."""
        try:
            return self.job(architecture, recipe, seed), None
        except LadderError as error:
            one_by_one = Batching(1, self.study.training.effective_batch)
            return self.job(architecture, recipe, seed, batching=one_by_one), error

    def train(
        self,
        job: TrainingJob,
        windows: Windows,
        *,
        on_epoch: Callable[[EpochRecord], None],
        checkpoint: Path,
        split: Split | None = None,
    ) -> TrainingResult:
        """Train a job; see :func:`finscale.training.loop.train`.

        Parameters
        ----------
        split
            By default the experiment's.
        """
        batching = job.batching
        n_values = batching.micro_batch * job.shape.n_patches * job.architecture.d_model
        n_threads = use_threads(self.study.machine, n_values)
        with contextlib.ExitStack() as stack:
            if self.sampler is not None:
                workload = Workload(
                    device=self.device.type,
                    n_threads=n_threads,
                    n_cores=n_cores(),
                    d_model=job.architecture.d_model,
                    n_layers=job.architecture.n_layers,
                    micro_batch=batching.micro_batch,
                    effective_batch=batching.effective_batch,
                )
                stack.enter_context(self.sampler.training(workload))
            return train(
                windows,
                split or self.data.split,
                job,
                on_epoch=on_epoch,
                should_stop=self.should_stop,
                may_go_on=self.control,
                checkpoint=checkpoint,
            )

    def start_measuring(self) -> None:
        """Begin what :meth:`machine_use` sums up."""
        if self.sampler is not None:
            self.sampler.window()

    def machine_use(self) -> MachineUse:
        """Return what was used of the machine since measuring began."""
        if self.sampler is None:
            return MachineUse(worker=self.worker)
        used = self.sampler.window()
        temperatures = (used.cpu_temperature_max_c, used.gpu_temperature_max_c)
        return MachineUse(
            worker=self.worker,
            cpu_mean_frac=used.cpu_mean_frac,
            peak_memory_gib=used.process_memory_peak_gib,
            gpu_peak_memory_gib=used.gpu_memory_peak_gib,
            max_temperature_c=max((t for t in temperatures if t is not None), default=None),
            energy_kwh=used.gpu_energy_kwh,
        )

    def trial_checkpoint(self, slot: int, number: int) -> Path:
        """Return where a trial keeps its state while it is interrupted.

        Each attempt has a file of its own, so that a worker which was given up, and wakes up
        after all, cannot write over its successor's.
        """
        name = f"{self.identity.fingerprint}_trial_slot_{slot:04d}_attempt_{number:04d}"
        return self.files.checkpoint(name)

    def cell_fields(self, uid: str) -> dict[str, Any]:
        """Return the fields that every record of the experiment shares."""
        return CellRecord(
            uid=f"{self.experiment.name}@{self.identity.fingerprint}/{uid}",
            experiment=self.experiment.name,
            budget=self.experiment.budget.label,
            horizon_bars=self.experiment.horizon_bars,
            task=self.experiment.task,
            data_size=self.experiment.size,
            identity=self.identity,
            code_version=self.code_version,
            created_at=utc_now(),
        ).model_dump()


def model_fields(job: TrainingJob) -> dict[str, Any]:
    """Return what a record says of a model and its training."""
    return {
        **job.architecture.as_dict(),
        "n_parameters": count_parameters(job.architecture, job.shape),
        "recipe": job.recipe.as_dict(),
        "effective_batch": job.batching.effective_batch,
        "micro_batch": job.batching.micro_batch,
        "activation_checkpointing": job.batching.activation_checkpointing,
        "precision": job.precision,
        "seed": job.seed,
    }


def describe_job(job: TrainingJob) -> str:
    """Return architecture and recipe in one short line."""
    recipe = job.recipe
    return (
        f"{job.architecture.label} ({count_parameters(job.architecture, job.shape):,} parameters) "
        f"lr {recipe.learning_rate:.2g} wd {recipe.weight_decay:.2g} "
        f"dropout {recipe.dropout:g} warm-up {recipe.warmup_steps} epochs {recipe.epochs}"
    )


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

"""One trial: suggest, train, and leave a record, whatever the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from finscale.dataset.cell import CellData
from finscale.errors import LadderError
from finscale.evaluation.metrics import log_loss, skill
from finscale.experiments import Experiment
from finscale.files import utc_now
from finscale.ladder.batching import Batching, plan_batching
from finscale.machine.device import choose_precision, usable_memory_bytes, use_threads
from finscale.models.architecture import Architecture
from finscale.models.cost import count_parameters
from finscale.progress import Progress, RunStart
from finscale.records import CellRecord, CurvePoint, Identity, TrialRecord
from finscale.rundir import ExperimentFiles
from finscale.search.slots import FORCED, RECORD, slot_of
from finscale.search.space import suggest
from finscale.seeds import derive_seed
from finscale.study import Study
from finscale.training.loop import DivergedError, EpochRecord, TrainingResult, train
from finscale.training.recipe import Recipe, TrainingJob
from finscale.windows import Windows

# What ends one trial and not the search.
TRIAL_FAILURES = (DivergedError, LadderError, torch.OutOfMemoryError)


@dataclass(frozen=True)
class ExperimentRun:
    """An experiment with everything that running it takes."""

    study: Study
    experiment: Experiment
    data: CellData
    identity: Identity
    code_version: str
    device: torch.device
    files: ExperimentFiles
    progress: Progress
    should_stop: Callable[[], bool]

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
                memory_budget_bytes=usable_memory_bytes(self.device),
                bytes_per_value=2 if precision == "bf16" else 4,
                dropout=recipe.dropout,
            ),
            seed=seed,
            base_rate=self.data.base_rate,
            precision=precision,
        )

    def train(
        self,
        job: TrainingJob,
        windows: Windows,
        *,
        on_epoch: Callable[[EpochRecord], None],
        checkpoint: Path,
    ) -> TrainingResult:
        """Train a job on the experiment's anchors; see :func:`finscale.training.loop.train`."""
        n_values = job.batching.micro_batch * job.shape.n_patches * job.architecture.d_model
        use_threads(self.study.machine, n_values)
        return train(
            windows,
            self.data.split,
            job,
            on_epoch=on_epoch,
            should_stop=self.should_stop,
            checkpoint=checkpoint,
        )

    def trial_checkpoint(self, slot: int) -> Path:
        """Return where a trial keeps its state while it is interrupted."""
        return self.files.checkpoint(f"{self.identity.fingerprint}_trial_slot_{slot:04d}")

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


class Objective:
    """What Optuna minimises: the lowest validation loss of a training run."""

    def __init__(self, run: ExperimentRun) -> None:
        self._run = run
        self._windows = run.windows()
        split, labels_T = run.data.split, run.data.labels_T
        labels = labels_T[split.validation]
        self._base_loss = log_loss([run.data.base_rate] * len(labels), labels)

    def __call__(self, trial: optuna.Trial) -> float:
        """Run one trial and store its record with it."""
        run = self._run
        architecture, recipe = suggest(trial, run.experiment.architectures, run.study.search.space)
        frozen = trial.study.get_trials(deepcopy=False)
        slot = slot_of(frozen[trial.number], frozen)
        seed = derive_seed(run.study.seed, run.experiment.name, slot)
        too_large = None
        try:
            job = run.job(architecture, recipe, seed)
        except LadderError as error:
            # Recorded as a failed trial like any other, so that the search goes on without it.
            too_large = error
            one_by_one = Batching(1, run.study.training.effective_batch)
            job = run.job(architecture, recipe, seed, batching=one_by_one)
        forced = tuple(trial.user_attrs.get(FORCED, {}).get("reasons", ()))
        label = f"trial {slot}" + (f" ({', '.join(forced)})" if forced else "")
        run.progress.run_started(
            RunStart(run.experiment.name, label, describe_job(job), recipe.epochs)
        )
        curve: list[CurvePoint] = []

        def on_epoch(epoch: EpochRecord) -> None:
            point = CurvePoint(**asdict(epoch))
            curve.append(point)
            run.progress.epoch_finished(point)
            trial.report(point.validation_loss, point.epoch)
            if run.study.search.prune and not forced and trial.should_prune():
                raise optuna.TrialPruned

        def store(state: str, reason: str, duration_s: float) -> None:
            record = TrialRecord.model_validate(
                {
                    **run.cell_fields(f"trial/{slot}"),
                    **model_fields(job),
                    **self._outcome(curve),
                    "trial": slot,
                    "forced": forced,
                    "state": state,
                    "reason": reason,
                    "duration_s": duration_s,
                }
            )
            trial.set_user_attr(RECORD, record.model_dump(mode="json"))

        checkpoint = run.trial_checkpoint(slot)
        started = time.monotonic()
        try:
            if too_large is not None:
                raise too_large
            result = run.train(job, self._windows, on_epoch=on_epoch, checkpoint=checkpoint)
        except optuna.TrialPruned:
            store("pruned", f"behind the median at epoch {len(curve)}", time.monotonic() - started)
            checkpoint.unlink(missing_ok=True)
            raise
        except TRIAL_FAILURES as error:
            store("failed", str(error).splitlines()[0], time.monotonic() - started)
            checkpoint.unlink(missing_ok=True)
            raise
        store("complete", f"stopped by {result.stop_reason}", result.duration_s)
        checkpoint.unlink(missing_ok=True)
        return result.validation_loss

    def _outcome(self, curve: list[CurvePoint]) -> dict[str, Any]:
        best = min(curve, key=lambda point: point.validation_loss) if curve else None
        return {
            "validation_loss": best.validation_loss if best else None,
            "validation_skill": skill(best.validation_loss, self._base_loss) if best else None,
            "train_loss": best.train_loss if best else None,
            "best_epoch": best.epoch if best else None,
            "curve": curve,
        }

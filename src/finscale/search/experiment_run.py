"""An experiment with everything that running it takes: its jobs, their training, its records."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from finscale.dataset.cell import CellData
from finscale.errors import LadderError
from finscale.experiments import Experiment
from finscale.files import utc_now
from finscale.ladder.batching import Batching, plan_batching
from finscale.machine.device import choose_precision, n_cores, usable_memory_bytes, use_threads
from finscale.machine.idle import Workload
from finscale.machine.sampler import Sampler
from finscale.models.architecture import Architecture
from finscale.models.cost import count_parameters
from finscale.progress import Progress
from finscale.records import (
    CellRecord,
    Identity,
    MachineUse,
)
from finscale.rundir import ExperimentFiles
from finscale.splits import Split
from finscale.study import Study
from finscale.training.loop import GoOn, train
from finscale.training.recipe import Recipe, TrainingJob
from finscale.training.results import EpochRecord, TrainingResult
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
        place = _Place(self, job, on_epoch, is_resumed=checkpoint.exists())
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
                on_epoch=place.on_epoch,
                should_stop=self.should_stop,
                may_go_on=place.may_go_on,
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


class _Place:
    """Says where a run goes on that was left: it tells its earlier epochs before any step."""

    def __init__(
        self,
        run: ExperimentRun,
        job: TrainingJob,
        on_epoch: Callable[[EpochRecord], None],
        *,
        is_resumed: bool,
    ) -> None:
        self._run, self._job, self._on_epoch = run, job, on_epoch
        self._is_to_say, self._n_epochs = is_resumed, 0

    def on_epoch(self, record: EpochRecord) -> None:
        self._n_epochs = record.epoch
        self._on_epoch(record)

    def may_go_on(self) -> GoOn:
        if self._is_to_say:
            self._is_to_say = False
            self._run.progress.message(
                f"{self._run.experiment.name} goes on with epoch {self._n_epochs + 1} of "
                f"{self._job.recipe.epochs}"
            )
        return self._run.control()


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

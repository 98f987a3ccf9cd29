"""The machine before and during the work: pre-flight, readings, heat, and requests to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from finscale.errors import StopRequestedError
from finscale.experiments import Experiment
from finscale.machine.guard import StopSignal
from finscale.machine.heat import HeatGuard, heat_limits
from finscale.machine.preflight import check_machine, measure_machine, refuse_failed
from finscale.machine.sampler import Sampler
from finscale.machine.sensors import open_sensors
from finscale.pipeline.prepare import PreparedStudy
from finscale.preview import needs_of, preview_experiments
from finscale.progress import Progress
from finscale.rundir import RunDirectory
from finscale.study import Machine
from finscale.training.loop import GoOn


@dataclass(frozen=True)
class Monitor:
    """What a worker asks and tells while it trains.

    Attributes
    ----------
    control
        Asked after every optimiser step and every epoch; waits while the machine is too hot.
    """

    sampler: Sampler
    control: Callable[[], GoOn]


def require_fit_machine(
    prepared: PreparedStudy,
    chosen: Sequence[Experiment],
    directory: RunDirectory,
    device: torch.device,
    *,
    n_workers: int,
    progress: Progress,
) -> None:
    """Check the machine against what the experiments need, before anything is spent.

    Raises
    ------
    StudyError
        If they cannot be run here; what is only doubtful is said.
    """
    previews = preview_experiments(
        prepared.study, chosen, prepared.n_train, device, n_walked=prepared.n_walked
    )
    facts = measure_machine(device, directory.root, open_sensors(device))
    checks = check_machine(needs_of(previews, n_workers), facts)
    refuse_failed(checks)
    for check in checks:
        progress.message(("" if check.ok else "warning: ") + check.describe())


@contextlib.contextmanager
def monitored(
    machine: Machine,
    directory: RunDirectory,
    device: torch.device,
    *,
    worker: str,
    stop: StopSignal,
    progress: Progress,
) -> Iterator[Monitor]:
    """Read the machine's sensors inside the block, and guard it from heat.

    Raises
    ------
    OverheatedError
        If the block was left because the machine got too hot.
    """
    with Sampler(
        open_sensors(device),
        directory.machine_log(worker),
        machine.sample_every_s,
        warn=progress.message,
    ) as sampler:
        guard = HeatGuard(
            sampler.temperature_c, progress.message, heat_limits(machine), resting=sampler.resting
        )

        def control() -> GoOn:
            if guard.wait_while_hot(stop) == "stop":
                return "stop"
            return stop.state()

        try:
            yield Monitor(sampler, control)
        except StopRequestedError:
            guard.require_not_overheated()
            raise

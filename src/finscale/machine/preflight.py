"""Everything about the machine that can be checked before anything is spent."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from finscale.errors import RunDirectoryError, StudyError
from finscale.files import require_writable
from finscale.machine.device import describe_device, n_cores, usable_memory_bytes
from finscale.machine.sensors import Sensors
from finscale.units import bytes_text, duration_text

# A checkpoint holds the weights, the best weights and the optimiser's two moments, in fp32.
_CHECKPOINT_BYTES_PER_PARAMETER = 16
_WEIGHT_BYTES = 4
# Measured on finished runs: a trial's record stands in the ledger, the storage, its own file and
# the list of all trials, 7 KB in all and 0.6 KB for each epoch of its curve. Rounded up.
_RECORD_BYTES, _RECORD_BYTES_PER_EPOCH = 10_000, 1_000
# Predictions and baselines of an experiment; report, logs and figures of a run. Rounded up.
_EXPERIMENT_BYTES, _RUN_BYTES = 2 * 2**20, 64 * 2**20
_LONG_S = 7 * 86_400
# Systems swap out what is idle; more than this share of the memory is more than that.
_SWAP_FRAC = 0.1


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes
    ----------
    severity
        What it means if it is not ``ok``: an ``error`` refuses the run, a ``warning`` is printed.
    fix
        What to do; empty if there is nothing to be done.
    """

    name: str
    ok: bool
    severity: Literal["error", "warning"]
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)

    def describe(self) -> str:
        """Return the check in one line."""
        return f"{self.name}: {self.detail}" + (f"; {self.fix}" if self.fix and not self.ok else "")


@dataclass(frozen=True)
class Needs:
    """What a study is going to take.

    Attributes
    ----------
    memory_least_bytes
        Of the least demanding architecture, one sample at a time: below this nothing can run.
    memory_most_bytes
        Of the most demanding architecture, one sample at a time.
    disk_bytes
        See :func:`run_bytes`.
    time_min_s, time_max_s
        Of all that is left to do, by a single worker.
    n_workers
        Processes that share device memory and time.
    """

    memory_least_bytes: int
    memory_most_bytes: int
    disk_bytes: int
    time_min_s: float
    time_max_s: float
    n_workers: int = 1


@dataclass(frozen=True)
class MachineFacts:
    """What the machine has, as :func:`measure_machine` found it.

    Attributes
    ----------
    memory_bytes
        Of the machine, in all.
    usable_memory_bytes
        Of the device, for training: what is free, less a margin.
    written_bytes
        What an earlier start has left in the run directory.
    write_error
        Why the run directory cannot be written, with the fix; None if it can.
    unused_gpu
        Whether a driver says that there is an NVIDIA GPU, and this PyTorch cannot use it.
    hottest_c
        The highest temperature; None if none is known.
    sensors_missing
        A sentence for each thing that cannot be measured.
    """

    device: str
    device_type: str
    n_cores: int
    memory_bytes: int
    usable_memory_bytes: int
    free_disk_bytes: int
    written_bytes: int
    write_error: str | None
    swap_used_bytes: int
    unused_gpu: bool
    hottest_c: float | None
    sensors_missing: tuple[str, ...] = ()


def experiment_bytes(n_parameters: int, *, n_trials: int, n_epochs: int, n_seeds: int) -> int:
    """Return what an experiment's files may come to, rounded up; checkpoints are the run's.

    Parameters
    ----------
    n_parameters
        Of its largest architecture.
    n_trials, n_epochs
        Trials, and epochs of the longest of them, over all folds.
    n_seeds
        Final models.
    """
    models = n_seeds * _WEIGHT_BYTES * n_parameters
    records = (n_trials + n_seeds) * (_RECORD_BYTES + _RECORD_BYTES_PER_EPOCH * n_epochs)
    return _EXPERIMENT_BYTES + models + records


def run_bytes(experiments_bytes: Iterable[int], *, n_parameters: int, n_workers: int = 1) -> int:
    """Return what a run directory may come to, rounded up.

    Parameters
    ----------
    experiments_bytes
        Of each experiment, from :func:`experiment_bytes`.
    n_parameters
        Of the largest architecture of all.
    n_workers
        Training runs at one time. Each has a checkpoint, and while it writes the next one, two.
    """
    checkpoints = n_workers * 2 * _CHECKPOINT_BYTES_PER_PARAMETER * n_parameters
    return _RUN_BYTES + checkpoints + sum(experiments_bytes)


def measure_machine(device: torch.device, directory: Path, sensors: Sensors) -> MachineFacts:
    """Measure what the checks need; nothing is left behind in ``directory``."""
    try:
        require_writable(directory)
        write_error = None
    except RunDirectoryError as error:
        write_error = str(error)
    nearest = next(place for place in (directory, *directory.absolute().parents) if place.is_dir())
    return MachineFacts(
        device=describe_device(device),
        device_type=device.type,
        n_cores=n_cores(),
        memory_bytes=psutil.virtual_memory().total,
        usable_memory_bytes=usable_memory_bytes(device),
        free_disk_bytes=shutil.disk_usage(nearest).free,
        written_bytes=_written_bytes(directory),
        write_error=write_error,
        swap_used_bytes=psutil.swap_memory().used,
        unused_gpu=Path("/proc/driver/nvidia/version").exists() and not torch.cuda.is_available(),
        hottest_c=sensors.read().hottest_c,
        sensors_missing=sensors.missing,
    )


def _written_bytes(directory: Path) -> int:
    total = 0
    for file in directory.rglob("*"):
        # Whoever works in the directory may have removed it since.
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def check_machine(needs: Needs, facts: MachineFacts) -> tuple[Check, ...]:
    """Return every check, in the order in which they are printed."""
    return (
        check_device(facts),
        _memory_least(needs, facts),
        _memory_most(needs, facts),
        check_swap(facts),
        _write_access(facts),
        _disk(needs, facts),
        _time(needs),
        check_sensors(facts),
    )


def refuse_failed(checks: Iterable[Check]) -> None:
    """Refuse to go on if an error was found.

    Raises
    ------
    StudyError
        With a line for each failed check whose severity is ``error``.
    """
    failed = [check for check in checks if not check.ok and check.severity == "error"]
    if failed:
        raise StudyError("\n".join(check.describe() for check in failed))


def check_device(facts: MachineFacts) -> Check:
    """Warn of a GPU that is there and cannot be used."""
    detail = f"{facts.device}, {facts.n_cores} cores"
    idle = facts.device_type == "cpu" and facts.unused_gpu
    return Check(
        "device",
        not idle,
        "warning",
        f"{detail}; an NVIDIA GPU is here that this PyTorch cannot use" if idle else detail,
        "install a PyTorch with CUDA, or see to the driver and CUDA_VISIBLE_DEVICES",
    )


def _memory_least(needs: Needs, facts: MachineFacts) -> Check:
    each = facts.usable_memory_bytes // needs.n_workers
    return Check(
        "memory",
        each >= needs.memory_least_bytes,
        "error",
        f"{bytes_text(each)} for {_each(needs)}, and the smallest model takes "
        f"{bytes_text(needs.memory_least_bytes)}",
        _memory_fix(needs),
    )


def _memory_most(needs: Needs, facts: MachineFacts) -> Check:
    each = facts.usable_memory_bytes // needs.n_workers
    return Check(
        "memory of the largest model",
        each >= needs.memory_most_bytes,
        "warning",
        f"{bytes_text(needs.memory_most_bytes)} at one sample a time, of {bytes_text(each)} for "
        f"{_each(needs)}",
        f"trials that do not fit will fail: {_memory_fix(needs)}",
    )


def _each(needs: Needs) -> str:
    return "training" if needs.n_workers == 1 else f"each of {needs.n_workers} workers"


def _memory_fix(needs: Needs) -> str:
    fewer = "fewer --workers, or " if needs.n_workers > 1 else ""
    return f"{fewer}close other programs, or leave out the largest of ladder.budgets"


def check_swap(facts: MachineFacts) -> Check:
    """Warn of memory that is short already."""
    return Check(
        "swap",
        facts.swap_used_bytes <= _SWAP_FRAC * facts.memory_bytes,
        "warning",
        f"{bytes_text(facts.swap_used_bytes)} in use",
        "memory is short already, and training from swap takes days for hours: close programs",
    )


def _write_access(facts: MachineFacts) -> Check:
    # The message of a directory that cannot be written names the fix itself.
    return Check(
        "run directory",
        facts.write_error is None,
        "error",
        facts.write_error or "can be written",
    )


def _disk(needs: Needs, facts: MachineFacts) -> Check:
    left_bytes = max(0, needs.disk_bytes - facts.written_bytes)
    return Check(
        "disk",
        facts.free_disk_bytes >= left_bytes,
        "error",
        f"{bytes_text(facts.free_disk_bytes)} free, and the run may write {bytes_text(left_bytes)}",
        "make room, or choose another --out",
    )


def _time(needs: Needs) -> Check:
    return Check(
        "time",
        needs.time_max_s <= _LONG_S,
        "warning",
        f"{duration_text(needs.time_min_s)} to {duration_text(needs.time_max_s)}",
        "leave out budgets, take fewer search.n_trials, or use more workers or a faster device",
    )


def check_sensors(facts: MachineFacts) -> Check:
    """Say what is measured; a sensor that is not there is normal, and no reason to warn."""
    if facts.hottest_c is None:
        known = "training is not paused for heat"
    else:
        known = f"{facts.hottest_c:.0f} °C"
    detail = "; ".join([*facts.sensors_missing, known])
    return Check("sensors", ok=True, severity="warning", detail=detail)

"""What the machine is doing: processors, memory, power and temperature, as far as it says."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from finscale.files import utc_now
from finscale.machine.device import cpu_quota, n_cores
from finscale.machine.nvidia import GpuUse, energy_j, open_nvidia, quietly
from finscale.machine.temperature import read_cpu_temperature_c

_CPU_STAT = Path("/sys/fs/cgroup/cpu.stat")


@dataclass(frozen=True)
class Reading:
    """One look at the machine; None where nothing measures it.

    Attributes
    ----------
    time
        UTC, ISO 8601.
    interval_s
        Time since the reading before, which shares are averaged and energy is summed over.
    cpu_frac
        Busy share of the cores this process may use, whoever keeps them busy.
    process_cpu_frac
        The share of the same cores that this process and its children keep busy.
    memory_used_gib, memory_used_frac
        Of the machine: what programs hold and could not be given back at once.
    process_memory_gib
        Resident memory of this process and its children; what they share counts for each.
    gpu_util_frac
        Share of time, lately, in which the GPU did anything at all.
    gpu_memory_gib
        In use on the GPU, by whomever.
    gpu_power_w
        At this moment.
    gpu_energy_j
        Spent by the whole GPU in the interval.
    """

    time: str
    interval_s: float
    cpu_frac: float | None = None
    process_cpu_frac: float | None = None
    memory_used_gib: float | None = None
    memory_used_frac: float | None = None
    process_memory_gib: float | None = None
    cpu_temperature_c: float | None = None
    gpu_name: str | None = None
    gpu_util_frac: float | None = None
    gpu_memory_gib: float | None = None
    gpu_power_w: float | None = None
    gpu_energy_j: float | None = None
    gpu_temperature_c: float | None = None

    @property
    def hottest_c(self) -> float | None:
        """The higher of the known temperatures."""
        known = [
            value for value in (self.cpu_temperature_c, self.gpu_temperature_c) if value is not None
        ]
        return max(known, default=None)


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since some start, summed over the cores this process may use."""

    busy_s: float
    total_s: float


@dataclass(frozen=True)
class ProcessUse:
    """What this process and its children have used: processor time so far, memory now."""

    cpu_s: float
    memory_bytes: int


class Sensors:
    """Everything that can be read on this machine; made by :func:`open_sensors`.

    Not for several threads at once: a reading is relative to the one before.

    Parameters
    ----------
    cores
        How many this process may use.
    cpu, process, memory, gpu, cpu_temperature_c
        Each reads one thing and may fail, which makes it None in the reading. ``memory`` returns
        bytes and share in use.
    missing
        A sentence for each thing that cannot be measured here.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        cores: int,
        cpu: Callable[[], CpuTimes],
        process: Callable[[], ProcessUse],
        memory: Callable[[], tuple[int, float]],
        gpu: Callable[[], GpuUse] | None = None,
        cpu_temperature_c: Callable[[], float | None] | None = None,
        missing: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_cpu, self._read_process, self._read_memory = cpu, process, memory
        self._read_gpu, self._read_cpu_temperature = gpu, cpu_temperature_c
        self._cores, self._clock = cores, clock
        self.missing = tuple(missing)
        self._at_s = clock()
        self._cpu = quietly(cpu)
        self._process = quietly(process)
        self._gpu = (quietly(gpu) if gpu else None) or GpuUse()

    def read(self) -> Reading:
        """Read everything; whatever fails is None, and nothing is raised."""
        now_s = self._clock()
        interval_s = now_s - self._at_s
        cpu, process = quietly(self._read_cpu), quietly(self._read_process)
        memory = quietly(self._read_memory)
        gpu = (quietly(self._read_gpu) if self._read_gpu else None) or GpuUse()
        temperature = self._read_cpu_temperature
        reading = Reading(
            time=utc_now(),
            interval_s=interval_s,
            cpu_frac=busy_frac(self._cpu, cpu),
            process_cpu_frac=process_frac(self._process, process, interval_s * self._cores),
            memory_used_gib=memory[0] / 2**30 if memory else None,
            memory_used_frac=memory[1] if memory else None,
            process_memory_gib=process.memory_bytes / 2**30 if process else None,
            cpu_temperature_c=quietly(temperature) if temperature else None,
            gpu_name=gpu.name,
            gpu_util_frac=gpu.util_frac,
            gpu_memory_gib=gpu.memory_bytes / 2**30 if gpu.memory_bytes is not None else None,
            gpu_power_w=gpu.power_w,
            gpu_energy_j=energy_j(self._gpu, gpu, interval_s),
            gpu_temperature_c=gpu.temperature_c,
        )
        self._at_s, self._cpu, self._process, self._gpu = now_s, cpu, process, gpu
        return reading


def open_sensors(device: torch.device) -> Sensors:
    """Open what this machine has, once; what it lacks is a sentence in ``Sensors.missing``.

    A GPU is looked at only if it is the device, and then exactly that one: its number in CUDA and
    in the driver may differ.
    """
    gpu: Callable[[], GpuUse] | None = None
    missing = []
    if device.type == "cuda":
        gpu, lack = open_nvidia(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        missing += [lack] if lack else []
    elif device.type == "mps":
        missing.append(
            "no GPU sensors: macOS shows them to the administrator only (powermetrics); "
            "use, power and energy of the GPU are not recorded"
        )
    temperature = read_cpu_temperature_c if quietly(read_cpu_temperature_c) is not None else None
    if temperature is None:
        missing.append(
            "no CPU temperature: macOS shows it to the administrator only (powermetrics)"
            if platform.system() == "Darwin"
            else "no CPU temperature: this machine shows none, as is usual for a virtual machine"
        )
    return Sensors(
        cores=n_cores(),
        cpu=_CpuOfThisProcess().read,
        process=_ProcessTree().read,
        memory=_read_memory,
        gpu=gpu,
        cpu_temperature_c=temperature,
        missing=missing,
    )


def busy_frac(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Return the busy share of the cores between two looks at their counters."""
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    return _share((after.busy_s - before.busy_s) / (after.total_s - before.total_s))


def process_frac(
    before: ProcessUse | None, after: ProcessUse | None, available_s: float
) -> float | None:
    """Return the share of the available core-seconds that a process and its children used."""
    if before is None or after is None or available_s <= 0:
        return None
    return _share((after.cpu_s - before.cpu_s) / available_s)


class _CpuOfThisProcess:
    """The counters of the cores that this process may use."""

    def __init__(self) -> None:
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        self._quota = cpu_quota()

    def read(self) -> CpuTimes:
        if self._quota is not None:
            # The cores are shared with other containers; what counts is this one's part of them.
            return CpuTimes(_read_container_s(), time.monotonic() * self._quota)
        every = psutil.cpu_times(percpu=True)
        # Cores that are switched off have no entry, and the numbers of the others shift.
        mine = self._cores is not None and len(every) == os.cpu_count()
        cores = [every[number] for number in self._cores or ()] if mine else every
        # A guest's time is part of the user's already.
        total_s = sum(
            sum(core) - getattr(core, "guest", 0.0) - getattr(core, "guest_nice", 0.0)
            for core in cores
        )
        idle_s = sum(core.idle + getattr(core, "iowait", 0.0) for core in cores)
        return CpuTimes(busy_s=total_s - idle_s, total_s=total_s)


def _read_container_s() -> float:
    """Return the processor time that this container has used."""
    fields = dict(line.split() for line in _CPU_STAT.read_text(encoding="utf-8").splitlines())
    return int(fields["usage_usec"]) / 1e6


class _ProcessTree:
    """The process that reads, its children, and theirs."""

    def __init__(self) -> None:
        self._root = psutil.Process()

    def read(self) -> ProcessUse:
        cpu_s, memory_bytes = 0.0, 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:  # ended in between
                continue
            # What ended children used is passed on to their parent, so the sum does not fall.
            cpu_s += times.user + times.system + times.children_user + times.children_system
            memory_bytes += memory.rss
        return ProcessUse(cpu_s, memory_bytes)


def _read_memory() -> tuple[int, float]:
    memory = psutil.virtual_memory()
    used_bytes = memory.total - memory.available
    return used_bytes, used_bytes / memory.total


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))

"""Why a machine idles while it should be training, and what to set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from finscale.machine.sensors import Reading
from finscale.machine.usage import summarise

# Busy for this share of the time, a thread is computing and not waiting.
_COMPUTING_CORES = 0.8


@dataclass(frozen=True)
class Workload:
    """What is being trained, as far as it explains an idle machine.

    Attributes
    ----------
    device
        Type of the device: ``cpu``, ``cuda``, ``mps``.
    n_threads
        CPU threads of this process.
    n_cores
        Cores this process may use.
    """

    device: str
    n_threads: int
    n_cores: int
    d_model: int
    n_layers: int
    micro_batch: int
    effective_batch: int


@dataclass(frozen=True)
class IdleRule:
    """A machine idles if its mean use stays below ``below_frac`` over ``over_s`` seconds."""

    below_frac: float = 0.5
    over_s: float = 180.0


@dataclass(frozen=True)
class Idleness:
    """Why the machine idles while training, in a word and in a line that names what to set."""

    cause: Literal["few_threads", "small_steps", "launch_bound", "waits"]
    text: str


def explain_idle(
    readings: Sequence[Reading],
    workload: Workload,
    rule: IdleRule = IdleRule(),
) -> Idleness | None:
    """Return why the machine idles; None if it works, or if that is not known.

    On a CPU the use is that of the cores this process may use, by all programs: with several
    workers none of them has to keep the machine busy alone.

    Parameters
    ----------
    readings
        Taken while training, oldest first; only the last ``rule.over_s`` seconds count.
    """
    recent = last_readings(readings, rule.over_s)
    usage = summarise(recent)
    use = {"cpu": usage.cpu_mean_frac, "cuda": usage.gpu_util_mean_frac}.get(workload.device)
    if not recent or use is None or use >= rule.below_frac:
        return None
    own_cores = (usage.process_cpu_mean_frac or 0.0) * workload.n_cores
    what = "GPU" if workload.device == "cuda" else "CPU"
    return _explain(f"the machine idles, {use:.0%} of the {what} in use", own_cores, workload)


def _explain(seen: str, own_cores: float, workload: Workload) -> Idleness:
    n_threads, n_cores = workload.n_threads, workload.n_cores
    if own_cores < _COMPUTING_CORES:
        return Idleness(
            "waits",
            f"{seen}: this process computes for {own_cores:.0%} of the time and waits for the "
            "disk, for swap or for another program in the rest; see which, and end it",
        )
    if workload.device == "cuda":
        return Idleness(
            "launch_bound",
            f"{seen}: {_steps(workload)} are computed sooner than the CPU asks for them; "
            f"run --workers 2 on this GPU{_or_larger_micro_batch(workload)}",
        )
    if n_threads < n_cores and own_cores >= _COMPUTING_CORES * n_threads:
        settings = [f"run --workers {n_cores // n_threads}", f"set machine.n_threads: {n_cores}"]
        # One thread is what small models get by themselves, and more would not help them.
        first, second = settings if n_threads == 1 else settings[::-1]
        return Idleness(
            "few_threads",
            f"{seen}: training keeps its {_threads(n_threads)} busy and there are {n_cores} "
            f"cores; {first}, or {second}",
        )
    return Idleness(
        "small_steps",
        f"{seen}: {_steps(workload)} are too small to share out among {_threads(n_threads)}; "
        f"set machine.n_threads: 1 and run --workers {n_cores}{_or_larger_micro_batch(workload)}",
    )


def _threads(n_threads: int) -> str:
    return "1 thread" if n_threads == 1 else f"{n_threads} threads"


def _steps(workload: Workload) -> str:
    return (
        f"the steps of {workload.n_layers} layers of width {workload.d_model} at a micro-batch "
        f"of {workload.micro_batch}"
    )


def _or_larger_micro_batch(workload: Workload) -> str:
    if workload.micro_batch >= workload.effective_batch:
        return ""
    where = "GPU memory" if workload.device == "cuda" else "memory"
    return f", or free {where} so that the micro-batch can be {workload.effective_batch}"


def last_readings(readings: Sequence[Reading], over_s: float) -> list[Reading]:
    """Return the shortest tail that covers ``over_s`` seconds; nothing if all of them do not."""
    covered_s = 0.0
    for number, reading in enumerate(reversed(readings), start=1):
        covered_s += reading.interval_s
        if covered_s >= over_s:
            return list(readings[-number:])
    return []

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.machine.idle import IdleRule, Workload, explain_idle
from finscale.machine.sensors import Reading

SMALL = Workload(
    device="cpu",
    n_threads=1,
    n_cores=8,
    d_model=64,
    n_layers=128,
    micro_batch=256,
    effective_batch=256,
)
GPU = replace(SMALL, device="cuda")


def reading(interval_s: float = 10.0, **values: float | str | None) -> Reading:
    return Reading(time="2026-01-05T00:00:00+00:00", interval_s=interval_s, **values)  # type: ignore[arg-type] # by name


def cpu(frac: float, own: float, n: int = 18) -> list[Reading]:
    return [reading(cpu_frac=frac, process_cpu_frac=own)] * n


def gpu(frac: float, own: float, n: int = 18) -> list[Reading]:
    return [reading(cpu_frac=0.1, process_cpu_frac=own, gpu_util_frac=frac)] * n


@pytest.mark.parametrize(
    ("readings", "workload", "cause"),
    [
        # One of 8 cores: 12.5%.
        (cpu(0.13, 0.125), SMALL, "few_threads"),
        (cpu(0.25, 0.25), replace(SMALL, n_threads=2), "few_threads"),
        # Others keep the rest busy, or other workers do.
        (cpu(0.50, 0.125), SMALL, None),
        (cpu(0.49, 0.125), SMALL, "few_threads"),
        (cpu(0.95, 0.95), replace(SMALL, n_threads=8), None),
        # Threads that wait for each other: 2 of 8 busy.
        (cpu(0.25, 0.25), replace(SMALL, n_threads=8), "small_steps"),
        (cpu(0.25, 0.25), replace(SMALL, n_threads=4), "small_steps"),
        # Half a core is a process that waits.
        (cpu(0.10, 0.0625), SMALL, "waits"),
        (cpu(0.10, 0.0625), replace(SMALL, n_threads=8), "waits"),
        (gpu(0.3, 0.125), GPU, "launch_bound"),
        (gpu(0.3, 0.05), GPU, "waits"),
        (gpu(0.5, 0.125), GPU, None),
        # What is not measured is not judged: no GPU sensor, no CPU counters, a Mac's GPU.
        (cpu(0.1, 0.1), GPU, None),
        ([reading()] * 18, SMALL, None),
        (cpu(0.1, 0.1), replace(SMALL, device="mps"), None),
    ],
)
def test_why_a_machine_idles(
    readings: list[Reading], workload: Workload, cause: str | None
) -> None:
    idleness = explain_idle(readings, workload)
    assert (idleness.cause if idleness else None) == cause


def text(readings: list[Reading], workload: Workload) -> str:
    idleness = explain_idle(readings, workload)
    assert idleness is not None
    assert "\n" not in idleness.text
    return idleness.text


def test_the_warning_says_what_to_set() -> None:
    assert text(cpu(0.125, 0.125), SMALL) == (
        "the machine idles, 12% of the CPU in use: training keeps its 1 thread busy and there are "
        "8 cores; run --workers 8, or set machine.n_threads: 8"
    )
    assert text(cpu(0.25, 0.25), replace(SMALL, n_threads=2)).endswith(
        "its 2 threads busy and there are 8 cores; set machine.n_threads: 8, or run --workers 4"
    )
    assert text(cpu(0.25, 0.25), replace(SMALL, n_threads=8)) == (
        "the machine idles, 25% of the CPU in use: the steps of 128 layers of width 64 at a "
        "micro-batch of 256 are too small to share out among 8 threads; set machine.n_threads: 1 "
        "and run --workers 8"
    )
    assert text(gpu(0.3, 0.125), replace(GPU, micro_batch=8)) == (
        "the machine idles, 30% of the GPU in use: the steps of 128 layers of width 64 at a "
        "micro-batch of 8 are computed sooner than the CPU asks for them; run --workers 2 on this "
        "GPU, or free GPU memory so that the micro-batch can be 256"
    )
    assert "computes for 40% of the time and waits for the disk" in text(gpu(0.3, 0.05), GPU)


def test_nothing_is_said_before_the_time_is_over() -> None:
    assert explain_idle(cpu(0.1, 0.1, n=17), SMALL) is None
    assert explain_idle(cpu(0.1, 0.1, n=18), SMALL) is not None
    assert explain_idle([], SMALL) is None
    assert explain_idle(cpu(0.1, 0.1, n=3), SMALL, IdleRule(over_s=30)) is not None
    assert explain_idle(cpu(0.6, 0.1, n=3), SMALL, IdleRule(below_frac=0.7, over_s=30)) is not None


def test_only_the_last_minutes_count() -> None:
    assert explain_idle(cpu(1.0, 0.1, n=100) + cpu(0.1, 0.1), SMALL) is not None
    assert explain_idle(cpu(0.0, 0.1, n=100) + cpu(0.6, 0.1), SMALL) is None


@given(st.lists(st.floats(0, 1), min_size=18, max_size=40), st.integers(1, 16))
def test_a_machine_is_idle_exactly_if_its_mean_use_is_low(
    shares: list[float], n_threads: int
) -> None:
    readings = [reading(cpu_frac=share, process_cpu_frac=0.1) for share in shares]
    mean = sum(shares[-18:]) / 18
    if abs(mean - 0.5) > 1e-9:
        idle = explain_idle(readings, replace(SMALL, n_threads=n_threads)) is not None
        assert idle == (mean < 0.5)

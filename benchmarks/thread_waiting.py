"""Training beside another program: what OpenMP threads do while they wait.

An epoch of a small model is timed alone and beside a process that keeps one core busy, with the
environment variable OMP_WAIT_POLICY as finscale sets it (PASSIVE) and as libraries do by default
(ACTIVE spins). Each figure is a fresh process, since the variable is read once.

    python benchmarks/thread_waiting.py
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

CHILD = "--child"
ARCHITECTURE = "16x2x2x32"


def _spin() -> None:
    while True:
        pass


def child() -> None:
    """Print the median time of an epoch in ms."""
    import torch  # noqa: PLC0415 - after the variable is set
    from common import bundled_cell, median_s  # noqa: PLC0415

    from finscale.ladder.batching import Batching  # noqa: PLC0415
    from finscale.models.architecture import Architecture, InputShape  # noqa: PLC0415
    from finscale.study import Training  # noqa: PLC0415
    from finscale.training.loop import TrainingRun  # noqa: PLC0415
    from finscale.training.recipe import Recipe, TrainingJob  # noqa: PLC0415

    data = bundled_cell(1)
    run = TrainingRun(
        data.windows(60, torch.device("cpu")),
        data.split,
        TrainingJob(
            architecture=Architecture.parse(ARCHITECTURE),
            shape=InputShape(25, 60, 10, 5),
            recipe=Recipe(1e-4, 1e-2, 0.1, 10, 1000),
            settings=Training(effective_batch=128),
            batching=Batching(128, 1),
            seed=0,
            base_rate=data.base_rate,
            precision="fp32",
        ),
    )
    print(1e3 * median_s(run.epoch, repeats=3))


def measure(policy: str, *, busy: bool) -> float:
    neighbours = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(busy)]
    for neighbour in neighbours:
        neighbour.start()
    try:
        finished = subprocess.run(
            [sys.executable, __file__, CHILD],
            env=os.environ | {"OMP_WAIT_POLICY": policy},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for neighbour in neighbours:
            neighbour.terminate()
    return float(finished.stdout)


def main() -> None:
    print(f"{os.cpu_count()} cores, one epoch of {ARCHITECTURE}, ms")
    print(f"{'policy':>8} {'alone':>7} {'beside a busy process':>22}")
    for policy in ("PASSIVE", "ACTIVE"):
        alone, beside = measure(policy, busy=False), measure(policy, busy=True)
        print(f"{policy:>8} {alone:7.0f} {beside:22.0f}")


if __name__ == "__main__":
    child() if CHILD in sys.argv else main()

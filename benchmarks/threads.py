"""How many threads a small model should train with, alone and beside another program.

An epoch is timed with one thread and with one per core, each alone and beside a process that keeps
one core busy. Threads that wait for work sleep (OMP_WAIT_POLICY=PASSIVE, as finscale sets it) or
spin (ACTIVE). Each row is a fresh process, since the variable is read once.

    python benchmarks/threads.py
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

ARCHITECTURES = ("12x1x2x48", "64x2x4x256", "128x4x4x512")


def _spin() -> None:
    while True:
        pass


def child(n_threads: int) -> None:
    """Print the median time of an epoch of each architecture, in ms."""
    import torch  # noqa: PLC0415 - after the variable is set
    from common import bundled_cell, median_s, training_run  # noqa: PLC0415

    torch.set_num_threads(n_threads)
    data = bundled_cell(1)
    for label in ARCHITECTURES:
        run = training_run(data, label, effective_batch=128)
        print(1e3 * median_s(run.epoch, repeats=3))


def measure(n_threads: int, policy: str, *, busy: bool) -> list[float]:
    neighbours = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(busy)]
    for neighbour in neighbours:
        neighbour.start()
    try:
        finished = subprocess.run(
            [sys.executable, __file__, str(n_threads)],
            env=os.environ | {"OMP_WAIT_POLICY": policy},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for neighbour in neighbours:
            neighbour.terminate()
    return [float(line) for line in finished.stdout.split()]


def main() -> None:
    n_cores = os.cpu_count() or 1
    print(f"{n_cores} cores; ms per epoch")
    print(
        f"{'threads':>7} {'waiting':>8} {'beside':>8} "
        + " ".join(f"{a:>12}" for a in ARCHITECTURES)
    )
    for busy in (False, True):
        for n_threads, policy in ((1, "PASSIVE"), (n_cores, "PASSIVE"), (n_cores, "ACTIVE")):
            times = measure(n_threads, policy, busy=busy)
            beside = "a busy one" if busy else "nothing"
            print(
                f"{n_threads:>7} {policy:>8} {beside:>10} " + " ".join(f"{t:12.0f}" for t in times)
            )


if __name__ == "__main__":
    child(int(sys.argv[1])) if len(sys.argv) > 1 else main()

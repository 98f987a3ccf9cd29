"""Predicted against measured peaks of training memory, for the extremes of the reference grid.

Each case trains in a process of its own: two epochs of one optimiser step each, validation and the
copy of the best weights included. On the CPU the peak is that of the resident memory above what
the process has before the model is built; on a GPU it is what PyTorch's allocator hands out at
most. ``ratio`` is predicted over measured. No checkpoint is written, which on the CPU
copies nothing.

    python benchmarks/memory.py [--quick]
    python benchmarks/memory.py --measure 128x16x2x256,32,2,bf16,0.1,keep
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import print_machine

from finscale.ladder.batching import Batching
from finscale.ladder.budgets import parse_budget
from finscale.ladder.extremes import extremes
from finscale.ladder.grid import architectures_within, default_grid
from finscale.machine.device import choose_device, choose_precision, usable_memory_bytes
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import peak_memory_bytes
from finscale.splits import Split
from finscale.study import Machine, Training
from finscale.training.loop import TrainingRun
from finscale.training.recipe import Recipe, TrainingJob
from finscale.windows import Windows

SHAPE = InputShape(25, 60, 10, 5)
# Budget, micro-batch, accumulation steps.
PLANS = (("2M", 256, 1), ("2M", 64, 4), ("20M", 64, 4), ("200M", 16, 2))
N_VALIDATION = 256
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One training step to measure; its text is the argument of ``--measure``."""

    architecture: str
    micro_batch: int
    accumulation_steps: int
    precision: str
    dropout: float
    activation_checkpointing: bool

    @property
    def text(self) -> str:
        """Name the case."""
        kept = "recompute" if self.activation_checkpointing else "keep"
        return (
            f"{self.architecture},{self.micro_batch},{self.accumulation_steps},"
            f"{self.precision},{self.dropout},{kept}"
        )

    @staticmethod
    def parse(text: str) -> Case:
        """Read a name back."""
        architecture, micro_batch, steps, precision, dropout, kept = text.split(",")
        return Case(
            architecture,
            int(micro_batch),
            int(steps),
            precision,
            float(dropout),
            {"keep": False, "recompute": True}[kept],
        )

    def predicted_bytes(self, device: torch.device) -> int:
        """Return what the memory model says."""
        return peak_memory_bytes(
            Architecture.parse(self.architecture),
            SHAPE,
            self.micro_batch,
            accumulating=self.accumulation_steps > 1,
            bytes_per_value=2 if self.precision == "bf16" else 4,
            dropout=self.dropout,
            activation_checkpointing=self.activation_checkpointing,
            device_type=device.type,
        )


def training_run(case: Case, device: torch.device) -> TrainingRun:
    n_train = case.micro_batch * case.accumulation_steps
    first, n_rows = SHAPE.context_length - 1, SHAPE.context_length + n_train + N_VALIDATION
    rng = np.random.default_rng(0)
    windows = Windows(
        rng.standard_normal((n_rows, SHAPE.n_features)).astype(np.float32),
        (rng.random(n_rows) > 0.5).astype(np.float32),
        context_length=SHAPE.context_length,
        device=device,
    )
    day = np.datetime64("2000-01-03")
    cuts = np.arange(first, n_rows)
    split = Split(cuts[:n_train], cuts[n_train:-1], cuts[-1:], day, day, day)
    job = TrainingJob(
        architecture=Architecture.parse(case.architecture),
        shape=SHAPE,
        recipe=Recipe(1e-4, 1e-2, case.dropout, 1, 1000),
        settings=Training(effective_batch=n_train, patience=1000),
        batching=Batching(case.micro_batch, case.accumulation_steps, case.activation_checkpointing),
        seed=0,
        base_rate=0.5,
        precision=case.precision,  # type: ignore[arg-type]  # checked by the parser's choices
    )
    return TrainingRun(windows, split, job)


def resident_bytes(field: str) -> int:
    """Return ``VmRSS`` or, the highest since the last reset, ``VmHWM`` of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def highest_resident_bytes() -> int:
    # Not getrusage on Linux: it counts what the parent had when it forked.
    on_linux = Path("/proc/self/status").exists()
    return (
        resident_bytes("VmHWM") if on_linux else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


def measure(case: Case, device: torch.device) -> int:
    """Return the bytes that training takes at its peak."""
    # Libraries, their kernels and thread pools are not the model's.
    training_run(Case("64x2x2x128", 4, 1, case.precision, 0.1, False), device).epoch()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        before = highest_resident_bytes()
    run = training_run(case, device)
    run.epoch()
    run.epoch()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() - before
    return highest_resident_bytes() - before


def cases(device: torch.device, *, quick: bool) -> list[Case]:
    """Return the extremes that fit this machine; the deepest in all ways of training it."""
    found: dict[Case, None] = {}
    for label, micro_batch, steps in PLANS[:2] if quick else PLANS:
        budget = parse_budget(label)
        grid = architectures_within(budget, default_grid(budget), SHAPE, 0.25)
        for extreme in extremes(grid, budget=budget, shape=SHAPE):
            cell = extreme.architecture
            own = choose_precision("auto", device, cell.d_model)
            deepest = "deepest and narrowest" in extreme.reasons
            for precision in ("fp32", "bf16") if deepest else (own,):
                case = Case(cell.label, micro_batch, steps, precision, 0.1, False)
                found[case] = None
            if deepest:
                found[Case(cell.label, micro_batch, steps, own, 0.1, True)] = None
    room = usable_memory_bytes(device)
    return [case for case in found if case.predicted_bytes(device) <= room]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest budget alone")
    parser.add_argument("--measure", metavar="CASE", help="one case, in this process, as JSON")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args()
    device = choose_device(Machine(device=options.device))
    if options.measure:
        case = Case.parse(options.measure)
        peak = measure(case, device)
        print(json.dumps({"predicted": case.predicted_bytes(device), "measured": peak}))
        return
    print_machine()
    print(f"{'case':>38} {'predicted MiB':>13} {'measured MiB':>12} {'ratio':>5}")
    ratios = []
    for case in cases(device, quick=options.quick):
        command = [sys.executable, __file__, "--measure", case.text, "--device", device.type]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(out)
        ratios.append(found["predicted"] / found["measured"])
        print(
            f"{case.text:>38} {found['predicted'] / MIB:13.0f} "
            f"{found['measured'] / MIB:12.0f} {ratios[-1]:5.2f}",
            flush=True,
        )
    print(f"ratios from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()

"""What the benchmarks share: the machine in words, the quickstart's data, paired timings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from finscale.dataset.cell import Cell, CellData, prepare_cell
from finscale.dataset.market import load_market
from finscale.ladder.batching import Batching
from finscale.machine.environment import describe_environment
from finscale.models.architecture import Architecture, InputShape
from finscale.study import BundledData, Study, Training
from finscale.study_rows import DateSplit
from finscale.training.loop import TrainingRun
from finscale.training.recipe import Recipe, TrainingJob


def bundled_study() -> Study:
    """Return a study of the bundled S&P 500 with the quickstart's split."""
    split = {"by": "date", "train_end": "2011-12-31", "validation_end": "2014-12-31"}
    return Study(name="benchmark", data=BundledData(), split=DateSplit.model_validate(split))


def bundled_cell(horizon_bars: int) -> CellData:
    """Return its data for one horizon."""
    study = bundled_study()
    return prepare_cell(study, load_market(study), Cell(horizon_bars, "threshold_1pct"))


def training_run(
    data: CellData, architecture: str, *, effective_batch: int, precision: str = "fp32"
) -> TrainingRun:
    """Return a run of the training engine on the CPU, ready for its first epoch."""
    job = TrainingJob(
        architecture=Architecture.parse(architecture),
        shape=InputShape(25, 60, 10, 5),
        recipe=Recipe(1e-4, 1e-2, 0.1, 10, 1000),
        settings=Training(effective_batch=effective_batch, patience=1000),
        batching=Batching(effective_batch, 1),
        seed=0,
        base_rate=data.base_rate,
        precision=precision,
    )
    return TrainingRun(data.windows(60, torch.device("cpu")), data.split, job)


def print_machine() -> None:
    """Print what the figures depend on."""
    env = describe_environment(torch.device("cpu"), "")
    print(
        f"{env['cpu']}, {env['n_threads']} threads, Python {env['python']}, "
        f"torch {env['packages']['torch']}"
    )


def median_s(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the median time of ``work`` after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def matrix_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Return the FLOP/s of a size³ matrix product: what every share is measured against."""
    left, right = torch.randn(2, size, size).to(dtype)
    return 2 * size**3 / median_s(lambda: left @ right)

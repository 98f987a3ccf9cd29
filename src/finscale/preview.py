"""What a study will cost, before anything is spent."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from finscale.blocks import n_walked
from finscale.dataset.cell import (
    TrainSizes,
    check_schedule,
    prepare_cell,
    prepare_folds,
    study_cells,
)
from finscale.dataset.market import load_market
from finscale.experiments import Experiment, plan_experiments
from finscale.machine.device import choose_device, choose_precision, use_threads
from finscale.machine.preflight import Needs, experiment_bytes, run_bytes
from finscale.models.architecture import Architecture
from finscale.models.cost import (
    count_parameters,
    training_flops_per_sample,
    training_memory_bytes,
)
from finscale.study import Study

# Share of the measured rate of large matrix products that training reaches, at worst and at best,
# from so many parameters on (benchmarks/training_speed.py; the tiny ones in finished searches).
_SHARES = ((1_000_000, (0.1, 0.6)), (0, (0.04, 0.25)))
# Of the epochs and FLOPs of the upper bound finished searches spent 0.45: runs stop early, and
# architectures differ.
_LEAST_WORK_FRAC = 0.4


@dataclass(frozen=True)
class ExperimentPreview:
    """One experiment's size and cost.

    Attributes
    ----------
    n_train
        Training anchors of a final model; a trial has those of its folds.
    n_parameters_min, n_parameters_max
        Built counts over the grid.
    memory_bytes_min
        Of the least demanding architecture, one sample at a time: below this nothing runs.
    memory_bytes_one_sample_max
        Of the most demanding architecture, one sample at a time: below this some trials fail.
    memory_bytes_max
        Of the most demanding architecture with the whole effective batch at once.
    flops_per_sample_max
        Training FLOPs (forward and backward) of the costliest architecture.
    training_flops_max
        All trials, on every walk-forward fold, final seeds and blocks walked forward at the
        costliest architecture, for the longest schedule, and supplementary runs: an upper bound,
        since runs stop early.
    time_min_s, time_max_s
        A rough range of training on this device, of 0.4 of that bound at the best and of all of it
        at the worst share of the measured rate. On a GPU small models can take longer still.
        Baselines, evidence and report are not in it.
    disk_bytes
        What the experiment may write, see :func:`finscale.machine.preflight.experiment_bytes`.
    """

    name: str
    budget: str
    horizon_bars: int
    task: str
    n_architectures: int
    n_extremes: int
    n_trials: int
    n_train: int
    n_parameters_min: int
    n_parameters_max: int
    memory_bytes_min: int
    memory_bytes_one_sample_max: int
    memory_bytes_max: int
    flops_per_sample_min: int
    flops_per_sample_max: int
    training_flops_max: float
    time_min_s: float
    time_max_s: float
    disk_bytes: int
    grid_hash: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def preview_study(study: Study) -> list[ExperimentPreview]:
    """Return the cost of every experiment in the order in which they are run.

    Raises
    ------
    FinscaleError
        If the study cannot be run.
    """
    experiments = plan_experiments(study)
    device = choose_device(study.machine)
    market = load_market(study)
    n_train = {
        cell.name: TrainSizes.of(
            prepare_cell(study, market, cell),
            prepare_folds(study, market, cell) if study.split.n_folds > 1 else (),
        )
        for cell in study_cells(study)
    }
    walked = {cell.name: n_walked(study, market, cell) for cell in study_cells(study)}
    check_schedule(study, min(one.smallest for one in n_train.values()))
    return preview_experiments(study, experiments, n_train, device, n_walked=walked)


def preview_experiments(
    study: Study,
    experiments: Sequence[Experiment],
    n_train: Mapping[str, TrainSizes],
    device: torch.device,
    *,
    n_walked: Mapping[str, int],
) -> list[ExperimentPreview]:
    """Return the cost of experiments whose data are prepared already.

    Parameters
    ----------
    n_train, n_walked
        Training anchors by name of the cell, and those of all blocks walked forward.
    """
    use_threads(study.machine)
    rate = matrix_flops_per_s(device)
    return [
        _preview(
            study,
            one,
            n_train[one.cell_name],
            n_walked=n_walked[one.cell_name],
            device=device,
            rate=rate,
        )
        for one in experiments
    ]


def needs_of(previews: Sequence[ExperimentPreview], n_workers: int = 1) -> Needs:
    """Return what a run of these experiments, at least one, takes of a machine."""
    return Needs(
        memory_least_bytes=min(one.memory_bytes_min for one in previews),
        memory_most_bytes=max(one.memory_bytes_one_sample_max for one in previews),
        disk_bytes=run_bytes(
            [one.disk_bytes for one in previews],
            n_parameters=max(one.n_parameters_max for one in previews),
            n_workers=n_workers,
        ),
        time_min_s=sum(one.time_min_s for one in previews),
        time_max_s=sum(one.time_max_s for one in previews),
        n_workers=n_workers,
    )


def matrix_flops_per_s(device: torch.device, size: int = 1024) -> float:
    """Measure the rate of a size³ matrix product on ``device``, in its training precision."""
    precision = choose_precision("auto", device, size)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left = torch.randn(size, size, device=device, dtype=dtype)

    def product_s() -> float:
        started = time.perf_counter()
        (left @ left).sum().item()
        return time.perf_counter() - started

    product_s()
    return 2 * size**3 / min(product_s() for _ in range(5))


def _preview(
    study: Study,
    experiment: Experiment,
    n_train: TrainSizes,
    *,
    n_walked: int,
    device: torch.device,
    rate: float,
) -> ExperimentPreview:
    shape, cells = experiment.shape, experiment.architectures
    counts = [count_parameters(cell, shape) for cell in cells]
    flops = [training_flops_per_sample(cell, shape) for cell in cells]
    listed = [
        (Architecture.parse(one.architecture), one)
        for one in study.supplementary
        if fnmatch.fnmatchcase(experiment.name, one.experiment)
    ]
    trained = [*cells, *(architecture for architecture, _ in listed)]
    most_parameters = max(count_parameters(one, shape) for one in trained)

    def memory(cell: Architecture, micro_batch: int) -> int:
        precision = choose_precision(study.training.precision, device, cell.d_model)
        return training_memory_bytes(
            cell,
            shape,
            micro_batch,
            bytes_per_value=2 if precision == "bf16" else 4,
            dropout=max(study.search.space.dropout),
        )

    n_epochs, n_folds = max(study.search.space.epochs), study.split.n_folds
    n_samples = study.search.n_trials * sum(n_train.folds) + study.final.n_seeds * n_train.whole
    # Of the rung, and of what is trained beside it: parameters and FLOPs.
    parts = [(max(counts), float((n_samples + n_walked) * n_epochs * max(flops)))]
    for architecture, one in listed:
        seen = one.seeds * n_train.whole * (one.recipe.epochs or n_epochs)
        part_flops = float(seen * training_flops_per_sample(architecture, shape))
        parts.append((count_parameters(architecture, shape), part_flops))
    shares = [next(both for least, both in _SHARES if size >= least) for size, _ in parts]
    at_worst, at_best = (
        sum(part / (rate * both[end]) for (_, part), both in zip(parts, shares, strict=True))
        for end in (0, 1)
    )
    return ExperimentPreview(
        name=experiment.name,
        budget=experiment.budget.label,
        horizon_bars=experiment.horizon_bars,
        task=experiment.task,
        n_architectures=len(cells),
        n_extremes=len(experiment.extremes),
        n_trials=study.search.n_trials,
        n_train=n_train.whole,
        n_parameters_min=min(counts),
        n_parameters_max=max(counts),
        memory_bytes_min=min(memory(cell, 1) for cell in cells),
        memory_bytes_one_sample_max=max(memory(one, 1) for one in trained),
        memory_bytes_max=max(memory(one, study.training.effective_batch) for one in trained),
        flops_per_sample_min=min(flops),
        flops_per_sample_max=max(flops),
        training_flops_max=sum(part for _, part in parts),
        time_min_s=_LEAST_WORK_FRAC * at_best,
        time_max_s=at_worst,
        disk_bytes=experiment_bytes(
            most_parameters,
            n_trials=study.search.n_trials,
            n_epochs=n_epochs * n_folds,
            n_seeds=study.final.n_seeds,
        ),
        grid_hash=experiment.grid_hash,
    )

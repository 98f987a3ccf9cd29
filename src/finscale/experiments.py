"""The study's matrix as a list of experiments: which architectures compete in which cell.

Needs neither data nor torch, so that a plan can be shown before anything is spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from finscale import __version__
from finscale.errors import LadderError
from finscale.features.code import NO_VALUES, source_files
from finscale.features.select import study_features
from finscale.files import hash_bytes, hash_sources
from finscale.ladder.budgets import Budget, parse_budget
from finscale.ladder.extremes import Extreme, extremes
from finscale.ladder.grid import Grid, architectures_within, default_grid, grid_hash
from finscale.models.architecture import Architecture, InputShape
from finscale.study import Study
from finscale.study_rows import DataSize, TaskName, cell_name
from finscale.tasks import get_task

# What a result is made by. The search's order, the live view or the report may change without
# making a finished result stale; these may not.
_RESULT_SOURCES = source_files(
    (
        "baselines",
        "dataset",
        # What records hold; what is drawn from predictions afterwards is drawn anew each time.
        "evaluation/calibration.py",
        "evaluation/checked_frames.py",
        "evaluation/metrics.py",
        "evaluation/outcomes.py",
        "evaluation/predictions.py",
        "evaluation/quantile_metrics.py",
        "evaluation/return_frames.py",
        "evaluation/return_metrics.py",
        "features",
        "machine/device.py",
        "market",
        "models",
        "pipeline/finals.py",
        "pipeline/scoring.py",
        "seeds.py",
        "return_bins.py",
        "splits.py",
        "tasks.py",
        "training",
        "windows.py",
    ),
    # Downloading, keeping and checking data, looking for leaks in them, and tables of the
    # catalogue: a study reads the bars that come of it, and records their hash. A new module
    # counts, until it is named here.
    but_not=NO_VALUES
    | {
        "dataset/canary.py",
        "features/frame.py",
        "features/processed.py",
        "market/catalog.py",
        "market/manifest.py",
        "market/names.py",
        "market/revisions.py",
        "market/sources/retry.py",
        "market/sources/yahoo.py",
        "market/sources/yahoo_client.py",
        "market/verify.py",
    },
)


@dataclass(frozen=True)
class Experiment:
    """One cell of the matrix with one budget.

    Attributes
    ----------
    architectures
        All that meet the budget, sorted.
    extremes
        Those that a search tries first.
    grid_hash
        Of the architectures and the input shape.
    """

    budget: Budget
    horizon_bars: int
    task: TaskName
    size: DataSize
    shape: InputShape
    architectures: tuple[Architecture, ...]
    extremes: tuple[Extreme, ...]
    grid_hash: str

    @property
    def cell_name(self) -> str:
        """``h1_threshold_1pct``."""
        return cell_name(self.horizon_bars, self.task, self.size)

    @property
    def extreme_architectures(self) -> tuple[Architecture, ...]:
        """Those that a search tries first."""
        return tuple(one.architecture for one in self.extremes)

    @property
    def name(self) -> str:
        """``20M_h1_threshold_1pct``."""
        return f"{self.budget.label}_{self.cell_name}"


def input_shape(study: Study, task: TaskName | None = None) -> InputShape:
    """Return the model input of a study, and the outputs that a task asks for; one by default.

    Raises
    ------
    ModelError
        If the patches do not fit the context length.
    """
    return InputShape(
        n_features=len(study_features(study)),
        context_length=study.windows.context_length,
        patch_length=study.patches.patch_length,
        patch_stride=study.patches.patch_stride,
        n_outputs=1 if task is None else get_task(task).n_outputs,
    )


class _Rung(NamedTuple):
    """A budget with its architectures."""

    budget: Budget
    cells: tuple[Architecture, ...]
    forced: tuple[Extreme, ...]
    digest: str


def plan_experiments(study: Study) -> tuple[Experiment, ...]:
    """Return the matrix in the order it is run: by task, data size, budget, horizon, small first.

    Raises
    ------
    FeatureError, LadderError, ModelError
        If the tier is unknown, a budget has no architecture, or the patches do not fit.
    """
    grid = Grid(**study.ladder.grid.model_dump()) if study.ladder.grid else None
    budgets = sorted(map(parse_budget, study.ladder.budgets), key=lambda one: one.n_parameters)
    labels = [budget.label for budget in budgets]
    if len(set(labels)) < len(labels):
        raise LadderError(f"ladder.budgets: {', '.join(labels)} names a budget twice; remove one")
    shapes = {task: input_shape(study, task) for task in study.tasks}
    rungs: dict[InputShape, list[_Rung]] = {}
    # Tasks with as many outputs share a grid.
    for shape in dict.fromkeys(shapes.values()):
        rungs[shape] = []
        for budget in budgets:
            cells = architectures_within(
                budget, grid or default_grid(budget), shape, study.ladder.tolerance_frac
            )
            forced = extremes(cells, budget=budget, shape=shape)
            rungs[shape].append(_Rung(budget, cells, forced, grid_hash(cells, shape)))
    return tuple(
        Experiment(
            rung.budget, horizon, task, size, shapes[task], rung.cells, rung.forced, rung.digest
        )
        for task in study.tasks
        for size in study.sizes()
        for rung in rungs[shapes[task]]
        for horizon in study.horizons
    )


def code_hash() -> str:
    """Hash the source that makes results; records of other code are not mixed with ours."""
    return hash_sources(Path(__file__).parent, _RESULT_SOURCES)


def code_files() -> dict[str, str]:
    """Return the SHA-256 of every source file that makes results, by its path in the package."""
    root = Path(__file__).parent
    return {name: hash_bytes((root / name).read_bytes()) for name in _RESULT_SOURCES}


def code_version() -> str:
    """Return finscale's version."""
    return __version__

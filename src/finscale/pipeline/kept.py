"""The forecasts that a run has kept, by cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from finscale.dataset.cell import study_cells
from finscale.evaluation.predictions import read_predictions
from finscale.evaluation.return_frames import read_return_frame
from finscale.pipeline.book import RecordBook
from finscale.pipeline.finals import held_predictions
from finscale.pipeline.prepare import PreparedStudy
from finscale.records import EnsembleRecord
from finscale.rundir import RunDirectory
from finscale.study_rows import TaskName
from finscale.tasks import get_task


def kept_predictions(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> dict[str, pl.DataFrame]:
    """Return the predictions of every cell of a binary task: its baselines' and experiments'."""
    return _kept(prepared, directory, book, read_predictions, lambda task: not _is_return(task))


def kept_return_forecasts(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> dict[str, pl.DataFrame]:
    """Return the quantile forecasts of every cell of the task ``return``."""
    return _kept(prepared, directory, book, read_return_frame, _is_return)


def _is_return(task: TaskName) -> bool:
    return get_task(task).is_return


def _kept(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    read: Callable[[Path], pl.DataFrame],
    wants: Callable[[TaskName], bool],
) -> dict[str, pl.DataFrame]:
    scored = {r.experiment for r in book.current if isinstance(r, EnsembleRecord)}
    frames: dict[str, list[pl.DataFrame]] = {}
    for cell in study_cells(prepared.study):
        path = directory.baseline_predictions(cell.name, book.identities[cell.name].fingerprint)
        if wants(cell.task) and path.exists():
            frames.setdefault(cell.name, []).append(read(path))
    for experiment in prepared.experiments:
        files = directory.experiment(experiment.name)
        held = held_predictions(files) if experiment.name in scored else None
        # They may be those of other settings: an experiment left out since would mix them in.
        if (
            wants(experiment.task)
            and held is not None
            and held[0] == book.identities[experiment.name]
        ):
            frames.setdefault(experiment.cell_name, []).append(read(files.predictions))
    return {cell: pl.concat(parts) for cell, parts in frames.items()}

"""Baselines of every cell, fitted and scored once."""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from finscale.baselines.registry import FittedBaseline, offered
from finscale.dataset.cell import CellData
from finscale.errors import StopRequestedError
from finscale.experiments import code_version
from finscale.files import utc_now
from finscale.pipeline.book import RecordBook
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.scoring import SCORED_PARTS, part_frames, score_parts, write_frames
from finscale.progress import Progress
from finscale.records import BaselineRecord
from finscale.rundir import RunDirectory
from finscale.seeds import derive_seed
from finscale.study import BaselineName


def score_baselines(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    progress: Progress,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Fit and score the study's baselines where that has not been done.

    Raises
    ------
    StopRequestedError
        If the user asked to stop, after the baseline in work; those of its cell are fitted again.
    """
    for cell, data in prepared.cells.items():
        names = offered(prepared.study.baselines, data.task)
        path = directory.baseline_predictions(cell, prepared.identities[cell].fingerprint)
        if path.exists() and all(_uid(prepared, cell, name) in book for name in names):
            continue
        frames = []
        for name in names:
            if should_stop():
                raise StopRequestedError("stopped on request")
            progress.baseline_started(cell, name)
            record, new_frames = _score(prepared, data, name)
            frames += new_frames
            if book.add(record):
                progress.run_finished(record)
        write_frames(data, path, frames)


def _uid(prepared: PreparedStudy, cell: str, name: BaselineName) -> str:
    return f"{cell}@{prepared.identities[cell].fingerprint}/baseline/{name}"


def _score(
    prepared: PreparedStudy, data: CellData, name: BaselineName
) -> tuple[BaselineRecord, list[pl.DataFrame]]:
    cell = data.cell
    seed = derive_seed(prepared.study.seed, cell.name, name)
    started = time.monotonic()
    baseline = FittedBaseline(name, data, seed)
    probabilities = {part: baseline.predict(data.split.part(part)) for part in SCORED_PARTS}
    record = BaselineRecord(
        uid=_uid(prepared, cell.name, name),
        experiment=cell.name,
        budget=None,
        horizon_bars=cell.horizon_bars,
        task=cell.task,
        data_size=cell.size,
        identity=prepared.identities[cell.name],
        code_version=code_version(),
        created_at=utc_now(),
        model=name,
        seed=seed,
        chosen=baseline.chosen,
        duration_s=time.monotonic() - started,
        scores=score_parts(data, probabilities),
    )
    return record, part_frames(data, name, None, probabilities)

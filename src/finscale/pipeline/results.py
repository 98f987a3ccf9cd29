"""The last stages: fit the scaling laws, and write summary and report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from finscale.evaluation.predictions import read_predictions
from finscale.experiments import Experiment
from finscale.files import read_json, write_json_atomic, write_text_atomic
from finscale.pipeline.book import RecordBook
from finscale.pipeline.finals import held_predictions
from finscale.pipeline.oracle import describe_oracles
from finscale.pipeline.prepare import PreparedStudy
from finscale.records import EnsembleRecord
from finscale.report.page import ReportInput, render_report
from finscale.report.summary import build_summary
from finscale.rundir import RunDirectory
from finscale.scaling.ledger import count_test_scorings, judge_cells
from finscale.seeds import derive_seed
from finscale.study import Study


def fit_laws(study: Study, directory: RunDirectory, book: RecordBook) -> dict[str, Any]:
    """Judge every cell's losses against size, and write ``scaling.json``."""
    scaling = judge_cells(
        book.current,
        n_bootstrap=study.scaling.n_bootstrap,
        confidence=study.scaling.confidence,
        seed=derive_seed(study.seed, "bootstrap"),
    )
    write_json_atomic(directory.scaling, scaling)
    return scaling


def write_report(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> dict[str, Any]:
    """Write ``summary.json`` and ``report.html``, and return the summary."""
    data = read_json(directory.data)
    scaling = read_json(directory.scaling)
    summary = build_summary(
        prepared.study,
        book.current,
        data=data,
        scaling=scaling,
        failures=read_failures(directory, prepared.experiments),
        stale=book.stale(),
        test_scorings=count_test_scorings(book.all),
    )
    predictions = _predictions(prepared, directory, book)
    summary["truth"] = describe_oracles(prepared, directory, scaling, predictions)
    page = render_report(
        ReportInput(
            study=prepared.study,
            study_yaml=prepared.study.to_yaml(),
            summary=summary,
            scaling=scaling,
            data=data,
            environment=read_json(directory.environment),
            records=book.current,
            predictions=predictions,
        )
    )
    write_json_atomic(directory.summary, summary)
    write_text_atomic(directory.report, page)
    return summary


def read_failures(directory: RunDirectory, experiments: Sequence[Experiment]) -> dict[str, str]:
    """Return the reason of every experiment that failed when it was last run."""
    files = {one.name: directory.experiment(one.name).failure for one in experiments}
    return {name: read_json(file)["reason"] for name, file in files.items() if file.exists()}


def _predictions(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> dict[str, pl.DataFrame]:
    """Return the predictions of every cell: its baselines', and its scored experiments'."""
    scored = {r.experiment for r in book.current if isinstance(r, EnsembleRecord)}
    frames: dict[str, list[pl.DataFrame]] = {}
    for cell in prepared.cells:
        path = directory.baseline_predictions(cell, prepared.identities[cell].fingerprint)
        if path.exists():
            frames.setdefault(cell, []).append(read_predictions(path))
    for experiment in prepared.experiments:
        files = directory.experiment(experiment.name)
        held = held_predictions(files) if experiment.name in scored else None
        # They may be those of other settings: an experiment left out since would mix them in.
        if held is not None and held[0] == prepared.identities[experiment.name]:
            frame = read_predictions(files.predictions)
            frames.setdefault(experiment.cell_name, []).append(frame)
    return {cell: pl.concat(parts) for cell, parts in frames.items()}

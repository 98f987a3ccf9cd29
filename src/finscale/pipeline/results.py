"""The last stages: fit the scaling laws, and write summary and report."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from finscale.files import read_json, write_json_atomic, write_text_atomic
from finscale.imported.record import read_imported
from finscale.pipeline.evidence import draw_evidence
from finscale.pipeline.failures import failure_reasons
from finscale.pipeline.kept import kept_predictions
from finscale.pipeline.oracle import describe_oracles
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.returns import describe_returns, draw_return_evidence
from finscale.pipeline.selection import Selection
from finscale.report.inputs import ReportInput
from finscale.report.page import render_report
from finscale.report.summary import build_summary
from finscale.rundir import RunDirectory
from finscale.scaling import averages, axes
from finscale.scaling.axis_laws import axis_laws
from finscale.scaling.ledger import by_cell, count_test_scorings, judge_cells
from finscale.scaling.surfaces import surfaces
from finscale.search.coverage import coverage, tried_in
from finscale.seeds import derive_seed
from finscale.tasks import get_task


def fit_laws(
    prepared: PreparedStudy, directory: RunDirectory, selection: Selection
) -> dict[str, Any]:
    """Weigh the forecasts and fit loss against every axis.

    Writes ``evidence.json``, ``scaling.json``, ``points.csv``, ``epochs.csv`` and ``averages.csv``.

    Each cell says in ``stale`` which of its records are, if such were asked for.
    """
    study = prepared.study
    settings: dict[str, Any] = {
        "n_bootstrap": study.scaling.n_bootstrap,
        "confidence": study.scaling.confidence,
        "seed": derive_seed(study.seed, "bootstrap"),
    }
    records = selection.book.current
    data = read_json(directory.data) if directory.data.exists() else {"cells": {}}
    points = axes.point_rows(study, records, data)
    evidence = draw_evidence(
        prepared, directory, selection.book, kept_predictions(prepared, directory, selection.book)
    )
    evidence |= draw_return_evidence(prepared, directory, selection.book)
    write_json_atomic(directory.evidence, evidence)
    cells = judge_cells(records, evidence=evidence, **settings)
    for cell, runs in by_cell(records).items():
        names = {record.experiment for record in runs}
        cells[cell]["stale"] = {
            name: list(changes)
            for name, changes in selection.included_stale.items()
            if name in names
        }
    measured = averages.average_rows(study, records, data, evidence)
    scaling = {
        "cells": cells,
        "axes": axis_laws(points, **settings),
        "measures": averages.measure_lines(measured, confidence=study.scaling.confidence),
        "surfaces": surfaces(points, **settings),
    }
    write_json_atomic(directory.scaling, scaling)
    for path, kind in ((directory.points, "final"), (directory.epochs, "epoch")):
        rows = [row for row in points if row["kind"] == kind]
        write_text_atomic(path, as_csv(axes.COLUMNS, rows))
    write_text_atomic(directory.averages, as_csv(averages.COLUMNS, measured))
    return scaling


def as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_report(
    prepared: PreparedStudy, directory: RunDirectory, selection: Selection
) -> dict[str, Any]:
    """Write ``summary.json`` and ``report.html``, and return the summary."""
    data = read_json(directory.data)
    scaling = read_json(directory.scaling)
    book = selection.book
    tried = {
        one.name: coverage(
            one.architectures,
            tried_in(record for record in book.current if record.experiment == one.name),
            one.extreme_architectures,
        )
        for one in prepared.experiments
    }
    summary = build_summary(
        prepared.study,
        book.current,
        data=data,
        scaling=scaling["cells"],
        failures=failure_reasons(directory, prepared.experiments),
        stale=selection.stale,
        test_scorings=count_test_scorings(book.all),
        coverage=tried,
        included_stale=selection.included_stale,
    )
    predictions = kept_predictions(prepared, directory, book)
    evidence = read_json(directory.evidence)
    is_return = {one.cell_name: get_task(one.task).is_return for one in prepared.experiments}
    summary["returns"] = describe_returns(prepared, directory, book, summary["cells"])
    summary["truth"] = describe_oracles(prepared, directory, scaling["cells"], predictions)
    page = render_report(
        ReportInput(
            study=prepared.study,
            study_yaml=prepared.study.to_yaml(),
            summary=summary,
            scaling=scaling["cells"],
            axes=scaling["axes"],
            surfaces=scaling["surfaces"],
            measures=scaling["measures"],
            data=data,
            environment=read_json(directory.environment),
            records=book.current,
            predictions=predictions,
            evidence={name: one for name, one in evidence.items() if not is_return[name]},
            return_evidence={name: one for name, one in evidence.items() if is_return[name]},
            coverage=tried,
            imported=read_imported(directory.imported),
        )
    )
    write_json_atomic(directory.summary, summary)
    write_text_atomic(directory.report, page)
    return summary

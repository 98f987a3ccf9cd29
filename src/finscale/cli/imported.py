"""The command that reads past results of other laboratories: import-results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from finscale.cli.options import JSON
from finscale.cli.output import print_json, print_table
from finscale.errors import DataError
from finscale.features.tiers import tier_features
from finscale.files import require_writable, utc_now, write_text_atomic
from finscale.imported.fit import fit_imported, results
from finscale.imported.reading import Reading, read_results
from finscale.imported.record import (
    ImportedBaseLoss,
    ImportedLine,
    append_imported,
    content_uid,
    read_imported,
)
from finscale.models.architecture import InputShape
from finscale.report.imported import budget_table, headline, remark_table
from finscale.report.imported_page import render_imported
from finscale.rundir import RunDirectory
from finscale.study_rows import Features, Patches, Windows

PATHS = typer.Argument(
    help="experiment_results.csv and *_all_trials.json files, or directories that hold some.",
    show_default=False,
)
OUT = typer.Option(
    Path("runs") / "imported", help="A run directory, or another one to keep them in."
)
BASE_LOSS = typer.Option(
    [],
    "--base-loss",
    metavar="CELL=NATS",
    help="Log-loss of their base rate in a cell, h1_threshold_1pct=0.372; may be repeated.",
)
N_FEATURES = typer.Option(
    len(tier_features(Features().tier)),
    "--features",
    min=1,
    help="Features their models saw, for counting parameters.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("import-results")(import_results)


def import_results(
    paths: list[Path] = PATHS,
    out: Path = OUT,
    base_losses: list[str] = BASE_LOSS,
    n_features: int = N_FEATURES,
    as_json: bool = JSON,
) -> None:
    """Read past results of the reference layout; they are kept, fitted and shown apart.

    A CSV has the columns timestamp, experiment, phase, budget, task, horizon, timescale,
    script_path, run_type, status, duration_seconds, val_loss, test_accuracy, hyperparameters (a
    JSON object), error_message, thermal_max_temp, data_md5, d_model, n_layers, n_heads, d_ff and
    param_count; cells may be empty.
    """
    shape = InputShape(
        n_features, Windows().context_length, Patches().patch_length, Patches().patch_stride
    )
    reading = read_results(paths, shape)
    cells = {record.cell for record in reading.records}
    directory = RunDirectory(out)
    ledger = directory.imported
    cells |= {line.cell for line in read_imported(ledger)}
    bases = [_base_loss(text, cells, utc_now()) for text in base_losses]
    require_writable(out)
    n_new = append_imported(ledger, reading.records)
    append_imported(ledger, bases)
    lines = read_imported(ledger)
    fits = fit_imported(lines)
    page = _write_page(directory, lines)
    if as_json:
        written = {"out": str(ledger.path), "page": page and str(page)}
        print_json(_summary(reading, n_new) | written | {"cells": fits})
        return
    by_cell = results(lines)
    budgets, remarks = budget_table(by_cell, fits), remark_table(by_cell)
    print_table(budgets.header[:-1], [row[:-1] for row in budgets.rows], n_left=budgets.n_text)
    typer.echo(f"\n{headline(fits)}")
    if remarks.rows:
        typer.echo("")
        print_table(remarks.header, remarks.rows, n_left=remarks.n_text)
    typer.echo(
        f"\n{_count(reading.n_rows, 'result')} in {_count(len(reading.files), 'file')}, "
        f"{reading.n_repeated} of them repeated; {n_new} new in {ledger.path}"
    )
    typer.echo(f"page: {page}" if page else f"show them with: finscale report {out}")


def _write_page(directory: RunDirectory, lines: Sequence[ImportedLine]) -> Path | None:
    """Write a page of their own, unless there is a run whose report will show them."""
    page = None if directory.study.exists() else render_imported(lines)
    if page is None:
        return None
    write_text_atomic(directory.imported_page, page)
    return directory.imported_page


def _base_loss(text: str, cells: set[str], now: str) -> ImportedBaseLoss:
    match = re.fullmatch(r"\s*(\S+)\s*=\s*(\d*\.\d+)\s*", text)
    loss = float(match[2]) if match else 0.0
    if match is None or loss <= 0:
        raise DataError(f"--base-loss {text}: write it as h1_threshold_1pct=0.372")
    cell = match[1]
    if cell not in cells:
        raise DataError(
            f"--base-loss {text}: no imported result is of cell {cell}; "
            f"there are {', '.join(sorted(cells))}"
        )
    return ImportedBaseLoss(
        uid=content_uid(["base_loss", cell, loss, now]),
        imported_at=now,
        cell=cell,
        log_loss=loss,
    )


def _summary(reading: Reading, n_new: int) -> dict[str, object]:
    return {
        "files": [str(file) for file in reading.files],
        "n_rows": reading.n_rows,
        "n_repeated": reading.n_repeated,
        "n_new": n_new,
        "remarks": dict(Counter(r for one in reading.records for r in one.remarks)),
    }


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

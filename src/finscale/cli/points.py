"""The command that gathers the points of runs for fitting laws: points."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import typer

from finscale.errors import FitError, RunDirectoryError
from finscale.files import read_json, write_text_atomic
from finscale.report.alarms import alarms
from finscale.rundir import RunDirectory
from finscale.scaling import averages, axes

RUNS = typer.Argument(help="Run directories, such as one per feature tier.", show_default=False)
OUT = typer.Option(None, help="File to write.", show_default="standard output")
EPOCHS = typer.Option(False, "--epochs", help="A row per epoch instead of one per final run.")
AVERAGES = typer.Option(
    False,
    "--averages",
    help="A row per budget instead, its seeds averaged: skill, Sharpe ratios and R² with it.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(points)


def points(
    run_dirs: list[Path] = RUNS,
    out: Path | None = OUT,
    epochs: bool = EPOCHS,
    of_averages: bool = AVERAGES,
) -> None:
    """Gather the points of one or more runs as CSV, for finscale fit-law and fit-line."""
    if epochs and of_averages:
        raise FitError("--averages --epochs: an average has no epochs; give one of the two")
    columns = averages.COLUMNS if of_averages else axes.COLUMNS
    text = io.StringIO()
    writer = csv.DictWriter(text, ("run", *columns), lineterminator="\n")
    writer.writeheader()
    for run_dir in run_dirs:
        directory = RunDirectory(run_dir)
        directory.require_run()
        table = directory.epochs if epochs else directory.points
        rows = _read(directory.averages if of_averages else table, columns)
        for alarm in alarms(read_json(directory.data)) if directory.data.exists() else ():
            typer.echo(f"finscale: warning: {run_dir}: {alarm}", err=True)
        writer.writerows({"run": run_dir.name, **row} for row in rows)
    if out is None:
        typer.echo(text.getvalue(), nl=False)
    else:
        write_text_atomic(out, text.getvalue())


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.exists():
        raise RunDirectoryError(f"{path}: not there yet; write it with: finscale fit {path.parent}")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != columns:
        raise RunDirectoryError(
            f"{path}: written by another version of finscale; write it anew with: "
            f"finscale fit {path.parent}"
        )
    return rows

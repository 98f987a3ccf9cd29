"""The command that gathers the points of runs for fitting laws: points."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import typer

from finscale.errors import RunDirectoryError
from finscale.files import write_text_atomic
from finscale.rundir import RunDirectory
from finscale.scaling.axes import COLUMNS

RUNS = typer.Argument(help="Run directories, such as one per feature tier.", show_default=False)
OUT = typer.Option(None, help="File to write.", show_default="standard output")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(points)


def points(run_dirs: list[Path] = RUNS, out: Path | None = OUT) -> None:
    """Gather the points of one or more runs as CSV, for finscale fit-law."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ("run", *COLUMNS), lineterminator="\n")
    writer.writeheader()
    for run_dir in run_dirs:
        writer.writerows({"run": run_dir.name, **row} for row in _read(RunDirectory(run_dir)))
    if out is None:
        typer.echo(text.getvalue(), nl=False)
    else:
        write_text_atomic(out, text.getvalue())


def _read(directory: RunDirectory) -> list[dict[str, str]]:
    directory.require_run()
    if not directory.points.exists():
        raise RunDirectoryError(
            f"{directory.points}: not there yet; write it with: finscale fit {directory.root}"
        )
    with directory.points.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise RunDirectoryError(
            f"{directory.points}: written by another version of finscale; write it anew with: "
            f"finscale fit {directory.root}"
        )
    return rows

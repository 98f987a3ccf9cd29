"""The command that writes experiments as scripts of their own: scripts."""

from __future__ import annotations

from pathlib import Path

import typer

from finscale.cli.loading import load_run_study
from finscale.cli.options import JSON, SET
from finscale.cli.output import print_json
from finscale.errors import StudyError
from finscale.rundir import RunDirectory
from finscale.scripts.generate import search_scripts, training_scripts, write_scripts
from finscale.study_file import load_study

SOURCE = typer.Argument(
    help="A study file, or a run directory for its winners too.",
    show_default=False,
    metavar="STUDY|RUN_DIR",
)
OUT = typer.Option(help="Directory to write them to.", show_default=False)
REPLACE = typer.Option(False, "--replace", help="Replace scripts that differ.")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(scripts)


def scripts(
    source: Path = SOURCE,
    out: Path = OUT,
    overrides: list[str] = SET,
    replace: bool = REPLACE,
    as_json: bool = JSON,
) -> None:
    """Write a search script for every experiment, and a training script for every winner."""
    if source.is_dir():
        if overrides:
            raise StudyError("--set: a run directory has its study; give the study file instead")
        study = load_run_study(source)
        written = search_scripts(study) | training_scripts(study, RunDirectory(source))
    else:
        written = search_scripts(load_study(source, overrides))
    files = write_scripts(written, out, replace=replace)
    if as_json:
        print_json([str(file) for file in files])
        return
    n_training = sum(name.startswith("train_") for name in written)
    n_search = len(written) - n_training
    kinds = f"{n_search} to search" + (f", {n_training} to train the winners" * (n_training > 0))
    if source.is_dir() and n_training < n_search:
        typer.echo(
            f"{n_search - n_training} experiments have no winner that is current; "
            f"see finscale status {source}",
            err=True,
        )
    typer.echo(f"{len(files)} scripts in {out}: {kinds}\nrun one with: python {files[0]}")

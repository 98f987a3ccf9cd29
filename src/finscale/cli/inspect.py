"""Commands that look at what is there: status."""

from __future__ import annotations

from pathlib import Path

import typer

from finscale.cli.options import JSON, RUN_DIR
from finscale.cli.output import print_json, print_table
from finscale.cli.run import load_run_study
from finscale.pipeline.status import experiment_states


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(status)


def status(run_dir: Path = RUN_DIR, as_json: bool = JSON) -> None:
    """Show how far every experiment of a run is."""
    states = experiment_states(load_run_study(run_dir), run_dir)
    if as_json:
        print_json([one.as_dict() for one in states])
        return
    rows = [
        (
            one.name,
            one.state,
            f"{one.n_trials_done}/{one.n_trials}",
            str(one.n_finals),
            "" if one.best_validation_skill is None else f"{one.best_validation_skill:+.3f}",
            one.best_architecture or "",
            one.note,
        )
        for one in states
    ]
    header = ("experiment", "state", "trials", "seeds", "best skill", "architecture", "note")
    print_table(header, rows, n_left=2)

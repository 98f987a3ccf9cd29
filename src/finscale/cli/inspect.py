"""Commands that look at what is there: status."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import typer

from finscale.cli.loading import load_run_study
from finscale.cli.options import JSON, RUN_DIR
from finscale.cli.output import print_json
from finscale.cli.status_text import status_text
from finscale.errors import StudyError
from finscale.experiments import plan_experiments
from finscale.pipeline.status import RunStatus, run_status
from finscale.pipeline.today import look_at_today, seen_state
from finscale.rundir import RunDirectory

WATCH = typer.Option(
    False, "--watch", help="Look again every few SECONDS until everything is finished, or Ctrl-C."
)
SECONDS = typer.Argument(5.0, metavar="[SECONDS]", min=0.1, help="With --watch.")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(status)


def status(
    run_dir: Path = RUN_DIR,
    seconds: float = SECONDS,
    watch: bool = WATCH,
    as_json: bool = JSON,
) -> None:
    """Show how far a run is: experiments, time left, workers, machine, errors, what is stale.

    It reads files alone, and may be asked while the run goes on or after it.
    """
    if watch and as_json:
        raise StudyError("--watch --json: a watch has no end, so no one document; ask for one")
    if watch:
        # Nothing is left undone by whoever stops looking.
        with contextlib.suppress(KeyboardInterrupt):
            _watch(run_dir, seconds)
        return
    found = next(_looks(run_dir))
    if as_json:
        print_json(found.as_dict())
    else:
        sys.stdout.write(_text(found, run_dir))


def _watch(run_dir: Path, every_s: float) -> None:
    """Show the status again and again: in place in a terminal, one below the other in a pipe."""
    in_place = sys.stdout.isatty()
    for number, found in enumerate(_looks(run_dir)):
        text = f"{found.study}, {found.at}\n\n{_text(found, run_dir)}"
        sys.stdout.write(_frame(text) if in_place else "\n" * (number > 0) + text)
        sys.stdout.flush()
        if found.is_finished:
            return
        time.sleep(every_s)


def _looks(run_dir: Path) -> Iterator[RunStatus]:
    """Look at a run whenever asked to; what is costly to look up is looked up when it changes."""
    directory, today, state = RunDirectory(run_dir), None, None
    while True:
        study = load_run_study(run_dir)
        now = seen_state(study)
        if today is None or now != state:
            today, state = look_at_today(study, directory, plan_experiments(study)), now
        yield run_status(study, run_dir, today)


def _text(found: RunStatus, run_dir: Path) -> str:
    return status_text(found, RunDirectory(run_dir), load_run_study(run_dir).storage)


def _frame(text: str) -> str:
    """Return what draws a text over the one before.

    The terminal is put into no mode that would have to be ended: it is in order whenever, and
    however, the watch ends.
    """
    rows = text.splitlines()
    room = shutil.get_terminal_size().lines - 1
    if len(rows) > room:
        rows = [*rows[: room - 1], f"… {len(rows) - room + 1} more lines; make the window taller"]
    return "\x1b[H" + "".join(f"{row}\x1b[K\n" for row in rows) + "\x1b[J"

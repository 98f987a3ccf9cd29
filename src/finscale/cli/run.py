"""Commands that work in a run directory: run, its single stages, stop."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import typer

from finscale.cli.live import watching
from finscale.cli.options import JSON, RUN_DIR, SET, STUDY
from finscale.cli.output import print_json, print_table
from finscale.errors import ExperimentsFailedError, RunDirectoryError, StopRequestedError
from finscale.files import exclusive_lock, write_text_atomic
from finscale.pipeline.run import RunOutcome, run_study, work_on
from finscale.pipeline.work import Stage
from finscale.report.summary import summary_table
from finscale.rundir import RunDirectory
from finscale.study import Study
from finscale.study_file import load_study

OUT = typer.Option(None, help="Run directory.", show_default="runs/NAME")
ONLY = typer.Option("*", help="Run only experiments whose name matches this pattern.")
FROM = typer.Option(1, "--from", help="Start from the n-th experiment.")
ORDER = typer.Option(
    [], "--order", metavar="PATTERN", help="Run matching experiments first; may be repeated."
)
STAGE = typer.Option(
    ["search", "train", "evaluate"], "--stage", help="search, train or evaluate; may be repeated."
)
WORKERS = typer.Option(1, min=1, help="Processes that share the work.")
PLAIN = typer.Option(False, help="Plain lines of progress even in a terminal.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (run, worker, stop, search, train, evaluate, fit, report):
        app.command()(command)


def run(
    study: Path = STUDY,
    out: Path | None = OUT,
    overrides: list[str] = SET,
    only: str = ONLY,
    start_from: int = FROM,
    order: list[str] = ORDER,
    workers: int = WORKERS,
    plain: bool = PLAIN,
    as_json: bool = JSON,
) -> None:
    """Run a study from data to report, or go on where it was left."""
    loaded = load_study(study, overrides)
    out = out or Path("runs") / loaded.name
    with watching(plain=plain) as progress, _resumable(out):
        outcome = run_study(
            loaded,
            out,
            only=only,
            start_from=start_from,
            order=order,
            n_workers=workers,
            progress=progress,
        )
    _conclude(outcome, as_json=as_json)


def worker(
    run_dir: Path = RUN_DIR,
    only: str = ONLY,
    start_from: int = FROM,
    stages: list[str] = STAGE,
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: one per core."),
    memory_share: float = typer.Option(1.0, min=0.0, max=1.0, help="Share of the free memory."),
    leader: str | None = typer.Option(None, hidden=True),
) -> None:
    """Work on a run that finscale run leads; may be started on other machines too."""
    directory = RunDirectory(run_dir)
    with watching(plain=True) as progress:
        failures = work_on(
            directory,
            stages=cast("list[Stage]", stages),
            only=only,
            start_from=start_from,
            n_threads=threads,
            memory_share=memory_share,
            leader=leader,
            progress=progress,
        )
    if failures:
        raise ExperimentsFailedError(f"{len(failures)} experiments failed")


def stop(run_dir: Path = RUN_DIR) -> None:
    """Ask a run to stop: it finishes its epoch, keeps everything and leaves."""
    directory = RunDirectory(run_dir)
    directory.require_run()
    try:
        with exclusive_lock(directory.lock):
            typer.echo(f"nothing is running in {run_dir}", err=True)
    except RunDirectoryError:
        write_text_atomic(directory.stop_file, "stop\n")
        typer.echo(f"asked {run_dir} to stop after its current epoch", err=True)


def search(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Continue the searches of a run."""
    _run_stages(run_dir, ("search",), plain=plain, as_json=as_json)


def train(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Train the best recipes of a run with several seeds."""
    _run_stages(run_dir, ("train",), plain=plain, as_json=as_json)


def evaluate(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Score the final models and the baselines of a run."""
    _run_stages(run_dir, ("evaluate",), plain=plain, as_json=as_json)


def fit(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Fit the scaling laws to a run's records."""
    _run_stages(run_dir, ("fit",), plain=plain, as_json=as_json)


def report(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Fit the scaling laws, and write summary and report anew."""
    _run_stages(run_dir, ("fit", "report"), plain=plain, as_json=as_json)


def _run_stages(run_dir: Path, stages: Sequence[Stage], *, plain: bool, as_json: bool) -> None:
    study = load_run_study(run_dir)
    with watching(plain=plain) as progress, _resumable(run_dir):
        outcome = run_study(study, run_dir, stages=stages, progress=progress)
    _conclude(outcome, as_json=as_json)


@contextlib.contextmanager
def _resumable(run_dir: Path) -> Iterator[None]:
    """Tell a user who stops how to go on."""
    try:
        yield
    except (StopRequestedError, KeyboardInterrupt) as error:
        what = str(error) or "interrupted"
        study = RunDirectory(run_dir).study
        if not study.exists():
            raise StopRequestedError(f"{what}; nothing has been written yet") from error
        command = shlex.join(["finscale", "run", str(study), "--out", str(run_dir)])
        raise StopRequestedError(
            f"{what}; everything finished is kept; go on with: {command}"
        ) from error


def load_run_study(run_dir: Path) -> Study:
    """Return the study of a run directory.

    Raises
    ------
    RunDirectoryError
        If it is not a run directory.
    """
    directory = RunDirectory(run_dir)
    directory.require_run()
    return load_study(directory.study)


def _conclude(outcome: RunOutcome, *, as_json: bool) -> None:
    """Print what came out, and fail if an experiment did."""
    if as_json:
        print_json(outcome.summary or {"failures": outcome.failures})
    elif outcome.summary is not None:
        header, rows = summary_table(outcome.summary)
        print_table(header, rows, n_left=2)
        for cell, verdict in outcome.summary["verdicts"].items():
            typer.echo(f"\n{cell}: {verdict['headline']}")
            planted = outcome.summary["truth"].get(cell, {}).get("planted")
            if planted is not None:
                typer.echo(planted["sentence"])
        for text in outcome.summary["alarms"]:
            typer.echo(f"\nWARNING: {text}")
        typer.echo(f"\nreport: {outcome.directory.report}")
    if outcome.failures:
        names = ", ".join(outcome.failures)
        raise ExperimentsFailedError(
            f"{len(outcome.failures)} experiments failed ({names}); the reasons are in "
            f"{outcome.directory.log}; run again to retry them"
        )

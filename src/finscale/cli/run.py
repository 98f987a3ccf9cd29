"""Commands that work in a run directory: run, its single stages, stop."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import typer

from finscale.cli.live import watching
from finscale.cli.loading import load_run_study
from finscale.cli.options import JSON, RUN_DIR, SET, STUDY
from finscale.cli.output import print_json, print_table
from finscale.cli.supplementary import (
    ARCHITECTURE,
    EXPERIMENT,
    RECIPE,
    SCORE_TEST,
    SEEDS,
    add_supplementary,
    print_supplementary,
)
from finscale.cli.terminal import while_somebody_listens
from finscale.errors import (
    ExperimentsFailedError,
    RunDirectoryError,
    StopRequestedError,
    StudyError,
)
from finscale.experiments import plan_experiments
from finscale.files import exclusive_lock, write_text_atomic
from finscale.launch.choose import choose_launcher
from finscale.machine.guard import STOP, STOP_NOW, StopSignal
from finscale.pipeline.changes import describe_stale
from finscale.pipeline.matrix import ExperimentRow, workers_at_work
from finscale.pipeline.queue import prioritise, read_queue, write_queue
from finscale.pipeline.run import MAKE_RESULTS, STAGES, RunOutcome, run_study, work_on
from finscale.pipeline.work import Stage
from finscale.report.summary import summary_table
from finscale.rundir import RunDirectory
from finscale.study import Study
from finscale.study_file import load_study
from finscale.units import duration_text

OUT = typer.Option(None, help="Run directory.", show_default="runs/NAME")
ONLY = typer.Option("*", help="Run only experiments whose name matches this pattern.")
FROM = typer.Option(1, "--from", help="Start from the n-th experiment.")
ORDER = typer.Option(
    [], "--order", metavar="PATTERN", help="Run matching experiments first; may be repeated."
)
STAGE = typer.Option(
    ["search", "train", "evaluate", "supplementary"],
    "--stage",
    help="search, train, evaluate or supplementary; may be repeated.",
)
WORKERS = typer.Option(1, min=1, help="Processes that share the work.")
INCLUDE_STALE = typer.Option(
    False, help="Take the newest stale records where an experiment has no current ones."
)
LAUNCHER = typer.Option("local", metavar="NAME", help="What starts workers: local, ray or slurm.")
LAUNCHER_OPTION = typer.Option(
    [],
    "--launcher-option",
    metavar="KEY=VALUE",
    help="ray: address, n_cpus, n_gpus; slurm: timeout_min, cpus_per_task, gpus_per_node, mem_gb, "
    "slurm_partition, …; may be repeated.",
)
PLAIN = typer.Option(False, help="Plain lines of progress even in a terminal.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (run, worker, stop, order, search, train, evaluate, fit, report):
        app.command()(command)


def run(
    study: Path = STUDY,
    out: Path | None = OUT,
    overrides: list[str] = SET,
    only: str = ONLY,
    start_from: int = FROM,
    order: list[str] = ORDER,
    workers: int = WORKERS,
    launcher: str = LAUNCHER,
    launcher_options: list[str] = LAUNCHER_OPTION,
    plain: bool = PLAIN,
    as_json: bool = JSON,
) -> None:
    """Run a study from data to report, or go on where it was left."""
    choice = choose_launcher(launcher, launcher_options)
    loaded = load_study(study, overrides)
    _run_and_conclude(
        loaded,
        out or Path("runs") / loaded.name,
        plain=plain,
        as_json=as_json,
        only=only,
        start_from=start_from,
        order=order,
        n_workers=workers,
        launcher=None if launcher == "local" else choice,
    )


def worker(
    run_dir: Path = RUN_DIR,
    only: str = ONLY,
    start_from: int = FROM,
    stages: list[str] = STAGE,
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: one per core."),
    memory_share: float = typer.Option(1.0, min=1e-4, max=1.0, help="Share of the free memory."),
    leader: str | None = typer.Option(None, hidden=True),
) -> None:
    """Work on a run that finscale run leads; may be started on other machines too."""
    directory = RunDirectory(run_dir)
    for stage in stages:
        if stage not in STAGES:
            raise StudyError(f"--stage {stage}: no such stage; choose from {', '.join(STAGES)}")
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
        names = ", ".join(failures)
        raise ExperimentsFailedError(f"failed: {names}")


def stop(
    run_dir: Path = RUN_DIR,
    now: bool = typer.Option(
        False, "--now", help="Leave after the current optimiser step instead, with a checkpoint."
    ),
) -> None:
    """Ask a run and all its workers to stop: they finish their epoch, keep everything and leave."""
    directory = RunDirectory(run_dir)
    directory.require_run()
    if not _is_led(directory) and not workers_at_work(directory.workers):
        typer.echo(f"nothing is running in {run_dir}", err=True)
        return
    write_text_atomic(directory.stop_file, STOP_NOW if now else STOP)
    part = "optimiser step" if now else "epoch"
    typer.echo(f"asked {run_dir} to stop after its current {part}", err=True)


def order(
    run_dir: Path = RUN_DIR,
    patterns: list[str] = typer.Argument(help="Of the experiments to run first, in order."),
) -> None:
    """Change the order of a run's experiments, also while it is running."""
    directory = RunDirectory(run_dir)
    names = [one.name for one in plan_experiments(load_run_study(run_dir))]
    # What was put in order before stays so behind what matches now.
    names = prioritise(read_queue(directory.queue, names), patterns)
    write_queue(directory.queue, names)
    typer.echo("\n".join(names))


def search(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Continue the searches of a run."""
    _run_stages(run_dir, ("search",), plain=plain, as_json=as_json)


def train(
    run_dir: Path = RUN_DIR,
    architecture: str | None = ARCHITECTURE,
    experiment: str | None = EXPERIMENT,
    recipe: str = RECIPE,
    seeds: int = SEEDS,
    score_test: bool = SCORE_TEST,
    plain: bool = PLAIN,
    as_json: bool = JSON,
) -> None:
    """Train the best recipes of a run with several seeds, or an architecture of one's own."""
    supplement = add_supplementary(
        load_run_study(run_dir),
        architecture,
        experiment=experiment,
        recipe=recipe,
        seeds=seeds,
        score_test=score_test,
    )
    if supplement is None:
        _run_stages(run_dir, ("train",), plain=plain, as_json=as_json)
        return
    with watching(plain=plain) as progress, _resumable(run_dir):
        outcome = run_study(
            supplement.study,
            run_dir,
            stages=("supplementary",),
            only=supplement.only,
            progress=progress,
        )
    print_supplementary(supplement, outcome.records, as_json=as_json)
    _require_success(outcome)


def evaluate(run_dir: Path = RUN_DIR, plain: bool = PLAIN, as_json: bool = JSON) -> None:
    """Score the final models and the baselines of a run."""
    _run_stages(run_dir, ("evaluate",), plain=plain, as_json=as_json)


def fit(
    run_dir: Path = RUN_DIR,
    include_stale: bool = INCLUDE_STALE,
    plain: bool = PLAIN,
    as_json: bool = JSON,
) -> None:
    """Fit the scaling laws to a run's records."""
    _run_stages(run_dir, ("fit",), include_stale=include_stale, plain=plain, as_json=as_json)


def report(
    run_dir: Path = RUN_DIR,
    include_stale: bool = INCLUDE_STALE,
    plain: bool = PLAIN,
    as_json: bool = JSON,
) -> None:
    """Fit the scaling laws, and write summary and report anew."""
    _run_stages(
        run_dir, ("fit", "report"), include_stale=include_stale, plain=plain, as_json=as_json
    )


def _run_stages(
    run_dir: Path,
    stages: Sequence[Stage],
    *,
    include_stale: bool = False,
    plain: bool,
    as_json: bool,
) -> None:
    study = load_run_study(run_dir)
    _run_and_conclude(
        study,
        run_dir,
        plain=plain,
        as_json=as_json,
        stages=stages,
        include_stale=include_stale,
    )


def _run_and_conclude(
    study: Study, out: Path, *, plain: bool, as_json: bool, **options: Any
) -> None:
    """Run, watched; print how far every experiment is, also if the user stops the run."""
    stages = options.get("stages", STAGES)
    stop, stopped = StopSignal(RunDirectory(out).stop_file), list[ExperimentRow]()
    # Fits and reports have no epochs after which they could be left.
    key_asks = stop if MAKE_RESULTS & set(stages) else None
    try:
        with watching(plain=plain, stop=key_asks) as progress, _resumable(out):
            outcome = run_study(
                study, out, progress=progress, stop=stop, on_stopped=stopped.extend, **options
            )
    except StopRequestedError:
        with while_somebody_listens():
            if stopped:
                _print_rows(stopped, as_json=as_json)
        raise
    with while_somebody_listens():
        # Where nothing is searched, results are of interest, not how far the search is.
        _print_outcome(outcome, as_json=as_json, with_results="search" not in stages)
    _require_success(outcome)


def _is_led(directory: RunDirectory) -> bool:
    try:
        with exclusive_lock(directory.lock):
            return False
    except RunDirectoryError:
        return True


@contextlib.contextmanager
def _resumable(run_dir: Path) -> Iterator[None]:
    """Tell a user who stops how to go on."""
    try:
        yield
    except (StopRequestedError, KeyboardInterrupt) as error:
        what = str(error) or "interrupted"
        kind = type(error) if isinstance(error, StopRequestedError) else StopRequestedError
        study = RunDirectory(run_dir).study
        if not study.exists():
            raise kind(f"{what}; nothing has been written yet") from error
        command = shlex.join(["finscale", "run", str(study), "--out", str(run_dir)])
        raise kind(f"{what}; everything finished is kept; go on with: {command}") from error


def _print_outcome(outcome: RunOutcome, *, as_json: bool, with_results: bool) -> None:
    """Print what came out."""
    if as_json:
        rows = {"experiments": [one.as_dict() for one in outcome.rows]}
        print_json(rows | (outcome.summary or {"failures": outcome.failures}))
    else:
        if with_results and outcome.summary is not None:
            header, results = summary_table(outcome.summary)
            print_table(header, results, n_left=2)
        else:
            _print_rows(outcome.rows, as_json=False)
        if outcome.summary is not None:
            for line in describe_stale(outcome.summary["included_stale"]):
                typer.echo(f"\nCAUTION: stale records are included: {line}")
            for cell, verdict in outcome.summary["verdicts"].items():
                typer.echo(f"\n{cell}: {verdict['headline']}")
                planted = outcome.summary["truth"].get(cell, {}).get("planted")
                if planted is not None:
                    typer.echo(planted["sentence"])
            for text in outcome.summary["alarms"]:
                typer.echo(f"\nWARNING: {text}")
            typer.echo(f"\nreport: {outcome.directory.report}")


def _print_rows(rows: Sequence[ExperimentRow], *, as_json: bool) -> None:
    if as_json:
        print_json({"experiments": [one.as_dict() for one in rows], "stopped": True})
        return
    cells = [
        (
            one.name,
            one.state,
            f"{one.n_trials_done}/{one.n_trials}",
            "" if (skill := one.best_validation_skill) is None else f"{skill:+.3f}",
            duration_text(one.duration_s) if one.duration_s else "",
        )
        for one in rows
    ]
    print_table(("experiment", "state", "trials", "best skill", "duration"), cells, n_left=2)


def _require_success(outcome: RunOutcome) -> None:
    if outcome.failures:
        names, n = ", ".join(outcome.failures), len(outcome.failures)
        raise ExperimentsFailedError(
            f"{n} experiment{'s' * (n > 1)} failed ({names}); finscale status says why, and "
            f"{outcome.directory.log.parent} more; put it right and run again"
        )

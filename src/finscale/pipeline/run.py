"""A run: the stages of a study in order, continued where they were left."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from finscale.dataset.sources import keep_pins, pin_versions
from finscale.errors import DataError, FinscaleError, RunDirectoryError, StudyError
from finscale.experiments import Experiment, code_hash, plan_experiments
from finscale.files import (
    exclusive_lock,
    log_to,
    remove_leftovers,
    write_json_atomic,
)
from finscale.launch.choose import LauncherChoice, LocalChoice
from finscale.machine.device import choose_device, use_threads
from finscale.machine.environment import describe_environment
from finscale.machine.guard import StopSignal
from finscale.pipeline.baselines import score_baselines
from finscale.pipeline.book import RecordBook
from finscale.pipeline.changes import describe_stale
from finscale.pipeline.crew import Crew, gather_crew
from finscale.pipeline.failures import failure_reasons
from finscale.pipeline.inputs import write_inputs
from finscale.pipeline.matrix import ExperimentRow, experiment_rows, telling_rows
from finscale.pipeline.monitor import monitored, require_fit_machine
from finscale.pipeline.oracle import score_oracles
from finscale.pipeline.prepare import PreparedStudy, prepare
from finscale.pipeline.queue import forget_names, prioritise, write_queue
from finscale.pipeline.results import fit_laws, write_report
from finscale.pipeline.selection import select
from finscale.pipeline.work import Stage, Worker
from finscale.pipeline.worker_status import WorkerStatus
from finscale.progress import Progress, Tee, TextProgress
from finscale.records import Record
from finscale.rundir import RunDirectory
from finscale.search.processes import is_gone, this_worker
from finscale.search.storage import open_storage
from finscale.study import Study
from finscale.study_file import load_study

MAKE_RESULTS = {"search", "train", "evaluate", "supplementary"}
STAGES: tuple[Stage, ...] = ("search", "train", "evaluate", "supplementary", "fit", "report")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to.

    Attributes
    ----------
    summary
        The content of ``summary.json``; None if the report stage was not asked for.
    failures
        Experiment to the reason it failed.
    rows
        A row for every experiment of the study.
    records
        Current records, in the order of the ledger.
    """

    directory: RunDirectory
    summary: dict[str, Any] | None
    failures: dict[str, str]
    rows: list[ExperimentRow]
    records: tuple[Record, ...]


def run_study(
    study: Study,
    out: Path | str,
    *,
    stages: Sequence[Stage] = STAGES,
    only: str = "*",
    start_from: int = 1,
    order: Sequence[str] = (),
    n_workers: int = 1,
    launcher: LauncherChoice | None = None,
    progress: Progress | None = None,
    include_stale: bool = False,
    stop: StopSignal | None = None,
    on_stopped: Callable[[list[ExperimentRow]], None] | None = None,
) -> RunOutcome:
    """Run a study, or go on with it: what is finished is kept and not run twice.

    Parameters
    ----------
    out
        The run directory; made if it is not there.
    stages
        Which stages to run, in their fixed order.
    only
        Experiments to run, as a file name pattern such as ``"20K_h1_*"``.
    start_from
        Number of the first experiment to run, from 1, in the order of the matrix.
    order
        Patterns of the experiments to run first; others follow in the order of the matrix.
    n_workers
        Processes that share the work.
    include_stale
        Fit and report the newest stale records of experiments that have no current ones.
    launcher
        What starts them; None: as processes of this machine.
    stop
        What a key that is pressed asks; made here if there is none.
    on_stopped
        Takes the rows of the experiments, as they are when the user stops the run.

    Raises
    ------
    FinscaleError
        If the study, its data or the directory is unusable; nothing is written then.
    StopRequestedError
        If the user asked to stop; everything finished is kept.
    """
    progress = Tee(TextProgress(log.info), progress or Progress())
    directory = RunDirectory(Path(out))
    directory.require_usable()
    _require_same_study(study, directory)
    study = _pin(study, directory, progress)
    prepared = prepare(study)
    chosen = _choose(prepared.experiments, only, start_from)
    failures: dict[str, str] = {}
    if MAKE_RESULTS & set(stages):
        names = [one.name for one in prepared.experiments]
        queue = prioritise(names, order) if order else None
        device = choose_device(study.machine)
        require_fit_machine(
            prepared, chosen, directory, device, n_workers=n_workers, progress=progress
        )
        use_threads(study.machine)
        crew = None
        if n_workers > 1 or launcher is not None:
            choice = launcher or LocalChoice()
            options = ["--only", only, "--from", str(start_from)]
            options += [part for one in stages for part in ("--stage", one)]
            crew = partial(
                gather_crew(study, directory, choice, n_workers, progress), options=options
            )
        with exclusive_lock(directory.lock), log_to(directory.log):
            remove_leftovers(directory.root)
            # Read before anything is written: a ledger of another version is refused untouched.
            book = RecordBook(directory, prepared.identities)
            if queue is not None or not directory.queue.exists():
                write_queue(directory.queue, queue or names)
            else:
                forget_names(directory.queue, _earlier_names(directory) - set(names))
            write_inputs(prepared, directory, book, progress)
            write_json_atomic(directory.environment, describe_environment(device, code_hash()))
            stop = stop or StopSignal(directory.stop_file)
            with (
                stop.listening(say=progress.message),
                telling_rows(on_stopped, prepared, directory, book),
            ):
                failures = _make_results(
                    prepared,
                    directory,
                    book,
                    progress,
                    stop,
                    stages=stages,
                    chosen=chosen,
                    crew=crew,
                )
    # A run made elsewhere, or still under way, can be fitted and reported here.
    book = RecordBook(directory, prepared.identities)
    summary = _fit_and_report(
        prepared, directory, book, progress, stages=stages, include_stale=include_stale
    )
    rows = experiment_rows(prepared, directory, book)
    return RunOutcome(directory, summary, failures, rows, tuple(book.current))


def _make_results(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    progress: Progress,
    stop: StopSignal,
    *,
    stages: Sequence[Stage],
    chosen: tuple[Experiment, ...],
    crew: Callable[..., Crew] | None,
) -> dict[str, str]:
    """Search, train and evaluate here or with a crew; return what failed."""
    if "evaluate" in stages:
        with WorkerStatus(directory.workers, this_worker()) as status:
            score_baselines(prepared, directory, book, Tee(progress, status), stop)
        score_oracles(prepared, directory, book, progress)
    if crew is None:
        make_worker = partial(Worker, book=book, stages=stages, chosen=chosen, should_stop=stop)
        return _work(make_worker, prepared, directory, stop, progress)
    # Made here, or the workers would all make its tables at once.
    with open_storage(prepared.study.storage or directory.storage):
        pass
    crew(prepared=prepared, chosen=chosen, directory=directory, book=book, progress=progress).work(
        stop.state
    )
    return failure_reasons(directory, chosen)


def _fit_and_report(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    progress: Progress,
    *,
    stages: Sequence[Stage],
    include_stale: bool,
) -> dict[str, Any] | None:
    """Run the last stages as far as they are asked for; return the summary if it was written."""
    if not {"fit", "report"} & set(stages):
        return None
    if "report" in stages and not directory.environment.exists():
        command = shlex.join(["finscale", "evaluate", str(directory.root)])
        raise RunDirectoryError(f"{directory.environment}: no such file; {command} writes it")
    if "report" in stages and not directory.data.exists():
        write_inputs(prepared, directory, book, progress)
    basis = prepared.basis(prepared.describe_data()) if book.stale() else {}
    selection = select(directory, book, basis, include_stale=include_stale)
    for line in describe_stale(selection.included_stale):
        progress.message(f"CAUTION: stale records are included: {line}")
    if "fit" in stages:
        fit_laws(prepared, directory, selection)
    return write_report(prepared, directory, selection) if "report" in stages else None


def work_on(
    directory: RunDirectory,
    *,
    stages: Sequence[Stage],
    only: str,
    start_from: int,
    n_threads: int,
    memory_share: float,
    leader: str | None,
    progress: Progress,
) -> dict[str, str]:
    """Work on a run that another process leads; return what failed.

    Parameters
    ----------
    stages, only, start_from
        As in :func:`run_study`.
    n_threads
        CPU threads; 0: one per core.
    memory_share
        Share of the free memory to plan with.
    leader
        The process that leads, as `search.processes.this_worker` names it; where it is gone, stop.

    Raises
    ------
    FinscaleError
        If the run cannot be worked on from here.
    StopRequestedError
        If the run is stopped, or its leader is gone.
    """
    directory.require_run()
    study = load_study(directory.study)
    machine = study.machine.model_copy(update={"n_threads": n_threads})
    study = study.model_copy(update={"machine": machine})
    prepared = prepare(study)
    use_threads(machine)
    stop = StopSignal(directory.stop_file)
    with stop.listening(keep_stop_file=True, say=progress.message):
        return _work(
            partial(
                Worker,
                book=RecordBook(directory, prepared.identities),
                stages=stages,
                chosen=_choose(prepared.experiments, only, start_from),
                should_stop=lambda: stop() or (leader is not None and is_gone(leader)),
                memory_share=memory_share,
            ),
            prepared,
            directory,
            stop,
            progress,
        )


def _work(
    make_worker: Callable[..., Worker],
    prepared: PreparedStudy,
    directory: RunDirectory,
    stop: StopSignal,
    progress: Progress,
) -> dict[str, str]:
    """Work in this process until nothing is left to do; return what failed."""
    machine = prepared.study.machine
    device, name = choose_device(machine), this_worker()
    if not directory.environment.exists():  # nobody leads
        write_json_atomic(directory.environment, describe_environment(device, code_hash()))
    with (
        open_storage(prepared.study.storage or directory.storage, should_stop=stop) as storage,
        monitored(machine, directory, device, worker=name, stop=stop, progress=progress) as monitor,
        WorkerStatus(directory.workers, name) as status,
    ):
        worker = make_worker(
            prepared=prepared,
            directory=directory,
            progress=Tee(progress, status),
            storage=storage,
            device=device,
            name=name,
            control=monitor.control,
            sampler=monitor.sampler,
        )
        worker.work()
    return worker.failures


def _require_same_study(study: Study, directory: RunDirectory) -> None:
    """Refuse to bury one study's run under another's."""
    if directory.study.exists():
        known = load_study(directory.study).name
        if known != study.name:
            raise RunDirectoryError(
                f"{directory.root}: holds a run of study {known!r}, and this one is "
                f"{study.name!r}; choose another --out"
            )


def _earlier_names(directory: RunDirectory) -> set[str]:
    """Return the names of the experiments that the run had when it was last started."""
    with contextlib.suppress(FinscaleError):  # there is no run yet, or its matrix is none any more
        return {one.name for one in plan_experiments(load_study(directory.study))}
    return set()


def _pin(study: Study, directory: RunDirectory, progress: Progress) -> Study:
    """Return the study with the data versions that its run began with, or the newest at its start.

    A version that the study file names itself is left as it is.
    """
    if not directory.study.exists():
        return pin_versions(study)
    pinned = pin_versions(keep_pins(study, load_study(directory.study)))
    try:
        newer = pin_versions(study) != pinned
    except DataError:
        # A newer version that is damaged is none of this run's business.
        newer = False
    if newer:
        progress.message(
            "the catalogue has newer data than this run began with; it goes on with its own "
            "(name versions in the study file, or choose another --out, for the new ones)"
        )
    return pinned


def _choose(
    experiments: tuple[Experiment, ...], only: str, start_from: int
) -> tuple[Experiment, ...]:
    if not 1 <= start_from <= len(experiments):
        raise StudyError(f"--from {start_from}: the study has experiments 1 to {len(experiments)}")
    chosen = tuple(
        one for one in experiments[start_from - 1 :] if fnmatch.fnmatchcase(one.name, only)
    )
    if not chosen:
        names = ", ".join(one.name for one in experiments)
        raise StudyError(f"--only {only}: matches no experiment; there are {names}")
    return chosen

"""Several workers on one matrix: start them, pass on what they finish, replace those that die."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from finscale.errors import OverheatedError, RunDirectoryError, StopRequestedError
from finscale.experiments import Experiment
from finscale.files import utc_now, write_text_atomic
from finscale.launch.choose import LauncherChoice, require_shared_storage
from finscale.launch.launcher import Launcher
from finscale.machine.device import n_cores
from finscale.machine.guard import STOP, STOP_NOW
from finscale.pipeline.book import RecordBook
from finscale.pipeline.failures import read_failures
from finscale.pipeline.matrix import matrix_state
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.queue import Queue
from finscale.progress import Progress
from finscale.rundir import RunDirectory
from finscale.search.processes import this_worker
from finscale.study import Study

# Worker exit codes that are no accident: done, bad input, experiments failed, stopped on request
# or for heat.
_STOPPED = 130
_OVERHEATED = OverheatedError.exit_code
_ORDERLY = {0, 2, 3, _OVERHEATED, _STOPPED}
# A worker ends so only when nothing is left to do.
_NOTHING_LEFT = {0, 3}
_POLL_S = 0.5
_TELL_EVERY_S = 1.0
# A worker that keeps dying is not started for ever.
_MAX_RESTARTS = 3


@dataclass
class Crew:
    """Workers that share a run directory, and what watching them takes.

    Attributes
    ----------
    replaces_stopped
        Whether a worker that was stopped on its own is replaced, as where jobs have time limits.
    memory_share
        Share of the free memory that each worker may plan with.
    options
        Options of ``finscale worker`` beside the run directory.
    """

    prepared: PreparedStudy
    chosen: Sequence[Experiment]
    directory: RunDirectory
    book: RecordBook
    progress: Progress
    launcher: Launcher
    n_workers: int
    n_threads: int
    memory_share: float
    replaces_stopped: bool
    options: Sequence[str]
    _n_restarts: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        names = [one.name for one in self.prepared.experiments]
        self._queue = Queue(self.directory.queue, names, self.progress.message)
        self._since = utc_now()
        # Failures of earlier runs are not news until they happen again.
        self._earlier = read_failures(self.directory, self.chosen)
        self._told_failures: set[tuple[str, str]] = set()
        self._told_at = 0.0

    def work(self, stop_state: Callable[[], str]) -> None:
        """Run the workers until they are done.

        Parameters
        ----------
        stop_state
            ``"go"``, ``"finish_epoch"`` or ``"stop"``; passed on to the workers.

        Raises
        ------
        StopRequestedError
            If the user asked to stop, or every worker was stopped on its own; they have left.
        OverheatedError
            If workers left because their machine got too hot, before everything was done.
        RunDirectoryError
            If workers keep dying.
        """
        try:
            active = {self._start(number) for number in range(self.n_workers)}
            told = "go"
            while active:
                time.sleep(_POLL_S)
                self._pass_on()
                state = stop_state()
                if state not in ("go", told):
                    told = state
                    text = STOP_NOW if state == "stop" else STOP
                    write_text_atomic(self.directory.stop_file, text)
                active = self._still_active(active, stopping=told != "go")
            codes = self.launcher.exit_codes()
        finally:
            self.launcher.close()
        self._pass_on()
        if told != "go":
            raise StopRequestedError("stopped on request")
        if _NOTHING_LEFT & set(codes):
            return
        if _OVERHEATED in codes:
            raise OverheatedError(self._last_words(codes.index(_OVERHEATED)))
        raise StopRequestedError(f"every worker was stopped; see {self.directory.log.parent}")

    def _start(self, number: int) -> int:
        # From the root: a name that begins with a dash would be an option.
        root = str(self.directory.root.absolute())
        command = [
            *(sys.executable, "-m", "finscale.cli.main", "worker", root),
            *("--threads", str(self.n_threads), "--memory-share", f"{self.memory_share:.4f}"),
            *("--leader", this_worker()),
            *self.options,
        ]
        return self.launcher.start(command, self._log(number))

    def _log(self, number: int) -> Path:
        return self.directory.log.parent / f"worker_{number}.log"

    def _last_words(self, number: int) -> str:
        """Return the message that a worker left with."""
        lines = self._log(number).read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.removeprefix("finscale: ") for line in lines if line.startswith("finscale: ")]
        return f"worker {number} {said[-1]}" if said else f"worker {number} stopped for heat"

    def _still_active(self, active: set[int], *, stopping: bool) -> set[int]:
        codes = self.launcher.exit_codes()
        running = {number for number in active if codes[number] is None}
        for number in sorted(active - running):
            code = codes[number]
            if code == 2:
                raise RunDirectoryError(f"worker {number} refused to work; see {self._log(number)}")
            if code == _STOPPED and self.replaces_stopped and not stopping:
                self.progress.message(f"worker {number} ran out of time; another is started")
                running.add(self._start(len(codes)))
                codes = self.launcher.exit_codes()
                continue
            if code in _ORDERLY or stopping:
                continue
            self._n_restarts += 1
            self.progress.message(
                f"worker {number} died ({describe_exit(code)}); another is started"
            )
            if self._n_restarts > _MAX_RESTARTS * self.n_workers:
                raise RunDirectoryError(
                    f"workers died {self._n_restarts} times; see {self.directory.log.parent}, "
                    "and run again to go on"
                )
            running.add(self._start(len(codes)))
            codes = self.launcher.exit_codes()
        return running

    def _pass_on(self) -> None:
        """Tell what the workers have finished, what failed, and how far they are."""
        for record in self.book.sync():
            self.progress.run_finished(record)
        for name, failure in read_failures(self.directory, self.chosen).items():
            # Every worker that tries fails alike; the reason is worth one line.
            told = (name, failure["reason"])
            if failure != self._earlier.get(name) and told not in self._told_failures:
                self._told_failures.add(told)
                self.progress.experiment_failed(*told)
        if time.monotonic() - self._told_at < _TELL_EVERY_S:
            return
        self._told_at = time.monotonic()
        self._queue.order()  # its faults are to be said where somebody reads them
        state = matrix_state(
            self.prepared,
            self.directory,
            self.book,
            self.chosen,
            n_workers=self.n_workers,
            since=self._since,
        )
        self.progress.matrix_moved(state)


def gather_crew(
    study: Study,
    directory: RunDirectory,
    choice: LauncherChoice,
    n_workers: int,
    progress: Progress,
) -> Callable[..., Crew]:
    """Return what makes the crew, once it is known that its workers can be started.

    Raises
    ------
    LaunchError
        If they cannot, or could not share the storage.
    """
    launcher = choice.make(directory.jobs)
    doubt = require_shared_storage(choice, launcher, study.storage, n_workers)
    if doubt:
        progress.message(f"warning: {doubt}")
    return partial(
        Crew,
        launcher=launcher,
        n_workers=n_workers,
        n_threads=choice.n_threads or threads_for(study.machine.n_threads, n_workers),
        memory_share=1.0 if choice.has_own_device else 1 / n_workers,
        replaces_stopped=choice.uses_nodes,
    )


def threads_for(n_threads: int, n_workers: int) -> int:
    """Return the CPU threads of each of several workers: those asked for, or a share of all."""
    return n_threads or max(1, n_cores() // n_workers)


def describe_exit(code: int | None) -> str:
    """Say how a process ended."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"

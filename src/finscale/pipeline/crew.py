"""Several workers on one matrix: start them, pass on what they finish, replace those that die."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finscale.errors import OverheatedError, RunDirectoryError, StopRequestedError
from finscale.files import write_text_atomic
from finscale.launch.launcher import Launcher
from finscale.machine.device import n_cores
from finscale.machine.guard import STOP_NOW
from finscale.pipeline.book import RecordBook
from finscale.progress import Progress
from finscale.rundir import RunDirectory
from finscale.search.leases import this_worker

# Worker exit codes that are no accident: done, bad input, experiments failed, stopped on request
# or for heat.
_OVERHEATED = OverheatedError.exit_code
_ORDERLY = {0, 2, 3, _OVERHEATED, 130}
# A worker ends so only when nothing is left to do.
_NOTHING_LEFT = {0, 3}
_POLL_S = 0.5
# A worker that keeps dying is not started for ever.
_MAX_RESTARTS = 3


@dataclass
class Crew:
    """Workers that share a run directory, and what watching them takes.

    Attributes
    ----------
    options
        Options of ``finscale worker`` beside the run directory.
    """

    directory: RunDirectory
    book: RecordBook
    progress: Progress
    launcher: Launcher
    n_workers: int
    n_threads: int
    options: Sequence[str]
    _n_restarts: int = field(default=0, init=False)

    def work(self, stop_state: Callable[[], str]) -> None:
        """Run the workers until they are done.

        Parameters
        ----------
        stop_state
            ``"go"``, ``"finish_epoch"`` or ``"stop"``; passed on to the workers.

        Raises
        ------
        StopRequestedError
            If the user asked to stop; the workers have left by then.
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
                self._pass_on_records()
                state = stop_state()
                if state not in ("go", told):
                    told = state
                    text = STOP_NOW if state == "stop" else "finish the epoch"
                    write_text_atomic(self.directory.stop_file, f"{text}\n")
                active = self._still_active(active, stopping=told != "go")
            codes = self.launcher.exit_codes()
        finally:
            self.launcher.close()
        self._pass_on_records()
        if told != "go":
            raise StopRequestedError("stopped on request")
        if _OVERHEATED in codes and not _NOTHING_LEFT & set(codes):
            raise OverheatedError(self._last_words(codes.index(_OVERHEATED)))

    def _start(self, number: int) -> int:
        command = [
            *(sys.executable, "-m", "finscale.cli.main", "worker", str(self.directory.root)),
            *("--threads", str(self.n_threads), "--memory-share", f"{1 / self.n_workers:.4f}"),
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

    def _pass_on_records(self) -> None:
        for record in self.book.sync():
            self.progress.run_finished(record)


def threads_for(n_threads: int, n_workers: int) -> int:
    """Return the CPU threads of each of several workers: those asked for, or a share of all."""
    return n_threads or max(1, n_cores() // n_workers)


def describe_exit(code: int | None) -> str:
    """Say how a process ended."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"

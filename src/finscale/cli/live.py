"""The live view of a run in a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finscale.cli.keys import reading_keys
from finscale.cli.terminal import LossyStream
from finscale.machine.guard import StopSignal, StopState
from finscale.progress import (
    ExperimentStart,
    MatrixState,
    Progress,
    RunStart,
    TextProgress,
    WorkerState,
    describe_outcome,
)
from finscale.records import CurvePoint, FinalRecord, Record, TrialRecord
from finscale.units import duration_text

# A worker's line names its experiment, and should fit into 80 columns all the same.
_NARROW = 10
_STOP_HINTS = {
    "go": "q: stop after this epoch",
    "finish_epoch": "stopping after this epoch; q again: after this optimiser step",
    "stop": "stopping after this optimiser step",
}


@contextlib.contextmanager
def watching(*, plain: bool, stop: StopSignal | None = None) -> Iterator[Progress]:
    """Show progress on standard error: live in a terminal, plain lines elsewhere or on request.

    Parameters
    ----------
    stop
        What the key ``q`` asks to stop, in the live view.
    """
    stream = LossyStream(sys.stderr)
    console = Console(file=cast("TextIO", stream))
    if plain or not console.is_terminal or console.is_dumb_terminal:
        yield TextProgress(partial(_write_line, stream))
        return
    view = LiveProgress(stop.state if stop else None)
    with Live(view, console=console, refresh_per_second=4, transient=True) as live:
        view.print = lambda text: live.console.print(text, highlight=False, markup=False)
        with reading_keys(stop.request if stop else None, on_pause=console.show_cursor):
            yield view


def _write_line(stream: LossyStream, text: str) -> None:
    stream.write(f"{time.strftime('%H:%M:%S')} {text}\n")


class LiveProgress(Progress):
    """What is trained, the best so far and the time left, in a few lines that stay put.

    Parameters
    ----------
    stop_state
        Says how soon the run will stop; None: the view says nothing of stopping.
    """

    def __init__(self, stop_state: Callable[[], StopState] | None = None) -> None:
        self.print: Callable[[str], None] = lambda _text: None
        self._stop_state = stop_state
        self._started = time.monotonic()
        self._preparing = "preparing …"
        self._experiment: ExperimentStart | None = None
        self._run: RunStart | None = None
        self._point: CurvePoint | None = None
        self._best: TrialRecord | None = None
        self._matrix: MatrixState | None = None
        self._n_runs_done = 0
        self._run_durations_s: list[float] = []

    def message(self, text: str) -> None:
        """Print the line above the view."""
        self.print(text)

    def experiment_started(self, start: ExperimentStart) -> None:
        """Show a new experiment."""
        self._experiment, self._run, self._point, self._best = start, None, None, start.best
        self._n_runs_done = start.n_trials_done
        self._run_durations_s = []

    def baseline_started(self, cell: str, model: str) -> None:
        """Show the baseline that is fitted."""
        self._preparing = f"{cell}: fitting baseline {model} …"

    def run_started(self, start: RunStart) -> None:
        """Show a new training run."""
        self._run, self._point = start, None

    def epoch_finished(self, point: CurvePoint) -> None:
        """Show the epoch."""
        self._point = point

    def run_finished(self, record: Record) -> None:
        """Count the run, keep the best, and print scored models above the view."""
        if isinstance(record, TrialRecord):
            self._n_runs_done += 1
            self._run_durations_s.append(record.duration_s)
            loss = record.validation_loss
            best = self._best.validation_loss if self._best else None
            if record.state == "complete" and loss is not None and (best is None or loss < best):
                self._best = record
        else:
            if isinstance(record, FinalRecord):
                self._n_runs_done += 1
                self._run_durations_s.append(record.duration_s)
            self.print(f"{record.experiment} {describe_outcome(record)}")

    def experiment_failed(self, name: str, reason: str) -> None:
        """Print the reason above the view."""
        self.print(f"{name} FAILED: {reason}")

    def matrix_moved(self, state: MatrixState) -> None:
        """Show what several workers do."""
        self._matrix = state

    def __rich__(self) -> Group:
        """Draw the view."""
        parts: list[RenderableType]
        if self._matrix is not None:
            parts = draw_matrix(self._matrix, time.monotonic() - self._started)
        elif self._experiment is not None:
            parts = self._draw_experiment(self._experiment)
        else:
            parts = [Text(self._preparing)]
        if self._stop_state is not None:
            parts.append(Text(f"  {_STOP_HINTS[self._stop_state()]}", style="dim"))
        return Group(*parts)

    def _draw_experiment(self, start: ExperimentStart) -> list[RenderableType]:
        total = start.n_trials + start.n_finals
        lines = Table.grid(padding=(0, 1))
        lines.add_row(
            Text(f"experiment {start.number}/{start.n_experiments}"),
            _bar(self._n_runs_done, total),
            Text(f"{start.name}  {self._n_runs_done}/{total} runs  {self._time_left(total)}"),
        )
        if self._run is not None:
            epoch = self._point.epoch if self._point else 0
            loss = f"validation {self._point.validation_loss:.4f}" if self._point else ""
            lines.add_row(
                Text(self._run.label.partition(" (")[0]),
                _bar(epoch, self._run.epochs),
                Text(f"epoch {epoch}/{self._run.epochs}  {loss}"),
            )
        parts: list[RenderableType] = [lines]
        if self._run is not None:
            parts.append(Text(f"  {self._run.detail}", style="dim"))
        if self._best is not None:
            parts.append(_best_text("", self._best))
        return parts

    def _time_left(self, total: int) -> str:
        """Estimate from the runs of this experiment; other budgets take other times."""
        elapsed = f"elapsed {duration_text(time.monotonic() - self._started)}"
        if not self._run_durations_s:
            return elapsed
        mean_s = sum(self._run_durations_s) / len(self._run_durations_s)
        left = duration_text(mean_s * max(total - self._n_runs_done, 0))
        return f"{elapsed}, this experiment ~{left} left"


def draw_matrix(state: MatrixState, elapsed_s: float) -> list[RenderableType]:
    """Draw the matrix in one line, each worker in one, and the best trial of all."""
    lines = Table.grid(padding=(0, 1))
    left = "" if state.time_left_s is None else f", ~{duration_text(state.time_left_s)} left"
    lines.add_row(
        Text("matrix"),
        _bar(state.n_trials_done, state.n_trials, _NARROW),
        Text(
            f"{state.n_experiments_done}/{state.n_experiments} experiments  "
            f"{state.n_trials_done}/{state.n_trials} trials  "
            f"after {duration_text(elapsed_s)}{left}"
        ),
    )
    for number, worker in enumerate(state.workers, start=1):
        lines.add_row(
            Text(f"worker {number}"),
            _bar(worker.epoch, worker.epochs, _NARROW),
            Text(_doing(worker)),
        )
    for number in range(len(state.workers) + 1, state.n_workers + 1):
        lines.add_row(Text(f"worker {number}"), Text(), Text("starting …", style="dim"))
    parts: list[RenderableType] = [lines]
    if state.best is not None:
        parts.append(_best_text(f"{state.best.experiment} ", state.best))
    return parts


def _doing(worker: WorkerState) -> str:
    if not worker.label:
        return "between two runs"
    loss = "" if worker.validation_loss is None else f"  loss {worker.validation_loss:.4f}"
    label = worker.label.partition(" (")[0]
    return f"{worker.experiment} {label}  epoch {worker.epoch}/{worker.epochs}{loss}"


def _best_text(place: str, best: TrialRecord) -> Text:
    return Text(
        f"  best so far: {place}{best.architecture}, validation log-loss "
        f"{best.validation_loss:.4f}, skill {best.validation_skill:+.3f}",
        style="green",
    )


def _bar(done: int, total: int, width: int = 30) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=min(done, total), width=width)

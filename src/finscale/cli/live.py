"""The live view of a run in a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finscale.progress import ExperimentStart, Progress, RunStart, TextProgress, describe_outcome
from finscale.records import CurvePoint, FinalRecord, Record, TrialRecord
from finscale.units import duration_text


@contextlib.contextmanager
def watching(*, plain: bool) -> Iterator[Progress]:
    """Show progress on standard error: live in a terminal, plain lines elsewhere or on request."""
    console = Console(stderr=True)
    if plain or not console.is_terminal or console.is_dumb_terminal:
        yield TextProgress(_write_line)
        return
    view = LiveProgress()
    with Live(view, console=console, refresh_per_second=4, transient=True) as live:
        view.print = lambda text: live.console.print(text, highlight=False, markup=False)
        yield view


def _write_line(text: str) -> None:
    # A reader that has gone away (| head) must not take a week of training with it.
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()


class LiveProgress(Progress):
    """Experiment, training run, epoch, best so far and time left, in four lines that stay put."""

    def __init__(self) -> None:
        self.print: Callable[[str], None] = lambda _text: None
        self._started = time.monotonic()
        self._experiment: ExperimentStart | None = None
        self._run: RunStart | None = None
        self._point: CurvePoint | None = None
        self._best: TrialRecord | None = None
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

    def __rich__(self) -> Group:
        """Draw the view."""
        if self._experiment is None:
            return Group(Text("preparing …"))
        start = self._experiment
        total = start.n_trials + start.n_finals
        lines = Table.grid(padding=(0, 1))
        lines.add_row(
            Text(f"experiment {start.number}/{start.n_experiments}"),
            ProgressBar(total=total, completed=min(self._n_runs_done, total), width=30),
            Text(f"{start.name}  {self._n_runs_done}/{total} runs  {self._time_left(total)}"),
        )
        if self._run is not None:
            epoch = self._point.epoch if self._point else 0
            loss = f"validation {self._point.validation_loss:.4f}" if self._point else ""
            lines.add_row(
                Text(self._run.label.partition(" (")[0]),
                ProgressBar(total=self._run.epochs, completed=epoch, width=30),
                Text(f"epoch {epoch}/{self._run.epochs}  {loss}"),
            )
        parts: list[RenderableType] = [lines]
        if self._run is not None:
            parts.append(Text(f"  {self._run.detail}", style="dim"))
        if self._best is not None:
            parts.append(
                Text(
                    f"  best so far: {self._best.architecture}, validation log-loss "
                    f"{self._best.validation_loss:.4f}, skill {self._best.validation_skill:+.3f}",
                    style="green",
                )
            )
        return Group(*parts)

    def _time_left(self, total: int) -> str:
        """Estimate from the runs of this experiment; other budgets take other times."""
        elapsed = f"elapsed {duration_text(time.monotonic() - self._started)}"
        if not self._run_durations_s:
            return elapsed
        mean_s = sum(self._run_durations_s) / len(self._run_durations_s)
        left = duration_text(mean_s * max(total - self._n_runs_done, 0))
        return f"{elapsed}, this experiment ~{left} left"

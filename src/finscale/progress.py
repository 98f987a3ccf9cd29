"""What long work tells whoever watches it: events, and two plain ways to receive them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finscale.records import (
    BaselineRecord,
    CurvePoint,
    FinalRecord,
    Record,
    Scores,
    SupplementaryRecord,
    TrialRecord,
)


@dataclass(frozen=True)
class ExperimentStart:
    """An experiment is taken up.

    Attributes
    ----------
    number, n_experiments
        Its place in the order of the run, from 1, and how many there are.
    n_trials_done, n_trials
        Finished trials and the number asked for.
    n_finals
        Final training runs, once the trials are done.
    best
        The best complete trial so far.
    """

    name: str
    number: int
    n_experiments: int
    n_trials_done: int
    n_trials: int
    n_finals: int
    best: TrialRecord | None = None


@dataclass(frozen=True)
class RunStart:
    """A training run starts.

    Attributes
    ----------
    label
        What it is: ``trial 7``, ``trial 0 (smallest d_model)``, ``seed 2``.
    detail
        Architecture and recipe, in short.
    epochs
        Epochs its schedule is laid out for.
    """

    experiment: str
    label: str
    detail: str
    epochs: int


@dataclass(frozen=True)
class WorkerState:
    """What one of several workers is doing.

    Attributes
    ----------
    experiment, label
        What it trains; empty between two runs.
    epoch, epochs
        Epochs finished, and those its schedule is laid out for.
    validation_loss
        After the last epoch.
    detail
        Architecture and recipe, in short.
    """

    name: str
    experiment: str = ""
    label: str = ""
    epoch: int = 0
    epochs: int = 0
    validation_loss: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class MatrixState:
    """How far several workers are with the experiments that they share.

    Attributes
    ----------
    time_left_s
        For all of them together; None while nothing is known to tell it from.
    best
        The complete trial of the highest validation skill.
    n_workers
        Asked for; those that have not begun yet are not among ``workers``.
    """

    n_experiments: int
    n_experiments_done: int
    n_trials: int
    n_trials_done: int
    n_workers: int
    workers: tuple[WorkerState, ...] = ()
    time_left_s: float | None = None
    best: TrialRecord | None = None


class Progress:
    """Receives events and says nothing; override what is of interest."""

    def message(self, text: str) -> None:
        """Take a line worth keeping: a stage, a warning, a result."""

    def experiment_started(self, start: ExperimentStart) -> None:
        """Take note that an experiment is taken up."""

    def baseline_started(self, cell: str, model: str) -> None:
        """Take note that a baseline of a cell is fitted."""

    def run_started(self, start: RunStart) -> None:
        """Take note that a training run starts."""

    def epoch_finished(self, point: CurvePoint) -> None:
        """Take an epoch of the current training run."""

    def run_finished(self, record: Record) -> None:
        """Take the record of a training run or baseline; it is in the ledger."""

    def experiment_failed(self, name: str, reason: str) -> None:
        """Take note of an experiment that stopped with an error; the others go on."""

    def matrix_moved(self, state: MatrixState) -> None:
        """Take the state of work that several workers share; said again and again."""


class Tee(Progress):
    """Passes every event on to several receivers."""

    def __init__(self, *receivers: Progress) -> None:
        self._receivers = receivers

    def message(self, text: str) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.message(text)

    def experiment_started(self, start: ExperimentStart) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.experiment_started(start)

    def baseline_started(self, cell: str, model: str) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.baseline_started(cell, model)

    def run_started(self, start: RunStart) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.run_started(start)

    def epoch_finished(self, point: CurvePoint) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.epoch_finished(point)

    def run_finished(self, record: Record) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.run_finished(record)

    def experiment_failed(self, name: str, reason: str) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.experiment_failed(name, reason)

    def matrix_moved(self, state: MatrixState) -> None:
        """Pass on."""
        for receiver in self._receivers:
            receiver.matrix_moved(state)


class TextProgress(Progress):
    """Writes a line for every event but the epochs: for logs, pipes and dumb terminals.

    Parameters
    ----------
    write
        Takes a line without its end.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._told: dict[str, tuple[str, str]] = {}

    def message(self, text: str) -> None:
        """Write the line."""
        self._write(text)

    def experiment_started(self, start: ExperimentStart) -> None:
        """Write the experiment's name and state."""
        self._write(
            f"experiment {start.number}/{start.n_experiments} {start.name}: "
            f"{start.n_trials_done} of {start.n_trials} trials done"
        )

    def run_started(self, start: RunStart) -> None:
        """Write what is trained."""
        self._write(f"{start.experiment} {start.label}: {start.detail}")

    def run_finished(self, record: Record) -> None:
        """Write what came out."""
        self._write(f"{record.experiment} {describe_outcome(record)}")

    def experiment_failed(self, name: str, reason: str) -> None:
        """Write the reason."""
        self._write(f"{name} FAILED: {reason}")

    def matrix_moved(self, state: MatrixState) -> None:
        """Write what each worker has begun since this was said last."""
        for one in state.workers:
            begun = (one.experiment, one.label)
            if one.label and self._told.get(one.name) != begun:
                self._told[one.name] = begun
                self._write(f"{one.experiment} {one.label}: {one.detail} (worker {one.name})")


def describe_outcome(record: Record) -> str:
    """Return the outcome of a training run or baseline in one short line."""
    if isinstance(record, TrialRecord):
        if record.validation_skill is None:
            return f"trial {record.trial} {record.state}: {record.reason}"
        best = f"epoch {record.best_epoch} of {len(record.curve)}, " if record.curve else ""
        return (
            f"trial {record.trial} {record.state} ({record.reason}): validation log-loss "
            f"{record.validation_loss:.4f}, skill {record.validation_skill:+z.3f}, "
            f"{best}{record.duration_s:.1f} s"
        )
    if isinstance(record, SupplementaryRecord):
        return _describe_supplementary(record)
    name = {"final": "final model", "ensemble": "seed average", "oracle": "true probabilities"}.get(
        record.kind, "baseline"
    )
    if isinstance(record, BaselineRecord):
        name = f"baseline {record.model}"
    if isinstance(record, FinalRecord):
        seed = record.uid.rpartition("_")[2]
        name = f"final model of trial {record.trial}, seed {seed}"
    return f"{name}: {_skills(record.scores)}"


def _describe_supplementary(record: SupplementaryRecord) -> str:
    name = f"supplementary {record.run}"
    if record.scores is not None:
        return f"{name}: {_skills(record.scores)}"
    if record.validation_skill is None:
        return f"{name} {record.state}: {record.reason}"
    return (
        f"{name} ({record.reason}): validation log-loss {record.validation_loss:.4f}, "
        f"skill {record.validation_skill:+z.3f}, {record.n_parameters:,} parameters"
    )


def _skills(scores: Scores) -> str:
    return ", ".join(
        f"{part} skill {getattr(scores, part)['skill']:+z.3f}" for part in ("validation", "test")
    )

"""What long work tells whoever watches it. The base class says nothing."""

from __future__ import annotations

from dataclasses import dataclass

from finscale.records import CurvePoint, Record


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
        Final training runs still to come.
    """

    name: str
    number: int
    n_experiments: int
    n_trials_done: int
    n_trials: int
    n_finals: int


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


class Progress:
    """Receives events; override what is of interest. Every method returns quickly."""

    def message(self, text: str) -> None:
        """Take a line worth keeping: a stage, a warning, a result."""

    def experiment_started(self, start: ExperimentStart) -> None:
        """Take note that an experiment is taken up."""

    def run_started(self, start: RunStart) -> None:
        """Take note that a training run starts."""

    def epoch_finished(self, point: CurvePoint) -> None:
        """Take an epoch of the current training run."""

    def run_finished(self, record: Record) -> None:
        """Take the record of a training run or baseline; it is in the ledger."""

    def experiment_failed(self, name: str, reason: str) -> None:
        """Take note of an experiment that stopped with an error; the others go on."""

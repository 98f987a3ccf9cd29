"""How long a run will still take, from what its trials took so far."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finscale.experiments import Experiment
from finscale.models.architecture import Architecture
from finscale.models.cost import training_flops_per_sample
from finscale.pipeline.states import finals_of_best
from finscale.records import FinalRecord, Record, TrialRecord
from finscale.study import Study


@dataclass(frozen=True)
class Work:
    """What of an experiment has been measured, and what is left.

    Attributes
    ----------
    trials_s
        Durations of its trials, whatever became of them: pruned ones are part of a search.
    finals_s
        Durations of its final runs.
    measured_flops
        Mean training FLOPs of the trials in ``trials_s``, each taken to its last epoch.
    planned_flops
        The same of a trial to come: the mean over the grid.
    n_trials_left, n_finals_left
        Runs that are planned and have no record; final runs of the best trial so far.
    """

    trials_s: Sequence[float]
    finals_s: Sequence[float]
    measured_flops: float
    planned_flops: float
    n_trials_left: int
    n_finals_left: int

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left."""
        return self.n_trials_left == 0 and self.n_finals_left == 0


def work_of(study: Study, experiment: Experiment, records: Sequence[Record], n_train: int) -> Work:
    """Return what an experiment's records say of its time, and what is left of it.

    Parameters
    ----------
    records
        Current ones; those of other experiments do not count.
    n_train
        Training anchors of its cell.
    """
    own = [one for one in records if one.experiment == experiment.name]
    trials = [one for one in own if isinstance(one, TrialRecord)]
    finals = [one for one in own if isinstance(one, FinalRecord)]
    # A trial that failed at once says nothing of how long one takes.
    ran = [one for one in trials if one.state != "failed"]

    def flops(architecture: Architecture, epochs: float) -> float:
        return training_flops_per_sample(architecture, experiment.shape) * n_train * epochs

    measured = [flops(Architecture.parse(one.architecture), one.recipe["epochs"]) for one in ran]
    epochs = _mean(study.search.space.epochs)
    return Work(
        trials_s=[one.duration_s for one in ran],
        finals_s=[one.duration_s for one in finals],
        measured_flops=_mean(measured) if measured else 0.0,
        planned_flops=_mean([flops(one, epochs) for one in experiment.architectures]),
        n_trials_left=max(0, study.search.n_trials - len(trials)),
        n_finals_left=max(0, study.final.n_seeds - len(finals_of_best(own))),
    )


def with_first_trials(work: Work, workers: Sequence[Mapping[str, Any]], n_folds: int) -> Work:
    """Return work whose first trials are under way with what they will take at their pace.

    Parameters
    ----------
    workers
        What those say of themselves that are at the experiment's runs.
    """
    trials_s = [
        n_folds * passed_s * one["epochs"] / one["epoch"]
        for one in workers
        if one["epoch"] and one["label"].startswith("trial") and (passed_s := _passed_s(one)) > 0
    ]
    if work.trials_s or not trials_s:
        return work
    return replace(work, trials_s=trials_s, measured_flops=work.planned_flops)


def time_left_s(works: Sequence[Work], n_workers: int) -> list[float | None]:
    """Estimate the wall-clock time that each experiment will still take; None where unknown.

    A trial to come takes the mean of its experiment's trials. Where an experiment has none yet it
    takes that of the measured experiment whose trials are nearest in FLOPs (as a ratio), scaled by
    FLOPs: between neighbours the time that does not grow with FLOPs matters least. A final run
    takes the mean of the experiment's final runs, or as long as a trial; the latter is too short
    where trials are pruned. A run that is under way counts as not begun.

    Parameters
    ----------
    n_workers
        Live workers, which share the work evenly; with none it is as if there were one.

    Returns
    -------
    list
        One for each of ``works``; their sum is the time for all of them.
    """
    measured = [one for one in works if one.trials_s]
    times: list[float | None] = []
    for work in works:
        trial_s = _trial_s(work, measured)
        if work.is_finished:
            times.append(0.0)
        elif trial_s is None:
            times.append(None)
        else:
            final_s = _mean(work.finals_s) if work.finals_s else trial_s
            serial_s = work.n_trials_left * trial_s + work.n_finals_left * final_s
            times.append(serial_s / max(1, n_workers))
    return times


def total_s(times: Sequence[float | None]) -> float | None:
    """Return the sum, or None if one of them is unknown."""
    known = [one for one in times if one is not None]
    return sum(known) if len(known) == len(times) else None


def _trial_s(work: Work, measured: Sequence[Work]) -> float | None:
    if work.trials_s:
        return _mean(work.trials_s)
    if not measured:
        return None
    nearest = min(measured, key=lambda one: abs(math.log(one.measured_flops / work.planned_flops)))
    return _mean(nearest.trials_s) * work.planned_flops / nearest.measured_flops


def _passed_s(worker: Mapping[str, Any]) -> float:
    """Return how long a worker has been at its run, when it last said how far it is."""
    begun, said = worker["run_started_at"], worker["at"]
    return (dt.datetime.fromisoformat(said) - dt.datetime.fromisoformat(begun)).total_seconds()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

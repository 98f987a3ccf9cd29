"""How far a run is, from its files alone: nothing is locked, written or trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finscale.errors import StudyError
from finscale.experiments import plan_experiments
from finscale.files import utc_now
from finscale.pipeline.basis import explain
from finscale.pipeline.book import RecordBook
from finscale.pipeline.changes import Change
from finscale.pipeline.eta import time_left_s, total_s, with_first_trials, work_of
from finscale.pipeline.failures import read_failures
from finscale.pipeline.machine_log import last_reading
from finscale.pipeline.queue import parse_queue
from finscale.pipeline.states import finals_of_best, state_of
from finscale.pipeline.today import Today, look_at_today
from finscale.pipeline.worker_status import read_worker_status
from finscale.records import Record, SupplementaryRecord, TrialRecord
from finscale.rundir import RunDirectory
from finscale.search.coverage import Coverage, coverage, tried_in
from finscale.study import Study

# In which a worker finishes the line of the ledger that it is writing.
_ONE_LINE_S = 0.2


@dataclass(frozen=True)
class ExperimentState:
    """One experiment's progress.

    Attributes
    ----------
    state
        ``done``, ``started``, ``waiting``, ``failed`` or ``stale``.
    n_finals
        Final runs of the best trial.
    time_left_s
        Estimated; None where nothing was measured, or the experiment failed.
    note
        Why it failed, or what makes it stale.
    """

    name: str
    state: str
    n_trials_done: int
    n_trials: int
    n_finals: int
    best_validation_skill: float | None
    best_architecture: str | None
    time_left_s: float | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class RunStatus:
    """All that can be said of a run from outside.

    Attributes
    ----------
    at
        When it was looked at, UTC.
    experiments
        In the order of the matrix.
    queue
        Names of the experiments that are not done, in the order in which they are run.
    queue_fault
        What is wrong with the file of that order; empty if nothing is. A run under way keeps the
        order that it had, and ``queue`` is that of the matrix, as a new one would take.
    workers
        As `finscale.pipeline.worker_status.read_worker_status` returns them.
    time_left_s
        Of all that has not failed, with the workers that live; None where that is unknown.
    machine
        The newest reading of its sensors; None if there is none.
    last_error
        ``experiment``, ``what``, ``reason`` and ``at`` of the newest failure.
    damaged_lines, damage
        Numbers of ledger lines that cannot be read, from 1; and what to do about them.
    coverage
        Experiment to what was tried of its grid.
    stale
        Experiment, or cell of baselines, to what has changed since its records.
    data_problem
        Why the data cannot be looked at; they are then taken to be unchanged.
    """

    study: str
    at: str
    experiments: tuple[ExperimentState, ...]
    queue: tuple[str, ...]
    queue_fault: str
    workers: tuple[dict[str, Any], ...]
    time_left_s: float | None
    machine: dict[str, Any] | None
    last_error: dict[str, str] | None
    damaged_lines: tuple[int, ...]
    damage: str
    coverage: Mapping[str, Coverage]
    stale: Mapping[str, tuple[Change, ...]]
    data_problem: str | None

    @property
    def n_alive(self) -> int:
        """Workers that are there, as far as can be known."""
        return sum(one["alive"] is not False for one in self.workers)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to wait for: all is done, or failed and left alone."""
        states = {one.state for one in self.experiments}
        return states <= {"done"} or (states <= {"done", "failed"} and self.n_alive == 0)

    @property
    def totals(self) -> dict[str, Any]:
        """Sums over the experiments."""
        states = [one.state for one in self.experiments]
        return {
            "n_experiments": len(states),
            "n_done": states.count("done"),
            "n_failed": states.count("failed"),
            "n_stale": states.count("stale"),
            "n_trials_done": sum(one.n_trials_done for one in self.experiments),
            "n_trials": sum(one.n_trials for one in self.experiments),
            "n_workers_alive": self.n_alive,
            "time_left_s": self.time_left_s,
            "finished": self.is_finished,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        return {
            "study": self.study,
            "at": self.at,
            "experiments": [one.as_dict() for one in self.experiments],
            "queue": list(self.queue),
            "queue_fault": self.queue_fault,
            "workers": list(self.workers),
            "totals": self.totals,
            "machine": self.machine,
            "last_error": self.last_error,
            "damaged_lines": list(self.damaged_lines),
            "coverage": {name: one.as_dict() for name, one in self.coverage.items()},
            "stale": {
                name: [one.as_dict() for one in changes] for name, changes in self.stale.items()
            },
            "data_problem": self.data_problem,
        }


def run_status(study: Study, run_dir: Path, today: Today | None = None) -> RunStatus:
    """Return how far a run is.

    Parameters
    ----------
    study
        The run's own, or another to see what of its records would be stale with it.
    today
        What current records have to carry, if that was looked up before.

    Raises
    ------
    FinscaleError
        If it is not a run directory, its ledger is of another version, or the study's matrix
        cannot be planned. That its data cannot be had is no error.
    """
    directory = RunDirectory(run_dir)
    directory.require_run()
    experiments = plan_experiments(study)
    today = today or look_at_today(study, directory, experiments)
    workers = tuple(read_worker_status(directory.workers))
    n_alive = sum(one["alive"] is not False for one in workers)
    book = RecordBook(directory, today.identities)
    if book.damaged_lines and n_alive:
        time.sleep(_ONE_LINE_S)
        book = RecordBook(directory, today.identities)
    stale = {
        name: explain(directory, old, new, today.basis) for name, (old, new) in book.stale().items()
    }
    failures = read_failures(directory, experiments)
    found = {one.name: [r for r in book.current if r.experiment == one.name] for one in experiments}
    doing = {
        one.name: [
            worker
            for worker in workers
            if worker["alive"] is not False and worker["label"] and worker["experiment"] == one.name
        ]
        for one in experiments
    }
    works = {
        one.name: with_first_trials(
            work_of(study, one, found[one.name], today.n_train.get(one.cell_name, 1)),
            doing[one.name],
            study.split.n_folds,
        )
        for one in experiments
        if one.name not in failures
    }
    times = dict(zip(works, time_left_s(list(works.values()), n_alive), strict=True))
    states = tuple(
        _state(
            study,
            name,
            book,
            changes=stale.get(name, ()),
            failure=failures.get(name),
            left_s=times.get(name),
            is_worked_on=bool(doing[name]),
        )
        for name in found
    )
    queue, queue_fault = _queue(directory, list(found))
    done = {one.name for one in states if one.state == "done"}
    return RunStatus(
        study=study.name,
        at=utc_now(),
        experiments=states,
        queue=tuple(name for name in queue if name not in done),
        queue_fault=queue_fault,
        workers=workers,
        time_left_s=total_s(list(times.values())),
        machine=last_reading(directory.machine_logs()),
        last_error=_last_error(book.current, failures),
        damaged_lines=tuple(book.damaged_lines),
        damage=book.describe_damage() if book.damaged_lines else "",
        coverage={
            one.name: coverage(
                one.architectures, tried_in(found[one.name]), one.extreme_architectures
            )
            for one in experiments
        },
        stale=stale,
        data_problem=today.data_problem,
    )


def _state(
    study: Study,
    name: str,
    book: RecordBook,
    *,
    changes: Sequence[Change],
    failure: Mapping[str, str] | None,
    left_s: float | None,
    is_worked_on: bool,
) -> ExperimentState:
    trials, best = book.trials(name), book.best_trial(name)
    own = [record for record in book.current if record.experiment == name]
    note = f"other {', '.join(one.text for one in changes)}" if changes else ""
    if failure is not None:
        note = failure["reason"]
    return ExperimentState(
        name=name,
        state=state_of(
            name,
            book,
            n_trials=study.search.n_trials,
            is_stale=bool(changes),
            has_failed=failure is not None,
            is_worked_on=is_worked_on,
        ),
        n_trials_done=len(trials),
        n_trials=study.search.n_trials,
        n_finals=len(finals_of_best(own)),
        best_validation_skill=best.validation_skill if best else None,
        best_architecture=best.architecture if best else None,
        time_left_s=left_s,
        note=note,
    )


def _queue(directory: RunDirectory, names: list[str]) -> tuple[list[str], str]:
    """Return the order of the experiments, and what is wrong with the file that has it."""
    try:
        return parse_queue(directory.queue, names), ""
    except StudyError as error:
        return names, str(error)


def _last_error(
    records: Sequence[Record], failures: Mapping[str, Mapping[str, str]]
) -> dict[str, str] | None:
    errors = [
        {"experiment": name, "what": "experiment", "reason": one["reason"], "at": one["at"]}
        for name, one in failures.items()
    ]
    for record in records:
        if isinstance(record, TrialRecord | SupplementaryRecord) and record.state == "failed":
            what = (
                f"trial {record.trial}" if isinstance(record, TrialRecord) else f"run {record.run}"
            )
            errors.append(
                {
                    "experiment": record.experiment,
                    "what": what,
                    "reason": record.reason,
                    "at": record.created_at,
                }
            )
    return max(errors, key=lambda one: one["at"], default=None)

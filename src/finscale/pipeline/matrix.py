"""The matrix in sum: how far it is while workers share it, and a row per experiment at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finscale.errors import StopRequestedError
from finscale.experiments import Experiment
from finscale.pipeline.book import RecordBook
from finscale.pipeline.eta import time_left_s, total_s, work_of
from finscale.pipeline.failures import failure_reasons
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.states import is_done, state_of
from finscale.pipeline.worker_status import read_worker_status
from finscale.progress import MatrixState, WorkerState
from finscale.records import FinalRecord, TrialRecord
from finscale.rundir import RunDirectory


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment in the table at the end of a run.

    Attributes
    ----------
    state
        ``done``, ``started``, ``waiting``, ``failed`` or ``stale``.
    duration_s
        Of its trials and final training runs, one after the other, whoever ran them.
    reason
        Why it failed; empty if it did not.
    """

    name: str
    state: str
    n_trials_done: int
    n_trials: int
    best_validation_skill: float | None
    best_architecture: str | None
    duration_s: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def experiment_rows(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> list[ExperimentRow]:
    """Return a row for every experiment of the study, in the order of the matrix."""
    n_trials, stale, current = prepared.study.search.n_trials, book.stale(), book.current
    failures = failure_reasons(directory, prepared.experiments)
    rows = []
    for one in prepared.experiments:
        trials, best = book.trials(one.name), book.best_trial(one.name)
        own = [record for record in current if record.experiment == one.name]
        trained = [record for record in own if isinstance(record, TrialRecord | FinalRecord)]
        rows.append(
            ExperimentRow(
                name=one.name,
                state=state_of(
                    one.name,
                    book,
                    n_trials=n_trials,
                    is_stale=one.name in stale,
                    has_failed=one.name in failures,
                ),
                n_trials_done=len(trials),
                n_trials=n_trials,
                best_validation_skill=best.validation_skill if best else None,
                best_architecture=best.architecture if best else None,
                duration_s=sum(record.duration_s for record in trained),
                reason=failures.get(one.name, ""),
            )
        )
    return rows


@contextlib.contextmanager
def telling_rows(
    on_stopped: Callable[[list[ExperimentRow]], None] | None,
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
) -> Iterator[None]:
    """Tell how far every experiment is if the user stops the run inside the block."""
    try:
        yield
    except (StopRequestedError, KeyboardInterrupt):
        if on_stopped is not None:
            book.sync()
            on_stopped(experiment_rows(prepared, directory, book))
        raise


def matrix_state(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    chosen: Sequence[Experiment],
    *,
    n_workers: int,
    since: str,
) -> MatrixState:
    """Return how far the chosen experiments are, and what the workers that began since do."""
    names = {one.name for one in chosen}
    records = [record for record in book.current if record.experiment in names]
    trials = [record for record in records if isinstance(record, TrialRecord)]
    n_trials = prepared.study.search.n_trials
    complete = [t for t in trials if t.state == "complete" and t.validation_skill is not None]
    failed = failure_reasons(directory, chosen)
    by_experiment = {name: [one for one in records if one.experiment == name] for name in names}
    works = [
        work_of(prepared.study, one, by_experiment[one.name], prepared.n_train[one.cell_name].whole)
        for one in chosen
        if one.name not in failed
    ]
    return MatrixState(
        n_experiments=len(chosen),
        n_experiments_done=sum(is_done(own, n_trials) for own in by_experiment.values()),
        n_trials=n_trials * len(chosen),
        n_trials_done=len(trials),
        n_workers=n_workers,
        workers=tuple(_workers(directory.workers, since)),
        time_left_s=total_s(time_left_s(works, n_workers)),
        best=max(complete, key=lambda one: one.validation_skill or 0.0, default=None),
    )


def _workers(directory: Path, since: str) -> list[WorkerState]:
    """Return those that have said something since a time, by the time that they began."""
    said = [
        one
        for one in read_worker_status(directory)
        # None: on another machine, where it cannot be known.
        if one["alive"] is not False and one["started_at"] >= since
    ]
    return [
        WorkerState(
            name=one["worker"].rpartition(":")[0],
            experiment=one.get("experiment") or "",
            label=one.get("label") or "",
            epoch=one.get("epoch") or 0,
            epochs=one.get("epochs") or 0,
            validation_loss=one.get("validation_loss"),
            detail=one.get("detail") or "",
        )
        for one in sorted(said, key=lambda one: (one["started_at"], one["worker"]))
    ]


def workers_at_work(directory: Path) -> list[str]:
    """Return the names of the workers that are training, as far as can be known from here."""
    states = read_worker_status(directory)
    return [one["worker"] for one in states if one["alive"] is not False and one.get("label")]

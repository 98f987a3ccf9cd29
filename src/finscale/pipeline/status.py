"""How far a run is, from its records alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finscale.files import read_json
from finscale.pipeline.book import RecordBook
from finscale.pipeline.prepare import prepare
from finscale.records import EnsembleRecord, FinalRecord
from finscale.rundir import RunDirectory
from finscale.study import Study


@dataclass(frozen=True)
class ExperimentState:
    """One experiment's progress.

    Attributes
    ----------
    state
        ``done``, ``started``, ``waiting``, ``failed`` or ``stale``.
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
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def experiment_states(study: Study, run_dir: Path) -> list[ExperimentState]:
    """Return the state of every experiment, in the order of the matrix.

    Raises
    ------
    FinscaleError
        If it is not a run directory, or its data cannot be had any more.
    """
    directory = RunDirectory(run_dir)
    directory.require_run()
    prepared = prepare(study)
    book = RecordBook(directory, prepared.identities)
    stale, current = book.stale(), book.current
    states = []
    for experiment in prepared.experiments:
        name = experiment.name
        trials, best = book.trials(name), book.best_trial(name)
        scored = any(isinstance(r, EnsembleRecord) and r.experiment == name for r in current)
        failure = directory.experiment(name).failure
        complete = scored and len(trials) >= study.search.n_trials
        state, note = ("done" if complete else "started" if trials else "waiting"), ""
        if name in stale:
            state, note = "stale", f"other {', '.join(stale[name])}"
        if failure.exists():
            state, note = "failed", read_json(failure)["reason"]
        states.append(
            ExperimentState(
                name=name,
                state=state,
                n_trials_done=len(trials),
                n_trials=study.search.n_trials,
                n_finals=sum(isinstance(r, FinalRecord) and r.experiment == name for r in current),
                best_validation_skill=best.validation_skill if best else None,
                best_architecture=best.architecture if best else None,
                note=note,
            )
        )
    return states

"""The state of an experiment: one rule for status and for the table at the end of a run."""

from __future__ import annotations

from typing import Literal

from finscale.pipeline.book import RecordBook
from finscale.records import EnsembleRecord

State = Literal["done", "started", "waiting", "failed", "stale"]


def state_of(
    name: str,
    book: RecordBook,
    *,
    n_trials: int,
    is_stale: bool,
    has_failed: bool,
    is_worked_on: bool = False,
) -> State:
    """Return an experiment's state by its current records.

    Parameters
    ----------
    n_trials
        Trials that its search has in all.
    is_stale
        Whether it has records and none of them is current.
    has_failed
        Whether it failed when it was last run, which is said before anything else.
    is_worked_on
        Whether a worker is at one of its runs.
    """
    if has_failed:
        return "failed"
    if is_stale:
        return "stale"
    n_done = len(book.trials(name))
    scored = any(isinstance(r, EnsembleRecord) and r.experiment == name for r in book.current)
    if scored and n_done >= n_trials:
        return "done"
    return "started" if n_done or is_worked_on else "waiting"

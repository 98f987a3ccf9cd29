"""The state of an experiment: one rule for status and for the table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from finscale.pipeline.book import RecordBook
from finscale.records import EnsembleRecord, FinalRecord, Record, TrialRecord, best_trial

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
    own = [record for record in book.current if record.experiment == name]
    if is_done(own, n_trials):
        return "done"
    has_begun = any(isinstance(record, TrialRecord) for record in own)
    return "started" if has_begun or is_worked_on else "waiting"


def is_done(records: Sequence[Record], n_trials: int) -> bool:
    """Return whether one experiment's search is over and the best of its trials is scored.

    An ensemble of another trial may be left from before the search was made longer.

    Parameters
    ----------
    records
        Its current ones.
    n_trials
        Trials that its search has in all.
    """
    trials = [record for record in records if isinstance(record, TrialRecord)]
    finals = {final.uid for final in finals_of_best(records)}
    return len(trials) >= n_trials and any(
        isinstance(record, EnsembleRecord) and finals.issuperset(record.members)
        for record in records
    )


def finals_of_best(records: Sequence[Record]) -> list[FinalRecord]:
    """Return the final runs of the best of one experiment's trials."""
    best = best_trial(record for record in records if isinstance(record, TrialRecord))
    return [
        record
        for record in records
        if isinstance(record, FinalRecord) and best is not None and record.trial == best.trial
    ]

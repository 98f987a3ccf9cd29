"""Slots: the place of a trial in its search, interruptions left out.

An interrupted trial is closed in the storage and enqueued again, under a new number but with its
old slot. A trial's seeds derive from its slot, so the repetition is the same trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

SLOT = "slot"
FORCED = "forced"
RECORD = "record"


def slot_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the slot of a trial among ``trials``, all those of its search."""
    if SLOT in trial.user_attrs:
        return int(trial.user_attrs[SLOT])
    n_repeats_before = sum(is_repeat(other) for other in trials if other.number < trial.number)
    return trial.number - n_repeats_before


def is_repeat(trial: FrozenTrial) -> bool:
    """Return whether a trial was enqueued in place of an interrupted one."""
    return "repeats" in trial.user_attrs


def repeat_attributes(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the user attributes of the trial that takes an interrupted one's place."""
    kept = {FORCED: trial.user_attrs[FORCED]} if FORCED in trial.user_attrs else {}
    return kept | {SLOT: slot_of(trial, trials), "repeats": trial.number}


def is_finished(trial: FrozenTrial) -> bool:
    """Return whether a trial ran to an end of its own: complete, pruned or failed with a record.

    A trial without a record was interrupted, whatever state it was left in.
    """
    return trial.state.is_finished() and RECORD in trial.user_attrs


def was_interrupted(trial: FrozenTrial) -> bool:
    """Return whether a trial was begun and never brought to an end."""
    return trial.state != TrialState.WAITING and RECORD not in trial.user_attrs

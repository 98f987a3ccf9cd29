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
DRAWN = "drawn"
RECORD = "record"
REPEATS = "repeats"
STOPPED = "stopped"
GIVEN_UP = "given_up"

# A trial whose worker is lost is taken up again so many times, then it fails: what kills a worker
# every time is the trial.
MAX_RETRIES = 3


def slot_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the slot of a trial among ``trials``, all those of its search."""
    if SLOT in trial.user_attrs:
        return int(trial.user_attrs[SLOT])
    n_repeats_before = sum(is_repeat(other) for other in trials if other.number < trial.number)
    return trial.number - n_repeats_before


def next_slot(trials: Sequence[FrozenTrial]) -> int:
    """Return the first slot that no trial has.

    Where the storage was lost and its trials were put back from the ledger, those that had not
    ended are missing between them.
    """
    taken = {slot_of(trial, trials) for trial in trials}
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def is_repeat(trial: FrozenTrial) -> bool:
    """Return whether a trial was enqueued in place of an interrupted one."""
    return REPEATS in trial.user_attrs


def repeat_attributes(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the user attributes of the trial that takes an interrupted one's place."""
    slot = slot_of(trial, trials)
    attributes: dict[str, Any] = {SLOT: slot, REPEATS: trial.number}
    attributes |= {key: trial.user_attrs[key] for key in (FORCED, DRAWN) if key in trial.user_attrs}
    n_lost = n_losses(slot, trials)
    if n_lost > MAX_RETRIES:
        attributes[GIVEN_UP] = f"its worker was lost {n_lost} times"
    return attributes


def n_losses(slot: int, trials: Sequence[FrozenTrial]) -> int:
    """Count how often a slot's trial ended because its worker was lost, not stopped."""
    return sum(
        was_interrupted(trial)
        and trial.state.is_finished()
        and not trial.user_attrs.get(STOPPED, False)
        and slot_of(trial, trials) == slot
        for trial in trials
    )


def numbers_of(slot: int, trials: Sequence[FrozenTrial]) -> list[int]:
    """Return the numbers under which a slot's trial was begun, ascending."""
    return [trial.number for trial in trials if slot_of(trial, trials) == slot]


def is_finished(trial: FrozenTrial) -> bool:
    """Return whether a trial ran to an end of its own: complete, pruned or failed with a record.

    A trial without a record was interrupted, whatever state it was left in.
    """
    return trial.state.is_finished() and RECORD in trial.user_attrs


def finished_slots(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the slots whose trial ran to its end, however often it was begun."""
    return {slot_of(trial, trials) for trial in trials if is_finished(trial)}


def was_interrupted(trial: FrozenTrial) -> bool:
    """Return whether a trial was begun and never brought to an end."""
    return trial.state != TrialState.WAITING and RECORD not in trial.user_attrs

"""The search of one experiment: forced extremes first, then TPE, until every trial is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from finscale.errors import StopRequestedError
from finscale.models.architecture import Architecture
from finscale.records import TrialRecord
from finscale.search.objective import TRIAL_FAILURES, ExperimentRun, Objective
from finscale.search.sampler import SlotSeededSampler
from finscale.search.slots import (
    FORCED,
    RECORD,
    SLOT,
    is_finished,
    repeat_attributes,
    slot_of,
    was_interrupted,
)
from finscale.search.space import central_recipe, forced_parameters, suggest
from finscale.seeds import derive_seed
from finscale.training.recipe import Recipe

# Trials that must be complete before the median of a step says anything.
_PRUNE_AFTER_TRIALS = 5


def search(
    run: ExperimentRun,
    storage: BaseStorage,
    on_finished: Callable[[TrialRecord], None],
    *,
    recorded: Sequence[TrialRecord] = (),
) -> None:
    """Bring an experiment's search to its planned number of trials.

    Trials that are finished stay as they are; those that were interrupted are repeated. The caller
    holds the run directory's lock, so a trial that is still marked as running has lost its worker.

    Parameters
    ----------
    on_finished
        Called with the record of every finished trial, also of those finished by an earlier
        process: what a crash kept from being written is written now.
    recorded
        The experiment's trials in the ledger. Those that the storage does not know, since it was
        lost, are put back, not run again.

    Raises
    ------
    StopRequestedError
        If the user asked to stop; the trial in progress is checkpointed.
    """
    study = open_search(run, storage)
    _restore(run, study, recorded)
    _close_interrupted(run, study)
    for trial in study.get_trials(deepcopy=False):
        if is_finished(trial):
            on_finished(_record(trial))

    def after_trial(_: optuna.Study, trial: FrozenTrial) -> None:
        if is_finished(trial):
            on_finished(_record(trial))

    objective = Objective(run)
    while n_finished(study) < run.study.search.n_trials:
        if run.should_stop():
            raise StopRequestedError("stopped on request")
        _enqueue_extreme(run, study)
        study.optimize(
            objective,
            n_trials=1,
            catch=TRIAL_FAILURES,
            callbacks=[after_trial],
        )


def open_search(run: ExperimentRun, storage: BaseStorage) -> optuna.Study:
    """Open or make the Optuna study of an experiment.

    Its name carries the experiment's fingerprint, so that trials on other data, settings, code or
    another grid are never mixed in.
    """
    settings = run.study.search
    # TPE counts the extremes among its start-up trials; the setting counts random ones.
    n_extremes = len(run.experiment.extremes) if settings.extremes_first else 0
    return optuna.create_study(
        study_name=f"{run.experiment.name}@{run.identity.fingerprint}",
        storage=storage,
        direction="minimize",
        load_if_exists=True,
        sampler=SlotSeededSampler(
            seed=derive_seed(run.study.seed, run.experiment.name),
            n_startup_trials=n_extremes + settings.n_startup_trials,
        ),
        pruner=MedianPruner(
            n_startup_trials=_PRUNE_AFTER_TRIALS, n_warmup_steps=settings.prune_after_epochs
        ),
    )


def n_finished(study: optuna.Study) -> int:
    """Count the trials that came to an end of their own."""
    return sum(is_finished(trial) for trial in study.get_trials(deepcopy=False))


def _record(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord.model_validate(trial.user_attrs[RECORD])


def _restore(run: ExperimentRun, study: optuna.Study, recorded: Sequence[TrialRecord]) -> None:
    """Put trials of the ledger that the storage has lost back into it, in their slots."""
    trials = study.get_trials(deepcopy=False)
    known = {_record(trial).trial for trial in trials if RECORD in trial.user_attrs}
    states = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    for record in sorted(recorded, key=lambda one: one.trial):
        if record.trial in known:
            continue
        architecture = Architecture.parse(record.architecture)
        recipe = Recipe.from_dict(record.recipe)
        parameters = forced_parameters(architecture, recipe)
        drawn = optuna.trial.FixedTrial(parameters)
        suggest(drawn, run.experiment.architectures, run.study.search.space)
        attributes = {SLOT: record.trial, RECORD: record.model_dump(mode="json")}
        if record.forced:
            attributes[FORCED] = {"reasons": list(record.forced), "parameters": parameters}
        study.add_trial(
            optuna.trial.create_trial(
                state=states[record.state],
                value=record.validation_loss if record.state == "complete" else None,
                params=drawn.params,
                distributions=drawn.distributions,
                user_attrs=attributes,
                intermediate_values={p.epoch: p.validation_loss for p in record.curve},
            )
        )


def _close_interrupted(run: ExperimentRun, study: optuna.Study) -> None:
    """Close trials that lost their process, and enqueue those without a record once more."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get("repeats") for trial in trials}
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            _close(run, study, trial, slot_of(trial, trials))
        if was_interrupted(trial) and trial.number not in repeated:
            study.enqueue_trial(_parameters(trial), user_attrs=repeat_attributes(trial, trials))


def _close(run: ExperimentRun, study: optuna.Study, trial: FrozenTrial, slot: int) -> None:
    """Close a running trial: as its record says if it had left one, else as failed."""
    record = trial.user_attrs.get(RECORD, {})
    if record.get("state") == "complete":
        study.tell(trial.number, record["validation_loss"])
    else:
        pruned = record.get("state") == "pruned"
        study.tell(trial.number, state=TrialState.PRUNED if pruned else TrialState.FAIL)
    if record:
        run.trial_checkpoint(slot).unlink(missing_ok=True)


def _parameters(trial: FrozenTrial) -> dict[str, Any]:
    """Return what to repeat a trial with.

    One that was cut off while its parameters were drawn is drawn anew: its slot's sampler draws
    the same again, but only from the first parameter on.
    """
    if FORCED in trial.user_attrs:
        return dict(trial.user_attrs[FORCED]["parameters"])
    drawn = all(field.name in trial.params for field in fields(Recipe))
    return dict(trial.params) if drawn else {}


def _enqueue_extreme(run: ExperimentRun, study: optuna.Study) -> None:
    """Enqueue the next extreme that is not in the search yet, as ordinary parameters.

    One at a time: enqueued all at once they would go before the repetition of an interrupted
    trial, and the search would no longer be the one that was not interrupted.
    """
    trials = study.get_trials(deepcopy=False)
    if not run.study.search.extremes_first or any(
        trial.state == TrialState.WAITING for trial in trials
    ):
        return
    known = {
        tuple(trial.user_attrs[FORCED]["reasons"]) for trial in trials if FORCED in trial.user_attrs
    }
    left = [one for one in run.experiment.extremes if one.reasons not in known]
    if left:
        recipe = central_recipe(run.study.search.space)
        parameters = dict(forced_parameters(left[0].architecture, recipe))
        forced = {"reasons": list(left[0].reasons), "parameters": parameters}
        study.enqueue_trial(parameters, user_attrs={FORCED: forced})

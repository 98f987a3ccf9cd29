"""The search of one experiment: forced extremes first, then TPE, until every trial is done."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import torch
from optuna.pruners import MedianPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from finscale.errors import StopRequestedError
from finscale.records import TrialRecord
from finscale.search.objective import ExperimentRun, Objective
from finscale.search.sampler import SlotSeededSampler
from finscale.search.slots import (
    FORCED,
    RECORD,
    is_finished,
    repeat_attributes,
    was_interrupted,
)
from finscale.search.space import central_recipe, forced_parameters
from finscale.seeds import derive_seed
from finscale.training.loop import DivergedError

# Trials that must be complete before the median of a step says anything.
_PRUNE_AFTER_TRIALS = 5


def search(
    run: ExperimentRun, storage: BaseStorage, on_finished: Callable[[TrialRecord], None]
) -> None:
    """Bring an experiment's search to its planned number of trials.

    Trials that are finished stay as they are; those that were interrupted are repeated. The caller
    holds the run directory's lock, so a trial that is still marked as running has lost its worker.

    Parameters
    ----------
    on_finished
        Called with the record of every finished trial, also of those finished by an earlier
        process: what a crash kept from being written is written now.

    Raises
    ------
    StopRequestedError
        If the user asked to stop; the trial in progress is checkpointed.
    """
    study = open_search(run, storage)
    _repeat_interrupted(study)
    _enqueue_extremes(run, study)
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
        study.optimize(
            objective,
            n_trials=1,
            catch=(DivergedError, torch.OutOfMemoryError),
            callbacks=[after_trial],
        )


def open_search(run: ExperimentRun, storage: BaseStorage) -> optuna.Study:
    """Open or make the Optuna study of an experiment.

    Its name carries the experiment's fingerprint, so that trials on other data, settings, code or
    another grid are never mixed in.
    """
    settings = run.study.search
    return optuna.create_study(
        study_name=f"{run.experiment.name}@{run.identity.fingerprint}",
        storage=storage,
        direction="minimize",
        load_if_exists=True,
        sampler=SlotSeededSampler(
            seed=derive_seed(run.study.seed, run.experiment.name),
            n_startup_trials=settings.n_startup_trials,
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


def _repeat_interrupted(study: optuna.Study) -> None:
    """Enqueue every interrupted trial once more, in its old slot."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get("repeats") for trial in trials}
    for trial in trials:
        if not was_interrupted(trial):
            continue
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        if trial.number not in repeated:
            # A forced trial may have been cut off before its parameters were drawn.
            forced = trial.user_attrs.get(FORCED)
            study.enqueue_trial(
                forced["parameters"] if forced else trial.params,
                user_attrs=repeat_attributes(trial, trials),
            )


def _enqueue_extremes(run: ExperimentRun, study: optuna.Study) -> None:
    """Enqueue the extremes that are not in the search yet, as ordinary parameters."""
    if not run.study.search.extremes_first:
        return
    known = {
        tuple(trial.user_attrs[FORCED]["reasons"])
        for trial in study.get_trials(deepcopy=False)
        if FORCED in trial.user_attrs
    }
    recipe = central_recipe(run.study.search.space)
    for extreme in run.experiment.extremes:
        if extreme.reasons not in known:
            study.enqueue_trial(
                dict(forced_parameters(extreme.architecture, recipe)),
                user_attrs={
                    FORCED: {
                        "reasons": list(extreme.reasons),
                        "parameters": forced_parameters(extreme.architecture, recipe),
                    }
                },
            )

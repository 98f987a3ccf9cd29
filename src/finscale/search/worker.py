"""The search of one experiment: forced extremes first, then TPE, until every trial is done."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from finscale.errors import StopRequestedError
from finscale.models.architecture import Architecture
from finscale.records import TrialRecord
from finscale.search import leases
from finscale.search.experiment_run import ExperimentRun
from finscale.search.objective import TRIAL_FAILURES, Objective
from finscale.search.proposal import draw_trial, is_independent
from finscale.search.pruning import make_pruner, value_of_fold
from finscale.search.slots import (
    DRAWN,
    FORCED,
    RECORD,
    REPEATS,
    SLOT,
    finished_slots,
    is_finished,
    next_slot,
    repeat_attributes,
    slot_of,
    was_interrupted,
)
from finscale.search.space import central_recipe, forced_parameters, suggest
from finscale.search.storage import STORAGE_ERRORS
from finscale.seeds import derive_seed
from finscale.training.recipe import Recipe


class Search:
    """One experiment's search, one trial at a time; any number of processes may share it.

    What is finished stays as it is. A trial that was interrupted is repeated in its old slot, and
    goes on from its checkpoint; one that has lost its worker more than ``MAX_RETRIES`` times fails.

    Parameters
    ----------
    run
        The experiment.
    storage
        Where its trials are.
    claims
        The lock file under which trials are handed out (see :func:`leases.claiming`).
    on_finished
        Called with the record of every finished trial, also of those finished by other processes
        before: what a crash kept from being written is written now.
    recorded
        The experiment's trials in the ledger. Those that the storage does not know, since it was
        lost, are put back, not run again.
    """

    def __init__(
        self,
        run: ExperimentRun,
        storage: RDBStorage,
        claims: Path,
        on_finished: Callable[[TrialRecord], None],
        *,
        recorded: Sequence[TrialRecord] = (),
    ) -> None:
        self._run = run
        self._storage = storage
        self._claims = claims
        self._on_finished = on_finished
        self._study = open_search(run, storage)
        self._objective: Objective | None = None
        self._silences = leases.Silences()
        with self._claiming():
            _restore(run, self._study, recorded)
        self.publish()

    def publish(self) -> None:
        """Pass on the records of all finished trials, whoever ran them."""
        for trial in self._study.get_trials(deepcopy=False):
            if is_finished(trial):
                self._on_finished(_record(trial))

    def step(self) -> Literal["trial", "busy", "done"]:
        """Run one trial, if there is one to run.

        Returns
        -------
        str
            ``"trial"``: one was run. ``"busy"``: the last ones are running elsewhere, or the one to
            be run was taken away; ask again. ``"done"``: every trial is finished.

        Raises
        ------
        StopRequestedError
            If the user asked to stop; the trial in progress is checkpointed.
        """
        if self._run.should_stop():
            raise StopRequestedError("stopped on request")
        if self._objective is None:
            with self._claiming():
                nothing = self._look()
            if nothing:
                return nothing
            # Before a trial is taken: an experiment that cannot begin uses up none of its retries.
            self._objective = Objective(self._run)
        with self._claiming():
            claimed = self._look() or self._claim()
        if isinstance(claimed, str):
            return claimed
        with leases.alive(claimed, self._storage):
            self._train(claimed, self._objective)
        return "trial"

    def _claiming(self) -> contextlib.AbstractContextManager[None]:
        return leases.claiming(self._storage, self._claims, self._study.study_name)

    def _look(self) -> Literal["busy", "done"] | None:
        """Bring back what was interrupted, and say why there is nothing to run, if there is not."""
        leases.close_lost(self._study, self._storage, self._run.worker, self._silences)
        _repeat_interrupted(self._study)
        trials = self._study.get_trials(deepcopy=False)
        done = finished_slots(trials)
        running = {slot_of(one, trials) for one in trials if one.state == TrialState.RUNNING}
        n_trials = self._run.study.search.n_trials
        if len(done) >= n_trials:
            return "done"
        return "busy" if len(done | running) >= n_trials else None

    def _claim(self) -> optuna.Trial | Literal["busy"]:
        trials = self._study.get_trials(deepcopy=False)
        if not any(trial.state == TrialState.WAITING for trial in trials):
            _enqueue_next(self._run, self._study, trials)
        with warnings.catch_warnings():
            # Optuna asks for Study.optimize where there are heartbeats; leases sends its own.
            warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
            trial = self._study.ask()
        taken = leases.take(trial, self._storage, self._run.worker)
        return trial if taken else "busy"

    def _train(self, trial: optuna.Trial, objective: Objective) -> None:
        """Run a trial and close it; what a lost trial comes to is thrown away."""
        try:
            try:
                value = objective(trial)
            except optuna.TrialPruned:
                self._study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            except TRIAL_FAILURES:
                self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            except (optuna.exceptions.UpdateFinishedTrialError, *STORAGE_ERRORS):
                raise  # there is nothing to be written about the trial any more, or nowhere
            except (Exception, KeyboardInterrupt):
                # Stopped, or ended by what is no fault of the trial: its worker was not lost.
                with contextlib.suppress(*STORAGE_ERRORS):
                    self._leave(trial)
                raise
            else:
                self._study.tell(trial, value, skip_if_finished=True)
        except optuna.exceptions.UpdateFinishedTrialError:
            self._run.progress.message(
                f"{self._run.experiment.name} trial {trial.number}: given to another worker "
                "meanwhile; this one's result is thrown away"
            )
            return
        finished = self._study.get_trials(deepcopy=False)[trial.number]
        if is_finished(finished):
            self._on_finished(_record(finished))

    def _leave(self, trial: optuna.Trial) -> None:
        """Close a trial that an error or a request to stop ended, as its record says if it has one.

        A third request may come while the record is being stored.
        """
        left = self._study.get_trials(deepcopy=False)[trial.number]
        leases.close(self._study, left, cut_off=RECORD not in left.user_attrs)


def open_search(run: ExperimentRun, storage: BaseStorage) -> optuna.Study:
    """Open or make the Optuna study of an experiment.

    Its name carries the experiment's fingerprint, so that trials on other data, settings, code or
    another grid are never mixed in.
    """
    return optuna.create_study(
        study_name=f"{run.experiment.name}@{run.identity.fingerprint}",
        storage=storage,
        direction="minimize",
        load_if_exists=True,
        # Every trial is enqueued with its parameters; see _enqueue_next.
        sampler=RandomSampler(seed=run.study.seed),
        pruner=make_pruner(run.study.search, n_folds=run.study.split.n_folds),
    )


def _record(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord.model_validate(trial.user_attrs[RECORD])


def _restore(run: ExperimentRun, study: optuna.Study, recorded: Sequence[TrialRecord]) -> None:
    """Put trials of the ledger that the storage has lost back into it, in their slots.

    The storage may be an older copy of itself, in which they had only been begun; or an
    interruption may have closed them otherwise than their records say.
    """
    trials = study.get_trials(deepcopy=False)
    states = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    stored = [(one, _record(one)) for one in trials if RECORD in one.user_attrs]
    known = {
        record.trial
        for trial, record in stored
        if trial.state in {states[record.state], TrialState.RUNNING}
    }
    by_slot = {record.trial: record for record in (*(one for _, one in stored), *recorded)}
    for _, record in sorted(by_slot.items()):
        if record.trial in known:
            continue
        architecture = Architecture.parse(record.architecture)
        recipe = Recipe.from_dict(record.recipe)
        parameters = forced_parameters(architecture, recipe)
        drawn = optuna.trial.FixedTrial(parameters)
        suggest(drawn, run.experiment.architectures, run.study.search.space)
        attributes: dict[str, Any] = {SLOT: record.trial, RECORD: record.model_dump(mode="json")}
        if record.forced:
            attributes[FORCED] = {"reasons": list(record.forced), "parameters": parameters}
        else:
            attributes[DRAWN] = {"parameters": parameters, "independent": record.independent}
        study.add_trial(
            optuna.trial.create_trial(
                state=states[record.state],
                value=record.validation_loss if record.state == "complete" else None,
                params=drawn.params,
                distributions=drawn.distributions,
                user_attrs=attributes,
                intermediate_values=_reported(run, record),
            )
        )
    trials = study.get_trials(deepcopy=False)
    done = finished_slots(trials)
    for trial in trials:
        if trial.state == TrialState.WAITING and slot_of(trial, trials) in done:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)  # noqa: SLF001


def _reported(run: ExperimentRun, record: TrialRecord) -> dict[int, float]:
    """Return what a trial reported to the pruner: after every epoch, or after every fold."""
    if record.folds:
        return {
            n: value_of_fold(run.study.search, record.folds[:n])
            for n in range(1, len(record.folds) + 1)
        }
    return {point.epoch: point.validation_loss for point in record.curve}


def _repeat_interrupted(study: optuna.Study) -> None:
    """Bring trials that ended without a record back: the caller holds the claim lock.

    One whose record was stored, but which was never closed as that record says, has its end
    already, and so has a slot that another trial has finished; the others are enqueued once more.
    """
    trials = study.get_trials(deepcopy=False)
    done = finished_slots(trials)
    repeated = {trial.user_attrs.get(REPEATS) for trial in trials}
    for trial in trials:
        ended = was_interrupted(trial) and trial.state.is_finished()
        if ended and trial.number not in repeated and slot_of(trial, trials) not in done:
            attributes = repeat_attributes(trial, trials)
            study.enqueue_trial(_parameters(trial), user_attrs=attributes)


def _parameters(trial: FrozenTrial) -> dict[str, Any]:
    """Return what to repeat a trial with."""
    given = trial.user_attrs.get(FORCED) or trial.user_attrs[DRAWN]
    return dict(given["parameters"])


def _enqueue_next(run: ExperimentRun, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """Enqueue the next extreme that is not in the search yet, else what the sampler draws.

    One at a time: enqueued all at once, extremes would go before the repetition of an interrupted
    trial, and the search would no longer be the one that was not interrupted. A drawn trial is a
    function of the search's seed, its slot and the trials before, and is written down whole before
    it is begun, so that its repetition is the same trial.
    """
    settings, experiment = run.study.search, run.experiment
    slot = next_slot(trials)
    extremes = experiment.extremes if settings.extremes_first else ()
    known = {
        tuple(trial.user_attrs[FORCED]["reasons"]) for trial in trials if FORCED in trial.user_attrs
    }
    for extreme in extremes:
        if extreme.reasons not in known:
            recipe = central_recipe(settings.space)
            parameters = dict(forced_parameters(extreme.architecture, recipe))
            forced = {"reasons": list(extreme.reasons), "parameters": parameters}
            study.enqueue_trial(parameters, user_attrs={SLOT: slot, FORCED: forced})
            return
    draw = draw_trial(
        settings,
        experiment.architectures,
        seed=derive_seed(run.study.seed, experiment.name),
        slot=slot,
        n_extremes=len(extremes),
        history=trials,
        tried=[
            proposal_of(_parameters(trial))
            for trial in trials
            if FORCED in trial.user_attrs or DRAWN in trial.user_attrs
        ],
    )
    parameters = dict(forced_parameters(draw.architecture, draw.recipe))
    drawn = {
        "parameters": parameters,
        "n_redrawn": draw.n_redrawn,
        "source": draw.source,
        "independent": draw.source == "sampler"
        and is_independent(settings, slot, n_extremes=len(extremes)),
    }
    study.enqueue_trial(parameters, user_attrs={SLOT: slot, DRAWN: drawn})


def proposal_of(parameters: Mapping[str, Any]) -> tuple[Architecture, Recipe]:
    """Return the architecture and recipe that parameters stand for."""
    sizes = {name.partition("@")[0]: value for name, value in parameters.items()}
    architecture = Architecture(
        **{name: sizes[name] for name in ("d_model", "n_layers", "n_heads", "d_ff")}
    )
    recipe = Recipe.from_dict({one.name: sizes[one.name] for one in fields(Recipe)})
    return architecture, recipe

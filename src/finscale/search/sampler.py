"""A TPE sampler whose draws for a trial depend on the trial's place, not on the process.

Re-creating ``TPESampler(seed=7)`` when a search is resumed would repeat its first draws. Here every
trial has a sampler of its own, seeded from the study's seed and the trial's slot, so that a search
that was interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from finscale.search.slots import slot_of
from finscale.seeds import derive_seed


class SlotSeededSampler(BaseSampler):
    """Multivariate, grouped TPE, seeded per slot.

    Parameters
    ----------
    seed
        Of the search.
    n_startup_trials
        Trials drawn at random before TPE takes over.
    """

    def __init__(self, *, seed: int, n_startup_trials: int) -> None:
        self._seed = seed
        self._n_startup_trials = n_startup_trials
        self._sampler: TPESampler | None = None

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        slot = slot_of(trial, study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._sampler = TPESampler(
                seed=derive_seed(self._seed, "sampler", slot),
                n_startup_trials=self._n_startup_trials,
                multivariate=True,
                group=True,
            )
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Delegate to the trial's sampler."""
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Delegate to the trial's sampler."""
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Delegate to the trial's sampler."""
        return self._own.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,
    ) -> None:
        """Delegate to the trial's sampler, unless the trial was begun by a process that is gone."""
        if self._sampler is not None:
            self._sampler.after_trial(study, trial, state, values)

    @property
    def _own(self) -> TPESampler:
        if self._sampler is None:
            raise RuntimeError("before_trial has not been called")
        return self._sampler

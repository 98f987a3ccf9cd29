"""What stops a sampled trial that falls behind.

Chosen by measurement: docs/decisions/0011-pruning.md. Every pruner here decides from the values in
the storage alone, so that a resumed search prunes what an uninterrupted one would have. Hyperband
does not: it deals trials to brackets by their numbers, which a repeated trial has another of.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

from finscale.errors import StudyError
from finscale.search.folds import LossOnFold, pooled_loss
from finscale.study import Search

# Trials that must be complete before their median says anything; the extremes are.
N_STARTUP_TRIALS = 5
# The signed-rank test of n folds that are all worse has p = 1 / 2^n: 1 in 16 for four.
_P_THRESHOLD = 0.1
_MIN_FOLDS_WILCOXON = 4
# A share of epochs that is a whole number must not be missed by the last bit.
_SLACK = 1e-9


class ScheduleMedianPruner(BasePruner):
    """Prunes a trial whose best loss is above the others' median at its point of the schedule.

    Optuna's median pruner, but for what it compares: schedules differ in length, and at the same
    epoch one trial has its learning rate almost down and another is still warming up. A trial at
    epoch e of E is compared with complete trials of E' epochs at epoch e E' / E, rounded down; one
    that had stopped by then counts with its best loss.

    Parameters
    ----------
    after_frac, after_epochs
        Share of the schedule, and epochs, before a trial can be pruned.
    n_startup_trials
        Complete trials before any is.
    """

    def __init__(self, *, after_frac: float, after_epochs: int, n_startup_trials: int) -> None:
        self._after_frac = after_frac
        self._after_epochs = after_epochs
        self._n_startup_trials = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide from the epochs reported so far."""
        epoch = trial.last_step
        if epoch is None or epoch < self._after_epochs:
            return False
        progress = epoch / trial.params["epochs"] + _SLACK
        if progress < self._after_frac:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        losses = [loss for other in complete if (loss := _loss_at(other, progress)) is not None]
        if len(losses) < self._n_startup_trials:
            return False
        return min(trial.intermediate_values.values()) > statistics.median(losses)


class FoldMedianPruner(BasePruner):
    """Prunes a trial whose pooled loss so far is above the median of others after the same fold.

    Optuna's median pruner takes the best of a trial's values so far. Folds differ in how hard they
    are, so that the best is that of the easiest fold, whatever the trial does later.

    Parameters
    ----------
    after_folds
        Folds before a trial can be pruned, at least 1.
    n_startup_trials
        Complete trials before any is.
    """

    def __init__(self, after_folds: int, n_startup_trials: int) -> None:
        self._after_folds = after_folds
        self._n_startup_trials = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide from the last fold reported."""
        fold = trial.last_step
        if fold is None or fold < self._after_folds:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        losses = [
            other.intermediate_values[fold]
            for other in complete
            if fold in other.intermediate_values
        ]
        if len(losses) < self._n_startup_trials:
            return False
        return trial.intermediate_values[fold] > statistics.median(losses)


def _loss_at(trial: FrozenTrial, progress: float) -> float | None:
    """Return a trial's loss at a share of its schedule; its best if it had stopped by then."""
    epoch = int(progress * trial.params["epochs"])
    if trial.last_step is None or epoch < 1:
        return None
    if epoch > trial.last_step:
        return min(trial.intermediate_values.values())
    return trial.intermediate_values[epoch]


def make_pruner(
    settings: Search, *, n_folds: int = 1, n_startup_trials: int = N_STARTUP_TRIALS
) -> BasePruner:
    """Return the pruner that a search asks after every epoch or, with folds, after every fold.

    Parameters
    ----------
    n_folds
        Walk-forward folds of a trial. With one, the steps are epochs from 1 and their values the
        validation loss; with more, the steps are folds from 1 and their values as
        :func:`value_of_fold` says.
    n_startup_trials
        Complete trials before the median prunes.

    Raises
    ------
    StudyError
        If the pruner could never prune.
    """
    if settings.pruner == "none":
        return NopPruner()
    if settings.pruner == "wilcoxon":
        if n_folds < _MIN_FOLDS_WILCOXON:
            raise StudyError(
                f"search.pruner: wilcoxon compares trials fold by fold and can tell nothing from "
                f"fewer than {_MIN_FOLDS_WILCOXON} folds; got split.n_folds: {n_folds}; "
                "give more folds or take median"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return WilcoxonPruner(p_threshold=_P_THRESHOLD, n_startup_steps=_MIN_FOLDS_WILCOXON)
    if n_folds > 1:
        return FoldMedianPruner(1, n_startup_trials)
    return ScheduleMedianPruner(
        after_frac=settings.prune_after_frac,
        after_epochs=settings.prune_after_epochs,
        n_startup_trials=n_startup_trials,
    )


def value_of_fold(settings: Search, scores: Sequence[LossOnFold]) -> float:
    """Return what a trial reports for its last fold: to be compared with the same fold of others.

    The pooled loss of the folds so far; to the Wilcoxon pruner, which tests differences fold by
    fold, the fold's own loss.
    """
    if settings.pruner == "wilcoxon":
        return scores[-1].validation_loss
    return pooled_loss(scores)

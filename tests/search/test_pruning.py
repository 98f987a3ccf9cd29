from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from finscale.errors import StudyError
from finscale.search.folds import FoldScore
from finscale.search.pruning import make_pruner, value_of_fold
from finscale.study import Search
from finscale.study_file import parse_study

SCHEDULES = optuna.distributions.CategoricalDistribution((10, 16, 20))


def begun(study: optuna.Study, epochs: int) -> optuna.Trial:
    study.enqueue_trial({"epochs": epochs})
    return study.ask(fixed_distributions={"epochs": SCHEDULES})


def step_of_pruning(trial: optuna.Trial, values: Sequence[float]) -> int:
    """Return the step at which a trial is pruned; 0 if never."""
    for step, value in enumerate(values, start=1):
        trial.report(value, step)
        if trial.should_prune():
            return step
    return 0


def stops(
    settings: Search,
    values: Sequence[float],
    *,
    epochs: int = 10,
    n_folds: int = 1,
    n_before: int = 6,
) -> int:
    """Return the step at which a trial is pruned that follows level ones of 0.1, 0.2, …."""
    study = optuna.create_study(pruner=make_pruner(settings, n_folds=n_folds))
    for number in range(n_before):
        trial = begun(study, 10)
        for step in range(1, 11):
            trial.report(0.1 * (number + 1), step)
        study.tell(trial, 0.1 * (number + 1))
    return step_of_pruning(begun(study, epochs), values)


def test_what_is_behind_the_median_is_pruned() -> None:
    # The median of 0.1 … 0.6 is 0.35.
    settings = Search(prune_after_epochs=1)
    assert stops(settings, [0.4] * 5) == 3
    assert stops(settings, [0.3] * 5) == 0
    assert stops(settings, [0.3, 0.9, 0.9, 0.9]) == 0
    assert stops(settings, [0.4, 0.4, 0.4, 0.4, 0.4], epochs=16) == 5
    assert stops(Search(prune_after_epochs=4), [0.4] * 5) == 4
    assert stops(Search(prune_after_epochs=1, prune_after_frac=0.0), [0.4] * 5) == 1


def test_it_waits_for_five_complete_trials() -> None:
    settings = Search(prune_after_epochs=1)
    assert stops(settings, [9.0] * 4, n_before=4) == 0
    assert stops(settings, [9.0] * 4, n_before=5) == 3


def test_trials_are_compared_at_the_same_share_of_their_schedules() -> None:
    study = optuna.create_study(pruner=make_pruner(Search(prune_after_epochs=1)))
    falling = [1.0 - 0.1 * epoch for epoch in range(1, 11)]
    for _ in range(5):
        trial = begun(study, 10)
        for epoch, loss in enumerate(falling, start=1):
            trial.report(loss, epoch)
        study.tell(trial, falling[-1])
    # Half as fast on a schedule twice as long is not behind at any share of it; at the same epoch
    # it would be.
    slow = [1.0 - 0.05 * epoch for epoch in range(1, 21)]
    assert step_of_pruning(begun(study, 20), [loss - 0.001 for loss in slow]) == 0
    # Epochs 6 and 8 of 20 are compared with epochs 3 and 4 of 10, where the others had 0.7 and 0.6.
    assert step_of_pruning(begun(study, 20), [0.75] * 8) == 6
    assert step_of_pruning(begun(study, 20), [0.65] * 10) == 8
    # Epoch 5 of 16, the first after 30%, with epoch 3 of 10.
    assert step_of_pruning(begun(study, 16), [0.69] * 5) == 0
    assert step_of_pruning(begun(study, 16), [0.71] * 5) == 5


def test_a_trial_that_had_stopped_counts_with_its_best() -> None:
    study = optuna.create_study(pruner=make_pruner(Search(prune_after_epochs=1)))
    for _ in range(5):
        trial = begun(study, 10)
        for epoch, loss in enumerate((0.5, 0.4, 0.3, 0.6), start=1):
            trial.report(loss, epoch)
        study.tell(trial, 0.3)
    assert step_of_pruning(begun(study, 10), [0.9, 0.9, 0.29, 0.9, 0.9]) == 0
    # Epoch 4 of the others was bad; at epoch 5 they had stopped, and their best is 0.3.
    assert step_of_pruning(begun(study, 10), [0.9, 0.9, 0.3, 0.5, 0.5]) == 0
    assert step_of_pruning(begun(study, 20), [0.35] * 20) == 6
    assert step_of_pruning(begun(study, 10), [0.35] * 2 + [0.29] + [0.5] * 9) == 0


def test_trials_that_are_not_complete_say_nothing() -> None:
    study = optuna.create_study(pruner=make_pruner(Search(prune_after_epochs=1)))
    for state in (TrialState.PRUNED, TrialState.FAIL):
        for _ in range(6):
            trial = begun(study, 10)
            for epoch in range(1, 6):
                trial.report(0.1, epoch)
            study.tell(trial, state=state)
    assert step_of_pruning(begun(study, 10), [9.0] * 9) == 0


def test_none_prunes_nothing() -> None:
    assert isinstance(make_pruner(Search(pruner="none")), NopPruner)
    assert stops(Search(pruner="none"), [9.0] * 5) == 0


def test_folds_are_pruned_from_the_first_on() -> None:
    settings = Search(prune_after_epochs=5)
    assert stops(settings, [0.4, 0.4], n_folds=3) == 1
    assert stops(settings, [0.3, 0.4], n_folds=3) == 2
    assert stops(settings, [0.3, 0.3], n_folds=3) == 0


def test_a_fold_is_compared_with_the_same_fold_of_others() -> None:
    study = optuna.create_study(pruner=make_pruner(Search(), n_folds=3))
    for _ in range(5):
        trial = begun(study, 10)
        for fold, loss in enumerate((0.2, 0.6, 0.5), start=1):
            trial.report(loss, fold)
        study.tell(trial, 0.5)
    # The easy first fold does not carry a trial through the harder ones.
    assert step_of_pruning(begun(study, 10), (0.19, 0.61, 0.5)) == 2
    assert step_of_pruning(begun(study, 10), (0.2, 0.6, 0.51)) == 3
    assert step_of_pruning(begun(study, 10), (0.19, 0.6, 0.5)) == 0
    assert step_of_pruning(begun(study, 10), (0.21, 0.1, 0.1)) == 1


def test_wilcoxon_stops_what_loses_on_every_fold() -> None:
    settings = Search(pruner="wilcoxon")
    assert stops(settings, [0.2] * 6, n_folds=6) == 4
    assert stops(settings, [0.05] * 6, n_folds=6) == 0
    # Worse on three of four: p = 2/16.
    assert stops(settings, [0.2, 0.2, 0.2, 0.0999], n_folds=4) == 0


@pytest.mark.parametrize("n_folds", [1, 3])
def test_wilcoxon_with_too_few_folds_is_refused(n_folds: int) -> None:
    with pytest.raises(StudyError, match=rf"fewer than 4 folds; got split.n_folds: {n_folds}"):
        make_pruner(Search(pruner="wilcoxon"), n_folds=n_folds)


def score(fold: int, n_rows: int, loss: float) -> FoldScore:
    return FoldScore(fold, n_rows, 0.7, loss, 0.5, 1, (), "epochs", 1.0)


def test_what_a_fold_reports() -> None:
    scores = [score(1, 100, 0.6), score(2, 300, 0.4)]
    # (100 x 0.6 + 300 x 0.4) / 400.
    assert value_of_fold(Search(), scores) == pytest.approx(0.45)
    assert value_of_fold(Search(), scores[:1]) == pytest.approx(0.6)
    assert value_of_fold(Search(pruner="wilcoxon"), scores) == 0.4


def test_files_of_before_there_was_a_choice_are_read() -> None:
    def pruner(**search: object) -> str:
        return parse_study({"name": "a", "search": search}).search.pruner

    assert pruner(prune=False) == "none"
    assert pruner(prune=True) == "median"
    with pytest.raises(StudyError, match=r"search.prune: unknown setting; did you mean 'pruner'\?"):
        pruner(prune=False, pruner="median")
    with pytest.raises(StudyError, match=r"search.pruner: got 'x'"):
        pruner(pruner="x")

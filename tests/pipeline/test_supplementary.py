"""Chosen architectures beside a search: what they record, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finscale.errors import StopRequestedError, StudyError
from finscale.evaluation.metrics import log_loss, sigmoid
from finscale.models.architecture import Architecture
from finscale.pipeline.book import RecordBook
from finscale.pipeline.supplementary import (
    check_supplementary,
    complete_recipe,
    train_listed,
    train_supplementary,
)
from finscale.progress import TextProgress, describe_outcome
from finscale.records import SupplementaryRecord, supplementary_runs
from finscale.rundir import RunDirectory
from finscale.scaling.ledger import count_test_scorings
from finscale.search.experiment_run import ExperimentRun
from finscale.search.space import central_recipe
from finscale.study import PartialRecipe
from finscale.training.checkpoint import load_tensors
from finscale.training.loop import DivergedError, build_model, score
from finscale.training.recipe import Recipe
from tiny import NAMES, tiny_prepared, tiny_run, tiny_study

# Twice as wide as the grid's widest.
OUTSIDE = Architecture(16, 2, 2, 24)
RECIPE = Recipe(learning_rate=3e-3, weight_decay=1e-3, dropout=0.1, warmup_steps=1, epochs=2)
NAME = NAMES[-1]


def book_of(directory: RunDirectory) -> RecordBook:
    return RecordBook(directory, tiny_prepared().identities)


def run_in(directory: RunDirectory, **replaced: Any) -> ExperimentRun:
    return tiny_run(directory.root, **replaced)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def without_times(record: SupplementaryRecord) -> dict[str, Any]:
    return record.model_dump(exclude={"created_at", "duration_s"})


def test_a_run_is_recorded_with_its_built_count_and_curve(directory: RunDirectory) -> None:
    run, book = run_in(directory), book_of(directory)
    [record] = train_supplementary(run, OUTSIDE, RECIPE, 1, book)
    assert OUTSIDE not in run.experiment.architectures
    shape = run.experiment.shape
    jobs_model = build_model(run.job(OUTSIDE, RECIPE, record.seed), torch.device("cpu"))
    assert record.n_parameters == sum(one.numel() for one in jobs_model.parameters())
    assert not 0.75 * 2500 <= record.n_parameters <= 1.25 * 2500
    assert record.architecture == "16x2x2x24"
    assert record.recipe == record.asked == RECIPE.as_dict()
    assert (record.state, record.reason) == ("complete", "stopped by epochs")
    assert [point.epoch for point in record.curve] == [1, 2]
    losses = [point.validation_loss for point in record.curve]
    assert record.validation_loss == min(losses)
    assert record.best_epoch == 1 + losses.index(min(losses))
    assert record.scores is None
    assert record.experiment == NAME
    assert shape.n_features == 25
    assert book_of(directory).current == [record]


def test_a_count_outside_the_budget_is_said_once(directory: RunDirectory) -> None:
    lines: list[str] = []
    run = run_in(directory, progress=TextProgress(lines.append))
    inside = run.experiment.architectures[0]
    for architecture, n_seeds in ((inside, 1), (Architecture(4, 1, 1, 8), 1), (OUTSIDE, 2)):
        train_supplementary(run, architecture, RECIPE, n_seeds, book_of(directory))
    keeps = "the search keeps within 25% of it"
    assert [line for line in lines if "the search keeps" in line] == [
        f"{NAME}: 4x1x1x8 has 1,233 parameters, 51% below the budget; {keeps}",
        f"{NAME}: 16x2x2x24 has 8,161 parameters, 226% above the budget; {keeps}",
    ]


def test_the_recorded_loss_is_that_of_the_kept_weights(directory: RunDirectory) -> None:
    run = run_in(directory)
    [record] = train_supplementary(run, OUTSIDE, RECIPE, 1, book_of(directory))
    [weights] = (directory.experiment(NAME).root / "models").iterdir()
    model = build_model(run.job(OUTSIDE, RECIPE, record.seed), run.device)
    model.load_state_dict(load_tensors(weights)[0])
    rows = run.data.split.validation
    probabilities = sigmoid(score(model, run.windows(), torch.from_numpy(rows)).numpy())
    labels = run.data.labels_T[rows]
    assert record.validation_loss == pytest.approx(log_loss(probabilities, labels), rel=1e-6)
    base = log_loss(np.full(len(rows), run.data.base_rate), labels)
    assert record.validation_skill == pytest.approx(1 - record.validation_loss / base)


def test_the_search_and_its_effort_are_left_alone(copied: RunDirectory) -> None:
    before = book_of(copied)
    trials, best = before.trials(NAME), before.best_trial(NAME)
    scorings = count_test_scorings(before.all)
    files = {
        path: path.read_bytes()
        for path in (copied.experiment(NAME).all_trials, copied.experiment(NAME).best)
    }
    train_supplementary(run_in(copied), OUTSIDE, RECIPE, 1, before)
    after = book_of(copied)
    assert (after.trials(NAME), after.best_trial(NAME)) == (trials, best)
    assert count_test_scorings(after.all) == scorings
    assert len(supplementary_runs(after.all)) == 1
    assert all(path.read_bytes() == content for path, content in files.items())


def test_seeds_differ_and_are_shared_between_architectures(directory: RunDirectory) -> None:
    run, book = run_in(directory), book_of(directory)
    first = train_supplementary(run, OUTSIDE, RECIPE, 2, book)
    other = train_supplementary(run, Architecture(4, 1, 1, 8), RECIPE, 1, book)
    assert first[0].seed != first[1].seed
    assert first[0].validation_loss != first[1].validation_loss
    assert other[0].seed == first[0].seed


def test_nothing_is_trained_twice(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    run, book = run_in(directory), book_of(directory)
    first = train_supplementary(run, OUTSIDE, RECIPE, 1, book)

    def trains(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patched:
        patched.setattr(ExperimentRun, "train", trains)
        assert train_supplementary(run, OUTSIDE, RECIPE, 1, book_of(directory)) == first
    again = train_supplementary(run, OUTSIDE, RECIPE, 2, book_of(directory))
    assert again[0] == first[0]
    assert len(book_of(directory).current) == 2


def test_a_record_that_a_crash_took_is_made_from_the_weights(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lost] = train_supplementary(run_in(directory), OUTSIDE, RECIPE, 1, book_of(directory))
    directory.ledger.path.unlink()
    monkeypatch.setattr(ExperimentRun, "train", lambda *_, **__: pytest.fail("trained again"))
    [made] = train_supplementary(run_in(directory), OUTSIDE, RECIPE, 1, book_of(directory))
    assert without_times(made) == without_times(lost)


def test_an_interrupted_run_is_the_uninterrupted_one(
    directory: RunDirectory, tmp_path: Path
) -> None:
    asked: Callable[[], bool] = iter([False, True]).__next__
    with pytest.raises(StopRequestedError):
        train_supplementary(
            run_in(directory, should_stop=asked), OUTSIDE, RECIPE, 1, book_of(directory)
        )
    assert book_of(directory).current == []
    [resumed] = train_supplementary(run_in(directory), OUTSIDE, RECIPE, 1, book_of(directory))
    whole_run = RunDirectory(tmp_path / "whole")
    [whole] = train_supplementary(run_in(whole_run), OUTSIDE, RECIPE, 1, book_of(whole_run))
    assert without_times(resumed) == without_times(whole)
    assert not list((directory.experiment(NAME).root / "checkpoints").iterdir())


def test_a_run_that_diverges_is_recorded_as_failed(directory: RunDirectory) -> None:
    def diverges(run: ExperimentRun, *_: Any, on_epoch: Any, **__: Any) -> None:
        raise DivergedError("train_loss is nan in epoch 1")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ExperimentRun, "train", diverges)
        [record] = train_supplementary(
            run_in(directory), OUTSIDE, RECIPE, 1, book_of(directory), score_test=True
        )
    assert (record.state, record.reason) == ("failed", "train_loss is nan in epoch 1")
    assert (record.validation_loss, record.curve, record.scores) == (None, (), None)
    assert describe_outcome(record).endswith("failed: train_loss is nan in epoch 1")


def test_a_run_that_does_not_fit_in_memory_is_recorded_as_failed(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finscale.search.experiment_run.usable_memory_bytes", lambda _: 1000)
    [record] = train_supplementary(run_in(directory), OUTSIDE, RECIPE, 1, book_of(directory))
    assert record.state == "failed"
    assert "16x2x2x24" in record.reason
    assert record.machine is not None


# --- The test part ------------------------------------------------------------------------------


def test_the_test_part_is_not_read_unless_asked(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(directory)
    split = replace(run.data.split, test=np.array([10**9]))
    hidden = replace(run, data=replace(run.data, split=split))
    train_supplementary(hidden, OUTSIDE, RECIPE, 1, book_of(directory))
    with pytest.raises(IndexError):
        train_supplementary(hidden, OUTSIDE, RECIPE, 1, book_of(directory), score_test=True)


def test_scoring_test_later_adds_a_record_and_counts_as_a_look(directory: RunDirectory) -> None:
    run, book = run_in(directory), book_of(directory)
    [blind] = train_supplementary(run, OUTSIDE, RECIPE, 1, book)
    assert count_test_scorings(book.all) == {}
    both = train_supplementary(run, OUTSIDE, RECIPE, 2, book, score_test=True)
    # Two seeds of one recipe are one look, as they are for final runs.
    assert count_test_scorings(book.all) == {NAME: 1}
    assert [one.scores is not None for one in both] == [True, True]
    scores = both[0].scores
    assert scores is not None
    assert scores.validation["log_loss"] == pytest.approx(blind.validation_loss, rel=1e-6)
    assert scores.test["n"] == len(run.data.split.test)
    kept = supplementary_runs(book_of(directory).all)
    assert [(one.run, one.scores is not None) for one in kept] == [
        (both[0].run, True),
        (both[1].run, True),
    ]
    assert "test skill" in describe_outcome(both[0])
    other = replace_rate(RECIPE, 2e-3)
    train_supplementary(run, OUTSIDE, other, 1, book, score_test=True)
    assert count_test_scorings(book.all) == {NAME: 2}


def replace_rate(recipe: Recipe, learning_rate: float) -> Recipe:
    return replace(recipe, learning_rate=learning_rate)


# --- Recipes and the study's list ---------------------------------------------------------------


def test_a_partial_recipe_is_filled_up_from_the_middle_of_the_space(
    directory: RunDirectory,
) -> None:
    run = run_in(directory)
    centre = central_recipe(run.study.search.space)
    given = PartialRecipe(dropout=0.25, epochs=1)
    assert complete_recipe(run, given, book_of(directory)) == replace(
        centre, dropout=0.25, epochs=1
    )


def test_a_partial_recipe_is_filled_up_from_the_best_trial(finished: RunDirectory) -> None:
    book = book_of(finished)
    best = book.best_trial(NAME)
    assert best is not None
    recipe = complete_recipe(run_in(finished), PartialRecipe(weight_decay=0.0), book)
    assert recipe.as_dict() == {**best.recipe, "weight_decay": 0.0}


LISTED = {
    "supplementary": [
        {"experiment": "2.5K_*", "architecture": "16x2x2x24", "recipe": {"epochs": 1}},
        {"experiment": "1.5K_*", "architecture": "16x1x1x16"},
    ]
}


def test_the_list_is_trained_where_its_pattern_matches(copied: RunDirectory) -> None:
    study = tiny_study(LISTED)
    run, book = run_in(copied, study=study), book_of(copied)
    best = book.best_trial(NAME)
    assert best is not None
    [record] = train_listed(run, book)
    assert (record.architecture, record.asked) == ("16x2x2x24", {"epochs": 1})
    assert record.recipe == {**best.recipe, "epochs": 1}
    # It is the same study to every other record: none of them is stale.
    assert run.identity == tiny_prepared(LISTED).identities[NAME]


def test_an_entry_keeps_its_recipe_when_a_better_trial_turns_up(copied: RunDirectory) -> None:
    run, book = run_in(copied, study=tiny_study(LISTED)), book_of(copied)
    [first] = train_listed(run, book)
    best = book.best_trial(NAME)
    assert best is not None
    better = best.model_copy(
        update={
            "uid": "better",
            "trial": 99,
            "validation_loss": 0.01,
            "recipe": {**best.recipe, "learning_rate": 5e-3},
        }
    )
    book.add(better)
    assert train_listed(run, book) == [first]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"experiment": "9K_*", "architecture": "16x2x2x24"},
            (
                "supplementary.0.experiment: got '9K_*', which matches no experiment; there are "
                f"{NAMES[0]}, {NAMES[1]}"
            ),
        ),
        (
            {"architecture": "16x2x3x24"},
            (
                "supplementary.0.architecture: n_heads 3 does not divide d_model 16; the nearest "
                "that do are 2 and 4"
            ),
        ),
    ],
)
def test_a_list_that_cannot_be_trained_is_refused(entry: dict[str, Any], message: str) -> None:
    study = tiny_study({"supplementary": [entry]})
    with pytest.raises(StudyError) as caught:
        check_supplementary(study, tiny_prepared().experiments)
    assert str(caught.value) == message


def test_a_list_that_can_be_trained_is_not_refused() -> None:
    check_supplementary(tiny_study(LISTED), tiny_prepared().experiments)

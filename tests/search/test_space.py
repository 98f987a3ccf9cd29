from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from finscale.ladder.budgets import parse_budget
from finscale.ladder.grid import architectures_within, default_grid
from finscale.models.architecture import Architecture, InputShape
from finscale.search.space import central_recipe, forced_parameters, suggest
from finscale.study import LogRange, Space
from finscale.training.recipe import Recipe

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
SPACE = Space()
RECIPE = Recipe(learning_rate=3e-4, weight_decay=1e-3, dropout=0.3, warmup_steps=200, epochs=75)


def grid_of(budget: str) -> tuple[Architecture, ...]:
    target = parse_budget(budget)
    return architectures_within(target, default_grid(target), SHAPE, 0.25)


@pytest.mark.parametrize("budget", ["2.5K", "160K", "2M", "2B"])
def test_every_architecture_of_a_budget_can_be_forced(budget: str) -> None:
    cells = grid_of(budget)
    for cell in cells:
        forced = forced_parameters(cell, RECIPE)
        trial = FixedTrial(forced)
        assert suggest(trial, cells, SPACE) == (cell, RECIPE)
        # Nothing is enqueued that is not asked for, which Optuna would ignore in silence.
        assert trial.params == forced


def test_the_names_of_the_parameters() -> None:
    assert forced_parameters(Architecture(64, 3, 4, 256), RECIPE) == {
        "d_model": 64,
        "n_layers@d64": 3,
        "d_ff@d64,L3": 256,
        "n_heads@d64": 4,
        "learning_rate": 3e-4,
        "weight_decay": 1e-3,
        "dropout": 0.3,
        "warmup_steps": 200,
        "epochs": 75,
    }


def drawn(study: optuna.Study, cells: tuple[Architecture, ...], n: int) -> set[Architecture]:
    found = set()
    for number in range(n):
        trial = study.ask()
        architecture, recipe = suggest(trial, cells, SPACE)
        found.add(architecture)
        assert trial.params == forced_parameters(architecture, recipe)
        study.tell(trial, float(number % 7))
    return found


def test_random_trials_reach_every_architecture_and_nothing_else() -> None:
    cells = grid_of("2.5K")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    # Each draw of the rarest of the cells has a chance of more than 1 in 20.
    assert drawn(study, cells, 200) == set(cells)


def test_one_study_takes_trials_of_all_shapes() -> None:
    # Optuna refuses a parameter whose choices differ from those it had before.
    cells = grid_of("20M")
    assert len(cells) > 50
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for cell in cells:
        study.enqueue_trial(dict(forced_parameters(cell, RECIPE)))
    assert drawn(study, cells, len(cells)) == set(cells)
    assert drawn(study, cells, 150) <= set(cells)


def test_what_is_enqueued_is_what_is_suggested() -> None:
    cells = grid_of("2.5K")
    study = optuna.create_study()
    for cell in cells:
        study.enqueue_trial(dict(forced_parameters(cell, RECIPE)))
    assert [suggest(study.ask(), cells, SPACE) for _ in cells] == [(cell, RECIPE) for cell in cells]


def test_the_central_recipe() -> None:
    assert central_recipe(
        Space(
            learning_rate=LogRange(low=1e-4, high=1e-2),
            weight_decay=LogRange(low=0.02, high=0.5),
            dropout=(0.5, 0.1, 0.3),
            warmup_steps=(100, 400, 200, 300),
            epochs=(7,),
        )
    ) == Recipe(
        learning_rate=pytest.approx(1e-3),
        weight_decay=pytest.approx(0.1),
        dropout=0.3,
        warmup_steps=200,
        epochs=7,
    )


@given(st.floats(1e-12, 1e3), st.floats(1, 100))
def test_the_central_recipe_lies_in_the_space(low: float, ratio: float) -> None:
    # A forced value outside of its range is trained as it is, with a mere warning.
    span = LogRange(low=low, high=low * ratio)
    recipe = central_recipe(Space(learning_rate=span, weight_decay=span))
    assert span.low <= recipe.learning_rate <= span.high
    assert span.low <= recipe.weight_decay <= span.high


@given(st.floats(1e-12, 1e3))
def test_a_range_of_one_value_gives_that_value(value: float) -> None:
    recipe = central_recipe(Space(learning_rate=LogRange(low=value, high=value)))
    assert recipe.learning_rate == value

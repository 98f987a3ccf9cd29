from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.models.architecture import Architecture
from finscale.search.novelty import Draw, Proposal, draw_new, is_near
from finscale.training.recipe import Recipe

SMALL, OTHER, THIRD = (Architecture(8, n, 2, 16) for n in (1, 2, 3))
GRID = (SMALL, OTHER, THIRD)
RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-2, dropout=0.1, warmup_steps=20, epochs=10)


def recipe(**changes: Any) -> Recipe:
    return replace(RECIPE, **changes)


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({}, True),
        ({"learning_rate": 1.05e-3}, True),
        ({"learning_rate": 1e-3 / 1.05}, True),
        ({"learning_rate": 1.06e-3}, False),
        ({"weight_decay": 0.96e-2}, True),
        ({"weight_decay": 0.94e-2}, False),
        ({"learning_rate": 1.04e-3, "weight_decay": 1.04e-2}, True),
        ({"dropout": 0.3}, False),
        ({"warmup_steps": 50}, False),
        ({"epochs": 16}, False),
    ],
)
def test_what_counts_as_the_same_again(changes: dict[str, Any], near: bool) -> None:
    assert is_near((SMALL, RECIPE), (SMALL, recipe(**changes))) == near
    assert is_near((SMALL, recipe(**changes)), (SMALL, RECIPE)) == near


@pytest.mark.parametrize("change", ["d_model", "n_layers", "n_heads", "d_ff"])
def test_another_architecture_is_never_near(change: str) -> None:
    other = replace(SMALL, **{change: 2 * getattr(SMALL, change)})
    assert not is_near((SMALL, RECIPE), (other, RECIPE))


@given(
    rates=st.tuples(st.floats(1e-9, 1e3), st.floats(1e-9, 1e3)),
    decays=st.tuples(st.floats(1e-9, 1e3), st.floats(1e-9, 1e3)),
)
def test_nearness_is_symmetric_and_holds_for_itself(
    rates: tuple[float, float], decays: tuple[float, float]
) -> None:
    one, other = (
        (SMALL, recipe(learning_rate=rate, weight_decay=decay))
        for rate, decay in zip(rates, decays, strict=True)
    )
    assert is_near(one, one)
    assert is_near(one, other) == is_near(other, one)
    ratios = [abs(math.log(rates[0] / rates[1])), abs(math.log(decays[0] / decays[1]))]
    if max(ratios) > 0.049:
        assert not is_near(one, other)
    if max(ratios) < 0.048:
        assert is_near(one, other)


def always(*proposals: Proposal) -> Callable[[int], Proposal]:
    """Return the given proposals in turn, the last one from then on."""
    return lambda attempt: proposals[min(attempt, len(proposals) - 1)]


def test_a_new_proposal_is_taken_as_it_is() -> None:
    assert draw_new(always((SMALL, RECIPE)), [], GRID, seed=0) == Draw(SMALL, RECIPE, 0, "sampler")
    tried = [(OTHER, RECIPE), (SMALL, recipe(epochs=16))]
    assert draw_new(always((SMALL, RECIPE)), tried, GRID, seed=0).source == "sampler"


def test_the_sampler_is_asked_again() -> None:
    far = recipe(learning_rate=5e-3)
    propose = always((SMALL, RECIPE), (SMALL, recipe(learning_rate=1.01e-3)), (SMALL, far))
    draw = draw_new(propose, [(SMALL, RECIPE)], GRID, seed=0)
    assert draw == Draw(SMALL, far, 2, "sampler")


def test_a_sampler_that_keeps_to_what_was_tried_gets_an_untried_architecture() -> None:
    tried = [(SMALL, RECIPE), (OTHER, recipe(epochs=16))]
    draw = draw_new(always((SMALL, RECIPE)), tried, GRID, seed=0, n_attempts=5)
    assert draw == Draw(THIRD, RECIPE, 5, "untried")


def test_the_untried_architecture_is_drawn_by_the_seed() -> None:
    grid = tuple(Architecture(8, n, 2, 16) for n in range(1, 30))
    tried = [(SMALL, RECIPE)]

    def chosen(seed: int, order: int = 1) -> Architecture:
        return draw_new(always((SMALL, RECIPE)), tried, grid[::order], seed=seed).architecture

    assert [chosen(seed) for seed in range(9)] == [chosen(seed, -1) for seed in range(9)]
    assert len({chosen(seed) for seed in range(30)}) > 10
    assert {chosen(seed) for seed in range(100)} == set(grid) - {SMALL}


def test_where_every_architecture_was_tried_one_is_taken_with_another_recipe() -> None:
    tried = [(SMALL, RECIPE), (OTHER, recipe(dropout=0.5)), (THIRD, RECIPE)]
    draw = draw_new(always((SMALL, RECIPE)), tried, GRID, seed=3)
    assert (draw.architecture, draw.source) == (OTHER, "untried")


def test_where_there_is_nothing_new_the_proposal_is_repeated() -> None:
    tried = [(one, RECIPE) for one in GRID]
    draw = draw_new(always((OTHER, RECIPE)), tried, GRID, seed=0, n_attempts=4)
    assert draw == Draw(OTHER, RECIPE, 4, "repeat")


@given(st.data())
def test_nothing_is_near_to_anything_tried_unless_it_says_so(data: st.DataObject) -> None:
    recipes = st.builds(
        recipe, dropout=st.sampled_from([0.1, 0.3]), learning_rate=st.sampled_from([1e-3, 2e-3])
    )
    pairs = st.tuples(st.sampled_from(GRID), recipes)
    tried = data.draw(st.lists(pairs, max_size=15))
    proposals = data.draw(st.lists(pairs, min_size=1, max_size=4))
    draw = draw_new(always(*proposals), tried, GRID, seed=1, n_attempts=4)
    known = any(is_near((draw.architecture, draw.recipe), other) for other in tried)
    assert known == (draw.source == "repeat")

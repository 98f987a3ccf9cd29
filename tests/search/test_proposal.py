from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from finscale.ladder.budgets import parse_budget
from finscale.ladder.grid import architectures_within, default_grid
from finscale.models.architecture import Architecture, InputShape
from finscale.search.novelty import Draw, Proposal, is_near
from finscale.search.proposal import draw_trial, is_independent, propose
from finscale.search.space import forced_parameters, suggest
from finscale.study import LogRange, Search, Space

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
GRID = architectures_within(parse_budget("20K"), default_grid(parse_budget("20K")), SHAPE, 0.25)
SPACE = Space()


def drawn(slot: int, history: Sequence[FrozenTrial] = (), **changes: int | bool) -> Proposal:
    options = {"seed": 7, "attempt": 0, "independent": False} | changes
    return propose(history, GRID, SPACE, slot=slot, **options)  # type: ignore[arg-type] # mixed


def history(n: int) -> list[FrozenTrial]:
    """Return trials of which those of width 16 or less are the best."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(n):
        trial = study.ask()
        architecture, recipe = suggest(trial, GRID, SPACE)
        study.tell(trial, (architecture.d_model > 16) + recipe.learning_rate)
    return study.get_trials()


# Which slots are random.


def random_slots(settings: Search, n: int = 30, n_extremes: int = 0) -> list[int]:
    return [slot for slot in range(n) if is_independent(settings, slot, n_extremes=n_extremes)]


def test_start_up_trials_and_a_share_of_those_after_are_random() -> None:
    settings = Search(n_startup_trials=5, random_share=0.2)
    assert random_slots(settings) == [0, 1, 2, 3, 4, 9, 14, 19, 24, 29]
    later = [slot for slot in random_slots(settings, 33, n_extremes=3) if slot >= 3]
    assert later == [3, 4, 5, 6, 7, 12, 17, 22, 27, 32]


def test_the_ends_of_the_share() -> None:
    assert random_slots(Search(n_startup_trials=5, random_share=0)) == [0, 1, 2, 3, 4]
    assert random_slots(Search(n_startup_trials=5, random_share=1)) == list(range(30))
    assert random_slots(Search(sampler="random", random_share=0)) == list(range(30))


@given(st.floats(0, 1), st.integers(1, 300))
def test_the_share_is_kept_to_within_one_trial(share: float, n: int) -> None:
    settings = Search(n_startup_trials=1, random_share=share)
    n_random = len(random_slots(settings, n + 1)) - 1
    assert abs(n_random - share * n) <= 1


# What is drawn.


@pytest.mark.parametrize("independent", [True, False])
def test_a_proposal_follows_from_seed_slot_and_attempt(*, independent: bool) -> None:
    past = history(12)
    one = drawn(12, past, independent=independent)
    assert one == drawn(12, past, independent=independent)
    others = [
        drawn(13, past, independent=independent),
        drawn(12, past, independent=independent, attempt=1),
        drawn(12, past, independent=independent, seed=8),
    ]
    assert all(not is_near(one, other) for other in others)
    assert one[0] in GRID


def test_an_independent_trial_does_not_depend_on_the_others() -> None:
    assert drawn(5, history(3), independent=True) == drawn(5, history(20), independent=True)


def test_tpe_learns_from_the_history() -> None:
    past = history(60)
    narrow = sum(drawn(slot, past)[0].d_model <= 16 for slot in range(60, 90))
    at_random = sum(drawn(slot, past, independent=True)[0].d_model <= 16 for slot in range(60, 90))
    assert narrow > 20 > at_random


def test_a_proposal_leaves_the_history_as_it_was() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(6):
        trial = study.ask()
        suggest(trial, GRID, SPACE)
        study.tell(trial, 1.0)
    running = study.ask()
    suggest(running, GRID, SPACE)
    study.enqueue_trial(dict(forced_parameters(*drawn(0, independent=True))))
    before = study.get_trials()
    assert {trial.state for trial in before} == {
        TrialState.COMPLETE,
        TrialState.RUNNING,
        TrialState.WAITING,
    }
    # A trial that waits is not what is proposed.
    assert drawn(8, study.get_trials(deepcopy=False)) == drawn(8, before[:-1])
    assert study.get_trials() == before


def failed() -> FrozenTrial:
    return optuna.trial.create_trial(state=TrialState.FAIL)


@pytest.mark.parametrize("past", [[], [failed()] * 3])
def test_tpe_without_anything_to_learn_from_still_proposes(past: list[FrozenTrial]) -> None:
    assert drawn(3, past)[0] in GRID


def searched(settings: Search, n_slots: int, grid: Sequence[Architecture]) -> list[Draw]:
    """Search with a loss that is the width, and return what each slot was given."""
    search, tried, draws = optuna.create_study(), list[Proposal](), list[Draw]()
    for slot in range(n_slots):
        past = search.get_trials(deepcopy=False)
        draw = draw_trial(
            settings, grid, seed=1, slot=slot, n_extremes=0, history=past, tried=tried
        )
        draws.append(draw)
        tried.append((draw.architecture, draw.recipe))
        search.enqueue_trial(dict(forced_parameters(*tried[-1])))
        asked = search.ask()
        assert suggest(asked, grid, settings.space) == tried[-1]
        search.tell(asked, float(draw.architecture.d_model))
    return draws


def test_a_search_of_a_small_space_goes_through_all_of_it_before_it_repeats() -> None:
    # Four architectures and one recipe but for dropout: eight different trials.
    one = LogRange(low=1e-3, high=1e-3)
    space = Space(
        learning_rate=one, weight_decay=one, dropout=(0.1, 0.3), warmup_steps=(1,), epochs=(2,)
    )
    draws = searched(Search(n_startup_trials=2, space=space), 9, GRID[:4])
    assert [draw.source == "repeat" for draw in draws] == [False] * 8 + [True]
    assert len({(draw.architecture, draw.recipe) for draw in draws[:8]}) == 8
    assert any(draw.n_redrawn for draw in draws[:8])


def test_a_search_draws_the_same_again() -> None:
    settings = Search(n_startup_trials=3, random_share=0.5)
    assert searched(settings, 8, GRID) == searched(settings, 8, GRID)


def test_forced_trials_count_as_tried() -> None:
    settings = Search(sampler="random")
    options = {"seed": 1, "slot": 4, "n_extremes": 3}
    first = draw_trial(settings, GRID, **options, history=[], tried=[])
    forced = (first.architecture, first.recipe)
    again = draw_trial(settings, GRID, **options, history=[], tried=[forced])
    assert (first.n_redrawn, again.n_redrawn, again.source) == (0, 1, "sampler")
    assert not is_near((again.architecture, again.recipe), forced)

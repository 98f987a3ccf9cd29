from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from finscale.baselines.folds import ordered_folds, total_nats
from finscale.baselines.strength import STRENGTHS, choose_strength, logistic

DAY = np.datetime64("2001-01-01")
N_TRAIN = 1200


def with_noise(n_noise: int, weight: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One feature that matters by ``weight``, and others that do not; 30% of labels are 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2 * N_TRAIN, 1 + n_noise)).astype(np.float32)
    p = 1 / (1 + np.exp(0.85 - weight * x[:, 0]))
    return x, (rng.random(len(x)) < p).astype(np.float32)


def skill_of(strength: float, x: np.ndarray, y: np.ndarray) -> float:
    """Skill on the later half of a model of the earlier one."""
    model = logistic(strength).fit(x[:N_TRAIN], y[:N_TRAIN])
    later = y[N_TRAIN:]
    base = np.full(len(later), y[:N_TRAIN].mean())
    return 1 - total_nats(model.predict_proba(x[N_TRAIN:])[:, 1], later) / total_nats(base, later)


def choose(x: np.ndarray, y: np.ndarray, horizon: int = 1) -> float:
    return choose_strength(x, y, DAY + np.arange(len(x)), horizon)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_two_hundred_noise_features_do_not_make_a_straw_man(weight: float) -> None:
    x, y = with_noise(200, weight)

    strength = choose(x[:N_TRAIN], y[:N_TRAIN])

    assert strength < 0.02
    assert skill_of(strength, x, y) > max(-0.02, skill_of(1.0, x, y) + 0.05)
    assert weight == 0.0 or skill_of(strength, x, y) > 0.05


def test_a_few_features_that_matter_are_not_held_back() -> None:
    x, y = with_noise(2, 1.5)

    assert choose(x[:N_TRAIN], y[:N_TRAIN]) >= 0.01
    best = max(skill_of(strength, x, y) for strength in STRENGTHS)
    assert skill_of(choose(x[:N_TRAIN], y[:N_TRAIN]), x, y) > best - 0.005


def test_it_is_the_minimum_over_fits_made_one_by_one() -> None:
    x, y = with_noise(30, 0.5, seed=2)
    x, y = x[:500], y[:500]
    folds = ordered_folds(DAY + np.arange(500), y, 5)
    losses = [
        sum(
            total_nats(
                logistic(c).fit(x[f.train], y[f.train]).predict_proba(x[f.validation])[:, 1],
                y[f.validation],
            )
            for f in folds
        )
        for c in STRENGTHS
    ]

    assert choose(x, y, 5) == STRENGTHS[int(np.argmin(losses))]
    assert 0 < np.argmin(losses) < len(STRENGTHS) - 1


def test_the_choice_is_the_same_each_time_and_with_any_number_of_threads() -> None:
    x, y = with_noise(60, 0.5)
    found = set()
    for n_threads in (1, 2, 2):
        with threadpool_limits(n_threads):
            found.add(choose(x[:N_TRAIN], y[:N_TRAIN]))
    assert len(found) == 1


def test_a_panel_is_chosen_for_by_date() -> None:
    x, y = with_noise(40, 0.7, seed=5)
    x, y, dates = np.tile(x[:600], (2, 1)), np.tile(y[:600], 2), DAY + np.arange(600)

    of_panel = choose_strength(x, y, np.tile(dates, 2), 1)

    # Cut by row, a fold would train on copies of the rows that it validates on.
    assert choose(x, y) >= 10 * of_panel
    # A copy of every row doubles the losses and not the penalty: half the C at most.
    assert of_panel < choose(x[:600], y[:600])


def test_the_strongest_is_chosen_where_nothing_can_be_learned() -> None:
    x, _ = with_noise(3, 0.5)
    assert choose(x[:40], np.zeros(40, dtype=np.float32)) == STRENGTHS[0] == pytest.approx(1e-4)
    assert STRENGTHS[-1] == 1.0

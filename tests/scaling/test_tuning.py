from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.scaling.tuning import (
    MIN_TRIALS,
    MIN_TRIALS_TO_BE_TUNED,
    _gain_of_half,
    expected_best,
    judge_tuning,
    tuning_curve,
)

LOSSES = st.lists(st.floats(0.1, 2.0), min_size=1, max_size=5)


@given(losses=LOSSES, k=st.integers(1, 3))
def test_the_expected_best_is_the_mean_over_all_draws(losses, k):
    every = [min(draw) for draw in itertools.product(losses, repeat=k)]
    assert expected_best(np.array([losses]), k)[0] == pytest.approx(np.mean(every))


def test_the_curve_falls_and_lies_within_its_band():
    losses = np.random.default_rng(1).uniform(0.3, 0.5, size=20)
    curve = tuning_curve(losses)
    assert curve.trials == tuple(range(1, 41))
    assert curve.n_independent == 20
    assert all(a >= b for a, b in itertools.pairwise(curve.expected))
    assert all(a >= b for a, b in itertools.pairwise(curve.median))
    for low, median, high in zip(curve.low, curve.median, curve.high, strict=True):
        assert low is None or low <= median
        assert high is None or median <= high
    # Nothing bounds the best of many trials from below but the trials.
    assert curve.low[-1] is None


def test_the_band_holds_the_whole_true_curve_as_often_as_it_says():
    # The median of the lowest of k uniform losses on [0, 1] is 1 - 0.5^(1 / k).
    true = 1.0 - 0.5 ** (1.0 / np.arange(1, 25))
    held = 0
    for seed in range(40):
        losses = np.random.default_rng(seed).uniform(size=12)
        curve = tuning_curve(losses, confidence=0.8, seed=seed)
        low = [0.0 if value is None else value for value in curve.low]
        high = [np.inf if value is None else value for value in curve.high]
        held += bool(np.all((low <= true) & (true <= high)))
    # 32 of 40 with a standard error of 2.5, or more: only whole numbers of trials are looked at.
    assert held >= 26


def test_a_search_is_judged_by_the_noise_between_seeds():
    level = [0.400, 0.4001, 0.4002, 0.4001, 0.4003, 0.4, 0.401, 0.4004]
    assert judge_tuning(tuning_curve(level * 4), 0.002) == "fully_tuned"
    # So few trials may all have missed a recipe that is better.
    assert judge_tuning(tuning_curve(level), 0.002) == "undecided"
    falling = tuning_curve(np.linspace(0.3, 0.6, 8))
    assert judge_tuning(falling, 0.002) == "still_falling"
    gain = falling.gain_of_half
    assert gain is not None
    assert gain.low < gain.estimate < gain.high
    assert judge_tuning(falling, (gain.estimate + gain.high) / 2) == "undecided"
    assert judge_tuning(falling, gain.high) == "undecided"
    many = tuning_curve(np.linspace(0.3, 0.6, MIN_TRIALS_TO_BE_TUNED))
    assert many.gain_of_half is not None
    assert judge_tuning(many, many.gain_of_half.high) == "fully_tuned"


def test_of_trials_that_suffice_a_recipe_as_rare_as_one_in_ten_was_met():
    assert 0.9**MIN_TRIALS_TO_BE_TUNED < 0.05 <= 0.9 ** (MIN_TRIALS_TO_BE_TUNED - 1)


def test_searches_with_a_rare_better_recipe_are_seldom_called_fully_tuned():
    rng = np.random.default_rng(0)
    curve = tuning_curve(np.linspace(0.3, 0.6, 30))
    called = 0
    for seed in range(200):
        better = rng.random(30) < 0.1
        losses = 0.4 - 0.05 * better + 0.002 * rng.standard_normal(30)
        # The band, which takes long, has no part in the judgement.
        gain = _gain_of_half(losses, confidence=0.95, seed=seed)
        called += judge_tuning(replace(curve, gain_of_half=gain), 0.002) == "fully_tuned"
    # Stated: 5%, for a recipe of one in ten.
    assert called <= 20


def test_without_trials_or_noise_nothing_is_said():
    few = tuning_curve([0.4] * (MIN_TRIALS - 1))
    assert few.gain_of_half is None
    assert judge_tuning(few, 0.002) == "unknown"
    assert judge_tuning(None, 0.002) == "unknown"
    assert judge_tuning(tuning_curve([0.4] * MIN_TRIALS), None) == "unknown"


@pytest.mark.parametrize("losses", [[], [0.4, float("nan")], [0.4, 0.0], [float("inf")]])
def test_what_is_no_loss_is_refused(losses):
    with pytest.raises(ValueError, match="positive, finite losses"):
        tuning_curve(losses)


def test_the_curve_is_ready_for_json_and_the_same_again():
    losses = [0.5, 0.4, 0.45, 0.41, 0.6, 0.42]
    assert tuning_curve(losses, seed=4).as_dict() == tuning_curve(losses, seed=4).as_dict()
    assert isinstance(tuning_curve(losses).as_dict()["median"], list)

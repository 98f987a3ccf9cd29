from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import MCS, SPA
from scipy.signal import lfilter

from finscale.evaluation.bootstrap import block_length, resample
from finscale.evaluation.comparisons import (
    RowLosses,
    model_confidence_set,
    paired_difference,
    superior_ability,
)


def autocorrelated_losses(rng, n_dates, n_models, persistence=0.4):
    """Losses of equally good models: a common part and each model's own, both autoregressive."""
    noise_TM = rng.normal(size=(n_dates + 50, n_models + 1))
    loss_TM = lfilter([1.0], [1.0, -persistence], noise_TM, axis=0)[50:]
    return loss_TM[:, 1:] + loss_TM[:, :1]


def as_losses(loss_TM):
    rows = np.arange(loss_TM.shape[0])
    return [RowLosses(f"m{k}", rows, loss_TM[:, k]) for k in range(loss_TM.shape[1])]


def claims(gain, n_repetitions, seed):
    """Share of repetitions in which a pair, and the best of four, is claimed to be better."""
    rng = np.random.default_rng(seed)
    pair = best = 0
    for repetition in range(n_repetitions):
        loss_TM = autocorrelated_losses(rng, 300, 5)
        loss_TM[:, 1] -= gain
        length = block_length(loss_TM[:, 1:] - loss_TM[:, :1], horizon_bars=1)
        drawn = resample(np.arange(300), mean_block=length, n_samples=200, seed=repetition)
        benchmark, *models = as_losses(loss_TM)
        pair += paired_difference(models[0], benchmark, drawn).p_value <= 0.05
        best += superior_ability(models, benchmark, drawn).p_value <= 0.05
    return pair / n_repetitions, best / n_repetitions


def test_no_claim_is_made_more_often_than_stated_among_equal_models():
    pair, best = claims(gain=0.0, n_repetitions=200, seed=2)

    # Five in a hundred; more than 9.5% of 200 has a probability below 1% at 5%.
    assert pair <= 0.095
    assert best <= 0.095


def test_a_better_model_is_found():
    pair, best = claims(gain=0.6, n_repetitions=40, seed=3)

    assert pair >= 0.9
    assert best >= 0.9


def test_difference_by_hand():
    drawn = resample(np.arange(4), mean_block=1.0, n_samples=200, seed=0)
    rows = np.arange(4)

    found = paired_difference(
        RowLosses("a", rows, np.array([0.1, 0.2, 0.3, 0.4])),
        RowLosses("b", rows, np.array([0.3, 0.4, 0.5, 0.6])),
        drawn,
    )

    # The same everywhere: no uncertainty.
    assert (found.model, found.benchmark) == ("a", "b")
    assert found.difference.value == pytest.approx(-0.2)
    assert [found.difference.low, found.difference.high] == pytest.approx([-0.2, -0.2])


def test_one_model_is_tested_as_arch_tests_it():
    loss_TM = autocorrelated_losses(np.random.default_rng(6), 500, 2)
    loss_TM[:, 1] += 0.03
    drawn = resample(np.arange(500), mean_block=8.0, n_samples=4000, seed=1)
    benchmark, model = as_losses(loss_TM)
    reference = SPA(loss_TM[:, 0], loss_TM[:, 1:], block_size=8, reps=2000, seed=1)
    reference.compute()

    found = superior_ability([model], benchmark, drawn)

    # arch neither widens for few blocks nor counts the sample itself.
    assert 0.02 < reference.pvalues["consistent"] < 0.4
    assert found.p_value == pytest.approx(reference.pvalues["consistent"], abs=0.04)
    assert found.best == "m1"


def test_a_small_certain_gain_is_seen_beside_a_noisy_model():
    rng = np.random.default_rng(1)
    benchmark_T = rng.normal(size=400)
    certain_T = benchmark_T - 0.05 + 0.1 * rng.normal(size=400)
    noisy_T = benchmark_T + 5.0 * rng.normal(size=400)
    losses = as_losses(np.column_stack([benchmark_T, certain_T, noisy_T]))
    drawn = resample(np.arange(400), mean_block=1.0, n_samples=500, seed=0)

    found = superior_ability(losses[1:], losses[0], drawn)

    assert found.best == "m1"
    assert found.p_value < 0.01


def test_p_values_are_ordered_and_a_hopeless_model_does_not_count_for_the_consistent_one():
    rng = np.random.default_rng(4)
    benchmark_T = rng.normal(size=400)
    good_T = benchmark_T - 0.09 + rng.normal(size=400)
    hopeless_TM = benchmark_T[:, None] + 3.0 + rng.normal(size=(400, 20))
    losses = as_losses(np.column_stack([benchmark_T, good_T, hopeless_TM]))
    drawn = resample(np.arange(400), mean_block=1.0, n_samples=500, seed=0)

    found = superior_ability(losses[1:], losses[0], drawn)
    alone = superior_ability(losses[1:2], losses[0], drawn)

    assert found.p_lower <= found.p_value < found.p_upper
    assert found.p_value == pytest.approx(alone.p_value, abs=0.01)


def test_a_model_that_is_the_benchmark_is_not_tested():
    losses = as_losses(np.ones((50, 1)) * np.arange(50)[:, None] * np.ones((1, 3)))
    drawn = resample(np.arange(50), mean_block=2.0, n_samples=50, seed=0)

    found = superior_ability(losses[1:], losses[0], drawn)

    assert (found.best, found.p_value, found.models) == (None, 1.0, ())


def test_confidence_set_keeps_the_best_and_its_equals_and_drops_the_rest():
    rng = np.random.default_rng(9)
    loss_TM = autocorrelated_losses(rng, 400, 4)
    loss_TM[:, 2] += 1.0
    loss_TM = np.column_stack([loss_TM, loss_TM[:, 0]])
    drawn = resample(np.arange(400), mean_block=6.0, n_samples=400, seed=0)

    found = model_confidence_set(as_losses(loss_TM), drawn)

    assert "m2" not in found.included
    assert {"m0", "m1", "m3", "m4"} == set(found.included)
    assert found.p_values["m4"] == found.p_values["m0"]
    assert max(found.p_values.values()) == 1.0


def test_confidence_set_agrees_with_arch():
    loss_TM = autocorrelated_losses(np.random.default_rng(14), 600, 5)
    loss_TM += np.array([0.0, 0.0, 0.05, 0.1, 0.15])
    drawn = resample(np.arange(600), mean_block=5.0, n_samples=3000, seed=0)
    reference = MCS(loss_TM, size=0.05, reps=2000, block_size=5, method="R", seed=1)
    reference.compute()

    found = model_confidence_set(as_losses(loss_TM), drawn)

    expected = reference.pvalues["Pvalue"]
    assert 0.02 < np.median(expected) < 0.9
    for model in range(5):
        assert found.p_values[f"m{model}"] == pytest.approx(expected[model], abs=0.04)


def test_the_best_of_equal_models_is_kept_at_the_rate_stated():
    rng = np.random.default_rng(15)
    all_kept = 0
    for repetition in range(200):
        loss_TM = autocorrelated_losses(rng, 300, 4)
        length = block_length(loss_TM[:, 1:] - loss_TM[:, :1], horizon_bars=1)
        drawn = resample(np.arange(300), mean_block=length, n_samples=200, seed=repetition)
        all_kept += len(model_confidence_set(as_losses(loss_TM), drawn).included) == 4

    # 95 in a hundred; fewer than 181 of 200 has a probability below 1% at 95%.
    assert all_kept >= 181


def test_confidence_set_of_one_model_is_that_model():
    drawn = resample(np.arange(30), mean_block=2.0, n_samples=5, seed=0)

    found = model_confidence_set(as_losses(np.ones((30, 2))), drawn)

    assert found.included == ("m0", "m1")


def test_different_rows_are_refused():
    drawn = resample(np.arange(3), mean_block=1.0, n_samples=5, seed=0)
    one = RowLosses("a", np.array([1, 2, 3]), np.zeros(3))
    other = RowLosses("b", np.array([1, 2, 4]), np.zeros(3))
    longer = RowLosses("c", np.arange(4), np.zeros(4))

    for benchmark in (other, longer):
        with pytest.raises(ValueError, match="not scored on the same rows"):
            paired_difference(one, benchmark, drawn)
    with pytest.raises(ValueError, match="has 4 rows, the resampling 3"):
        superior_ability([longer], longer, drawn)
    with pytest.raises(ValueError, match="no models"):
        superior_ability([], one, drawn)
    with pytest.raises(ValueError, match="no models"):
        model_confidence_set([], drawn)


@pytest.mark.parametrize(("gain", "certain"), [(0.1, True), (-0.1, False)])
def test_a_gain_that_is_the_same_on_every_row_is_certain(gain, certain):
    loss_T = np.linspace(1.0, 2.0, 50)
    drawn = resample(np.arange(50), mean_block=3, n_samples=200, seed=0)
    benchmark, model = as_losses(np.column_stack([loss_T, loss_T - gain]))

    found = paired_difference(model, benchmark, drawn)

    assert (found.difference.high < 0.0) is certain
    assert (found.p_value < 0.05) is certain

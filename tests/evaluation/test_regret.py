from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from finscale.evaluation.bootstrap import Resampling, resample
from finscale.evaluation.metrics import log_loss
from finscale.evaluation.regret import best_possible_loss, row_regret, summarise_regret


def test_the_best_possible_loss_of_a_coin_is_ln_2() -> None:
    assert_allclose(best_possible_loss([0.5, 0.5]), np.log(2))
    # Half coins and half certainties.
    assert_allclose(best_possible_loss([0.5, 1.0, 0.5, 0.0]), np.log(2) / 2)


def test_the_regret_of_a_wrong_coin_by_hand() -> None:
    # 1/4 ln(1/4 / 1/2) + 3/4 ln(3/4 / 1/2); one event in four as it fell.
    expected_B, realised_B = row_regret([0.25] * 4, [0.5] * 4, [1, 0, 0, 0])
    divergence = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    assert_allclose(expected_B, [divergence] * 4)
    assert_allclose(realised_B.mean(), divergence)
    found = summarise_regret([0.25] * 4, expected_B, realised_B, drawn(4))
    assert_allclose([found.expected.value, found.realised.value], divergence)
    assert_allclose(found.expected_loss, np.log(2))


def drawn(n_rows: int, n_samples: int = 200) -> Resampling:
    return resample(np.arange(n_rows), mean_block=1.0, n_samples=n_samples, seed=0)


def test_the_truth_has_no_regret_and_nothing_has_less() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.95, 500)
    labels = (rng.random(500) < truth).astype(float)
    assert row_regret(truth, truth, labels)[0].max() == 0.0
    for shift in (-0.2, -0.01, 0.01, 0.2):
        other = np.clip(truth + shift, 0.01, 0.99)
        assert row_regret(truth, other, labels)[0].mean() > 0.0


def test_the_expected_loss_is_what_labels_of_the_truth_cost_on_average() -> None:
    rng = np.random.default_rng(1)
    truth, forecast = rng.uniform(0.1, 0.9, 200), rng.uniform(0.1, 0.9, 200)
    labels = rng.random((4000, 200)) < truth
    average = np.mean([log_loss(forecast, one.astype(float)) for one in labels])
    parts = row_regret(truth, forecast, labels[0])
    assert_allclose(summarise_regret(truth, *parts, drawn(200)).expected_loss, average, atol=2e-3)


def test_the_intervals_hold_the_regrets_of_all_rows_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    truth_TB, forecast_TB = rng.uniform(0.1, 0.9, (2, 300, 100))
    label_TB = (rng.random((300, 100)) < truth_TB).astype(float)
    parts = [row_regret(*one) for one in zip(truth_TB, forecast_TB, label_TB, strict=True)]
    # Of 30,000 rows; the realised one is the expected one in the long run.
    overall = np.mean([expected_B.mean() for expected_B, _ in parts])
    held = np.zeros(2)
    for truth_B, (expected_B, realised_B) in zip(truth_TB, parts, strict=True):
        found = summarise_regret(truth_B, expected_B, realised_B, drawn(100))
        for k, one in enumerate((found.expected, found.realised)):
            assert one.low is not None
            assert one.high is not None
            held[k] += one.low <= overall <= one.high
    # 95%, and what chance and a hundred rows allow.
    assert 0.90 < held[0] / 300 < 0.98
    assert 0.90 < held[1] / 300 < 0.98


def test_forecasts_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        row_regret([0.5], [0.5, 0.5], [1, 0])

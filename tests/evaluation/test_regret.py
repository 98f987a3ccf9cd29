from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from finscale.evaluation.metrics import log_loss
from finscale.evaluation.regret import best_possible_loss, regret


def test_the_best_possible_loss_of_a_coin_is_ln_2() -> None:
    assert_allclose(best_possible_loss([0.5, 0.5]), np.log(2))
    # Half coins and half certainties.
    assert_allclose(best_possible_loss([0.5, 1.0, 0.5, 0.0]), np.log(2) / 2)


def test_the_regret_of_a_wrong_coin_by_hand() -> None:
    # 1/4 ln(1/4 / 1/2) + 3/4 ln(3/4 / 1/2); one event in four as it fell.
    found = regret([0.25] * 4, [0.5] * 4, [1, 0, 0, 0])
    divergence = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    assert_allclose(found.expected, divergence)
    assert_allclose(found.realised, divergence)
    assert_allclose(found.expected_loss, np.log(2))


def test_the_truth_has_no_regret_and_nothing_has_less() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.95, 500)
    labels = (rng.random(500) < truth).astype(float)
    assert regret(truth, truth, labels).expected == 0.0
    others = [np.clip(truth + shift, 0.01, 0.99) for shift in (-0.2, -0.01, 0.01, 0.2)]
    assert min(regret(truth, one, labels).expected for one in others) > 0.0


def test_the_expected_loss_is_what_labels_of_the_truth_cost_on_average() -> None:
    rng = np.random.default_rng(1)
    truth, forecast = rng.uniform(0.1, 0.9, 200), rng.uniform(0.1, 0.9, 200)
    labels = rng.random((4000, 200)) < truth
    average = np.mean([log_loss(forecast, one.astype(float)) for one in labels])
    assert_allclose(regret(truth, forecast, labels[0]).expected_loss, average, atol=2e-3)


def test_forecasts_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        regret([0.5], [0.5, 0.5], [1, 0])

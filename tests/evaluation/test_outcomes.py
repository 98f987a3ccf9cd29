"""Outputs become probabilities and losses, for one logit and for several."""

from __future__ import annotations

import numpy as np
import pytest

from finscale.evaluation.metrics import log_loss, row_log_loss
from finscale.evaluation.outcomes import base_loss, constant_forecast, row_loss, to_probabilities


def test_one_logit_gives_a_probability_and_several_give_shares() -> None:
    np.testing.assert_allclose(to_probabilities([0.0, np.log(3.0)]), [0.5, 0.75])
    np.testing.assert_allclose(
        to_probabilities([[0.0, 0.0], [np.log(3.0), 0.0]]), [[0.5, 0.5], [0.75, 0.25]]
    )
    assert np.isfinite(to_probabilities([[1e4, -1e4]])).all()


def test_the_loss_is_minus_the_log_of_the_share_of_what_came() -> None:
    p_BK = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]
    np.testing.assert_allclose(row_loss(p_BK, [0, 2]), [np.log(2.0), -np.log(0.7)])
    np.testing.assert_allclose(row_loss([[0.0, 1.0]], [0]), [-np.log(1e-7)])


def test_two_classes_cost_what_one_probability_does() -> None:
    p, y = np.array([0.2, 0.9, 0.4]), np.array([0.0, 1.0, 1.0])
    np.testing.assert_allclose(row_loss(np.column_stack([1 - p, p]), y), row_log_loss(p, y))
    np.testing.assert_array_equal(row_loss(p, y), row_log_loss(p, y))


def test_the_base_loss_is_that_of_the_constant_forecast() -> None:
    labels = np.array([0.0, 1.0, 1.0])
    assert base_loss(0.3, labels) == log_loss([0.3] * 3, labels)
    shares = (0.5, 0.25, 0.25)
    assert base_loss(shares, [0, 0, 1, 2]) == pytest.approx(1.5 * np.log(2.0))
    assert constant_forecast(shares, 2).shape == (2, 3)


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([[0.5, 0.5]], [2], "whole numbers from 0 to 1"),
        ([[0.5, 0.5]], [0.5], "whole numbers"),
        ([[0.5, 0.6]], [0], "add up to 1"),
        ([[-0.5, 1.5]], [0], "at least 0"),
        ([[0.5, 0.5]], [0, 1], "do not fit together"),
    ],
)
def test_what_is_no_distribution_or_no_class_is_refused(p, y, message) -> None:
    with pytest.raises(ValueError, match=message):
        row_loss(p, y)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from finscale.evaluation.metrics import log_loss
from finscale.evaluation.recalibration import (
    fit_calibrators,
    fit_isotonic,
    fit_platt,
    fit_temperature,
)


def planted(slope, intercept, n=20_000, seed=0):
    """Forecasts whose true probability is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.0, n)
    y = (rng.random(n) < expit(slope * logits + intercept)).astype(float)
    return expit(logits), y


def test_platt_recovers_what_was_planted():
    found = fit_platt(*planted(0.5, -0.3))

    assert found is not None
    # Standard errors of some 0.02 with 20,000 rows.
    assert (found.slope, found.intercept) == pytest.approx((0.5, -0.3), abs=0.06)


def test_platt_is_a_logistic_regression_on_the_logit():
    p, y = planted(2.0, 1.0, n=4000)
    reference = LogisticRegression(C=np.inf, tol=1e-9).fit(logit(p)[:, None], y)

    found = fit_platt(p, y)

    assert found is not None
    # The softened targets move it a little.
    assert found.slope == pytest.approx(float(reference.coef_[0, 0]), rel=0.01)
    assert found.intercept == pytest.approx(float(reference.intercept_[0]), rel=0.02)


def test_temperature_recovers_what_was_planted():
    found = fit_temperature(*planted(0.4, 0.0))

    assert found is not None
    assert found.temperature == pytest.approx(2.5, rel=0.05)


def test_isotonic_by_hand():
    # The pair 0.3, 0.4 is in the wrong order and is pooled to 1/2; ends kept off 0 and 1 by 1/6.
    found = fit_isotonic([0.1, 0.3, 0.4, 0.9], [0, 1, 0, 1])

    assert found is not None
    assert found.apply([0.0, 0.1, 0.3, 0.35, 0.4, 0.65, 0.9, 1.0]) == pytest.approx(
        [1 / 6, 1 / 6, 0.5, 0.5, 0.5, (0.5 + 5 / 6) / 2, 5 / 6, 5 / 6]
    )


@pytest.mark.parametrize("name", ["platt", "isotonic", "temperature"])
def test_overconfident_forecasts_are_mended_on_new_rows(name):
    calibrator = fit_calibrators(*planted(0.4, 0.0, seed=1))[name]
    p, y = planted(0.4, 0.0, seed=2)

    assert calibrator is not None
    best = log_loss(expit(0.4 * logit(p)), y)
    assert log_loss(calibrator.apply(p), y) == pytest.approx(best, abs=0.002)
    assert log_loss(p, y) > best + 0.04


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=40))
def test_every_map_is_rising_and_stays_a_probability(rows):
    p, y = (np.array(column, dtype=float) for column in zip(*rows, strict=True))

    for calibrator in fit_calibrators(p, y).values():
        if y.min() == y.max():
            assert calibrator is None
        else:
            mapped = calibrator.apply(np.linspace(0, 1, 101))
            assert (np.diff(mapped) >= -1e-12).all()
            assert ((mapped >= 0) & (mapped <= 1)).all()


def test_forecasts_upside_down_become_a_constant():
    p, y = planted(-1.0, 0.0, n=2000)

    found = fit_platt(p, y)

    assert found is not None
    assert found.slope == 0.0
    assert found.apply([0.1, 0.9]) == pytest.approx([y.mean()] * 2, abs=0.001)


def test_separable_and_constant_forecasts_stay_finite():
    separable = fit_platt([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    constant = fit_platt([0.3] * 4, [0, 0, 1, 0])

    assert separable is not None
    assert constant is not None
    assert 0.0 < separable.slope < 10.0
    # Three of 0 at 1/5 and one of 1 at 2/3: mean (0.6 + 0.6667) / 4.
    assert constant.apply([0.3]) == pytest.approx([1.2666667 / 4])

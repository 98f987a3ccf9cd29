from __future__ import annotations

import json
from math import e

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from finscale.errors import FitError
from finscale.scaling.fit import aicc, compare_laws, fit_law, points_needed
from finscale.scaling.laws import Constant, PowerLaw, PowerLawWithFloor
from finscale.scaling.projection import best_on_grid, centred_log, fit_exponents, project

SIZES = np.geomspace(1e6, 1.28e8, 8)


def floor_loss(floor, amplitude, alpha, sizes=SIZES):
    """Loss with a given amplitude at the geometric mean of the sizes."""
    centre = np.exp(np.log(sizes).mean())
    return floor + amplitude * (sizes / centre) ** -alpha


@settings(max_examples=60, deadline=None)
@given(
    floor=st.floats(0.05, 1.0),
    amplitude=st.one_of(st.floats(-0.02, -0.001), st.floats(0.001, 0.3)),
    alpha=st.floats(0.05, 1.5),
)
def test_planted_floor_law_is_recovered(floor, amplitude, alpha):
    loss = floor_loss(floor, amplitude, alpha)
    if loss.min() <= 0:
        return

    fit = fit_law(SIZES, loss, PowerLawWithFloor)

    assert fit.converged
    assert fit.at_bound == ()
    assert fit.parameters["alpha"] == pytest.approx(alpha, rel=1e-6)
    assert fit.parameters["E"] == pytest.approx(floor, rel=1e-6)
    assert fit.predict(SIZES) == pytest.approx(loss, rel=1e-10)


@settings(deadline=None)
@given(amplitude=st.floats(0.05, 2.0), alpha=st.floats(0.02, 2.5))
def test_planted_power_law_is_recovered(amplitude, alpha):
    fit = fit_law(SIZES, floor_loss(0.0, amplitude, alpha), PowerLaw)

    assert fit.converged
    assert fit.parameters["alpha"] == pytest.approx(alpha, rel=1e-7)
    assert fit.parameters["A"] == pytest.approx(
        amplitude * np.exp(alpha * np.log(SIZES).mean()), rel=1e-5
    )


def test_amplitude_is_for_plain_parameter_counts():
    fit = fit_law(
        [100, 400, 1600, 6400],
        [0.3 + 4 / n**0.5 for n in (100, 400, 1600, 6400)],
        PowerLawWithFloor,
    )
    assert fit.parameters == pytest.approx({"E": 0.3, "A": 4.0, "alpha": 0.5})


@pytest.mark.parametrize("law", [PowerLaw, PowerLawWithFloor])
@pytest.mark.parametrize("seed", range(12))
def test_fit_is_as_good_as_a_general_optimiser_from_many_starts(law, seed):
    rng = np.random.default_rng(seed)
    loss = floor_loss(0.3, rng.choice([-0.01, 0.0, 0.02]), 0.4) + 0.003 * rng.standard_normal(8)
    x = SIZES / np.exp(np.log(SIZES).mean())

    def residual(theta):
        floor, amplitude, alpha = theta if law.has_floor else (0.0, *theta)
        return floor + amplitude * x**-alpha - loss

    low, high = [0.0, -np.inf, 0.01], [np.inf, np.inf, 3.0]
    skip = 0 if law.has_floor else 1
    best = min(
        optimize.least_squares(
            residual,
            [0.3, sign * 0.01, alpha][skip:],
            bounds=(low[skip:], high[skip:]),
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        ).cost
        * 2
        for alpha in (0.02, 0.3, 2.0)
        for sign in (-1, 1)
    )

    fit = fit_law(SIZES, loss, law)

    assert fit.converged
    assert fit.rss <= best * (1 + 1e-6)


def test_sigma_and_constant_by_hand():
    fit = fit_law([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], Constant)

    assert fit.parameters == pytest.approx({"E": 0.25})
    assert fit.rss == pytest.approx(0.05)
    assert fit.sigma == pytest.approx((0.05 / 3) ** 0.5)
    assert fit.n_points == 4


def test_floor_below_zero_becomes_the_power_law_and_says_so():
    loss = floor_loss(-0.2, 0.6, 0.1)

    fit, power = fit_law(SIZES, loss, PowerLawWithFloor), fit_law(SIZES, loss, PowerLaw)

    assert fit.at_bound == ("E",)
    assert fit.parameters["E"] == 0.0
    assert fit.parameters["alpha"] == pytest.approx(power.parameters["alpha"], rel=1e-9)
    assert fit.rss == pytest.approx(power.rss)


@pytest.mark.parametrize(
    ("loss", "alpha"),
    [
        (0.4 + 0.01 * np.log(SIZES / 1e6), 0.01),  # a rise straight in log N
        (floor_loss(0.3, 1e-4, 4.0), 3.0),
    ],
)
def test_exponent_outside_the_bounds_is_reported(loss, alpha):
    fit = fit_law(SIZES, loss, PowerLawWithFloor)

    assert fit.at_bound == ("alpha",)
    assert fit.parameters["alpha"] == pytest.approx(alpha)
    assert fit.converged


def test_profile_slope_is_the_derivative_of_the_residual_sum():
    loss = floor_loss(0.3, 0.02, 0.4) + 0.002 * np.random.default_rng(0).standard_normal((5, 8))
    loss[4] = floor_loss(-0.1, 0.5, 0.2)  # its floor is held at 0
    log_x, _ = centred_log(SIZES)
    alpha, step = np.array([0.05, 0.2, 0.5, 1.5, 0.1]), 1e-6

    low, middle, high = (
        project(loss, log_x, alpha + shift, has_floor=True) for shift in (-step, 0.0, step)
    )

    assert middle.floor_S[4] == 0.0
    assert middle.slope_S == pytest.approx((high.rss_S - low.rss_S) / (2 * step), rel=1e-4)


def test_grid_by_matrix_products_agrees_with_direct_residuals():
    rng = np.random.default_rng(1)
    loss = 0.05 + 0.02 * rng.random((40, 8))
    log_x, _ = centred_log(SIZES)
    for has_floor in (False, True):
        index = best_on_grid(loss, log_x, has_floor=has_floor)
        alpha = fit_exponents(loss, log_x, has_floor=has_floor)
        polished = project(loss, log_x, alpha, has_floor=has_floor).rss_S
        for trial in np.geomspace(0.01, 3.0, 300):
            rss = project(loss, log_x, np.full(40, trial), has_floor=has_floor).rss_S
            assert (polished <= rss * (1 + 1e-9)).all()
        assert index.shape == (40,)


def test_aicc_by_hand():
    # rss = n makes the logarithm vanish: k = 4, 2 k = 8, 2 * 4 * 5 / (6 - 5) = 40.
    assert aicc(6.0, 6, 3) == 48.0
    # rss = n e: 8 + 2 * 2 + 2 * 2 * 3 / (8 - 3).
    assert aicc(8 * e, 8, 1) == pytest.approx(14.4)


def test_aicc_is_undefined_without_enough_points():
    assert aicc(1.0, 5, 3) is None
    assert aicc(1.0, 5, 2) is not None
    assert [points_needed(law) for law in (Constant, PowerLaw, PowerLawWithFloor)] == [4, 5, 6]


def test_comparison_prefers_what_was_planted():
    rng = np.random.default_rng(2)
    noise = 0.0005 * rng.standard_normal(8)

    falling = compare_laws(SIZES, floor_loss(0.3, 0.02, 0.4) + noise)
    flat = compare_laws(SIZES, 0.35 + noise)

    assert falling.chosen == "power_law_with_floor"
    assert falling.delta_aicc["power_law_with_floor"] == 0.0
    assert falling.delta_aicc["constant"] == pytest.approx(
        falling.fit_of(Constant).aicc - falling.fit_of(PowerLawWithFloor).aicc
    )
    assert flat.chosen == "constant"
    assert flat.unfitted == ()
    json.dumps(flat.as_dict(), allow_nan=False)


def test_perfect_fit_has_a_finite_aicc():
    comparison = compare_laws(SIZES, np.full(8, 0.35))
    assert comparison.chosen == "constant"
    json.dumps(comparison.as_dict(), allow_nan=False)


def test_comparison_with_few_points_chooses_nothing():
    five = compare_laws(SIZES[:5], floor_loss(0.3, 0.02, 0.4)[:5])
    two = compare_laws(SIZES[:2], [0.35, 0.34])

    assert five.chosen is None
    assert set(five.delta_aicc.values()) == {None}
    assert (five.n_points, five.n_points_needed) == (5, 6)
    assert two.unfitted == ("power_law_with_floor",)
    assert two.fit_of(PowerLaw).sigma is None
    with pytest.raises(KeyError):
        two.fit_of(PowerLawWithFloor)


@pytest.mark.parametrize(
    ("n", "loss", "message"),
    [
        ([], [], "non-empty"),
        ([1e6, 2e6], [0.3], "equal length"),
        ([1e6, -2e6], [0.3, 0.3], "size -2000000.0 of point 1"),
        ([1e6, 2e6], [0.3, float("nan")], "loss nan of point 1"),
        ([1e6, 2e6], [0.0, 0.3], "loss 0.0 of point 0"),
        ([1e6, 2e6, 2e6], [0.3, 0.3, 0.3], "needs at least 3 distinct sizes, got 2"),
    ],
)
def test_points_that_cannot_be_fitted_are_refused(n, loss, message):
    with pytest.raises(FitError, match=message):
        fit_law(n, loss, PowerLawWithFloor)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import FitError
from finscale.scaling.forms import Form, make_form
from finscale.scaling.laws import LAW_OF, PowerLawWithFloor, Surface
from finscale.scaling.objective import (
    Objective,
    Problem,
    evaluate,
    gradients,
    jacobian,
    residuals,
    values,
)

KINDS = [Objective("huber", 0.02), Objective("log-least-squares"), Objective("least-squares")]


def test_huber_by_hand() -> None:
    huber = Objective("huber", 0.1)
    residual = np.array([0.0, 0.05, -0.1, 0.3, -0.3])
    np.testing.assert_allclose(huber.rho(residual), [0.0, 0.00125, 0.005, 0.025, 0.025])
    np.testing.assert_allclose(huber.psi(residual), [0.0, 0.05, -0.1, 0.1, -0.1])
    np.testing.assert_array_equal(huber.curvature(residual), [1.0, 1.0, 1.0, 0.0, 0.0])
    assert not np.isfinite(huber.rho(np.array([np.nan]))).any()


def test_a_width_of_zero_is_refused() -> None:
    with pytest.raises(FitError, match="huber 0: the width must be positive"):
        Objective("huber", 0)


def problem_of(law_name: str, objective: Objective, seed: int) -> tuple[Problem, np.ndarray, Form]:
    """A law at 30 random points, two data sets of random weights, and two random coordinates."""
    rng = np.random.default_rng(seed)
    law = LAW_OF[law_name]
    unique = np.exp(rng.uniform(5.0, 9.0, 30))
    columns = {
        "N": np.exp(rng.uniform(3.0, 11.0, 30)),
        "D": unique * np.exp(rng.uniform(-1.0, 4.0, 30)),
        "U_D": unique,
    }
    loss = np.exp(rng.normal(0.5, 0.3, 30))
    form = make_form(law, [columns[name] for name in law.variables], loss)
    middle = {"alpha": 0.4, "beta": 0.5, "c": 0.3, "f": -0.7, "R_D": 1.5, "R_N": 0.8}
    theta = np.array([[middle.get(name, 0.0) for name in law.parameters]] * 2)
    theta = theta + rng.uniform(-0.2, 0.2, theta.shape)
    weight = rng.integers(0, 4, (2, 30)).astype(float)
    target = objective.target(loss)[None]
    return Problem(form, form.signs[0], target, weight, objective), theta, form


@pytest.mark.parametrize("objective", KINDS, ids=lambda one: one.kind)
@pytest.mark.parametrize("law", LAW_OF)
def test_derivatives_are_those_of_finite_differences(law: str, objective: Objective) -> None:
    problem, theta, _ = problem_of(law, objective, seed=3)
    found, step = evaluate(problem, theta), 1e-6
    for k, axis in enumerate(np.eye(theta.shape[1])):
        up, down = theta + step * axis, theta - step * axis
        slope = (values(problem, up) - values(problem, down)) / (2 * step)
        np.testing.assert_allclose(found.gradient_SK[:, k], slope, rtol=1e-5, atol=1e-7)
        bend = (gradients(problem, up) - gradients(problem, down)) / (2 * step)
        np.testing.assert_allclose(found.hessian_SKK[:, :, k], bend, rtol=1e-4, atol=1e-6)
        move = (residuals(problem, up)[0] - residuals(problem, down)[0]) / (2 * step)
        np.testing.assert_allclose(jacobian(problem, theta)[:, k], move, rtol=1e-5, atol=1e-8)


def test_derivatives_where_a_law_rises_to_its_floor() -> None:
    problem, theta, form = problem_of("power-floor", KINDS[0], seed=4)
    problem = Problem(form, (1.0, -1.0), problem.target_SP, problem.weight_SP, problem.objective)
    theta = theta * [1.0, 0.0, 1.0] + [2.0, 0.0, 0.0]
    found, step = evaluate(problem, theta), 1e-6
    for k, axis in enumerate(np.eye(3)):
        slope = (values(problem, theta + step * axis) - values(problem, theta - step * axis)) / 2e-6
        np.testing.assert_allclose(found.gradient_SK[:, k], slope, rtol=1e-5, atol=1e-7)


def test_a_law_below_zero_is_infinitely_bad() -> None:
    problem, theta, form = problem_of("power-floor", KINDS[0], seed=4)
    problem = Problem(form, (1.0, -1.0), problem.target_SP, problem.weight_SP, problem.objective)
    assert values(problem, theta - [5.0, 0.0, 0.0]).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("law", LAW_OF)
def test_coordinates_and_parameters_are_the_same_law(law: str) -> None:
    problem, theta, form = problem_of(law, Objective("log-least-squares"), seed=5)
    predicted = np.exp(residuals(problem, theta)[0] + problem.target_SP)
    natural = form.natural(theta, form.signs[0])
    variables = np.exp(form.log_x_VP + form.centre_V[:, None])
    for row in range(2):
        parameters = {name: float(values_S[row]) for name, values_S in natural.items()}
        expected = form.law.predict(parameters, *variables)
        np.testing.assert_allclose(predicted[row], expected, rtol=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_a_gradient_is_at_most_pull_times_column(seed: int) -> None:
    # This is what makes their ratio a gradient norm between 0 and 1.
    problem, theta, _ = problem_of("surface", KINDS[0], seed)
    found = evaluate(problem, theta)
    bound = found.pull_S[:, None] * found.column_SK
    assert (np.abs(found.gradient_SK) <= bound * (1 + 1e-12)).all()


def test_an_amplitude_of_nothing_is_zero() -> None:
    loss = np.array([3.0, 2.5, 2.2, 2.1])
    form = make_form(
        Surface, [np.array([1e6, 1e7, 1e8, 1e9]), np.array([9.0, 5.0, 7.0, 8.0])], loss
    )
    theta = np.array([[form.log_nothing, 0.0, 0.1, 0.3, 0.4]])
    assert form.natural(theta, form.signs[0])["E"].tolist() == [0.0]
    assert form.at_bound(theta) == [("E",)]


def test_which_laws_have_a_rising_branch() -> None:
    ones = np.array([1.0, 2.0])
    assert make_form(PowerLawWithFloor, [ones], ones).signs == ((1.0, 1.0), (1.0, -1.0))
    assert make_form(Surface, [ones, ones], ones).signs == ((1.0, 1.0, 1.0),)

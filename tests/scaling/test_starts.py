from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_laws import planted_surface
from scipy import optimize

from finscale.scaling.forms import make_form
from finscale.scaling.laws import Surface
from finscale.scaling.objective import Objective, Problem
from finscale.scaling.starts import grid_candidates, nonnegative, spread


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n_terms=st.integers(1, 3))
def test_nonnegative_least_squares_are_those_of_scipy(seed: int, n_terms: int) -> None:
    rng = np.random.default_rng(seed)
    basis, target = rng.normal(size=(4, n_terms, 12)), rng.normal(size=12)
    weight = rng.uniform(0.1, 3.0, (4, 12))
    found = nonnegative(basis, target, weight)
    for g in range(4):
        root = np.sqrt(weight[g])
        expected, _ = optimize.nnls((basis[g] * root).T, target * root)
        np.testing.assert_allclose(found[g], expected, rtol=1e-6, atol=1e-8)


def test_candidates_come_best_first_and_spread_apart() -> None:
    points = planted_surface(0)
    form = make_form(Surface, [points.n, points.d], points.loss)
    objective = Objective()
    target = objective.target(points.loss)[None]
    problem = Problem(form, form.signs[0], target, np.ones((1, 240)), objective)
    theta, value = grid_candidates(form, problem)
    assert theta.shape == (18 * 18, 5)
    assert (np.diff(value) >= 0).all()
    # The planted exponents are 0.3478 and 0.3658; the grid's steps are 30%.
    np.testing.assert_allclose(theta[0, 3:], [0.3478, 0.3658], rtol=0.35)
    starts = spread(theta, 5)
    np.testing.assert_array_equal(starts[0], theta[0])
    distance = np.abs(starts[:, None] - starts[None]).max(axis=2) + np.eye(5)
    assert distance.min() > 0.3

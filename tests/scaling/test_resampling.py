from __future__ import annotations

import numpy as np
import pytest
from planted_laws import CHINCHILLA, CHINCHILLA_ERRORS, planted_surface

from finscale.errors import FitError
from finscale.scaling.estimate import estimate_law
from finscale.scaling.fit import fit_law as least_squares_fit
from finscale.scaling.laws import BrokenPowerLaw, Constant, PowerLaw, PowerLawWithFloor, Surface
from finscale.scaling.newton import minimise
from finscale.scaling.objective import Objective, Problem, values
from finscale.scaling.resampling import (
    draw_counts,
    fitted_target,
    group_points,
    percentile_interval,
    resample_noise,
    resample_points,
)
from finscale.scaling.uncertainty import bootstrap_law


def test_counts_are_draws_with_replacement_that_determine_a_law() -> None:
    rng = np.random.default_rng(0)
    group = np.array([0, 0, 1, 1, 2, 2])
    counts = draw_counts(rng, group, 3000, n_needed=3)
    assert counts.shape == (3000, 6)
    assert (counts.sum(axis=1) == 6).all()
    assert ((counts.reshape(-1, 3, 2).sum(axis=2) > 0).sum(axis=1) == 3).all()
    # Without the condition a group is drawn once on average, and not at all with (2/3)^3 = 29.6%.
    free = draw_counts(rng, group, 3000, n_needed=1)
    np.testing.assert_allclose(free.mean(axis=0), 1.0, atol=0.1)
    np.testing.assert_allclose((free == 0).mean(), 0.296, atol=0.02)
    # Points of one group go together.
    assert (free[:, ::2] == free[:, 1::2]).all()


def test_groups_are_numbered_in_the_order_they_come() -> None:
    x = np.log([[3.0, 1.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0, 2.0]])
    assert group_points(x).tolist() == [0, 1, 0, 2, 3]
    assert group_points(np.zeros((1, 4))).tolist() == [0, 1, 2, 3]


def test_percentiles_by_hand() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


def test_the_published_standard_errors_come_out_in_their_order() -> None:
    # Besiroglu et al. (2024) fitted other losses at about these points; of noise of 1% their
    # standard errors are expected within a factor of four.
    points = planted_surface(0)
    keep = np.argsort(points.loss)[:-5]
    variables, loss = [points.n[keep], points.d[keep]], points.loss[keep]
    fit = estimate_law(Surface, variables, loss)
    refits = resample_points(fit, loss, n_samples=600, seed=1)
    assert fit.n_points == 235
    assert refits.converged_S.all()
    errors = refits.standard_errors()
    for name, published in CHINCHILLA_ERRORS.items():
        assert published / 4 < errors[name] < published * 4
        assert abs(fit.parameters[name] - CHINCHILLA[name]) < 3.5 * errors[name]
    for name, (low, high) in refits.intervals(0.95).items():
        assert low < CHINCHILLA[name] < high


def test_a_sample_is_fitted_as_if_it_were_alone() -> None:
    # The plain twin: points repeated as often as they were drawn, fitted from scratch.
    points = planted_surface(3, n_points=40)
    fit = estimate_law(Surface, [points.n, points.d], points.loss)
    refits = resample_points(fit, points.loss, n_samples=12, seed=5)
    counts = draw_counts(np.random.default_rng(5), np.arange(40), 12, 5)
    for sample in range(12):
        rows = np.repeat(np.arange(40), counts[sample].astype(int))
        alone = estimate_law(Surface, [points.n[rows], points.d[rows]], points.loss[rows])
        assert refits.value_S[sample] == pytest.approx(alone.value, rel=1e-7)
        found = {name: value_S[sample] for name, value_S in refits.parameters.items()}
        assert found == pytest.approx(alone.parameters, rel=1e-3)


def test_no_sample_would_be_better_off_with_the_fit_of_another() -> None:
    # Few points, much noise, and a break: such objectives have many valleys.
    n = np.geomspace(1e4, 1e9, 20)
    loss = BrokenPowerLaw.predict(
        {"E": 0.2, "A": 3.0, "alpha": 0.1, "c": 0.3, "N_b": 1e6, "f": 0.3}, n
    )
    loss = loss * np.exp(0.05 * np.random.default_rng(0).standard_normal(20))
    fit = estimate_law(BrokenPowerLaw, [n], loss)
    refits = resample_points(fit, loss, n_samples=10, seed=2)
    assert refits.n_restarted > 0
    counts = draw_counts(np.random.default_rng(2), np.arange(20), 10, 6)
    target = fit.objective.target(loss)[None]
    problem = Problem(fit.form, fit.best.signs, target, counts, fit.objective)
    nearest = minimise(
        problem, np.tile(fit.best.theta_K, (10, 1)), fit.form.lower_K, fit.form.upper_K
    )
    assert (refits.value_S <= nearest.value_S * (1 + 1e-12)).all()
    for theta in nearest.theta_SK:
        others = values(problem, np.tile(theta, (10, 1)))
        assert (refits.value_S <= others * (1 + 1e-5)).all()


def test_one_seed_one_result() -> None:
    points = planted_surface(0, n_points=50)
    fit = estimate_law(Surface, [points.n, points.d], points.loss)
    first, again, other = (
        resample_points(fit, points.loss, n_samples=50, seed=seed).parameters["alpha"]
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_around_a_law_of_size_gives_the_intervals_of_the_report() -> None:
    n = np.geomspace(1e4, 1e8, 8)
    loss = 0.3 + 4.0 * n**-0.3 + 0.003 * np.random.default_rng(1).standard_normal(8)
    fit = estimate_law(PowerLawWithFloor, [n], loss)
    refits = resample_noise(fit, n_samples=2000, seed=0)
    report = bootstrap_law(least_squares_fit(n, loss, PowerLawWithFloor), n, n_samples=2000, seed=0)
    assert report.alpha is not None
    # The same draws; bisection and Newton's steps end within rounding of each other.
    expected = (report.alpha.low, report.alpha.high)
    assert refits.intervals(0.95)["alpha"] == pytest.approx(expected, rel=1e-3)


def test_the_interval_of_a_constant_is_students() -> None:
    loss = np.array([0.41, 0.44, 0.40, 0.43, 0.42])
    fit = estimate_law(Constant, [np.ones(5)], loss)
    low, high = resample_noise(fit, n_samples=40_000, seed=0).intervals(0.95)["E"]
    # t(4) at 97.5% is 2.776; the standard deviation is 0.0158114, over sqrt(5).
    assert (high - low) / 2 == pytest.approx(2.776 * 0.0158114 / 5**0.5, rel=0.03)


@pytest.mark.parametrize("kind", ["least-squares", "log-least-squares"])
def test_the_fitted_law_on_the_scale_of_the_residuals(kind) -> None:
    n = np.array([1.0, 10.0, 100.0])
    fit = estimate_law(PowerLaw, [n], 2.0 * n**-0.5, Objective(kind))
    expected = 2.0 * n**-0.5
    expected = np.log(expected) if kind.startswith("log") else expected
    np.testing.assert_allclose(fitted_target(fit), expected, rtol=1e-6, atol=1e-9)


def test_noise_is_refused_where_there_is_none_to_draw() -> None:
    n = np.array([1.0, 10.0, 100.0])
    with pytest.raises(FitError, match="power-floor passes through all 3 points"):
        resample_noise(estimate_law(PowerLawWithFloor, [n], [3.0, 2.0, 1.5]))
    with pytest.raises(FitError, match="noise is drawn for a law fitted by least squares"):
        resample_noise(estimate_law(PowerLaw, [n], [3.0, 2.0, 1.5], Objective()))


def test_as_json() -> None:
    fit = estimate_law(Constant, [[1, 1, 1]], [0.4, 0.5, 0.6])
    told = resample_points(fit, [0.4, 0.5, 0.6], n_samples=20, seed=9).as_dict(0.9)
    assert told["n_bootstrap"] == told["n_bootstrap_converged"] == 20
    assert told["seed"] == 9
    assert told["confidence"] == 0.9
    assert set(told["standard_errors"]) == set(told["intervals"]) == {"E"}

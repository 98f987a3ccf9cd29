from __future__ import annotations

import json
import time

import numpy as np
import pytest
from scipy import stats

from finscale.errors import FitError
from finscale.scaling.fit import fit_law
from finscale.scaling.laws import Constant, PowerLaw, PowerLawWithFloor
from finscale.scaling.uncertainty import (
    SeedNoise,
    bootstrap_law,
    pooled_seed_noise,
    simulate_losses,
)

SIZES = np.geomspace(1e6, 1.28e8, 8)
TRUTH = {"E": 0.3, "A": 4.0, "alpha": 0.3}
LOSS = PowerLawWithFloor.predict(TRUTH, SIZES)


def noisy_fit(sigma, seed=0, law=PowerLawWithFloor):
    noise = sigma * np.random.default_rng(seed).standard_normal(SIZES.size)
    return fit_law(SIZES, LOSS + noise, law)


@pytest.mark.parametrize("law", [PowerLaw, PowerLawWithFloor])
def test_vectorised_bootstrap_is_the_plain_loop(law):
    fit = noisy_fit(0.004, law=law)
    samples = simulate_losses(fit, SIZES, n_samples=60, seed=5)
    refits = [fit_law(SIZES, sample, law) for sample in samples]
    alpha = [refit.parameters["alpha"] for refit in refits]
    smallest, largest = np.array([refit.predict(SIZES[[0, -1]]) for refit in refits]).T

    intervals = bootstrap_law(fit, SIZES, n_samples=60, confidence=0.9, seed=5)

    def expected(values):
        return pytest.approx(np.quantile(values, [0.05, 0.95]).tolist(), rel=1e-7)

    def bounds(interval):
        return [interval.low, interval.high]

    assert bounds(intervals.alpha) == expected(alpha)
    assert bounds(intervals.loss_smallest) == expected(smallest)
    assert bounds(intervals.loss_largest) == expected(largest)
    assert bounds(intervals.loss_difference) == expected(largest - smallest)
    assert intervals.alpha_at_bound_frac == pytest.approx(
        np.mean(["alpha" in refit.at_bound for refit in refits])
    )


def test_estimates_are_those_of_the_fit():
    fit = noisy_fit(0.001)
    intervals = bootstrap_law(fit, SIZES, n_samples=50)
    ends = fit.predict(SIZES[[0, -1]])

    assert intervals.alpha.estimate == fit.parameters["alpha"]
    assert intervals.loss_smallest.estimate == ends[0]
    assert intervals.loss_largest.estimate == ends[1]
    assert intervals.loss_difference.estimate == ends[1] - ends[0]


def test_interval_of_a_constant_is_students():
    loss = LOSS[0] + 0.01 * np.random.default_rng(1).standard_normal(8)

    intervals = bootstrap_law(fit_law(SIZES, loss, Constant), SIZES, n_samples=40_000)

    low, high = stats.t.interval(0.95, 7, loc=loss.mean(), scale=stats.sem(loss))
    width = high - low
    assert intervals.loss_largest.low == pytest.approx(low, abs=0.02 * width)
    assert intervals.loss_largest.high == pytest.approx(high, abs=0.02 * width)
    assert intervals.alpha is None
    assert intervals.loss_difference == type(intervals.loss_difference)(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("n_points", "sigma"), [(6, 0.0005), (8, 0.002)])
def test_intervals_cover_the_truth(n_points, sigma):
    # Measured on 400 runs: 93% to 97% for alpha and for the difference, from 6 points to 12 and
    # noise from 1% to 12% of the fall.
    sizes = np.geomspace(1e6, 1.28e8, n_points)
    loss = PowerLawWithFloor.predict(TRUTH, sizes)
    rng = np.random.default_rng(2)
    n_runs = 150
    covered = np.zeros(2, dtype=int)
    for run in range(n_runs):
        fit = fit_law(sizes, loss + sigma * rng.standard_normal(n_points), PowerLawWithFloor)
        intervals = bootstrap_law(fit, sizes, n_samples=200, seed=run)
        covered += [
            intervals.alpha.low <= TRUTH["alpha"] <= intervals.alpha.high,
            intervals.loss_difference.low <= loss[-1] - loss[0] <= intervals.loss_difference.high,
        ]

    low = stats.binom.ppf(0.001, n_runs, 0.93)
    high = stats.binom.ppf(0.9999, n_runs, 0.97)
    assert (covered >= low).all()
    assert (covered <= high).all()


def test_seed_decides_the_samples():
    fit = noisy_fit(0.001)
    first, again, other = (bootstrap_law(fit, SIZES, n_samples=50, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.alpha != other.alpha
    json.dumps(first.as_dict(), allow_nan=False)


def test_bootstrap_of_2000_samples_is_quick():
    fit = noisy_fit(0.001)
    start = time.process_time()
    bootstrap_law(fit, SIZES)
    assert time.process_time() - start < 1.0


def test_exponents_the_data_do_not_limit_are_counted():
    flat = fit_law(
        SIZES, 0.35 + (LOSS - LOSS.mean()) * 1e-3 + 0.01 * np.tile([1, -1], 4), PowerLawWithFloor
    )
    assert bootstrap_law(flat, SIZES, n_samples=200).alpha_at_bound_frac > 0.3
    assert bootstrap_law(noisy_fit(0.0005), SIZES, n_samples=200).alpha_at_bound_frac == 0.0


def test_law_through_all_points_has_no_interval():
    fit = fit_law(SIZES[:3], LOSS[:3], PowerLawWithFloor)
    with pytest.raises(FitError, match="leaves no residual"):
        bootstrap_law(fit, SIZES[:3])


def test_other_sizes_than_those_fitted_are_refused():
    with pytest.raises(FitError, match="fitted to 8 points"):
        bootstrap_law(noisy_fit(0.001), SIZES[:7])


@pytest.mark.parametrize("bad", [{"n_samples": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_arguments_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="n_samples"):
        bootstrap_law(noisy_fit(0.001), SIZES, **bad)


def test_seed_noise_by_hand():
    # Deviations ±0.01 with 1 df, and -0.03, 0, 0.03 with 2: (0.0002 + 0.0018) / 3.
    noise = pooled_seed_noise([(0.34, 0.36), (0.30, 0.33, 0.36), (0.5,)])
    assert noise == SeedNoise(sigma=pytest.approx((0.002 / 3) ** 0.5), df=3)


def test_seed_noise_needs_two_seeds_of_one_budget():
    assert pooled_seed_noise([(0.3,), (0.4,)]) is None

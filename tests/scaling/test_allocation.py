from __future__ import annotations

import json

import numpy as np
import pytest
from planted_laws import CHINCHILLA, planted_surface
from scipy import optimize

from finscale.errors import FitError
from finscale.scaling.allocation import allocate, optimal_sizes
from finscale.scaling.estimate import estimate_law
from finscale.scaling.laws import Surface
from finscale.scaling.resampling import Resampled, resample_points


@pytest.mark.parametrize("coefficient", [6.0, 2.5])
@pytest.mark.parametrize("flops", [1e18, 5.76e23])
def test_no_other_size_has_a_lower_loss(flops: float, coefficient: float) -> None:
    n, d = optimal_sizes(CHINCHILLA, flops, coefficient=coefficient)
    assert coefficient * n * d == pytest.approx(flops)
    best = optimize.minimize_scalar(
        lambda log_n: float(
            Surface.predict(CHINCHILLA, np.exp(log_n), flops / coefficient / np.exp(log_n))
        ),
        bounds=(np.log(1e6), np.log(1e13)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert np.log(n) == pytest.approx(best.x, abs=1e-4)


def test_by_hand() -> None:
    # Equal terms: N = D = sqrt(C / 6).
    equal = {"A": 3.0, "B": 3.0, "alpha": 0.4, "beta": 0.4}
    n, d = optimal_sizes(equal, 600.0)
    assert (float(n), float(d)) == pytest.approx((10.0, 10.0))
    # G = (0.5 * 8 / (0.5 * 2))^(1/1) = 4: N = 4 * 10, D = 10 / 4.
    tilted = {"A": 8.0, "B": 2.0, "alpha": 0.5, "beta": 0.5}
    n, d = optimal_sizes(tilted, 600.0)
    assert (float(n), float(d)) == pytest.approx((40.0, 2.5))


def test_intervals_hold_the_planted_optimum() -> None:
    points = planted_surface(1)
    fit = estimate_law(Surface, [points.n, points.d], points.loss)
    refits = resample_points(fit, points.loss, n_samples=300)
    found = allocate(fit.parameters, refits, 5.76e23)
    n, d = optimal_sizes(CHINCHILLA, 5.76e23)
    assert found.n_optimal.low < n < found.n_optimal.high
    assert found.d_optimal.low < d < found.d_optimal.high
    assert found.n_exponent.low < 0.3658 / (0.3478 + 0.3658) < found.n_exponent.high
    loss = float(Surface.predict(CHINCHILLA, n, d))
    assert found.loss.low < loss < found.loss.high
    assert found.n_optimal.low < found.n_optimal.estimate < found.n_optimal.high
    assert (found.n_samples, found.n_without_optimum) == (300, 0)
    assert json.loads(json.dumps(found.as_dict()))["flops"] == 5.76e23


def refits_of(**parameters: list[float]) -> Resampled:
    samples = {name: np.array(parameters.get(name, [0.4, 0.4])) for name in Surface.parameters}
    return Resampled(samples, np.zeros(2), np.ones(2, dtype=bool), 0, 0)


def test_samples_without_an_optimum_are_told() -> None:
    found = allocate(CHINCHILLA, refits_of(A=[0.0, 3.0], B=[3.0, 3.0]), 600.0)
    assert (found.n_samples, found.n_without_optimum) == (1, 1)
    assert found.n_optimal.low == found.n_optimal.high == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("parameters", "refits", "flops", "message"),
    [
        ({"E": 1.0}, refits_of(), 1e18, "compute is allocated under a surface with E, A, B"),
        (CHINCHILLA, refits_of(), 0.0, "a budget of 0 FLOPs at 6 per parameter and sample"),
        (CHINCHILLA | {"B": 0.0}, refits_of(), 1e18, "the surface has no optimum: one of its"),
        (CHINCHILLA, refits_of(A=[0.0, 0.0]), 1e18, "no bootstrap sample has both terms"),
    ],
)
def test_what_has_no_optimum_is_refused(parameters, refits, flops, message: str) -> None:
    with pytest.raises(FitError) as caught:
        allocate(parameters, refits, flops)
    assert str(caught.value).startswith(message)

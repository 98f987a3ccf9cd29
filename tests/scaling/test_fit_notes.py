"""A fit says what its numbers do not show: a constant that fits as well, bounds, few samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

from finscale.scaling.fit_points import FittedPoints, fit_law

N = np.geomspace(1e4, 1e7, 12)
NOISE = 0.002 * np.random.default_rng(0).standard_normal(12)
FALLING = 0.3 + 4.0 * N**-0.4 + NOISE


def fitted(loss: np.ndarray, **settings: Any) -> FittedPoints:
    return fit_law(**({"law": "power", "x": N, "loss": loss, "bootstrap": 200} | settings))


def test_a_law_that_is_there_needs_no_note() -> None:
    found = fitted(FALLING, law="power-floor")
    assert found.notes == ()
    assert found.constant is not None
    # The plain twin: AICc of both by hand, with 4 and 2 parameters, the noise among them.
    rss = {
        "law": np.sum((FALLING - found.predict(N)) ** 2),
        "constant": np.sum((FALLING - FALLING.mean()) ** 2),
    }
    aicc = {
        name: 12 * np.log(rss[name] / 12) + 2 * k + 2 * k * (k + 1) / (12 - k - 1)
        for name, k in (("law", 4), ("constant", 2))
    }
    assert found.constant.delta_aicc == pytest.approx(aicc["constant"] - aicc["law"])
    assert found.constant.objective == pytest.approx(rss["constant"] / 2)


def test_of_noise_a_constant_is_preferred() -> None:
    found = fitted(0.35 + NOISE, law="power-floor")
    gain = found.constant and found.constant.delta_aicc
    assert gain is not None
    assert gain < 0
    assert found.notes[0] == (
        f"AICc prefers a constant by {-gain:.1f}: no evidence that the loss depends on N"
    )
    assert found.as_dict()["notes"] == list(found.notes)


def test_a_power_law_of_a_loss_that_rises_is_worse_than_a_constant() -> None:
    found = fitted(0.3 + 0.01 * np.log(N / 1e4) + NOISE)
    assert found.estimate.at_bound == ("alpha",)
    assert found.notes[:2] == (
        "a constant fits better: no evidence that the loss falls with N as this law says",
        "alpha is at a bound: a limit, not a measurement",
    )
    assert found.notes[2].startswith("alpha is at an end of its range, 0.01 to 3, in ")


def test_a_huber_fit_has_a_constant_and_no_aicc() -> None:
    found = fitted(FALLING, huber=1e-3, bootstrap=0)
    assert found.constant is not None
    assert found.constant.delta_aicc is None

    def objective(level: float) -> float:
        off = np.abs(np.log(FALLING) - level)
        return float(np.sum(np.where(off < 1e-3, off**2 / 2, 1e-3 * (off - 5e-4))))

    best = optimize.minimize_scalar(objective, bounds=(-2, 0), method="bounded")
    assert found.constant.objective == pytest.approx(best.fun, rel=1e-6)


def test_a_constant_has_no_rival_and_few_points_or_samples_are_said() -> None:
    assert fitted(FALLING, law="constant").constant is None
    through = fit_law(law="power", x=[1e4, 1e6], loss=[0.4, 0.3], bootstrap=0)
    assert "power has as many parameters as there are points" in through.notes[-1]
    few = fitted(FALLING, law="power-floor", bootstrap=20)
    assert few.notes == ("20 bootstrap samples are too few for a 95% interval; 40 are not",)


# Rows of one size.


def test_seeds_of_one_size_make_no_interval_narrower() -> None:
    seeds = 0.003 * np.random.default_rng(1).standard_normal((12, 3))
    seeds -= seeds.mean(axis=1, keepdims=True)
    rows = {"x": np.repeat(N, 3), "loss": (FALLING[:, None] + seeds).ravel()}
    for settings in ({"law": "power-floor"}, {"law": "power", "objective": "log-least-squares"}):
        one, many = fitted(FALLING, **settings), fitted(**(rows | settings))
        assert many.parameters == pytest.approx(one.parameters)
        assert many.intervals == {
            name: pytest.approx(ends) for name, ends in (one.intervals or {}).items()
        }
        assert (many.estimate.n_points, many.n_rows, one.n_rows) == (12, 36, 12)


def test_with_seeds_of_every_size_intervals_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    n = np.geomspace(5e3, 1.6e5, 6)
    # A size that is another to every seed makes them independent points.
    apart = np.repeat(n, 3) * (1 + 1e-12 * np.arange(18))
    held = {"one size": 0, "apart": 0}
    for seed in range(100):
        budget = 0.8 * n**-0.08 + 0.01 * rng.standard_normal(6)
        loss = (budget[:, None] + 0.002 * rng.standard_normal((6, 3))).ravel()
        for name, x in (("one size", np.repeat(n, 3)), ("apart", apart)):
            found = fit_law(law="power", x=x, loss=loss, bootstrap=300, seed=seed).intervals
            low, high = (found or {})["alpha"]
            held[name] += low <= 0.08 <= high
    # 95 with a standard error of 2.2.
    assert held["one size"] >= 90
    assert held["apart"] <= 80


def test_points_of_one_size_are_drawn_together() -> None:
    rows = {"x": np.repeat(N, 3), "loss": np.repeat(FALLING, 3)}
    settings = {"law": "power", "huber": 1e-3, "seed": 4}
    one, many = fitted(FALLING, **settings), fitted(**(rows | settings))
    assert many.estimate.n_points == 36
    assert many.standard_errors == {
        name: pytest.approx(error, rel=0.03) for name, error in (one.standard_errors or {}).items()
    }


def test_rows_of_a_constant_without_a_size_are_each_their_own() -> None:
    found = fit_law(law="constant", loss=FALLING, bootstrap=400, seed=1)
    assert found.estimate.n_points == 12
    errors = found.standard_errors or {}
    assert errors["E"] == pytest.approx(FALLING.std(ddof=1) / np.sqrt(12), rel=0.3)

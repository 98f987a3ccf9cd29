from __future__ import annotations

import warnings

import numpy as np
import pytest
from arch import arch_model
from market_of import bars_of, series_of
from scipy.stats import norm

from finscale.baselines import garch
from finscale.baselines.garch import GarchParameters, estimate, next_variance
from finscale.tasks import get_task

PLANTED = GarchParameters(mu=0.05, omega=0.04, alpha=0.03, gamma=0.12, beta=0.88)


def simulated(parameters: GarchParameters, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return percent returns with normal innovations, and the variance that each was drawn with."""
    rng = np.random.default_rng(seed)
    returns, variances, variance = [], [], 1.0
    for shock in rng.standard_normal(n):
        residual = np.sqrt(variance) * shock
        returns.append(parameters.mu + residual)
        variances.append(variance)
        slope = parameters.alpha + parameters.gamma * (residual < 0)
        variance = parameters.omega + slope * residual**2 + parameters.beta * variance
    return np.array(returns), np.array(variances)


def test_the_filter_is_the_recursion() -> None:
    returns, variances = simulated(PLANTED, 400, 0)
    forecast = next_variance(returns, PLANTED, start=variances[0])
    assert forecast[:-1] == pytest.approx(variances[1:], rel=1e-12)


def test_the_filter_is_that_of_arch_once_the_start_is_forgotten() -> None:
    returns, _ = simulated(PLANTED, 1500, 1)
    values = [PLANTED.mu, PLANTED.omega, PLANTED.alpha, PLANTED.gamma, PLANTED.beta, 8.0]
    model = arch_model(returns, p=1, o=1, q=1, dist="t", rescale=False)
    theirs = model.fix(values).conditional_volatility ** 2
    ours = next_variance(returns, PLANTED, start=1.0)
    assert ours[700:-1] == pytest.approx(theirs[701:], rel=1e-6)


def test_planted_parameters_are_recovered_and_the_asymmetry_is_seen() -> None:
    found = estimate(simulated(PLANTED, 8000, 2)[0])
    assert found.gamma == pytest.approx(PLANTED.gamma, abs=0.03)
    assert found.beta == pytest.approx(PLANTED.beta, abs=0.02)
    assert found.alpha == pytest.approx(PLANTED.alpha, abs=0.02)


def test_without_asymmetry_there_is_none_or_little() -> None:
    plain = GarchParameters(mu=0.0, omega=0.05, alpha=0.08, gamma=0.0, beta=0.87)
    found = [estimate(simulated(plain, 2500, seed)[0]).gamma for seed in range(4)]
    # AIC takes a useless parameter in one of six samples.
    assert sum(gamma == 0 for gamma in found) >= 3
    assert np.abs(found).max() < 0.06


@pytest.mark.parametrize("returns", [np.zeros(1000), np.ones(5)])
def test_returns_that_nothing_can_be_estimated_on(returns: np.ndarray) -> None:
    assert estimate(returns) == GarchParameters(0.0, 1e-6, 0.06, 0.0, 0.94)


def probabilities(task: str, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability at every later row of a planted market, and its next variance."""
    returns, variances = simulated(PLANTED, 6000, 3)
    one = series_of(bars_of(returns / 100), 5000)
    wanted = get_task(task)  # type: ignore[arg-type]
    uniforms = np.random.default_rng(0).random((garch.N_PATHS, horizon))
    p = garch._probabilities(one, garch._fit([one], wanted), wanted, uniforms)
    return p[5000:-1], variances[5001:]


def test_the_barrier_of_one_bar_is_the_planted_one() -> None:
    p, variance = probabilities("threshold_1pct_close", 1)
    true = norm.sf((100 * np.log(1.01) - PLANTED.mu) / np.sqrt(variance))
    assert true.std() > 0.05
    assert np.abs(p - true).max() < 0.04
    assert np.abs(p - true).mean() < 0.01


@pytest.mark.parametrize("task", ["threshold_1pct_close", "threshold_2pct", "direction"])
def test_the_barrier_of_three_bars_is_the_planted_one(task: str) -> None:
    p, variance = probabilities(task, 3)
    # A second way: plain paths with the planted law, from the rows' own variances.
    rows = np.arange(0, len(p), 111)
    rng, reached = np.random.default_rng(9), np.zeros(len(rows))
    for place, start in enumerate(variance[rows]):
        v, total, best = np.full(20_000, start), np.zeros(20_000), np.full(20_000, -np.inf)
        for _ in range(3):
            residual = np.sqrt(v) * rng.standard_normal(20_000)
            total += PLANTED.mu + residual
            # The high of these bars is their close, or their open where that is higher.
            best = np.maximum(best, total)
            slope = PLANTED.alpha + PLANTED.gamma * (residual < 0)
            v = PLANTED.omega + slope * residual**2 + PLANTED.beta * v
        needed = {"direction": 0.0, "threshold_2pct": 100 * np.log(1.02)}
        level = needed.get(task, 100 * np.log(1.01))
        reached[place] = np.mean((total if task == "direction" else best) >= level)
    assert p[rows] == pytest.approx(reached, abs=0.03)


def test_a_price_that_stands_still_reaches_nothing() -> None:
    one, task = series_of(bars_of(np.zeros(900)), 800), get_task("threshold_1pct")
    uniforms = np.random.default_rng(0).random((64, 3))
    p = garch._probabilities(one, garch._fit([one], task), task, uniforms)
    assert p == pytest.approx(0.5 / 65)


def test_a_fit_that_fails_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = simulated(PLANTED, 600, 4)[0]

    class Failed:
        convergence_flag, aic, params = 4, -1e9, {}

    class Model:
        def fit(self, **_: object) -> Failed:
            return Failed()

    monkeypatch.setattr(garch, "arch_model", lambda *_, **__: Model())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert estimate(returns).beta == 0.94

"""Simulated markets: valid bars, and probabilities that are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydantic import ValidationError
from scipy import stats

from finscale.market.bars import bars_hash, to_arrays
from finscale.market.check import inspect_bars
from finscale.market.simulate.laws import Garch, Regimes
from finscale.market.simulate.market import SimulatedBars, simulate
from finscale.market.simulate.session import (
    OVERNIGHT_FRAC,
    FloatArray,
    Noise,
    Session,
    draw_session,
    log_density,
    p_close_reaches,
    p_high_reaches,
)
from finscale.study_data import SimulatedData
from finscale.tasks import get_task, label_rows

SETTINGS: dict[str, dict[str, Any]] = {
    "random_walk": {},
    "garch": {},
    "gjr": {},
    "short_memory": {},
    "long_memory": {"memory_bars": 60, "strength": 0.3},
    "interactions": {"memory_bars": 8, "n_terms": 6, "order": 3},
    "teacher": {"memory_bars": 4, "width": 8},
    "regimes": {},
}


def settings(market: str, **changes: Any) -> SimulatedData:
    return SimulatedData.model_validate(
        {"source": "simulated", "market": market} | SETTINGS[market] | changes
    )


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def simulated(request: pytest.FixtureRequest) -> SimulatedBars:
    [one] = simulate(settings(request.param, n_bars=6000, seed=5))
    return one


def labelled(market: SimulatedBars, name: Any, horizon_bars: int = 1) -> tuple[FloatArray, ...]:
    task = get_task(name)
    labels = label_rows(to_arrays(market.bars), task, horizon_bars)
    truth = market.probability(task.threshold_frac, task.price, horizon_bars)
    assert truth is not None
    known = np.isfinite(labels)
    return labels[known].astype(np.float64), truth[known]


def test_the_bars_are_valid_and_nothing_is_odd(simulated: SimulatedBars) -> None:
    assert inspect_bars(simulated.bars) == ()
    assert len(simulated.bars) == 6000


@pytest.mark.parametrize("task", ["threshold_1pct", "threshold_1pct_close", "direction"])
def test_events_are_as_frequent_as_their_probabilities_say(
    simulated: SimulatedBars, task: str
) -> None:
    label_N, p_N = labelled(simulated, task)
    edges = np.unique(np.quantile(p_N, np.linspace(0, 1, 11)[1:-1]))
    bin_N = np.searchsorted(edges, p_N)
    chi2, bins = 0.0, np.unique(bin_N)
    for number in bins:
        own = bin_N == number
        surplus = float((label_N[own] - p_N[own]).sum())
        chi2 += surplus**2 / float((p_N[own] * (1 - p_N[own])).sum())
    # Labels given the past are independent, so the sum has a chi² law; 24 such tests are made.
    assert stats.chi2.sf(chi2, len(bins)) > 0.001 / 24


@pytest.mark.parametrize(
    ("market", "task", "least"),
    [
        ("garch", "threshold_1pct", 0.02),
        ("short_memory", "direction", 0.05),
        ("long_memory", "threshold_1pct", 0.03),
        ("interactions", "direction", 0.05),
        ("teacher", "direction", 0.05),
        ("regimes", "threshold_1pct", 0.05),
    ],
)
def test_what_is_planted_can_be_foretold(market: str, task: str, least: float) -> None:
    [one] = simulate(settings(market, n_bars=6000, seed=5))
    label_N, p_N = labelled(one, task)
    rate = label_N.mean()
    loss = -np.mean(label_N * np.log(p_N) + (1 - label_N) * np.log1p(-p_N))
    base = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert 1 - loss / base > least


@pytest.mark.parametrize("market", ["random_walk", "garch", "gjr", "long_memory"])
def test_the_direction_of_a_driftless_market_is_a_coin(market: str) -> None:
    [one] = simulate(settings(market, n_bars=500))
    assert_allclose(labelled(one, "direction")[1], 0.5)


def test_the_same_seed_gives_the_same_bars_and_another_seed_others() -> None:
    one, again = (simulate(settings("teacher", n_bars=400, seed=3))[0] for _ in range(2))
    [other] = simulate(settings("teacher", n_bars=400, seed=4))
    assert bars_hash(one.bars) == bars_hash(again.bars)
    assert bars_hash(one.bars) != bars_hash(other.bars)


def test_symbols_share_a_law_and_nothing_else() -> None:
    one, two = simulate(settings("interactions", n_bars=400, n_symbols=2))
    assert (one.symbol, two.symbol) == ("SIM1", "SIM2")
    returns = [np.diff(np.log(m.bars["close"].to_numpy())) for m in (one, two)]
    assert abs(np.corrcoef(returns)[0, 1]) < 0.15


def test_a_probability_depends_on_nothing_that_comes_later() -> None:
    """The probability of a row follows from the bars up to it, whoever computes it."""
    [one] = simulate(settings("gjr", n_bars=400))
    law = Garch(one.settings)
    bars = to_arrays(one.bars)
    close = np.concatenate([[100.0], bars.close])
    for row in range(50):
        move = np.log(close[row + 1] / close[row])
        law.observe(Session(*np.full(4, move)), 0.0)
        assert_allclose(law.next().sigma_K, one.sigma_TK[row], rtol=1e-9)


# One session.


@pytest.mark.parametrize("mean", [0.0, 0.004, -0.006])
def test_the_closed_form_is_the_integral_over_open_and_close(mean: float) -> None:
    # The reflection formula against a grid of what the sampler does: both bridges, both ends.
    sigma, level, night, day = 0.01, 0.01, OVERNIGHT_FRAC, 1 - OVERNIGHT_FRAC
    z = np.linspace(-8, 8, 1601)
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    opened = mean * night + sigma * np.sqrt(night) * z[:, None]
    closed = opened + mean * day + sigma * np.sqrt(day) * z[None]

    def reaches(x: FloatArray, y: FloatArray, variance: float) -> FloatArray:
        exponent = -2 * np.maximum(level - x, 0) * np.maximum(level - y, 0) / variance
        return np.exp(exponent)

    missed = (1 - reaches(np.zeros_like(opened), opened, sigma**2 * night)) * (
        1 - reaches(opened, closed, sigma**2 * day)
    )
    total = float(weight @ (1 - missed) @ weight)
    assert_allclose(p_high_reaches(level, mean, sigma), total, atol=1e-5)


def test_without_a_drift_a_high_is_reached_twice_as_often_as_a_close() -> None:
    high, close = p_high_reaches(0.01, 0.0, 0.02), p_close_reaches(0.01, 0.0, 0.02)
    assert_allclose(high, 2 * close)
    assert_allclose(close, stats.norm.sf(0.5))


def test_drawn_sessions_hold_open_and_close_between_low_and_high() -> None:
    rng = np.random.default_rng(2)
    mean, sigma = rng.normal(0, 0.01, 5000), rng.uniform(0.001, 0.05, 5000)
    session = draw_session(mean, sigma, Noise.draw(rng, 5000))
    assert (session.high >= np.maximum(0, np.maximum(session.open, session.close))).all()
    assert (session.low <= np.minimum(0, np.minimum(session.open, session.close))).all()


@pytest.mark.parametrize("side", ["high", "low"])
def test_drawn_extremes_have_their_law(side: str) -> None:
    mean, sigma, level, n = 0.004, 0.01, 0.01, 40_000
    noise = Noise.draw(np.random.default_rng(3), n)
    session = draw_session(np.full(n, mean), np.full(n, sigma), noise)
    hits = session.high >= level if side == "high" else -session.low >= level
    p = float(p_high_reaches(level, mean if side == "high" else -mean, sigma))
    assert stats.binomtest(int(hits.sum()), n, p).pvalue > 1e-3


def test_the_density_of_a_session_integrates_to_one() -> None:
    # Over the high, given open and close: what the filter of the regimes weighs states by.
    opened, closed, sigma = 0.002, -0.003, np.array([0.01])
    high = np.linspace(0.002, 0.1, 200_001)
    shape = np.ones_like(high)

    def at(high_value: FloatArray, low_value: FloatArray) -> FloatArray:
        session = Session(opened * shape, high_value, low_value, closed * shape)
        with np.errstate(divide="ignore"):
            return np.exp(log_density(session, 0.0, sigma))

    density = at(high, np.full_like(high, -0.01))
    z = np.array([opened / np.sqrt(OVERNIGHT_FRAC), (closed - opened) / np.sqrt(0.9)]) / sigma
    ends = np.exp(-0.5 * float(z @ z)) / float(sigma[0]) ** 2
    low = -np.linspace(0.003, 0.1, 200_001)
    other = at(np.full_like(low, 0.01), low)
    # f(high) f(low) with one of the two fixed: their ratio removes the fixed one.
    area_high = np.trapezoid(density, high) / ends
    area_low = np.trapezoid(other, -low) / ends
    fixed = float(at(np.array([0.01]) * shape[:1], np.array([-0.01]) * shape[:1])[0]) / ends
    assert_allclose(area_high * area_low / fixed, 1.0, rtol=1e-3)


def test_the_filter_knows_a_state_that_cannot_be_mistaken() -> None:
    law = Regimes(settings("regimes"))
    for _ in range(5):
        noise = Noise.draw(np.random.default_rng(0), 1)
        wild = draw_session(np.zeros(1), np.array([0.018]), noise)
        law.observe(Session(*(3 * float(one[0]) for one in wild)), 0.0)
    # Surely wild now, and wild tomorrow unless it is left (5%).
    assert_allclose(law.next().weight_K, [0.05, 0.95], atol=1e-3)


# Longer horizons.


def test_at_longer_horizons_a_random_walk_stays_exact() -> None:
    [one] = simulate(settings("random_walk", n_bars=6000, seed=5))
    label_N, p_N = labelled(one, "threshold_1pct", 5)
    assert_allclose(p_N, 2 * stats.norm.sf(np.log(1.01) / (0.01 * np.sqrt(5))))
    # Every fifth label, so that none overlaps another.
    hits = int(label_N[::5].sum())
    assert stats.binomtest(hits, len(label_N[::5]), p_N[0]).pvalue > 1e-3


def test_the_direction_of_a_random_walk_stays_exact_at_longer_horizons() -> None:
    [one] = simulate(settings("random_walk", n_bars=6000, seed=5))
    label_N, p_N = labelled(one, "direction", 5)
    assert_allclose(p_N, 0.5)
    assert stats.binomtest(int(label_N[::5].sum()), len(label_N[::5])).pvalue > 1e-3


def test_the_highest_of_several_closes_has_no_closed_form() -> None:
    [one] = simulate(settings("random_walk", n_bars=400))
    assert one.probability(0.01, "close", 1) is not None
    assert one.probability(0.01, "close", 3) is None


def test_elsewhere_longer_horizons_have_no_closed_form() -> None:
    [one] = simulate(settings("garch", n_bars=400))
    assert one.probability(0.01, "high", 3) is None


# Settings.


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"market": "garch", "width": 8}, "width: not read by a market of garch"),
        ({"market": "interactions", "order": 4, "memory_bars": 3}, "more factors than there are"),
    ],
)
def test_settings_that_a_law_does_not_read_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        SimulatedData.model_validate({"source": "simulated"} | changes)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from market_of import bars_of, series_of
from scipy.stats import norm

from finscale.baselines import har
from finscale.baselines.har import log_range_variance, predictors
from finscale.market.bars import OHLCV
from finscale.tasks import get_task


def test_variance_by_hand_is_that_of_the_range_and_of_the_gap() -> None:
    closes, opens = np.array([100.0, 110.0, 110.0]), np.array([100.0, 101.0, 110.0])
    highs, lows = np.array([102.0, 111.0, 110.0]), np.array([99.0, 101.0, 110.0])
    dates = np.datetime64("2001-01-01") + np.arange(3)
    found = log_range_variance(OHLCV(dates, opens, highs, lows, closes, np.ones(3)))
    first = np.log(102 / 99) ** 2 / (4 * np.log(2))
    second = np.log(111 / 101) ** 2 / (4 * np.log(2)) + np.log(101 / 100) ** 2
    # The third never moved: one basis point stands for nothing.
    assert np.exp(found) == pytest.approx([first, second, 1e-8])


def test_predictors_are_means_of_a_day_a_week_and_a_month() -> None:
    rng = np.random.default_rng(0)
    bars = bars_of(0.01 * rng.standard_normal(60))
    variance = np.exp(log_range_variance(bars))
    found = predictors(bars)
    for row in (0, 3, 21, 59):
        expected = [variance[max(row - n + 1, 0) : row + 1].mean() for n in (1, 5, 22)]
        assert found[row] == pytest.approx([1.0, *np.log(expected)])


def planted_market(n: int, seed: int) -> tuple[OHLCV, np.ndarray]:
    """Return bars whose log volatility is a slow autoregression, and the volatility of each."""
    rng = np.random.default_rng(seed)
    log_sigma = np.zeros(n)
    for row in range(1, n):
        log_sigma[row] = 0.98 * log_sigma[row - 1] + 0.1 * rng.standard_normal()
    sigma = 0.01 * np.exp(log_sigma)
    steps = sigma[:, None] * rng.standard_normal((n, 64)) / 8
    path = np.cumsum(steps, axis=1)
    start = np.concatenate([[0.0], np.cumsum(path[:, -1])[:-1]])
    price = 100 * np.exp(start[:, None] + np.c_[np.zeros(n), path])
    dates = np.datetime64("2001-01-01") + np.arange(n)
    ends = {"open": price[:, 0], "close": price[:, -1]}
    reach = {"high": price.max(1), "low": price.min(1)}
    return OHLCV(date=dates, volume=np.ones(n), **ends, **reach), sigma


def test_forecast_and_barrier_follow_the_planted_volatility() -> None:
    bars, sigma = planted_market(6000, 1)
    task = get_task("threshold_1pct_close")
    model = har._fit([series_of(bars, 5000)], task, 1)
    log_forecast = 0.5 * predictors(bars) @ model.coefficients
    later = slice(5000, -1)
    error = log_forecast[later] - np.log(sigma[5001:])
    # The range of one bar of 64 steps is a little short; what remains is the market's own news.
    assert np.corrcoef(log_forecast[later], np.log(sigma[5001:]))[0, 1] > 0.9
    assert error.std() < 0.22
    p = har._probabilities(bars, model, task)[later]
    true = norm.sf(np.log(1.01) / sigma[5001:])
    assert np.abs(p - true).mean() < 0.04
    assert p.mean() == pytest.approx(true.mean(), abs=0.02)


def test_nothing_but_volatility_matters_of_a_market_without_drift() -> None:
    bars, _ = planted_market(3000, 2)
    p = har._probabilities(
        bars, har._fit([series_of(bars, 2500)], get_task("direction"), 5), get_task("direction")
    )
    assert p == pytest.approx(0.5, abs=0.06)


def test_it_is_of_one_scale_free_kind() -> None:
    bars, _ = planted_market(1500, 3)
    dearer = replace(
        bars, **{name: 7 * getattr(bars, name) for name in ("open", "high", "low", "close")}
    )
    task = get_task("threshold_1pct")
    one, other = (
        har._probabilities(market, har._fit([series_of(market, 1200)], task, 3), task)
        for market in (bars, dearer)
    )
    assert one == pytest.approx(other, abs=2e-3)

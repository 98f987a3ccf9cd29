from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from finscale.evaluation.backtest import (
    deflated_sharpe,
    holding_returns,
    max_drawdown,
    run_backtests,
)


def backtests(weights, returns, **changes):
    settings = {"cost_bps": 0.0, "n_trials": 1, "n_samples": 200, "seed": 0, **changes}
    return {one.name: one for one in run_backtests(weights, returns, **settings)}


def test_holding_returns_by_hand():
    close = np.array([[100.0, 50.0], [110.0, np.nan], [99.0, 55.0], [99.0, 66.0]])

    now, next_close = holding_returns(close), holding_returns(close, lag=1)

    # The second symbol did not trade on the second date: its first return goes to the third.
    assert now[:3, 0] == pytest.approx([0.1, -0.1, 0.0])
    assert now[[0, 2], 1] == pytest.approx([0.1, 0.2])
    assert np.isnan(now[[1, 3], 1]).all()
    assert np.isnan(now[3, 0])
    assert next_close[:2, 0] == pytest.approx([-0.1, 0.0])
    assert next_close[0, 1] == pytest.approx(0.2)
    assert np.isnan(next_close[2:]).all()


def test_buy_and_hold_by_hand():
    # Two dates of +10% and -10%: 0.99 of the capital, a year is 126 times as long.
    held = backtests({"hold": np.ones((2, 1))}, np.array([[0.1], [-0.1]]))["hold"]

    assert held.annual_return == pytest.approx(0.99**126 - 1)
    assert held.annual_volatility == pytest.approx(0.1 * np.sqrt(252))
    assert held.sharpe.value == pytest.approx(0.0)
    assert held.max_drawdown == pytest.approx(0.1)
    # Bought once in two dates.
    assert (held.annual_turnover, held.exposure, held.n_dates) == (126.0, 1.0, 2)
    assert held.deflated_sharpe is None


def test_a_year_of_weekly_bars_has_52():
    weekly = backtests(
        {"hold": np.ones((3, 1))}, np.array([[0.1], [-0.1], [0.05]]), dates_per_year=52.0
    )["hold"]

    growth, returns = 1.1 * 0.9 * 1.05, np.array([0.1, -0.1, 0.05])
    assert weekly.annual_return == pytest.approx(growth ** (52 / 3) - 1)
    assert weekly.annual_volatility == pytest.approx(returns.std() * np.sqrt(52))
    assert weekly.sharpe.value == pytest.approx(returns.mean() / returns.std() * np.sqrt(52))
    assert weekly.annual_turnover == pytest.approx(52 / 3)


def test_perfect_foresight_beats_the_market_and_random_positions_do_not():
    rng = np.random.default_rng(3)
    returns = rng.normal(0.0, 0.01, (1000, 1))
    weights = {
        "hold": np.ones((1000, 1)),
        "foresight": (returns > 0).astype(float),
        "random": rng.integers(0, 2, (1000, 1)).astype(float),
        "constant": np.full((1000, 1), 0.5),
    }

    found = backtests(weights, returns, compared_with=("hold",), n_trials=20)

    # Daily mean 0.01 φ(0) = 0.00399, variance 0.01² (1/2 - φ(0)²): 0.68 a day, 10.9 a year.
    expected = 0.3989 / np.sqrt(0.5 - 0.3989**2) * np.sqrt(252)
    assert found["foresight"].sharpe.value == pytest.approx(expected, rel=0.08)
    assert found["foresight"].sharpe.low > 9
    assert found["foresight"].sharpe_differences["hold"].low > 5
    assert found["foresight"].max_drawdown == 0.0
    assert found["foresight"].deflated_sharpe > 0.999
    assert found["random"].sharpe.low < 0.0 < found["random"].sharpe.high
    assert found["random"].deflated_sharpe < 0.9
    # Half of the market has its Sharpe ratio and half of its volatility.
    assert found["constant"].sharpe.value == pytest.approx(found["hold"].sharpe.value)
    assert found["constant"].sharpe_differences["hold"].low == pytest.approx(0.0, abs=1e-9)
    assert found["constant"].annual_volatility == pytest.approx(found["hold"].annual_volatility / 2)
    assert found["hold"].sharpe_differences == {}


def test_sharpe_intervals_cover():
    rng = np.random.default_rng(7)
    covered = 0
    for repetition in range(100):
        returns = rng.normal(0.0005, 0.01, (400, 1))
        found = backtests({"hold": np.ones((400, 1))}, returns, seed=repetition)["hold"]
        covered += found.sharpe.low <= 0.05 * np.sqrt(252) <= found.sharpe.high

    assert 88 <= covered <= 100


def test_costs_and_dates_without_returns():
    weights = np.array([[1.0], [0.0], [1.0], [1.0]])
    returns = np.array([[0.01], [0.02], [0.03], [np.nan]])

    free = backtests({"a": weights}, returns)["a"]
    dear = backtests({"a": weights}, returns, cost_bps=100)["a"]

    assert free.n_dates == 3
    assert free.annual_return == pytest.approx((1.01 * 1.03) ** (252 / 3) - 1)
    # Bought, sold and bought again at 1% each.
    assert dear.annual_return == pytest.approx((1.0 * 0.99 * 1.02) ** (252 / 3) - 1)
    assert dear.annual_turnover == 252.0


def test_a_strategy_that_is_never_in_the_market_has_no_ratio():
    found = backtests({"flat": np.zeros((50, 1))}, np.full((50, 1), 0.01))["flat"]

    assert (found.sharpe.value, found.annual_return, found.deflated_sharpe) == (0.0, 0.0, None)


def test_drawdown_by_hand():
    # Capital 1, 1.2, 0.9, 1.08, 0.54: from 1.2 to 0.54.
    assert max_drawdown(np.array([0.2, -0.25, 0.2, -0.5])) == pytest.approx(0.55)
    assert max_drawdown(np.array([-0.1])) == pytest.approx(0.1)


def test_deflated_sharpe_by_hand():
    # Mean 0.1, standard deviation 1, skewness 0, kurtosis 1: SR 0.1 over 100 rows.
    returns = 0.1 + np.tile([1.0, -1.0], 50)
    expected_best = np.sqrt(1 / 99) * (
        (1 - 0.5772156649) * stats.norm.ppf(0.9) + 0.5772156649 * stats.norm.ppf(1 - 0.1 / np.e)
    )

    # The spread is 1 - 0 + 0: the Sharpe ratio's error is 1 / sqrt(99).
    assert deflated_sharpe(returns, n_trials=1) == pytest.approx(stats.norm.cdf(0.1 * np.sqrt(99)))
    assert deflated_sharpe(returns, n_trials=10) == pytest.approx(
        stats.norm.cdf((0.1 - expected_best) * np.sqrt(99))
    )
    assert expected_best * np.sqrt(99) == pytest.approx(1.5746, abs=1e-3)


def test_deflated_sharpe_agrees_with_the_example_of_its_paper():
    # Bailey and Lopez de Prado (2014): annual 2.5 over 1250 days, skewness -3, kurtosis 10,
    # 100 trials whose annual ratios have a variance of 1/2: 0.9004.
    ratio, variance = 2.5 / np.sqrt(250), 0.5 / 250
    best = np.sqrt(variance) * (
        (1 - 0.5772156649) * stats.norm.ppf(0.99) + 0.5772156649 * stats.norm.ppf(1 - 0.01 / np.e)
    )
    rng = np.random.default_rng(0)
    returns = _with_moments(rng, ratio)
    skewness, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)

    expected = stats.norm.cdf(
        (ratio - best)
        * np.sqrt(1249)
        / np.sqrt(1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2)
    )

    assert best == pytest.approx(0.1132, abs=1e-4)
    published = (ratio - best) * np.sqrt(1249) / np.sqrt(1 + 3 * ratio + 9 / 4 * ratio**2)
    assert stats.norm.cdf(published) == pytest.approx(0.9004, abs=1e-3)
    assert deflated_sharpe(returns, n_trials=100, trial_variance=variance) == pytest.approx(
        expected
    )


def _with_moments(rng, ratio):
    noise = -rng.gamma(0.5, size=1250)
    noise = (noise - noise.mean()) / noise.std()
    return noise + ratio


def test_the_best_of_many_worthless_strategies_is_deflated():
    rng = np.random.default_rng(1)
    claims = naive = 0
    for _ in range(200):
        trials = rng.normal(size=(250, 20))
        best = trials[:, np.argmax(trials.mean(axis=0) / trials.std(axis=0))]
        claims += deflated_sharpe(best, n_trials=20) > 0.95
        naive += deflated_sharpe(best, n_trials=1) > 0.95

    assert claims <= 20
    assert naive >= 100


def test_impossible_backtests_are_refused():
    with pytest.raises(ValueError, match="no date"):
        backtests({"a": np.ones((2, 1))}, np.full((2, 1), np.nan))
    with pytest.raises(ValueError, match="weights"):
        backtests({"a": np.ones((2, 2))}, np.ones((2, 1)))
    with pytest.raises(ValueError, match="at least 1"):
        deflated_sharpe(np.arange(5.0), n_trials=0)

from __future__ import annotations

import numpy as np
import pytest

from finscale.evaluation.positions import (
    PositionRule,
    choose_position_rule,
    decile_weights,
    forecast_weights,
    portfolio_returns,
    sharpe_ratio,
    spread_evenly,
    turnover,
)


def test_rules_by_hand():
    p = [0.1, 0.3, 0.4, 0.9, np.nan]

    assert PositionRule(0.3, 0.0, 1).apply(p)[:4].tolist() == [0, 1, 1, 1]
    assert PositionRule(0.3, 0.0, -1).apply(p)[:4].tolist() == [1, 1, 0, 0]
    assert PositionRule(0.3, 0.2, 1).apply(p)[:4] == pytest.approx([0, 0, 0.5, 1])
    assert np.isnan(PositionRule(0.3, 0.2, 1).apply(p)[4])
    assert np.isnan(PositionRule(0.3, 0.0, 1).apply(p)[4])


def test_perfect_foresight_finds_its_threshold():
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 0.01, (400, 1))
    p = np.where(returns > 0, 0.6, 0.2)

    rule = choose_position_rule(p, returns, cost_bps=0)

    assert (rule.threshold, rule.sign) == (0.6, 1)
    assert (rule.apply(p) == (returns > 0)).all()


def test_a_probability_of_falls_is_sold():
    returns = np.random.default_rng(0).normal(0, 0.01, (400, 1))

    rule = choose_position_rule(np.where(returns > 0, 0.2, 0.6), returns, cost_bps=0)

    assert (rule.threshold, rule.sign) == (0.2, -1)


def test_costs_keep_a_position_where_trading_would_eat_the_gain():
    # In and out every other day earns 0.2% a time; at 50 basis points a side it costs 1%.
    returns = np.tile([0.002, -0.0005], 100)[:, None]
    p = np.tile([0.6, 0.2], 100)[:, None]

    assert choose_position_rule(p, returns, cost_bps=0).threshold == 0.6
    assert choose_position_rule(p, returns, cost_bps=50).threshold == 0.2


def test_a_forecast_that_says_nothing_stays_in_the_market():
    rule = choose_position_rule(np.full((50, 1), 0.3), np.full((50, 1), 0.01), cost_bps=5)

    assert rule.apply([0.3])[0] == 1.0


def test_proportional_positions_grow_over_the_middle_of_the_probabilities():
    p = np.linspace(0, 1, 101)[:, None]
    returns = np.where(p > 0.5, 0.01, -0.01) + 0.001 * np.sin(np.arange(101))[:, None]

    rule = choose_position_rule(p, returns, cost_bps=0, proportional=True)

    assert rule.scale == pytest.approx(0.8)
    assert rule.sign == 1


def test_validation_without_probabilities_is_refused():
    with pytest.raises(ValueError, match="no validation"):
        choose_position_rule(np.full((3, 1), np.nan), np.zeros((3, 1)), cost_bps=0)


def test_positions_share_the_capital_of_a_date():
    found = spread_evenly(np.array([[1.0, 0.5], [1.0, np.nan], [np.nan, np.nan]]))

    assert found.tolist() == [[0.5, 0.25], [1.0, 0.0], [0.0, 0.0]]


def test_costs_by_hand():
    weight = np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]])
    returns = np.array([[0.02, 0.04], [-0.01, np.nan], [0.5, 0.5]])

    assert turnover(weight).tolist() == [1.0, 1.0, 1.0]
    # 10 basis points: 0.001 on each date.
    assert portfolio_returns(weight, returns, 10) == pytest.approx([0.029, -0.011, -0.001])


def test_sharpe_ratio_by_hand():
    assert sharpe_ratio(np.array([0.01, 0.03])) == pytest.approx(2.0)
    assert sharpe_ratio(np.zeros(5)) == 0.0


def test_deciles_by_hand():
    # Twenty symbols: the two highest long, the two lowest short.
    found = decile_weights(np.arange(20.0)[None])

    assert found[0, :2].tolist() == [-0.5, -0.5]
    assert found[0, -2:].tolist() == [0.5, 0.5]
    assert not found[0, 2:-2].any()


def test_deciles_need_symbols_and_differences():
    few = np.array([[1.0, 2.0, 3.0, np.nan]])

    assert not decile_weights(few).any()
    # In thirds, the three are one group each.
    assert decile_weights(few, n_groups=3).tolist() == [[-1.0, 0.0, 1.0, 0.0]]
    assert not decile_weights(np.full((2, 30), 0.4)).any()
    assert not decile_weights(np.full((2, 30), np.nan)).any()


def test_forecast_weights_by_hand():
    # Mean 0.4: -0.2, -0.1, 0.3; the legs are scaled to 1.
    found = forecast_weights(np.array([[0.2, 0.3, 0.7, np.nan], [0.1] * 4]))

    assert found[0] == pytest.approx([-2 / 3, -1 / 3, 1.0, 0.0])
    assert not found[1].any()

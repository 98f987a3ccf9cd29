"""What the forecasts of a cell would have earned as positions: never the headline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finscale.evaluation.backtest import (
    TRADING_DAYS,
    Backtest,
    holding_returns,
    run_backtests,
)
from finscale.evaluation.bootstrap import FloatArray
from finscale.evaluation.closes import Closes
from finscale.evaluation.positions import (
    choose_position_rule,
    decile_weights,
    forecast_weights,
    spread_evenly,
)
from finscale.evaluation.signals import Signals

BUY_AND_HOLD = "buy_and_hold"

# A decile of fewer symbols than this is empty; weights need two that can differ.
_FEWEST_FOR_DECILES, _FEWEST_FOR_WEIGHTS = 10, 2


@dataclass(frozen=True)
class Trading:
    """How positions are traded.

    Attributes
    ----------
    cost_bps
        Cost of trading the full amount once, in hundredths of a per cent.
    lag
        Closes between the decision and the trade; see `finscale.evaluation.backtest`.
    n_models
        Models tried, those included that were never scored on test; the ones that are backtested
        count at least.
    dates_per_year
        Closes in a year, as many as bars.
    """

    cost_bps: float = 5.0
    lag: int = 0
    n_models: int = 1
    dates_per_year: float = TRADING_DAYS


@dataclass(frozen=True)
class Economics:
    """Backtests of a cell on its test dates.

    Attributes
    ----------
    trading
        Costs, lag and models tried.
    n_models
        Models that count as tried.
    n_rules
        Rules by which every model is traded: two in time, and across symbols one or two more.
    n_strategies
        N of the deflated Sharpe ratio; see `measure_economics`.
    timing
        Buy and hold, and for each model ``MODEL/threshold`` (all or nothing) and
        ``MODEL/proportional``, by rules chosen on validation.
    cross_section
        On panels ``MODEL/forecast_weighted`` and, where a date has ten symbols, ``MODEL/decile``.
    """

    trading: Trading
    n_models: int
    n_rules: int
    n_strategies: int
    timing: tuple[Backtest, ...]
    cross_section: tuple[Backtest, ...]


def measure_economics(
    validation: Signals,
    test: Signals,
    closes: Closes,
    trading: Trading,
    *,
    volatility_baseline: str | None,
    n_samples: int,
    seed: int,
    confidence: float,
) -> Economics:
    """Backtest every model of a cell.

    Positions are decided at the close of each test date. Rules are chosen on validation rows, by
    returns that are known on the first test date. Buy and hold owns every symbol that has a test
    row on the date, in equal parts.

    The deflated Sharpe ratio counts every strategy tried (Bailey and López de Prado 2014): each
    model tried under each rule, and buy and hold. The models are the trials of the cell's searches,
    under earlier settings too, and its baselines, not the few that reached test: each of them might
    have, and been traded by any of the rules. Positions of models alike are alike, so N is above
    the number of independent strategies that the formula asks for, and the probability errs on the
    low side. The thresholds
    that a rule was chosen among do not count: the choice is made on validation, and neighbouring
    ones are the same positions on most dates. Nor do other cells: who picks the best strategy of
    several of them has to count those as well.

    Raises
    ------
    ValueError
        If a row has no close.
    """
    known = closes.up_to(test.date_B.min())
    past_TN, past_return_TN = _grids(validation, known, trading.lag)
    now_TN, return_TN = _grids(test, closes, trading.lag)
    present_TN = _present(now_TN[test.models[0]])
    timing = {BUY_AND_HOLD: spread_evenly(present_TN)}
    for model in test.models:
        for proportional in (False, True):
            rule = choose_position_rule(
                past_TN[model],
                past_return_TN,
                cost_bps=trading.cost_bps,
                proportional=proportional,
            )
            name = f"{model}/{'proportional' if proportional else 'threshold'}"
            timing[name] = spread_evenly(rule.apply(now_TN[model]))
    compared_with = [BUY_AND_HOLD]
    if volatility_baseline is not None:
        compared_with.append(f"{volatility_baseline}/threshold")
    cross_section = {}
    n_together = np.nansum(present_TN, axis=1).max()
    for model in test.models:
        if n_together >= _FEWEST_FOR_DECILES:
            cross_section[f"{model}/decile"] = decile_weights(now_TN[model])
        if n_together >= _FEWEST_FOR_WEIGHTS:
            cross_section[f"{model}/forecast_weighted"] = forecast_weights(now_TN[model])

    n_rules = (len(timing) - 1 + len(cross_section)) // len(test.models)
    n_models = max(trading.n_models, len(test.models))
    n_strategies = n_rules * n_models + 1

    def run(weights: dict[str, FloatArray], others: tuple[str, ...]) -> tuple[Backtest, ...]:
        return run_backtests(
            weights,
            return_TN,
            cost_bps=trading.cost_bps,
            n_trials=n_strategies,
            n_samples=n_samples,
            seed=seed,
            compared_with=others,
            confidence=confidence,
            dates_per_year=trading.dates_per_year,
        )

    return Economics(
        trading=trading,
        n_models=n_models,
        n_rules=n_rules,
        n_strategies=n_strategies,
        timing=run(timing, tuple(compared_with)),
        cross_section=run(cross_section, ()) if cross_section else (),
    )


def _grids(signals: Signals, closes: Closes, lag: int) -> tuple[dict[str, FloatArray], FloatArray]:
    """Return the numbers of every model, and returns, on the dates of the signals."""
    t_B, n_B = closes.places(signals.date_B, signals.symbol_B)
    used, t_B = np.unique(t_B, return_inverse=True)
    grids = {}
    for model in signals.models:
        value_TN = np.full((used.size, len(closes.symbols)), np.nan)
        value_TN[t_B, n_B] = signals.of(model)
        grids[model] = value_TN
    return grids, holding_returns(closes.close_TN, lag=lag)[used]


def _present(value_TN: FloatArray) -> FloatArray:
    return np.where(np.isnan(value_TN), np.nan, 1.0)

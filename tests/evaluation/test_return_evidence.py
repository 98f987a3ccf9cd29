from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from volatility_quantiles import LEVELS, forecast_by_volatility

from finscale.evaluation.closes import grid_closes
from finscale.evaluation.forecasts import Forecasts
from finscale.evaluation.return_evidence import return_evidence
from finscale.evaluation.return_forecasts import ReturnForecasts

DAYS = np.array([date(2010, 1, 1) + timedelta(days=k) for k in range(1600)], "datetime64[D]")


def rows_of(first, end, symbols=("x",)):
    """Rows of one part; the probabilities play no role here."""
    n_symbols = len(symbols)
    n_rows = (end - first) * n_symbols
    return Forecasts(
        models=("m",),
        row_B=np.arange(n_rows),
        symbol_B=np.tile(np.array(symbols), end - first),
        date_B=np.repeat(DAYS[first:end], n_symbols),
        y_B=np.zeros(n_rows),
        p_BM=np.full((n_rows, 1), 0.5),
    )


def closes_of(returns, symbol="x"):
    return pl.DataFrame(
        {
            "symbol": [symbol] * returns.size,
            "date": DAYS[: returns.size],
            "close": 100 * np.exp(np.cumsum(returns)),
        }
    )


@pytest.fixture(scope="module", name="market")
def calm_and_turbulent_months():
    rng = np.random.default_rng(3)
    deviation = 0.005 * 4.0 ** np.repeat(rng.integers(0, 2, 27), 60)[:1600]
    return closes_of(deviation * rng.normal(size=1600))


@pytest.mark.parametrize("horizon", [1, 5])
def test_volatility_forecasts_beat_constant_quantiles_and_conformal_ones_cover(market, horizon):
    forecasts = forecast_by_volatility(
        rows_of(700, 1000), rows_of(1010, 1590), grid_closes(market), horizon_bars=horizon
    )

    found = return_evidence(
        forecasts.validation,
        forecasts.test,
        LEVELS,
        horizon_bars=horizon,
        reference_Q=forecasts.reference_Q,
        n_bootstrap=200,
    )

    assert found.n_rows == 580
    assert found.scores.crps_skill.value > 0.03
    assert (found.raw.nominal, found.scores.intervals[0].nominal) == (0.9, 0.9)
    assert found.raw.coverage.value == found.scores.intervals[0].coverage.value
    for coverage in (found.split, found.adaptive):
        assert coverage.coverage.low - 0.01 <= 0.9 <= coverage.coverage.high + 0.01
    assert found.adaptive.infinite_frac < 0.1
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["n_dates"] == 580


def test_forecasts_by_volatility_by_hand():
    # Returns alternate between 1% and -1%: their volatility is the same every day.
    closes = grid_closes(closes_of(np.tile([0.01, -0.01], 200)))

    found = forecast_by_volatility(
        rows_of(300, 310), rows_of(320, 330), closes, horizon_bars=1, levels=(0.1, 0.9)
    )

    assert found.reference_Q == pytest.approx([-0.01, 0.01])
    assert found.test.q_BQ == pytest.approx(np.tile([-0.01, 0.01], (10, 1)), rel=1e-9)
    assert np.abs(found.test.y_B) == pytest.approx(0.01)


def test_later_closes_change_no_forecast(market):
    changed = market.with_columns(
        close=pl.when(pl.col("date") > pl.lit(DAYS[1100]).cast(pl.Date))
        .then(pl.col("close") * 3)
        .otherwise(pl.col("close"))
    )
    first, second = (
        forecast_by_volatility(
            rows_of(700, 1000), rows_of(1010, 1101), grid_closes(one), horizon_bars=5
        )
        for one in (market, changed)
    )

    assert (first.test.q_BQ == second.test.q_BQ).all()
    assert (first.reference_Q == second.reference_Q).all()
    assert (first.test.y_B[-1], first.test.y_B[0]) != (second.test.y_B[-1], second.test.y_B[0])


def test_rows_whose_return_is_not_known_yet_are_left_out(market):
    found = forecast_by_volatility(
        rows_of(700, 1000), rows_of(1500, 1600), grid_closes(market), horizon_bars=5
    )

    assert found.test.y_B.size == 95


def test_what_cannot_be_forecast_is_refused(market):
    with pytest.raises(ValueError, match="no training returns"):
        forecast_by_volatility(rows_of(0, 20), rows_of(30, 50), grid_closes(market), horizon_bars=1)
    part = ReturnForecasts(DAYS[:2], np.array(["x", "x"]), np.zeros(2), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="ends of one interval"):
        return_evidence(part, part, (0.1, 0.8), horizon_bars=1)
    empty = ReturnForecasts(DAYS[:0], np.array([], dtype=str), np.zeros(0), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="need rows"):
        return_evidence(empty, part, (0.1, 0.9), horizon_bars=1)


def test_r2_is_one_less_the_ratio_of_squared_errors_with_an_interval():
    rng = np.random.default_rng(4)
    signal = 0.01 * rng.normal(size=1500)
    y = signal + 0.02 * rng.normal(size=1500)
    q = np.tile(np.quantile(y, [0.05, 0.95]), (1500, 1))
    part = ReturnForecasts(DAYS[:1500], np.full(1500, "x"), y, q, mean_B=signal)

    found = return_evidence(
        part, part, (0.05, 0.95), horizon_bars=1, historical_mean=0.001, n_bootstrap=200
    ).r2

    assert found.value == pytest.approx(1 - ((y - signal) ** 2).sum() / ((y - 0.001) ** 2).sum())
    # The variance of the signal is a fifth of the whole.
    assert found.low < 0.2 < found.high
    assert found.high - found.low < 0.1
    without = ReturnForecasts(part.date_B, part.symbol_B, y, q)
    assert (
        return_evidence(without, without, (0.05, 0.95), horizon_bars=1, n_bootstrap=50).r2 is None
    )

"""Forecast means as what positions are taken by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from finscale.evaluation.positions import choose_position_rule
from finscale.evaluation.return_frames import return_frame
from finscale.evaluation.signals import gather_means
from finscale.return_bins import ReturnBins


def forecasts(model: str, means: Sequence[float], **changes: object) -> pl.DataFrame:
    n = len(means)
    values = {
        "rows": np.arange(n)[::-1],
        "symbols": ["A"] * n,
        "dates": [dt.date(2020, 1, 1) + dt.timedelta(days=n - k) for k in range(n)],
        "part": "test",
        "returns": np.zeros(n),
        "model": model,
        "seed": None,
        "losses_B": np.ones(n),
        "means_B": means,
        "quantiles_BQ": np.tile(np.linspace(-0.02, 0.02, 19), (n, 1)),
    }
    return return_frame(**(values | changes))


def test_the_means_of_all_models_are_on_the_same_rows_oldest_first() -> None:
    seeds = forecasts("20K", [0.5, 0.5], seed=3)
    other_part = forecasts("20K", [0.7, 0.7], part="validation")
    frame = pl.concat(
        [forecasts("5K", [0.02, 0.01]), seeds, other_part, forecasts("20K", [-0.02, -0.01])]
    )
    found = gather_means(frame, "test")
    assert found.models == ("5K", "20K")
    assert found.of("5K").tolist() == [0.01, 0.02]
    assert found.of("20K").tolist() == [-0.01, -0.02]
    assert found.date_B[0] < found.date_B[1]


def test_a_model_that_lacks_rows_is_refused() -> None:
    frame = pl.concat([forecasts("5K", [0.02, 0.01]), forecasts("20K", [0.02])])
    with pytest.raises(ValueError, match="20K lacks 1 test rows"):
        gather_means(frame, "test")


@pytest.mark.parametrize("n_rows", [464, 465, 466, 467])
def test_a_constant_forecast_is_no_reason_to_trade(n_rows: int) -> None:
    # A matrix product may round the same sum in two ways, by the place of its row.
    returns = 0.01 * np.random.default_rng(0).standard_normal(5000)
    bins = ReturnBins.fit(returns, place="")
    means = bins.means(np.tile(bins.share_K, (n_rows, 1)))
    signal_B = gather_means(forecasts("base_rate", means), "test").of("base_rate")
    assert len(set(signal_B.tolist())) == 1
    rule = choose_position_rule(signal_B[:, None], returns[:n_rows, None], cost_bps=5)
    assert rule.apply(signal_B).tolist() == [1.0] * n_rows

"""Paired comparisons of forecasts of a return."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from finscale.evaluation.return_comparison import compare_returns
from finscale.evaluation.return_frames import return_frame

N = 400
DATES = [dt.date(2015, 1, 1) + dt.timedelta(days=k) for k in range(2 * N)]
COMMON = np.random.default_rng(0).exponential(3.0, 2 * N)
SETTINGS = {"horizon_bars": 1, "n_bootstrap": 200, "confidence": 0.95, "seed": 0}


def frames(model: str, gain: float, seed: int) -> list[pl.DataFrame]:
    losses = COMMON - gain + 0.1 * np.random.default_rng(seed).standard_normal(2 * N)
    return [
        return_frame(
            rows=np.arange(N) + first,
            symbols=["x"] * N,
            dates=DATES[first : first + N],
            part=part,
            returns=np.zeros(N),
            model=model,
            seed=None,
            losses_B=losses[first : first + N],
            means_B=np.zeros(N),
            quantiles_BQ=np.tile(np.arange(19.0), (N, 1)),
        )
        for part, first in (("validation", 0), ("test", N))
    ]


def test_a_planted_gain_is_found_with_its_interval() -> None:
    frame = pl.concat(
        [*frames("base_rate", 0.0, 1), *frames("20K", 0.05, 2), *frames("80K", 0.2, 3)]
    )
    found = compare_returns(frame, ["20K", "80K", "2M"], **SETTINGS)
    assert found["best_budget"] == "80K"
    gaps = {one["model"]: one["difference"] for one in found["differences"]}
    for model, gain in (("20K", 0.05), ("80K", 0.2)):
        assert gaps[model]["low"] < -gain < gaps[model]["high"] < 0
        assert gaps[model]["value"] == pytest.approx(-gain, abs=0.03)
    assert found["confidence_set"]["included"] == ["80K"]
    assert (found["budgets"], found["baselines"]) == (["20K", "80K"], ["base_rate"])
    # The base rate is what skill is measured from, and no rival to be chosen.
    assert (found["best_other_baseline"], found["volatility_baseline"]) == (None, None)
    assert (found["superior_ability"], found["correction"]) == ([], None)


def test_what_was_tried_counts_against_the_volatility_baseline() -> None:
    models = {"logistic_volatility": 0.1, "base_rate": 0.0, "forest": 0.02, "20K": 0.3, "80K": 0.1}
    frame = pl.concat(
        [one for k, (model, gain) in enumerate(models.items()) for one in frames(model, gain, k)]
    )
    found = compare_returns(frame, ["20K", "80K"], **SETTINGS, n_experiments=5)
    assert found["baselines"] == ["logistic_volatility", "base_rate", "forest"]
    assert (found["volatility_baseline"], found["best_other_baseline"]) == (
        *("logistic_volatility", "forest"),
    )
    assert [one["benchmark"] for one in found["superior_ability"]] == [
        *("logistic_volatility", "forest"),
    ]
    corrected = found["correction"]["p_values"]
    assert set(corrected) == {"20K", "80K"}
    assert found["correction"]["n_tried"] == 5
    assert corrected["20K"]["holm"] == pytest.approx(5 * corrected["20K"]["p_value"])
    assert corrected["80K"]["p_value"] > 0.05


def test_without_a_budget_nothing_is_compared() -> None:
    found = compare_returns(pl.concat(frames("base_rate", 0.0, 1)), ["20K"], **SETTINGS)
    assert (found["best_budget"], found["best_other_baseline"]) == (None, None)
    assert (found["differences"], found["superior_ability"]) == ([], [])
    assert (found["confidence_set"], found["correction"]) == (None, None)

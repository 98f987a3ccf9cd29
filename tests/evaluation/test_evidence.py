from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from finscale.evaluation.economics import BUY_AND_HOLD, Trading
from finscale.evaluation.evidence import EvidenceInputs, EvidenceSettings, cell_evidence
from finscale.evaluation.predictions import predictions_frame

SETTINGS = EvidenceSettings(n_bootstrap=200, n_experiments=6, trading=Trading(n_models=30))

# How far each model's probabilities are from the true ones: 20M knows them.
NOISE = {"2M": 0.3, "20M": 0.0, "base_rate": None, "logistic_volatility": 0.1, "forest": 0.13}


def market(n_symbols=1, n_rows=900):
    """Days on which a rise of 1% is likely or not, and models that know more or less of it."""
    rng = np.random.default_rng(1)
    parts = {"validation": (n_rows - 600, n_rows - 302), "test": (n_rows - 300, n_rows - 1)}
    days = [date(2015, 1, 1) + timedelta(days=k) for k in range(n_rows)]
    lines, closes = [], []
    for symbol in [f"s{k:02d}" for k in range(n_symbols)]:
        deviation = rng.choice([0.004, 0.02], n_rows)
        returns = deviation * rng.normal(size=n_rows)
        close = 100 * np.exp(np.cumsum(returns))
        label = np.append(returns[1:] > np.log(1.01), False)
        true = np.append(norm.sf(np.log(1.01) / deviation[1:]), 0.5)
        closes.append(pl.DataFrame({"symbol": [symbol] * n_rows, "date": days, "close": close}))
        for part, (first, end) in parts.items():
            for model, noise in NOISE.items():
                p = true[first:end]
                p = np.full(p.size, 0.16) if noise is None else p + noise * rng.normal(size=p.size)
                lines.extend(
                    predictions_frame(
                        rows=np.arange(first, end) + 10_000 * int(symbol[1:]),
                        symbols=[symbol] * (end - first),
                        dates=days[first:end],
                        part=part,
                        labels=label[first:end],
                        model=model,
                        seed=seed,
                        probabilities=np.clip(p, 0.005, 0.995),
                    )
                    for seed in ((1, None) if model.endswith("M") else (None,))
                )
    return EvidenceInputs(
        predictions=pl.concat(lines),
        budgets=("2M", "20M"),
        base_rate=0.16,
        horizon_bars=1,
        closes=pl.concat(closes),
    )


@pytest.fixture(scope="module", name="inputs")
def one_market():
    return market()


@pytest.fixture(scope="module", name="evidence")
def its_evidence(inputs):
    return cell_evidence(inputs, SETTINGS)


def test_the_model_that_knows_more_is_found(evidence):
    assert (evidence.n_rows, evidence.n_dates, evidence.n_symbols) == (299, 299, 1)
    assert (evidence.best_budget, evidence.volatility_baseline) == ("20M", "logistic_volatility")
    assert evidence.best_other_baseline == "forest"
    assert evidence.baselines == ("base_rate", "logistic_volatility", "forest")
    assert evidence.scores["20M"].skill.low > 0.1
    assert evidence.scores["20M"].skill_vs_benchmark.low > 0
    assert evidence.scores["logistic_volatility"].skill_vs_benchmark.value == 0
    assert evidence.scores["base_rate"].skill.value == 0
    against_volatility = evidence.superior_ability[0]
    assert (against_volatility.benchmark, against_volatility.best) == ("logistic_volatility", "20M")
    assert against_volatility.p_value < 0.05
    assert evidence.confidence_set.included == ("20M",)


def test_comparisons_count_what_was_tried(evidence):
    pairs = [(one.model, one.benchmark) for one in evidence.differences]

    assert len(pairs) == 6
    assert pairs[0] == ("2M", "base_rate")
    assert set(evidence.correction.p_values) == {"2M", "20M"}
    assert evidence.correction.n_tried == 6
    assert evidence.correction.p_values["20M"].holm == pytest.approx(
        6 * evidence.correction.p_values["20M"].p_value
    )


def test_noisy_forecasts_gain_from_calibration_and_true_ones_do_not(evidence):
    noisy, true = evidence.recalibration["2M"]["platt"], evidence.recalibration["20M"]["platt"]

    assert noisy.gain.low > 0
    assert noisy.skill.value > evidence.scores["2M"].skill.value
    assert abs(true.gain.value) < 0.01
    assert noisy.parameters.keys() == {"slope", "intercept"}
    # One probability for all rows can only be moved.
    assert evidence.recalibration["base_rate"]["platt"].parameters["slope"] == 0.0


def test_stability_covers_all_rows(evidence):
    stability = evidence.stability["20M"]

    assert [one.group for one in stability.by_year] == ["2016", "2017"]
    assert sum(one.n_rows for one in stability.by_year) == 299
    assert [one.group for one in stability.by_regime] == ["calm", "middling", "turbulent"]
    assert sum(one.n_rows for one in stability.by_regime) == 299


def test_economics_compare_with_the_market_and_with_volatility(evidence):
    by_name = {one.name: one for one in evidence.economics.timing}

    assert set(by_name) == {BUY_AND_HOLD} | {
        f"{model}/{kind}" for model in NOISE for kind in ("threshold", "proportional")
    }
    assert by_name["20M/threshold"].sharpe_differences.keys() == {
        BUY_AND_HOLD,
        "logistic_volatility/threshold",
    }
    # A constant probability is always in the market.
    constant = by_name["base_rate/threshold"]
    assert replace(constant, name=BUY_AND_HOLD).annual_return == by_name[BUY_AND_HOLD].annual_return
    assert evidence.economics.cross_section == ()


def test_every_model_tried_counts_under_every_rule(evidence, inputs):
    # 30 models by two rules and buy and hold; by default the five that are there.
    assert (evidence.economics.n_rules, evidence.economics.n_strategies) == (2, 61)
    alone = cell_evidence(inputs, replace(SETTINGS, trading=Trading())).economics
    assert (alone.n_rules, alone.n_strategies) == (2, 11)
    assert alone.timing[0].sharpe == evidence.economics.timing[0].sharpe
    assert alone.timing[0].deflated_sharpe > evidence.economics.timing[0].deflated_sharpe


def test_the_evidence_is_json_and_repeats_itself(evidence, inputs):
    text = json.dumps(evidence.as_dict(), allow_nan=False)

    assert json.dumps(cell_evidence(inputs, SETTINGS).as_dict()) == text
    assert json.loads(text)["first"] == evidence.first.isoformat()
    other = cell_evidence(inputs, replace(SETTINGS, seed=1))
    assert other.scores["2M"].skill != evidence.scores["2M"].skill


def test_test_rows_choose_nothing(inputs, evidence):
    # With the test labels turned over, everything that is chosen stays.
    turned = inputs.predictions.with_columns(
        label=pl.when(pl.col("part") == "test").then(1 - pl.col("label")).otherwise(pl.col("label"))
    ).with_columns(pl.col("label").cast(pl.Int8))

    found = cell_evidence(replace(inputs, predictions=turned), SETTINGS)

    assert (found.best_budget, found.best_other_baseline) == (
        "20M",
        evidence.best_other_baseline,
    )
    assert found.scores["20M"].skill.high < 0
    for model, maps in found.recalibration.items():
        for name, one in maps.items():
            assert one.parameters == evidence.recalibration[model][name].parameters
    assert [one.annual_return for one in found.economics.timing] == [
        one.annual_return for one in evidence.economics.timing
    ]


def test_a_panel_is_resampled_by_date_and_has_a_cross_section():
    panel = market(n_symbols=10)

    found = cell_evidence(panel, replace(SETTINGS, n_bootstrap=50))

    assert (found.n_rows, found.n_dates, found.n_symbols) == (2990, 299, 10)
    assert {one.name for one in found.economics.cross_section} == {
        f"{model}/{kind}" for model in NOISE for kind in ("decile", "forecast_weighted")
    }
    # The volatility says nothing of the direction: no cross-sectional gain, after costs a loss.
    assert all(one.sharpe.low < 1 for one in found.economics.cross_section)
    assert (found.economics.n_rules, found.economics.n_strategies) == (4, 121)


def test_what_is_not_there_is_left_out(inputs):
    budgets_only = inputs.predictions.filter(pl.col("model").is_in(["2M", "20M"]))

    alone = cell_evidence(
        replace(inputs, predictions=budgets_only, closes=None),
        replace(SETTINGS, n_bootstrap=20),
    )

    assert (alone.economics, alone.correction, alone.superior_ability) == (None, None, ())
    assert alone.stability["2M"].by_regime == ()
    assert alone.scores["2M"].skill_vs_benchmark is None
    assert alone.confidence_set.included


def test_budgets_without_predictions_are_refused(inputs):
    with pytest.raises(ValueError, match="of 200M"):
        cell_evidence(replace(inputs, budgets=("200M",)), SETTINGS)
    half = inputs.predictions.filter((pl.col("part") == "test") | (pl.col("model") != "forest"))
    with pytest.raises(ValueError, match="of forest"):
        cell_evidence(replace(inputs, predictions=half), SETTINGS)


def test_a_validation_part_of_one_class_leaves_calibration_out(inputs):
    quiet = inputs.predictions.filter((pl.col("part") == "test") | (pl.col("label") == 0))

    found = cell_evidence(replace(inputs, predictions=quiet), replace(SETTINGS, n_bootstrap=20))

    assert set(found.recalibration["2M"].values()) == {None}

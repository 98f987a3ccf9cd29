from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from finscale.evaluation.evidence import EvidenceInputs, EvidenceSettings, cell_evidence
from finscale.evaluation.predictions import predictions_frame
from finscale.report.economics_figure import r2_against_size, sharpe_against_size
from finscale.report.evidence import EvidenceSection, evidence_section

N_ROWS = 240
FIRST = dt.date(2015, 1, 1)


def dates(first: int, n: int) -> list[dt.date]:
    return [FIRST + dt.timedelta(days=first + day) for day in range(n)]


@pytest.fixture(scope="module")
def evidence():
    """Two budgets of which the larger knows more, a volatility baseline and the base rate."""
    rng = np.random.default_rng(3)
    frames = []
    for part, first in (("validation", 300), ("test", 300 + N_ROWS)):
        truth = np.clip(0.3 + 0.25 * np.sin(np.arange(N_ROWS) / 9), 0.02, 0.98)
        labels = rng.random(N_ROWS) < truth
        forecasts = {
            "base_rate": np.full(N_ROWS, 0.3),
            "logistic_volatility": 0.7 * 0.3 + 0.3 * truth,
            "logistic_all": 0.5 * 0.3 + 0.5 * truth,
            "5K": 0.6 * 0.3 + 0.4 * truth,
            "20K": truth,
        }
        frames += [
            predictions_frame(
                rows=np.arange(N_ROWS) + first, symbols=["A"] * N_ROWS, dates=dates(first, N_ROWS),
                part=part, labels=labels, model=model, seed=None, probabilities=p,
            )
            for model, p in forecasts.items()
        ]  # fmt: skip
    n_bars = 300 + 2 * N_ROWS + 5
    closes = pl.DataFrame(
        {
            "symbol": ["A"] * n_bars,
            "date": dates(0, n_bars),
            "close": 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(n_bars))),
        }
    )
    inputs = EvidenceInputs(pl.concat(frames), ("5K", "20K"), 0.3, 1, closes)
    return cell_evidence(inputs, EvidenceSettings(n_bootstrap=200, n_experiments=4)).as_dict()


@pytest.fixture(scope="module")
def section(evidence) -> EvidenceSection:
    return evidence_section(evidence)


def test_every_score_stands_with_its_interval(section, evidence):
    rows = {row[0]: row for row in section.scores.rows}
    assert list(rows)[:2] == ["5K", "20K"]
    one = evidence["scores"]["20K"]["log_loss"]
    assert rows["20K"][1] == f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
    assert rows["logistic volatility"][3].startswith("+0.000")
    # A constant forecast ranks nothing above anything.
    assert rows["base rate"][4].startswith("0.500")


def test_budgets_stand_against_the_same_three_rivals(section, evidence):
    assert section.differences is not None
    assert section.differences.header[1:4] == (
        "less base rate",
        "less logistic volatility",
        "less logistic all",
    )
    rows = {row[0]: row for row in section.differences.rows}
    assert rows["20K"][1].startswith("−")
    assert rows["20K"][-1] == "yes"
    assert float(rows["20K"][5]) >= float(rows["20K"][4])
    assert evidence["best_budget"] == "20K"


def test_the_claims_say_what_was_found_and_how_many_were_tried(section):
    superior, _, confidence_set, tried = section.claims
    assert "at least one budget beats logistic volatility" in superior
    assert "the data do not tell these apart from the best: 20K" in confidence_set
    assert "4 experiments" in tried


@pytest.mark.parametrize(("p_value", "said"), [(0.1, "at least one"), (0.101, "no budget")])
def test_a_claim_at_the_level_is_made_as_the_correction_counts_it(evidence, p_value, said):
    superior = [one | {"p_value": p_value} for one in evidence["superior_ability"]]
    found = evidence_section(evidence | {"confidence": 0.9, "superior_ability": superior})

    assert f": {said}" in found.claims[0]


def test_calibration_thresholds_and_reach_are_there(section):
    names = [row[1] for row in section.calibration.rows[:4]]
    assert names == ["as it is", "platt", "isotonic", "temperature"]
    assert section.thresholds is not None
    assert section.detection is not None
    assert [row[0] for row in section.detection.rows][:2] == ["5K", "20K"]


def test_years_and_regimes_add_up_to_the_rows(section):
    for table in (section.stability.years, section.stability.regimes):
        assert sum(int(row[1].removesuffix(" (few)")) for row in table.rows) == N_ROWS
        assert table.header[3:] == (
            "skill of 20K",
            "skill of logistic all",
            "skill of logistic volatility",
        )


def test_backtests_are_last_and_say_what_they_assume(section):
    assert section.trading is not None
    assert section.trading.backtests.rows[0][0] == "buy and hold"
    assert section.trading.note.startswith("Never the headline")
    assert "at the same close, 5 basis points" in section.trading.note
    assert "best of 11 strategies without skill: 5 models" in section.trading.note
    assert "under 2 rules each, and buy and hold" in section.trading.note


def test_without_closes_there_are_no_backtests_and_no_regimes(evidence):
    bare = evidence | {
        "economics": None,
        "stability": {name: one | {"by_regime": []} for name, one in evidence["stability"].items()},
    }
    section = evidence_section(bare)
    assert section.trading is None
    assert section.stability.regimes.rows == ()


def test_sharpe_ratios_stand_against_parameters_and_compute(evidence):
    sizes = {"5K": (5_000, 1e12), "20K": (20_000, 8e12)}
    figure = sharpe_against_size(evidence, sizes)
    assert figure is not None
    budgets, hold, volatility = figure.data[:3]
    assert list(budgets.x) == [5_000, 20_000]
    found = {one["name"]: one["sharpe"] for one in evidence["economics"]["timing"]}
    assert list(budgets.y) == [found["5K/threshold"]["value"], found["20K/threshold"]["value"]]
    assert (hold.name, volatility.name) == ("buy and hold", "logistic volatility")
    assert list(figure.data[3].x) == [1e12, 8e12]
    assert sharpe_against_size(evidence, {}) is None
    assert sharpe_against_size(evidence | {"economics": None}, sizes) is None


def test_r2_stands_against_parameters_and_compute():
    estimate = {"value": -0.02, "low": -0.05, "high": 0.01}
    returns = {"base_rate": {"r2": estimate}, "5K": {"r2": estimate}, "20K": {"r2": None}}
    figure = r2_against_size(returns, {"5K": (5_000, 1e12), "20K": (20_000, 8e12)})
    assert figure is not None
    budgets, mean = figure.data[:2]
    assert (list(budgets.x), list(budgets.y)) == ([5_000], [-0.02])
    assert (mean.name, list(mean.y)) == ("historical mean", [0.0, 0.0])
    assert r2_against_size({"5K": {"r2": None}}, {"5K": (5_000, 1e12)}) is None

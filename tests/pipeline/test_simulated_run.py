"""A run on a simulated market, and one on shuffled labels, from study to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from finscale.dataset.truth import shuffle_labels
from finscale.files import read_json
from finscale.pipeline.run import RunOutcome, run_study
from finscale.records import OracleRecord, read_records
from finscale.scaling.ledger import baselines, best_baseline, part_loss
from finscale.study_file import load_study
from tiny import CELL, run_tiny, tiny_prepared

SIMULATED: dict[str, Any] = {
    "data": {"source": "simulated", "market": "garch", "n_bars": 3000, "seed": 2},
    "split": {"by": "fraction", "train_frac": 0.5, "validation_frac": 0.2},
    "baselines": ["base_rate", "logistic_volatility", "logistic_all"],
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    return run_tiny(tmp_path_factory.mktemp("simulated") / "run", SIMULATED)


def test_the_truth_beats_every_model_in_expectation(outcome: RunOutcome) -> None:
    assert outcome.summary is not None
    truth = outcome.summary["truth"][CELL]
    assert set(truth["regrets"]) == {*SIMULATED["baselines"], "1.5K", "2.5K"}
    for parts in truth["regrets"].values():
        expected = parts["test"]["expected"]
        assert 0.0 < expected["low"] < expected["value"] < expected["high"]
        total = truth["best_possible"]["test"] + expected["value"]
        assert parts["test"]["expected_loss"] == pytest.approx(total)
    # GARCH holds nothing but volatility, and a logistic on volatility is near to it.
    regrets = {name: parts["test"]["expected"]["value"] for name, parts in truth["regrets"].items()}
    assert regrets["logistic_volatility"] < regrets["base_rate"] / 2


def test_the_oracle_has_a_record_of_its_own_kind_and_is_no_baseline(outcome: RunOutcome) -> None:
    records = read_records(outcome.directory.ledger)
    [oracle] = [one for one in records if isinstance(one, OracleRecord)]
    losses = {one.model: part_loss(one.scores, "test") for one in baselines(records).values()}
    assert part_loss(oracle.scores, "test") < min(losses.values())
    rival = best_baseline(records)
    assert rival is not None
    assert rival.model in SIMULATED["baselines"]
    assert oracle.best_possible_loss["test"] == pytest.approx(
        part_loss(oracle.scores, "test"), abs=0.05
    )


def test_the_report_shows_regret_and_what_is_planted(outcome: RunOutcome) -> None:
    page = outcome.directory.report.read_text()
    assert "Against the best possible" in page
    assert "Judged by the true probabilities, there are too few sizes" in page
    assert 'class="notice alarm"' not in page


def test_a_second_run_scores_nothing_again(outcome: RunOutcome) -> None:
    before = outcome.directory.ledger.path.read_bytes()
    study = load_study(outcome.directory.study)
    run_study(study, outcome.directory.root)
    assert outcome.directory.ledger.path.read_bytes() == before


def test_a_null_run_is_marked_on_top(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "data": {"source": "bundled", "null": "shuffled_labels"},
        "search.n_trials": 2,
        "baselines": ["base_rate"],
    }
    outcome = run_tiny(tmp_path / "run", changes)
    assert outcome.summary is not None
    [alarm] = outcome.summary["alarms"]
    assert alarm.startswith("A null run: the labels are in random order")
    page = outcome.directory.report.read_text()
    assert page.index("A null run") < page.index('id="verdicts"')
    assert outcome.summary["truth"] == {}


def test_a_leak_stands_on_top_and_takes_the_verdict(tmp_path: Path) -> None:
    series = tmp_path / "early.csv"
    bars = tiny_prepared().market.symbols[0].loaded.bars
    # The market itself, dated a session early: it knows tomorrow's close.
    bars.with_columns(pl.col("date").shift(1)).drop_nulls().write_csv(series)
    context = {"name": "early", "kind": "price", "source": "file", "path": str(series)}
    changes: dict[str, Any] = {
        "data": {"source": "bundled", "context": [context | {"max_staleness_days": 9}]},
        "search.n_trials": 2,
        "ladder.budgets": ["2.5K"],
        "ladder.tolerance_frac": 0.5,
    }
    outcome = run_tiny(tmp_path / "run", changes)
    assert outcome.summary is not None
    [alarm] = outcome.summary["alarms"]
    assert alarm.startswith("No conclusion may be drawn: ")
    assert "early_" in alarm
    verdict = outcome.summary["verdicts"][CELL]
    assert verdict["kind"] == "leak"
    assert verdict["headline"].startswith("No conclusion may be drawn: ")
    page = outcome.directory.report.read_text()
    assert page.index("No conclusion may be drawn") < page.index('id="verdicts"')
    leaks = read_json(outcome.directory.data)["cells"][CELL]["canary"]["leaks"]
    assert json.dumps(leaks).count("early_")


# Shuffled labels.


def test_shuffling_keeps_blocks_and_how_many_events_there_are() -> None:
    labels = np.append(np.arange(10, dtype=np.float32), [np.nan] * 3)
    shuffled = shuffle_labels(labels, 3, seed=1, symbol="A")
    assert sorted(shuffled[:10]) == sorted(labels[:10])
    assert np.isnan(shuffled[10:]).all()
    text = " ".join(f"{value:.0f}" for value in shuffled[:10])
    for block in ("0 1 2", "3 4 5", "6 7 8"):
        assert block in text
    assert text != "0 1 2 3 4 5 6 7 8 9"
    again = shuffle_labels(labels, 3, seed=1, symbol="A")
    np.testing.assert_array_equal(shuffled, again)


def test_shuffled_labels_say_nothing_of_the_features() -> None:
    real = tiny_prepared()
    null = tiny_prepared({"data": {"source": "bundled", "null": "shuffled_labels"}})
    one, other = real.cells[CELL], null.cells[CELL]
    assert real.identities[CELL].data != null.identities[CELL].data
    rows = np.concatenate([one.split.part(part) for part in ("train", "validation", "test")])
    volatility = one.feature_names.index("log_natr_14")

    def correlation(labels: np.ndarray) -> float:
        return float(np.corrcoef(one.scaled_TF[rows, volatility], labels[rows])[0, 1])

    assert correlation(one.labels_T) > 0.2
    # Four standard errors of an independent correlation.
    assert abs(correlation(other.labels_T)) < 4 / np.sqrt(len(rows))

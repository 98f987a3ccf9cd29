from __future__ import annotations

import json
from dataclasses import replace

import pytest

from finscale.models.architecture import Architecture
from finscale.records import EnsembleRecord, FinalRecord, TrialRecord, best_trial
from finscale.report.summary import build_summary, summary_table
from finscale.scaling.ledger import count_test_scorings, judge_cells
from finscale.search.coverage import coverage


def cell_of(summary, name):
    return next(cell for cell in summary["cells"] if cell["cell"] == name)


def summarise(run, records):
    scaling = judge_cells(records, n_bootstrap=200, confidence=0.95, seed=0)
    return build_summary(
        run.study,
        records,
        data={},
        scaling=scaling,
        failures={},
        stale={},
        test_scorings=count_test_scorings(records),
    )


def test_summary_is_json_with_every_cell_of_the_study(run):
    summary = run.summary

    json.dumps(summary, allow_nan=False)
    cells = ["h1_threshold_1pct", "h3_threshold_1pct", "h5_threshold_1pct"]
    assert [cell["cell"] for cell in summary["cells"]] == cells
    assert list(summary["verdicts"]) == cells
    assert list(summary["cells"][0]["budgets"]) == ["5K", "20K", "100K", "500K", "2M", "10M"]
    # 6 + 6 + 4 have final runs.
    assert summary["n_experiments"] == 18
    assert summary["n_complete"] == 16
    assert summary["failures"] == run.failures
    assert summary["stale"] == {"5K_h1_threshold_1pct": ["code", "grid"]}


def test_headlines_are_the_test_verdicts(run):
    summary = run.summary

    for cell, verdict in summary["verdicts"].items():
        assert verdict["headline"] == run.scaling[cell]["test"]["sentence"]
        assert verdict["kind"] == run.scaling[cell]["test"]["kind"]
        assert verdict["on_validation"]["sentence"] == run.scaling[cell]["validation"]["sentence"]
    kinds = [verdict["kind"] for verdict in summary["verdicts"].values()]
    assert kinds == ["falls", "no_evidence", "too_few_points"]


def test_three_forms_of_a_score(run):
    budget = cell_of(run.summary, "h1_threshold_1pct")["budgets"]["10M"]
    mine = [r for r in run.records if r.experiment == "10M_h1_threshold_1pct"]
    finals = [r for r in mine if isinstance(r, FinalRecord)]
    average = next(r for r in mine if isinstance(r, EnsembleRecord))

    assert [seed["uid"] for seed in budget["seeds"]] == [r.uid for r in finals]
    assert [seed["test"] for seed in budget["seeds"]] == [r.scores.test for r in finals]
    assert budget["seed_average"]["validation"] == average.scores.validation
    mean = sum(r.scores.test["skill"] for r in finals) / 3
    assert budget["seed_mean"]["test"]["skill"] == pytest.approx(mean, rel=1e-12)
    assert budget["seed_average"]["test"]["skill"] != budget["seed_mean"]["test"]["skill"]
    assert budget["n_parameters"] == 9_871_105
    assert budget["architecture"] == finals[0].architecture
    assert budget["recipe"]["warmup_steps"] == 200
    # Of 14 trials one failed and two were pruned.
    assert budget["n_trials"] == {"complete": 11, "pruned": 2, "failed": 1}
    assert budget["flags"] == []


def test_a_collapsed_model_is_flagged(run):
    summary = run.summary
    cell = cell_of(summary, "h3_threshold_1pct")

    assert [label for label, b in cell["budgets"].items() if b["collapsed"]] == ["20K"]
    assert cell["budgets"]["20K"]["collapsed_on"] == ["validation", "test"]
    assert cell["budgets"]["20K"]["flags"] == ["collapsed on validation and test"]
    assert summary["verdicts"]["h3_threshold_1pct"]["cautions"] == [
        "20K counts here, though collapsed on validation and test"
    ]


def test_one_collapsed_seed_is_not_hidden_by_the_average(run):
    finals = [r for r in run.records if r.experiment == "10M_h1_threshold_1pct"]
    bad = next(r for r in finals if isinstance(r, FinalRecord))
    scores = bad.scores.model_copy(update={"test": bad.scores.test | {"collapsed": True}})
    records = [bad.model_copy(update={"scores": scores}) if r is bad else r for r in run.records]

    budget = cell_of(summarise(run, records), "h1_threshold_1pct")["budgets"]["10M"]

    assert budget["collapsed"] is False
    assert budget["flags"] == ["1 of 3 seeds collapsed on test"]


def test_test_scorings_are_counted(run):
    budgets = cell_of(run.summary, "h1_threshold_1pct")["budgets"]

    # The search was extended once: the recipe of trial 3 was scored, then that of trial 11.
    assert budgets["2M"]["n_test_scorings"] == 2
    assert budgets["2M"]["trial"] == 11
    assert "2 recipes scored on test" in budgets["2M"]["flags"]
    assert {b["n_test_scorings"] for label, b in budgets.items() if label != "2M"} == {1}


def test_unfinished_experiments_say_so(run):
    summary = run.summary
    budgets = cell_of(summary, "h5_threshold_1pct")["budgets"]

    assert budgets["2M"]["status"] == "unfinished"
    assert budgets["2M"]["seed_mean"] is None
    assert budgets["10M"]["status"] == "failed"
    assert budgets["10M"]["flags"] == ["failed"]
    # Two of three seeds, not averaged yet.
    records = [
        r
        for r in run.records
        if not (
            r.experiment == "10M_h1_threshold_1pct" and r.uid.startswith(("ensemble", "final2"))
        )
    ]
    summary = summarise(run, records)
    budget = cell_of(summary, "h1_threshold_1pct")["budgets"]["10M"]
    assert budget["status"] == "unfinished"
    assert budget["seed_average"] is None
    assert budget["flags"] == ["2 of 3 seeds", "unfinished"]
    cautions = summary["verdicts"]["h1_threshold_1pct"]["cautions"]
    assert cautions == ["10M counts here, though unfinished"]


def test_final_runs_that_lag_behind_the_search(run):
    better = next(r for r in run.records if r.uid == "trial0-10M-h1_threshold_1pct")
    trial = better.model_copy(update={"uid": "new", "trial": 20, "validation_loss": 0.1})

    budget = cell_of(summarise(run, [*run.records, trial]), "h1_threshold_1pct")["budgets"]["10M"]

    assert budget["best_trial"] == 20
    assert budget["flags"] == ["final runs are of trial 11, best is 20"]


def test_best_trial_is_a_completed_one(run):
    trials = [
        r
        for r in run.records
        if isinstance(r, TrialRecord) and r.experiment == "2M_h1_threshold_1pct"
    ]
    pruned = trials[9].model_copy(update={"validation_loss": 0.01})

    assert trials[9].state == "pruned"
    assert best_trial([*trials, pruned]).trial == 11
    assert best_trial([]) is None


def test_nothing_done_yet(empty_run):
    summary = empty_run.summary

    json.dumps(summary, allow_nan=False)
    assert summary["n_complete"] == 0
    verdict = summary["verdicts"]["h1_threshold_1pct"]
    assert verdict["headline"] == "No verdict: no budget has a final run yet."
    assert verdict["kind"] == "no_result"
    assert {b["status"] for cell in summary["cells"] for b in cell["budgets"].values()} == {
        "not started"
    }
    stale = replace(empty_run, stale={"2M_h1_threshold_1pct": ("data",)}).summary
    assert cell_of(stale, "h1_threshold_1pct")["budgets"]["2M"]["status"] == "stale"


def test_the_summary_says_what_was_tried_of_each_grid(empty_run):
    grid = [Architecture.parse(label) for label in ("8x1x1x16", "8x2x1x16", "16x1x2x32")]
    summary = build_summary(
        empty_run.study,
        [],
        data={},
        scaling={},
        failures={},
        stale={},
        test_scorings={},
        coverage={"5K_h1_threshold_1pct": coverage(grid, [(grid[0], "forced")], grid[:2])},
    )

    budgets = cell_of(summary, "h1_threshold_1pct")["budgets"]
    assert budgets["20K"]["coverage"] is None
    tried = budgets["5K"]["coverage"]
    assert (tried["n"], tried["n_tried"], tried["never"]) == (3, 1, ["8x2x1x16", "16x1x2x32"])
    assert tried["extremes"] == {"n": 2, "n_tried": 1, "n_trials": 1}


def test_terminal_table_has_the_numbers_of_the_summary(run):
    summary = run.summary
    header, rows = summary_table(summary)

    assert all(len(row) == len(header) for row in rows)
    # For each cell the best baseline and six budgets.
    assert len(rows) == 3 * 7
    cell = cell_of(summary, "h1_threshold_1pct")
    rival = cell["baselines"][cell["best_baseline"]]
    assert rows[0] == (
        "h1_threshold_1pct",
        cell["best_baseline"],
        "",
        "",
        f"{rival['validation']['skill']:+.3f}",
        f"{rival['test']['skill']:+.3f}",
        f"{rival['test']['auc']:.3f}",
        "",
    )
    mean = cell["budgets"]["10M"]["seed_mean"]
    assert rows[6][1:4] == ("10M", "9,871,105", cell["budgets"]["10M"]["architecture"])
    assert rows[6][4] == f"{mean['validation']['skill']:+.3f}"
    assert rows[6][5] == f"{mean['test']['skill']:+.3f}"
    assert rows[-1] == ("h5_threshold_1pct", "10M", "", "", "", "", "", "failed")

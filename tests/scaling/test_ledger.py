from __future__ import annotations

import json
import subprocess
import sys

import pytest

from finscale.records import BaselineRecord, EnsembleRecord, FinalRecord, Identity, Scores
from finscale.scaling.ledger import (
    NO_FINALS,
    baselines,
    best_baseline,
    by_cell,
    finals_by_budget,
    judge_cells,
    winning_ensemble,
    winning_finals,
)
from finscale.scaling.verdict import Point, judge

SETTINGS = {"n_bootstrap": 200, "confidence": 0.9, "seed": 3}
IDENTITY = Identity(settings="s", data="d", grid="g", code="c")


def scores(validation, test, *, n=100, base=0.6):
    def metrics(loss):
        return {"log_loss": loss, "n": n, "base_log_loss": base}

    return Scores(validation=metrics(validation), test=metrics(test))


def common(uid, budget, minute=0, horizon=1):
    cell = f"h{horizon}_direction"
    return {
        "uid": uid,
        "experiment": cell if budget is None else f"{budget}_{cell}",
        "budget": budget,
        "horizon_bars": horizon,
        "task": "direction",
        "identity": IDENTITY,
        "code_version": "0.1.0",
        "created_at": f"2026-01-01T00:{minute:02d}:00+00:00",
    }


def final(uid, budget="2M", *, seed=0, trial=0, n=2_000_000, loss=(0.5, 0.4), minute=0, **more):
    return FinalRecord(
        **common(uid, budget, minute, more.pop("horizon", 1)),
        d_model=8, n_layers=1, n_heads=1, d_ff=16, n_parameters=n, recipe={}, effective_batch=256,
        micro_batch=256, precision="fp32", seed=seed, trial=trial, best_epoch=1, curve=(),
        duration_s=1.0, flops=1.0, scores=scores(*loss, **more),
    )  # fmt: skip


def ensemble(uid, members, budget="2M", minute=0):
    return EnsembleRecord(
        **common(uid, budget, minute), members=members, n_parameters=1, scores=scores(0.5, 0.4)
    )


def baseline(model, validation, test, *, minute=0, horizon=1, n=100):
    return BaselineRecord(
        **common(f"{model}{minute}", None, minute, horizon), model=model, seed=0, duration_s=1.0,
        scores=scores(validation, test, n=n),
    )  # fmt: skip


def test_the_newest_whole_ensemble_names_the_winner():
    old = [final(f"old{s}", seed=s, trial=4, minute=1) for s in range(3)]
    new = [final(f"new{s}", seed=s, trial=9, minute=3) for s in (2, 0, 1)]
    first = ensemble("e1", ("old0", "old1", "old2"), minute=2)
    second = ensemble("e2", ("new0", "new1", "new2"), minute=4)

    assert winning_ensemble([*old, first, *new]) == first
    # Finals of a later recipe do not count, nor are they mixed in, until all of them are averaged.
    assert [run.uid for run in winning_finals([*old, first, *new])] == ["old0", "old1", "old2"]
    everything = [*old, first, *new, second]
    assert [run.uid for run in winning_finals(everything)] == ["new0", "new1", "new2"]
    # An ensemble of runs that are not current is passed over.
    assert [run.uid for run in winning_finals([*old, first, *new[:2], second])] == [
        "old0",
        "old1",
        "old2",
    ]


def test_the_later_line_is_the_newer_whatever_the_clock_said():
    old = [final(f"old{s}", seed=s, trial=4, minute=7) for s in range(2)]
    new = [final(f"new{s}", seed=s, trial=9, minute=1) for s in range(2)]

    assert [run.uid for run in winning_finals([*old, *new])] == ["new0", "new1"]
    first, second = (
        ensemble("e1", ("old0", "old1"), minute=8),
        ensemble("e2", ("new0", "new1"), minute=2),
    )
    assert winning_ensemble([*old, first, *new, second]) == second
    repeated = [baseline("logistic_all", 0.5, 0.4, minute=9), baseline("logistic_all", 0.6, 0.4)]
    assert baselines(repeated) == {"logistic_all": repeated[1]}


def test_before_an_ensemble_recipes_are_not_mixed():
    runs = [final("a", trial=4, minute=5), final("b", trial=9, seed=1, minute=6)]

    assert [run.uid for run in winning_finals(runs)] == ["b"]
    # Written in the same second: the later line of the ledger is the newer one.
    tied = [final("a", trial=4), final("b", trial=9)]
    assert [run.uid for run in winning_finals(tied)] == ["b"]
    assert [run.uid for run in winning_finals(tied[::-1])] == ["a"]
    assert winning_finals([]) == ()


def test_the_best_baseline_is_chosen_on_validation():
    records = [
        baseline("base_rate", 0.1, 0.1),
        baseline("flattered_by_test", 0.52, 0.30),
        baseline("logistic_all", 0.50, 0.45),
    ]
    assert best_baseline(records).model == "logistic_all"
    assert best_baseline(records[:1]) is None
    repeated = [*records, baseline("logistic_all", 0.55, 0.45, minute=1)]
    assert best_baseline(repeated).model == "flattered_by_test"


def test_cells_are_a_horizon_and_a_task():
    records = [final("a", horizon=3), baseline("base_rate", 0.6, 0.6), final("b", horizon=3)]

    cells = by_cell(records)

    assert {cell: [r.uid for r in found] for cell, found in cells.items()} == {
        "h3_direction": ["a", "b"],
        "h1_direction": ["base_rate0"],
    }


@pytest.fixture
def ladder():
    sizes = {
        "10M": 10_000_000,
        "1M": 1_000_000,
        "3M": 3_000_000,
        "100K": 100_000,
        "30M": 30_000_000,
    }
    sizes |= {"300K": 300_000, "100M": 100_000_000}
    records = [
        baseline("base_rate", 0.60, 0.55),
        baseline("logistic_all", 0.52, 0.50),
        baseline("random_forest", 0.53, 0.30),
    ]
    for budget, n in sizes.items():
        loss = 0.3 + 2.0 * n**-0.2
        for seed, shift in enumerate((-0.001, 0.0, 0.001)):
            uid = f"{budget}-{seed}"
            losses = (loss + shift, 0.9 * loss + shift)
            records.append(final(uid, budget, n=n, seed=seed, loss=losses))
        members = tuple(f"{budget}-{seed}" for seed in range(3))
        records.append(ensemble(f"{budget}-e", members, budget))
    return records


def test_points_come_from_the_records(ladder):
    judged = judge_cells(ladder, **SETTINGS)["h1_direction"]

    assert judged["error"] is None
    assert judged["best_baseline"] == "logistic_all"
    labels = [point["budget"] for point in judged["points"]]
    assert labels == ["100K", "300K", "1M", "3M", "10M", "30M", "100M"]
    smallest = judged["points"][0]
    loss = 0.3 + 2.0 * 100_000**-0.2
    assert smallest["n_parameters"] == 100_000
    assert smallest["losses"]["validation"] == [loss - 0.001, loss, loss + 0.001]
    assert smallest["losses"]["test"] == [0.9 * loss - 0.001, 0.9 * loss, 0.9 * loss + 0.001]
    assert smallest["uids"] == ["100K-0", "100K-1", "100K-2"]
    json.dumps(judged, allow_nan=False)


@pytest.mark.parametrize(
    ("part", "base", "rival"), [("validation", 0.6, 0.52), ("test", 0.55, 0.5)]
)
def test_verdicts_are_those_of_judge(ladder, part, base, rival):
    judged = judge_cells(ladder, **SETTINGS)["h1_direction"]
    by_budget = finals_by_budget(ladder)
    expected = judge(
        [
            Point(b, runs[0].n_parameters, tuple(getattr(r.scores, part)["log_loss"] for r in runs))
            for b, runs in by_budget.items()
        ],
        base_loss=base,
        best_baseline=("logistic_all", rival),
        extrapolate=True,
        n_bootstrap=200,
        confidence=0.9,
        seed=3,
    )

    assert judged[part] == expected.as_dict()
    assert judged[part]["kind"] == "falls"
    assert judged[part]["intervals"][0]["n_samples"] == 200


def test_no_final_run():
    judged = judge_cells([baseline("logistic_all", 0.5, 0.5)], **SETTINGS)["h1_direction"]

    assert judged["error"] == NO_FINALS
    assert judged["validation"] is None
    assert judged["test"] is None
    assert judged["points"] == []
    assert judge_cells([], **SETTINGS) == {}


def test_other_rows_are_not_compared():
    records = [final("a"), baseline("logistic_all", 0.5, 0.5, n=99)]

    judged = judge_cells(records, **SETTINGS)["h1_direction"]

    assert judged["test"] is None
    assert judged["error"] == (
        "validation: runs or baselines were scored on different rows (100 and 99, base-rate loss "
        "0.6 and 0.6); evaluate them again on the same data"
    )
    moved = judge_cells([final("a"), final("b", "3M", base=0.61)], **SETTINGS)["h1_direction"]
    assert "different rows" in moved["error"]


def test_an_impossible_loss_is_an_error_of_its_cell_only():
    records = [final("a", loss=(0.5, 0.0)), final("b", horizon=3)]

    judged = judge_cells(records, **SETTINGS)

    assert "must be positive" in judged["h1_direction"]["error"]
    assert judged["h1_direction"]["validation"] is None
    assert judged["h3_direction"]["test"]["kind"] == "too_few_points"


def test_the_ledger_is_read_without_torch():
    code = (
        "import finscale.report.page, finscale.scaling.ledger, sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""A study of the return beside a binary task, from its file to its report."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finscale.evaluation.predictions import read_predictions
from finscale.evaluation.quantile_metrics import crps_from_quantiles
from finscale.evaluation.return_frames import QUANTILE_COLUMNS, read_return_frame
from finscale.evaluation.return_metrics import QUANTILE_LEVELS
from finscale.files import read_json
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters
from finscale.preview import preview_study
from finscale.return_bins import ReturnBins
from finscale.rundir import RunDirectory
from finscale.scripts.generate import training_scripts, write_scripts
from finscale.training.checkpoint import load_tensors
from tiny import raw_records, run_tiny, tiny_prepared, tiny_study

CHANGES = {
    "tasks": ["return", "threshold_1pct"],
    "split": {"by": "fraction", "train_frac": 0.3, "validation_frac": 0.1, "n_folds": 2},
    "ladder.budgets": ["2.5K"],
    "search.n_trials": 2,
    "evidence.walk_forward_blocks": 2,
    "baselines": ["base_rate", "logistic_volatility", "gradient_boosting"],
    "supplementary": [
        {"experiment": "*_return", "architecture": "8x1x2x16", "score_test": True},
    ],
}
NAME, CELL = "2.5K_h1_return", "h1_return"
SHAPE = InputShape(25, 60, 10, 5, n_outputs=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    outcome = run_tiny(tmp_path_factory.mktemp("return") / "run", CHANGES)
    assert outcome.failures == {}
    return outcome.directory


def of_kind(run: RunDirectory, kind: str, task: str = "return") -> list[dict]:
    return [one for one in raw_records(run.ledger) if (one["kind"], one["task"]) == (kind, task)]


def test_every_kind_of_record_is_there_and_counts_the_outputs(run: RunDirectory) -> None:
    kinds = {kind: len(of_kind(run, kind)) for kind in ("trial", "final", "ensemble", "baseline")}
    # No gradient boosting over bins.
    assert kinds == {"trial": 2, "final": 3, "ensemble": 1, "baseline": 2}
    assert len(of_kind(run, "baseline", "threshold_1pct")) == 3
    for one in of_kind(run, "trial") + of_kind(run, "final") + of_kind(run, "supplementary"):
        architecture = Architecture(one["d_model"], one["n_layers"], one["n_heads"], one["d_ff"])
        assert one["n_parameters"] == count_parameters(architecture, SHAPE)
    file = next(run.experiment(NAME).model_card.parent.glob("models/*trial*_seed_0*"))
    assert load_tensors(file)[0]["head.bias"].shape == (20,)


def test_a_trial_has_a_loss_per_fold_near_the_logarithm_of_the_bins(run: RunDirectory) -> None:
    for trial in of_kind(run, "trial"):
        assert trial["state"] == "complete"
        for fold in trial["folds"]:
            assert fold["base_loss"] == pytest.approx(np.log(20), abs=0.5)


def test_scores_agree_with_the_quantiles_that_are_kept(run: RunDirectory) -> None:
    frame = read_return_frame(run.experiment(NAME).predictions)
    [ensemble] = of_kind(run, "ensemble")
    test = frame.filter(pl.col("part") == "test", pl.col("seed").is_null())
    q_BQ, y_B = test.select(QUANTILE_COLUMNS).to_numpy(), test["return"].to_numpy()
    scores = ensemble["scores"]["test"]
    crps = crps_from_quantiles(q_BQ, y_B, QUANTILE_LEVELS).mean()
    assert scores["crps"] == pytest.approx(crps)
    inside = (q_BQ[:, 0] <= y_B) & (y_B <= q_BQ[:, -1])
    assert scores["coverage_90"] == pytest.approx(inside.mean())
    assert scores["n"] == len(y_B)
    evidence = read_json(run.summary)["returns"][CELL]["2.5K"]
    assert evidence["scores"]["crps"]["value"] == pytest.approx(crps)
    assert evidence["raw"]["coverage"]["value"] == pytest.approx(inside.mean())
    assert evidence["raw"]["nominal"] == 0.9
    assert evidence["r2"]["value"] == pytest.approx(scores["r2"])


def test_the_verdict_compares_paired_losses(run: RunDirectory) -> None:
    frame = read_return_frame(run.experiment(NAME).predictions)
    [ensemble] = of_kind(run, "ensemble")
    own = frame.filter(pl.col("part") == "test", pl.col("seed").is_null())
    assert own["log_loss"].mean() == pytest.approx(ensemble["scores"]["test"]["log_loss"])
    # By means alone it would be None.
    assert read_json(run.scaling)["cells"][CELL]["test"]["beats"] is False


def test_realised_returns_are_those_of_the_closes(run: RunDirectory) -> None:
    frame = read_return_frame(run.experiment(NAME).predictions).filter(pl.col("seed").is_null())
    data = tiny_prepared(CHANGES).cells[CELL]
    close = np.concatenate([one.bars.close for one in tiny_prepared(CHANGES).market.symbols])
    rows = frame["row"].to_numpy()
    np.testing.assert_allclose(frame["return"], np.log(close[rows + 1] / close[rows]), atol=1e-15)
    assert data.bins is not None
    train = np.log(close[data.split.train + 1] / close[data.split.train])
    np.testing.assert_allclose(data.bins.knots, ReturnBins.fit(train, place="").knots)


def test_the_card_says_how_to_read_the_outputs(run: RunDirectory) -> None:
    card = read_json(run.experiment(NAME).model_card)
    assert card["output"] == "logits of the bins of the log return"
    assert card["architecture"]["n_outputs"] == 20
    assert len(card["bins"]["knots"]) == 201
    assert card["base_rate"] == card["bins"]["share"]


def test_the_supplementary_run_is_scored_on_test(run: RunDirectory) -> None:
    assert [one["scores"] is not None for one in of_kind(run, "supplementary")] == [False, True]


def test_the_summary_has_dashes_where_a_score_makes_no_sense(run: RunDirectory) -> None:
    summary = read_json(run.summary)
    cells = {cell["cell"]: cell for cell in summary["cells"]}
    budget = cells[CELL]["budgets"]["2.5K"]
    assert budget["seed_mean"]["test"]["auc"] is None
    assert budget["seed_mean"]["test"]["crps"] > 0
    assert cells[CELL]["base_rate"] is None
    binary = cells["h1_threshold_1pct"]["budgets"]["2.5K"]["seed_mean"]["test"]
    assert 0 < binary["auc"] < 1
    assert "crps" not in binary
    assert set(summary["returns"]) == {CELL}


def test_points_have_the_scores_of_a_return(run: RunDirectory) -> None:
    points = pl.read_csv(run.points).filter(kind="final")
    by_task = {str(task): rows for (task,), rows in points.group_by("task")}
    finals = of_kind(run, "final")
    by_seed = {one["seed"]: one["scores"]["test"]["crps"] for one in finals}
    own = by_task["return"]
    assert dict(zip(own["seed"], own["test_crps"], strict=True)) == pytest.approx(by_seed)
    assert own["test_r2"].null_count() == 0
    assert by_task["threshold_1pct"]["test_crps"].null_count() == len(finals)


def test_skill_by_year_is_that_of_the_crps_of_its_rows(run: RunDirectory) -> None:
    frame = read_return_frame(run.experiment(NAME).predictions)
    test = frame.filter(pl.col("part") == "test", pl.col("seed").is_null())
    bins = tiny_prepared(CHANGES).cells[CELL].bins
    assert bins is not None
    constant_Q = bins.quantiles(bins.share_K[None], QUANTILE_LEVELS)[0]
    found = {
        one["group"]: one for one in read_json(run.evidence)[CELL]["stability"]["2.5K"]["by_year"]
    }
    years = test["date"].dt.year()
    assert set(found) == {str(year) for year in years.unique()}
    rows = test.filter(years == 2012)
    y_B = rows["return"].to_numpy()
    own, constant = (
        crps_from_quantiles(q_BQ, y_B, QUANTILE_LEVELS).mean()
        for q_BQ in (rows.select(QUANTILE_COLUMNS).to_numpy(), np.tile(constant_Q, (len(y_B), 1)))
    )
    assert found["2012"]["skill"]["value"] == pytest.approx(1 - own / constant)
    assert found["2012"]["event_rate"] == pytest.approx((y_B > 0).mean())


def test_positions_are_taken_by_the_forecast_mean(run: RunDirectory) -> None:
    economics = read_json(run.evidence)[CELL]["economics"]
    names = [one["name"] for one in economics["timing"]]
    models = ("base_rate", "logistic_volatility", "2.5K")
    assert names == [
        "buy_and_hold",
        *(f"{model}/{rule}" for model in models for rule in ("threshold", "proportional")),
    ]
    # Two trials and two baselines under two rules, and buy and hold.
    assert economics["n_strategies"] == 4 * 2 + 1
    # A constant forecast is in the market throughout.
    held = {one["name"]: one for one in economics["timing"]}
    assert held["base_rate/threshold"]["sharpe"] == held["buy_and_hold"]["sharpe"]


def test_the_winner_is_walked_forward_by_its_crps(run: RunDirectory) -> None:
    walked = read_json(run.evidence)[CELL]["walk_forward"]["2.5K"]
    first, last = walked["blocks"]
    assert first["last"] < last["first"]
    assert first["n_trained"] < last["n_trained"]
    # The last block is validation, and the baselines are those of the ledger.
    baselines = {one["model"]: one["scores"]["validation"] for one in of_kind(run, "baseline")}
    volatility = baselines["logistic_volatility"]
    assert last["n_rows"] == volatility["n"]
    assert last["baselines"] == {"logistic_volatility": pytest.approx(volatility["crps"])}
    assert last["base_loss"] == pytest.approx(baselines["base_rate"]["crps"])
    assert walked["summary"]["skills"][-1] == pytest.approx(1 - last["loss"] / last["base_loss"])


def test_averages_have_r2_for_the_return_and_sharpe_ratios_for_the_question(
    run: RunDirectory,
) -> None:
    rows = {row["task"]: row for row in pl.read_csv(run.averages).iter_rows(named=True)}
    [average] = of_kind(run, "ensemble")
    assert rows["return"]["test_r2"] == pytest.approx(average["scores"]["test"]["r2"])
    assert rows["return"]["test_crps"] == pytest.approx(average["scores"]["test"]["crps"])
    [earned] = [
        one
        for one in read_json(run.evidence)[CELL]["economics"]["timing"]
        if one["name"] == "2.5K/threshold"
    ]
    assert rows["return"]["sharpe_threshold"] == pytest.approx(earned["sharpe"]["value"])
    assert rows["threshold_1pct"]["sharpe_threshold"] is not None
    assert rows["threshold_1pct"]["test_r2"] is None
    text = run.report.read_text()
    assert "R² of the forecast mean against" in text
    assert "r2-h1_return" in text
    assert "sharpe-h1_threshold_1pct" in text


def test_the_page_shows_intervals_and_coverage(run: RunDirectory) -> None:
    page = run.report.read_text(encoding="utf-8")
    assert page.count("Forecasts of the return, on test") == 1
    assert "90% adaptive conformal" in page


def test_the_navigation_names_every_section_in_its_order(run: RunDirectory) -> None:
    page = run.report.read_text(encoding="utf-8")
    nav = page[page.index("<nav") : page.index("</nav>")]
    sections = re.findall(r'<section id="([^"]+)"', page)
    assert {"axes", "supplementary", CELL} <= set(sections)
    assert re.findall(r'href="#([^"]+)"', nav) == sections


def test_the_page_shows_the_comparisons_of_both_tasks(run: RunDirectory) -> None:
    compared = read_json(run.evidence)[CELL]
    assert (compared["budgets"], compared["baselines"]) == (
        ["2.5K"],
        ["base_rate", "logistic_volatility"],
    )
    assert compared["correction"]["n_tried"] == 2
    section = run.report.read_text(encoding="utf-8").partition(f'<section id="{CELL}">')[2]
    section = section.partition("</section>")[0]
    assert section.count("Comparisons on the same rows") == 1
    assert '<th class="num">less logistic volatility</th>' in section
    for one in ("Superior predictive ability", "Model confidence set", "2 experiments were tried"):
        assert one in section


def test_the_binary_task_is_kept_as_ever(run: RunDirectory) -> None:
    frame = read_predictions(run.experiment("2.5K_h1_threshold_1pct").predictions)
    assert frame["probability"].is_between(0, 1).all()


def test_a_script_of_the_winner_gives_its_scores(
    run: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"train_{NAME}.py"
    [script] = write_scripts({name: training_scripts(tiny_study(CHANGES), run)[name]}, tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(script), run_name="__main__")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("seed ")]
    assert said == [
        f"seed {one['seed']}, epoch {one['best_epoch']}, validation: "
        f"log-loss {one['scores']['validation']['log_loss']:.6f}, "
        f"skill {one['scores']['validation']['skill']:+.6f}"
        for one in of_kind(run, "final")
    ]


def test_a_preview_counts_the_outputs(run: RunDirectory) -> None:
    one, binary = preview_study(tiny_study(CHANGES))
    assert (one.name, one.task) == (NAME, "return")
    assert one.n_parameters_min >= binary.n_parameters_min
    assert one.grid_hash != binary.grid_hash
    assert one.grid_hash == of_kind(run, "final")[0]["identity"]["grid"]


def test_a_second_run_repeats_nothing(run: RunDirectory) -> None:
    before = raw_records(run.ledger)
    assert run_tiny(run.root, CHANGES).failures == {}
    assert json.dumps(raw_records(run.ledger)) == json.dumps(before)

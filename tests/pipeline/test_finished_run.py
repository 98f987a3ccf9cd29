"""What a finished run leaves behind, and whether its numbers agree with each other."""

from __future__ import annotations

import csv
import json

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open

from finscale.evaluation.metrics import log_loss
from finscale.evaluation.predictions import read_predictions
from finscale.files import read_json
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters
from finscale.rundir import RunDirectory
from finscale.study_file import load_study
from tiny import CELL, NAMES, outcome_of, raw_records, run_tiny, tiny_prepared, tiny_study

PREPARED = tiny_prepared()
DATA = PREPARED.cells[CELL]
PARTS = ("validation", "test")


def of_kind(directory: RunDirectory, kind: str, name: str | None = None) -> list[dict]:
    return [
        record
        for record in raw_records(directory.ledger)
        if record["kind"] == kind and name in {None, record["experiment"]}
    ]


def frame_of(directory: RunDirectory, name: str) -> pl.DataFrame:
    return read_predictions(directory.experiment(name).predictions)


def baseline_frame(directory: RunDirectory) -> pl.DataFrame:
    fingerprint = PREPARED.identities[CELL].fingerprint
    return read_predictions(directory.baseline_predictions(CELL, fingerprint))


def test_every_file_of_the_layout_is_there(finished: RunDirectory) -> None:
    fingerprints = {name: PREPARED.identities[name].fingerprint for name in (CELL, *NAMES)}
    best = {name: read_json(finished.experiment(name).best)["trial"] for name in NAMES}
    parts = {
        f"{part}_{getattr(PREPARED.identities[name], part)[:16]}"
        for name in NAMES
        for part in ("settings", "data", "grid", "code")
    }
    expected = {
        *("identities/data_inputs.json", *(f"identities/{part}.json" for part in parts)),
        *("study.yaml", "environment.json", "data.json", "search.db", "ledger.jsonl", ".lock"),
        *(".claims.lock", ".records.lock", "queue.txt"),
        *(
            "experiment_results.csv",
            "evidence.json",
            "scaling.json",
            "points.csv",
            "averages.csv",
            "epochs.csv",
            "summary.json",
            "report.html",
        ),
        "logs/finscale.log",
        f"baselines/{CELL}/{fingerprints[CELL]}_predictions.parquet",
        *(
            f"experiments/{name}/{file}"
            for name in NAMES
            for file in (
                ".finals.lock",
                *("best.json", "all_trials.json", "model.json", "predictions.parquet"),
                *(f"trials/trial_{number:04d}.json" for number in range(4)),
                *(
                    f"models/{fingerprints[name]}_trial_{best[name]:04d}_seed_{seed}.safetensors"
                    for seed in range(3)
                ),
            )
        ),
    }
    found = {
        file.relative_to(finished.root).as_posix()
        for file in finished.root.rglob("*")
        if file.is_file() and file.parent.name != "workers" and not file.name.startswith("machine_")
    }
    assert found == expected


def test_the_ledger_holds_every_run_once(finished: RunDirectory) -> None:
    records = raw_records(finished.ledger)
    uids = [record["uid"] for record in records]
    assert len(set(uids)) == len(uids)
    for name in NAMES:
        prefix = f"{name}@{PREPARED.identities[name].fingerprint}"
        slots = [record["uid"] for record in of_kind(finished, "trial", name)]
        assert slots == [f"{prefix}/trial/{slot}" for slot in range(4)]
        assert len(of_kind(finished, "final", name)) == 3
        assert len(of_kind(finished, "ensemble", name)) == 1
    assert [record["model"] for record in of_kind(finished, "baseline")] == [
        "base_rate",
        "logistic_volatility",
    ]


def test_the_study_is_written_out_and_reads_back(finished: RunDirectory) -> None:
    assert load_study(finished.study) == tiny_study()


def test_derived_files_hold_the_ledger(finished: RunDirectory) -> None:
    for name in NAMES:
        files, trials = finished.experiment(name), of_kind(finished, "trial", name)
        assert read_json(files.all_trials) == trials
        assert [read_json(files.trial(number)) for number in range(4)] == trials
    with finished.results.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    records = raw_records(finished.ledger)
    assert [row["uid"] for row in rows] == [record["uid"] for record in records]
    for row, record in zip(rows, records, strict=True):
        if record["kind"] == "trial":
            assert float(row["validation_loss"]) == record["validation_loss"]
            assert float(row["learning_rate"]) == record["recipe"]["learning_rate"]
            assert row["forced"] == "; ".join(record["forced"])
        else:
            assert float(row["test_loss"]) == record["scores"]["test"]["log_loss"]


def test_the_best_is_the_lowest_validation_loss_of_the_complete_trials(
    finished: RunDirectory,
) -> None:
    for name in NAMES:
        complete = [
            trial for trial in of_kind(finished, "trial", name) if trial["state"] == "complete"
        ]
        best = read_json(finished.experiment(name).best)
        assert best == min(complete, key=lambda trial: trial["validation_loss"])


def test_a_pruned_trial_is_never_the_best(copied: RunDirectory) -> None:
    # The lowest loss of a run that was cut off could still have been overtaken by none.
    lines = copied.ledger.path.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    lowest = min(
        (r for r in records if r["kind"] == "trial" and r["experiment"] == NAMES[0]),
        key=lambda r: r["validation_loss"],
    )
    lowest["state"] = "pruned"
    copied.ledger.path.write_text("".join(f"{json.dumps(r)}\n" for r in records), encoding="utf-8")
    run_tiny(copied.root, stages=("fit",))
    from finscale.pipeline.book import RecordBook

    best = RecordBook(copied, PREPARED.identities).best_trial(NAMES[0])
    assert best is not None
    assert best.uid != lowest["uid"]


def test_the_final_runs_have_the_best_recipe_and_seeds_of_their_own(
    finished: RunDirectory,
) -> None:
    for name in NAMES:
        best = read_json(finished.experiment(name).best)
        finals = of_kind(finished, "final", name)
        for final in finals:
            for field in ("recipe", "d_model", "n_layers", "n_heads", "d_ff", "trial"):
                assert final[field] == best[field]
        assert len({final["seed"] for final in finals} | {best["seed"]}) == 4


@pytest.mark.parametrize("part", PARTS)
def test_every_anchor_is_predicted_by_every_model(finished: RunDirectory, part: str) -> None:
    rows = DATA.split.part(part)
    for frame in (*(frame_of(finished, name) for name in NAMES), baseline_frame(finished)):
        for _, group in frame.filter(part=part).group_by("model", "seed"):
            assert group["row"].to_list() == rows.tolist()
            assert group["label"].to_list() == DATA.labels_T[rows].astype(int).tolist()
            assert group["date"].to_list() == DATA.date[rows].astype(object).tolist()
    assert frame_of(finished, NAMES[0])["seed"].n_unique() == 4


@pytest.mark.parametrize("part", PARTS)
def test_baselines_are_scored_on_the_rows_and_labels_of_the_models(
    finished: RunDirectory, part: str
) -> None:
    columns = ["row", "date", "label"]
    baseline = baseline_frame(finished).filter(part=part, model="base_rate")[columns]
    for name in NAMES:
        average = frame_of(finished, name).filter(pl.col("seed").is_null(), part=part)[columns]
        assert average.equals(baseline)


@pytest.mark.parametrize("part", PARTS)
def test_the_ledgers_losses_follow_from_the_predictions(finished: RunDirectory, part: str) -> None:
    for name in NAMES:
        frame = frame_of(finished, name).filter(part=part)
        for final in of_kind(finished, "final", name):
            own = frame.filter(seed=final["seed"])
            assert final["scores"][part]["log_loss"] == log_loss(own["probability"], own["label"])
        [ensemble] = of_kind(finished, "ensemble", name)
        average = frame.filter(pl.col("seed").is_null())
        loss = log_loss(average["probability"], average["label"])
        assert ensemble["scores"][part]["log_loss"] == loss
        base = log_loss(np.full(len(average), DATA.base_rate), average["label"])
        assert ensemble["scores"][part]["skill"] == pytest.approx(1 - loss / base, rel=1e-12)
    for record in of_kind(finished, "baseline"):
        own = baseline_frame(finished).filter(part=part, model=record["model"])
        assert record["scores"][part]["log_loss"] == log_loss(own["probability"], own["label"])


def test_the_seed_average_is_the_mean_of_the_probabilities(finished: RunDirectory) -> None:
    for name in NAMES:
        frame = frame_of(finished, name)
        average = frame.filter(pl.col("seed").is_null()).sort("row")["probability"]
        mean = (
            frame.filter(pl.col("seed").is_not_null())
            .group_by("row")
            .agg(pl.col("probability").mean())
            .sort("row")["probability"]
        )
        assert average.to_numpy() == pytest.approx(mean.to_numpy(), rel=1e-12)
        [ensemble] = of_kind(finished, "ensemble", name)
        finals = [final["uid"] for final in of_kind(finished, "final", name)]
        assert list(ensemble["members"]) == finals


def test_the_base_rate_is_that_of_the_training_part(finished: RunDirectory) -> None:
    rate = float(np.mean(DATA.labels_T[DATA.split.train]))
    frame = baseline_frame(finished).filter(model="base_rate")
    assert frame["probability"].to_numpy() == pytest.approx(rate, abs=1e-7)
    for record in of_kind(finished, "baseline"):
        if record["model"] == "base_rate":
            assert record["scores"]["test"]["skill"] == pytest.approx(0.0, abs=1e-6)


def test_the_model_card_is_enough_to_use_the_weights(finished: RunDirectory) -> None:
    for name in NAMES:
        files = finished.experiment(name)
        card = read_json(files.model_card)
        shape = InputShape(
            **{key: card["architecture"][key] for key in InputShape.__dataclass_fields__}
        )
        sizes = {key: card["architecture"][key] for key in Architecture.__dataclass_fields__}
        assert count_parameters(Architecture(**sizes), shape) == card["n_parameters"]
        assert card["features"] == list(DATA.feature_names)
        assert card["scalers"]["*"]["median"] == DATA.scalers["SP500"].median_F.tolist()
        for weights in card["weights"]:
            with safe_open(files.root / weights, framework="np") as stream:
                n_values = sum(stream.get_tensor(key).size for key in stream.keys())  # noqa: SIM118
            assert n_values == card["n_parameters"]


def test_reports_and_summaries_cover_the_run(finished: RunDirectory) -> None:
    summary = read_json(finished.summary)
    assert (summary["n_experiments"], summary["n_complete"]) == (2, 2)
    assert summary["failures"] == {}
    assert read_json(finished.scaling)["cells"].keys() == {CELL}
    page = finished.report.read_text(encoding="utf-8")
    for budget in ("1.5K", "2.5K"):
        assert budget in page
    log = finished.log.read_text(encoding="utf-8")
    assert f"experiment 2/2 {NAMES[1]}: 0 of 4 trials done" in log


def test_the_deflated_sharpe_ratio_counts_every_trial_and_baseline(finished: RunDirectory) -> None:
    economics = read_json(finished.evidence)[CELL]["economics"]
    n_models = len(of_kind(finished, "trial")) + len(of_kind(finished, "baseline"))
    assert economics["trading"]["n_models"] == n_models
    assert economics["n_strategies"] == 2 * n_models + 1


def test_the_environment_is_recorded(finished: RunDirectory) -> None:
    environment = read_json(finished.environment)
    assert environment["code_hash"] == PREPARED.identities[NAMES[0]].code
    assert environment["device"] == "cpu"
    assert environment["packages"]["torch"].startswith("2.")


def test_the_same_study_elsewhere_gives_the_same_numbers(
    finished: RunDirectory, tmp_path: pytest.TempPathFactory
) -> None:
    again = run_tiny(tmp_path / "again").directory
    for one, other in zip(raw_records(finished.ledger), raw_records(again.ledger), strict=True):
        assert outcome_of(one) == outcome_of(other)
    for name in NAMES:
        assert frame_of(finished, name).equals(frame_of(again, name))

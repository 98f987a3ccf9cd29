from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from past_results import (
    COLUMNS,
    NO_ARCHITECTURE,
    SHAPE,
    TRIAL,
    COUNT_64x32x2x256,
    COUNT_256x192x8x1024,
    csv_text,
    row,
    write_csv,
    write_trials,
)

from finscale.errors import DataError
from finscale.imported.reading import Reading, read_results
from finscale.imported.record import ImportedRecord
from finscale.rundir import RunDirectory


def read(*paths: Path) -> Reading:
    return read_results(paths, SHAPE)


def only(path: Path) -> ImportedRecord:
    [record] = read(path).records
    return record


# --- What is read -------------------------------------------------------------------------------


def test_a_row_is_read_whole(tmp_path: Path) -> None:
    record = only(write_csv(tmp_path, [row(test_accuracy=0.81, error_message="late")]))
    assert record.model_dump(exclude={"uid", "imported_at"}) == {
        "kind": "imported",
        "source": "experiment_results.csv",
        "row": 1,
        "made_at": "2026-01-20T18:13:43+00:00",
        "experiment": "phase6a_2M_h1_threshold_1pct",
        "phase": "phase6a",
        "run_type": "hpo",
        "script": "experiments/hpo_2M_h1_threshold_1pct.py",
        "budget": "2M",
        "horizon_bars": 1,
        "task": "threshold_1pct",
        "timescale": "daily",
        "trial": None,
        "status": "complete",
        "reason": "late",
        "validation_loss": 0.3791,
        "test_accuracy": 0.81,
        "duration_s": 8123.5,
        "max_temperature_c": 71.5,
        "data_md5": "abc",
        "hyperparameters": {"arch_idx": 3, "learning_rate": 0.0003, "dropout": 0.1},
        "d_model": 64,
        "n_layers": 32,
        "n_heads": 2,
        "d_ff": 256,
        "n_parameters_stated": COUNT_64x32x2x256,
        "n_parameters": COUNT_64x32x2x256,
        "remarks": (),
    }
    assert record.cell == "h1_threshold_1pct"
    assert record.architecture == "64x32x2x256"


def test_a_trial_file_is_read_and_its_missing_d_ff_inferred(tmp_path: Path) -> None:
    record = only(write_trials(tmp_path, [TRIAL]))
    assert (record.experiment, record.trial, record.row) == ("phase6a_2M_h1_threshold_1pct", 7, 1)
    assert (record.budget, record.horizon_bars, record.task) == ("2M", 1, "threshold_1pct")
    assert (record.status, record.validation_loss, record.duration_s) == ("complete", 0.3791, 300.5)
    # 4 times the width is the built count exactly; twice would be a third less.
    assert (record.d_ff, record.n_parameters) == (256, COUNT_64x32x2x256)
    assert record.remarks == ("d_ff inferred from param_count: 4 times d_model",)


@pytest.mark.parametrize(
    "trials",
    [
        [{"number": 7, "value": 0.4, "state": "COMPLETE", "params": {}}],
        [{"number": 7, "value": 0.4, "state": "TrialState.COMPLETE"}],
        [{"trial_number": 7, "value": 0.4, "params": {"learning_rate": float("nan")}}],
    ],
)
def test_plain_lists_of_trials_are_read_too(tmp_path: Path, trials: list[dict[str, Any]]) -> None:
    path = tmp_path / "20M_h5_direction_all_trials.json"
    path.write_text(json.dumps(trials))
    record = only(path)
    assert (record.trial, record.status, record.validation_loss) == (7, "complete", 0.4)
    assert record.experiment == "20M_h5_direction"
    assert (record.budget, record.cell) == ("20M", "h5_direction")


def test_a_forced_trial_keeps_its_place_without_an_architecture(tmp_path: Path) -> None:
    forced = {key: TRIAL[key] for key in ("value", "params")} | {"trial_number": 0}
    record = only(write_trials(tmp_path, [forced]))
    assert record.validation_loss == 0.3791
    assert record.architecture is record.n_parameters is None
    assert record.remarks == ("no architecture",)


def test_an_architecture_is_found_where_it_was_put(tmp_path: Path) -> None:
    cell = {"d_model": 64, "n_layers": 32, "n_heads": 2, "d_ff": 256}
    bare = {"trial_number": 1, "value": 0.4, "params": {}}
    for trial in (
        bare | {"architecture": cell},
        bare | {"user_attrs": {"architecture": cell}},
        bare | {"params": cell},
    ):
        assert only(write_trials(tmp_path, [trial])).n_parameters == COUNT_64x32x2x256
    in_cell = row(**NO_ARCHITECTURE, hyperparameters=json.dumps(cell))
    assert only(write_csv(tmp_path, [in_cell])).n_parameters == COUNT_64x32x2x256


def test_columns_that_came_later_may_be_missing(tmp_path: Path) -> None:
    early = COLUMNS[: COLUMNS.index("hyperparameters")]
    record = only(write_csv(tmp_path, [row()], early))
    assert (record.validation_loss, record.architecture) == (0.3791, None)
    few = only(write_csv(tmp_path, [row()], ["experiment", "val_loss"]))
    # The name says what the columns do not.
    assert (few.budget, few.cell, few.status) == ("2M", "h1_threshold_1pct", "complete")


def test_a_name_that_says_nothing_leaves_the_cell_unknown(tmp_path: Path) -> None:
    record = only(write_csv(tmp_path, [row(experiment="first try")], ["experiment", "val_loss"]))
    assert (record.budget, record.cell) == (None, "h?_?")


@pytest.mark.parametrize("text", ["3", "3.0", "h3", "3d", "3 days"])
def test_horizons_are_written_in_many_ways(tmp_path: Path, text: str) -> None:
    assert only(write_csv(tmp_path, [row(horizon=text)])).horizon_bars == 3


def test_numbers_that_pandas_wrote_as_floats_are_whole(tmp_path: Path) -> None:
    record = only(write_csv(tmp_path, [row(d_model="64.0", param_count="1616449.0")]))
    assert (record.d_model, record.n_parameters_stated) == (64, COUNT_64x32x2x256)


def test_another_time_scale_is_another_cell(tmp_path: Path) -> None:
    assert only(write_csv(tmp_path, [row(timescale="weekly")])).cell == "h1_threshold_1pct_weekly"


# --- What is odd --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "remarks"),
    [
        (
            {"param_count": 2_000_000},
            ("param_count 2,000,000, but 1,616,449 when counted",),
        ),
        # Another embedding is no mismatch.
        ({"param_count": 1_600_000}, ()),
        ({"param_count": ""}, ()),
        (
            {"budget": "20M"},
            ("labelled 20M, but 1.62M when counted",),
        ),
        ({"budget": "tiny"}, ("budget 'tiny' is a label, not a count",)),
        (
            {"n_heads": 3},
            (
                (
                    "architecture: n_heads 3 does not divide d_model 64; "
                    "the nearest that do are 2 and 4"
                ),
            ),
        ),
        ({"d_ff": "", "param_count": ""}, ("no d_ff, and no param_count to infer it from",)),
        ({"status": "running"}, ("status 'running' is not known",)),
        (
            {"val_loss": "nan"},
            ("the loss is nan", "said to be complete, but has no loss"),
        ),
        (
            {"val_loss": "-0.5"},
            ("the loss is -0.5", "said to be complete, but has no loss"),
        ),
        ({"status": "", "val_loss": ""}, ("no status",)),
    ],
)
def test_what_is_odd_is_kept_with_a_remark(
    tmp_path: Path, changes: dict[str, Any], remarks: tuple[str, ...]
) -> None:
    assert only(write_csv(tmp_path, [row(**changes)])).remarks == remarks


def test_a_label_of_200m_that_was_built_as_such_is_one(tmp_path: Path) -> None:
    dimensions = {"d_model": 256, "n_layers": 192, "n_heads": 8, "d_ff": 1024}
    record = only(write_csv(tmp_path, [row(**dimensions, budget="200M", param_count="")]))
    assert record.n_parameters == COUNT_256x192x8x1024
    # 0.76 of the label: within the quarter that a budget allows.
    assert record.remarks == ()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("success", "complete"),
        ("COMPLETE", "complete"),
        ("pruned", "pruned"),
        ("failed", "failed"),
        ("Error", "failed"),
        ("half way", "unknown"),
    ],
)
def test_statuses_have_many_names(tmp_path: Path, text: str, status: str) -> None:
    assert only(write_csv(tmp_path, [row(status=text)])).status == status


def test_a_failure_keeps_its_reason(tmp_path: Path) -> None:
    failed = row(**NO_ARCHITECTURE, status="failed", val_loss="NaN", error_message="out of memory")
    record = only(write_csv(tmp_path, [failed]))
    assert (record.status, record.reason, record.validation_loss) == (
        "failed",
        "out of memory",
        None,
    )


def test_a_row_that_was_torn_says_so(tmp_path: Path) -> None:
    path = tmp_path / "experiment_results.csv"
    path.write_text("experiment,val_loss,status,budget\n2M_h1_direction,0.4,success\n\n\n")
    record = only(path)
    assert (record.validation_loss, record.budget) == (0.4, "2M")
    assert record.remarks == ("3 cells under 4 columns", "no architecture")


# --- The same result twice ----------------------------------------------------------------------


def test_a_row_that_stands_twice_is_one_result(tmp_path: Path) -> None:
    reading = read(write_csv(tmp_path, [row(), row(), row(val_loss=0.38)]))
    assert [record.row for record in reading.records] == [1, 3]
    assert (reading.n_rows, reading.n_repeated) == (3, 1)


def test_the_best_trial_in_both_files_is_one_result_that_says_most(tmp_path: Path) -> None:
    table = write_csv(tmp_path, [row()])
    trials = write_trials(tmp_path, [TRIAL, TRIAL | {"trial_number": 8, "value": 0.4}])
    for order in ([table, trials], [trials, table]):
        reading = read(*order)
        assert (reading.n_rows, len(reading.records)) == (3, 2)
        first = next(one for one in reading.records if one.validation_loss == 0.3791)
        assert first.source == table.name
        assert first.remarks == ()


def test_results_differ_in_architecture_recipe_or_experiment(tmp_path: Path) -> None:
    rows = [
        row(),
        row(n_layers=16),
        row(experiment="phase6b_2M_h1_threshold_1pct"),
        row(hyperparameters=json.dumps({"learning_rate": 0.0004})),
    ]
    assert len(read(write_csv(tmp_path, rows)).records) == 4


def test_failures_are_not_taken_for_each_other(tmp_path: Path) -> None:
    failed = row(status="failed", val_loss="")
    later = failed | {"timestamp": "2026-01-22"}
    assert len(read(write_csv(tmp_path, [failed, later, later])).records) == 2


def test_uids_do_not_depend_on_file_or_row(tmp_path: Path) -> None:
    first = only(write_csv(tmp_path, [row()]))
    (tmp_path / "copy").mkdir()
    second = read(write_csv(tmp_path / "copy", [row(val_loss=0.5), row()])).records[1]
    assert first.uid == second.uid
    assert second.row == 2


def test_directories_are_searched(tmp_path: Path) -> None:
    deep = tmp_path / "outputs" / "hpo"
    deep.mkdir(parents=True)
    (deep / "notes.json").write_text("[]")
    files = [write_csv(tmp_path, [row()]), write_trials(deep, [TRIAL])]
    assert sorted(read(tmp_path).files) == sorted(files)


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([row(), row(val_loss="low")], "row 2: val_loss: got 'low'; write a number or leave it"),
        ([row(d_model="wide")], "row 1: d_model: got 'wide'; write a number or leave it empty"),
        ([row(n_layers=2.5)], "row 1: n_layers: got '2.5'; write a whole number of 1 or more, or"),
        ([row(d_ff=-1)], "row 1: d_ff: got '-1'; write a whole number of 1 or more, or leave it"),
        (
            [row(hyperparameters="{'learning_rate': 0.1}")],
            "row 1: hyperparameters: got \"{'learning_rate': 0.1}\"; write it as JSON",
        ),
        (
            [row(hyperparameters="[1]")],
            "row 1: hyperparameters: got '[1]'; write a JSON object of names and values",
        ),
        ([row(horizon="soon")], "row 1: horizon: got 'soon'; write the bars ahead, such as 1"),
        ([row(experiment=" ")], "row 1: experiment: got ''; name the experiment, such as 2M_h1_"),
    ],
)
def test_a_bad_cell_is_refused_with_file_row_and_fix(
    tmp_path: Path, rows: list[dict[str, Any]], fault: str
) -> None:
    path = write_csv(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {fault}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty; leave it out"),
        ("\n\n", "is empty; leave it out"),
        ("a,b\n1,2\n", "header: no column experiment or val_loss in the header; name the columns"),
        ("experiment,loss\nx,1\n", "header: no column val_loss in the header; name the columns as"),
        (
            csv_text([row()]) + "1,2" + ",3" * 30 + "\n",
            "row 2: 32 cells under 22 columns; add the missing columns to the header, or put text",
        ),
        (csv_text([row()]) + 'x,"open\n', "line 3: damaged or not CSV (unexpected end of data);"),
        ("uid,fingerprint,experiment\na,b,c\n", "is a file of a finscale run, whose records are"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "past.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {fault}")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "damaged or not JSON ("),
        ("3", "holds no list of trials; give a *all_trials.json file"),
        ("[1]", "holds no list of trials; give a *all_trials.json file"),
        ('{"best_value": 0.3}', "holds no list of trials; give a *all_trials.json file"),
        ('[{"value": "low"}]', "trial 1: val_loss: got 'low'; write a number"),
        ('[{"user_attrs": "a=1"}]', "trial 1: user_attrs: got 'a=1'; write it as JSON"),
        ('[{}, {"user_attrs": [1]}]', "trial 2: user_attrs: got '[1]'; write a JSON object"),
        ("[" * 100_000 + "]" * 100_000, "damaged: brackets in brackets without end; repair"),
        (
            '[{"value": 0.5, "params": ' + '{"a":' * 900 + "1" + "}" * 900 + "}]",
            "damaged: brackets in brackets without end; repair",
        ),
    ],
)
def test_a_bad_trial_file_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "2M_h1_direction_all_trials.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {fault}")


def test_files_that_cannot_be_anything_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "past.xlsx").write_text("x")
    (tmp_path / "past.csv").write_bytes(b"\xff\xfe\x00")
    for name, fault in (
        ("gone.csv", "no such file; give past results as .csv or .json"),
        ("empty", "holds no experiment_results.csv or *all_trials.json; name the files"),
        ("past.xlsx", "cannot tell the format; give a .csv or .json file"),
        ("past.csv", "cannot be read as UTF-8 text; save it as UTF-8"),
    ):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {fault}"


def test_the_files_of_our_own_runs_are_refused(finished: RunDirectory) -> None:
    [name] = [one.name for one in (finished.root / "experiments").iterdir()][:1]
    for file in (finished.results, finished.experiment(name).all_trials):
        with pytest.raises(DataError, match=r"is a file of a finscale run, whose records are in"):
            read(file)

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from finscale.errors import RunDirectoryError
from finscale.evaluation.predictions import (
    SCHEMA,
    predictions_frame,
    read_predictions,
    validate_predictions,
    write_predictions,
)


def make_frame(**changes):
    values = {
        "rows": [10, 11],
        "symbols": ["A", "A"],
        "dates": [date(2015, 1, 5), date(2015, 1, 6)],
        "part": "test",
        "labels": [0, 1],
        "model": "2M",
        "seed": 7,
        "probabilities": [0.1, 0.3],
    }
    return predictions_frame(**(values | changes))


def test_frame_has_the_contract_columns():
    frame = make_frame()

    assert frame.schema == SCHEMA
    assert frame.rows() == [
        (10, "A", date(2015, 1, 5), "test", 0, "2M", 7, 0.1),
        (11, "A", date(2015, 1, 6), "test", 1, "2M", 7, 0.3),
    ]


def test_round_trip_with_a_baseline_without_seed(tmp_path):
    path = tmp_path / "predictions.parquet"
    frame = pl.concat([make_frame(), make_frame(model="logistic_all", seed=None)])

    write_predictions(path, frame)

    assert read_predictions(path).equals(frame)
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": "train"}, "part is not one of validation, test"),
        ({"labels": [0, 2]}, r"label is neither 0 nor 1 \(row 11, 1 lines in all\)"),
        ({"probabilities": [0.1, 1.1]}, "probability is not within"),
        ({"probabilities": [0.1, float("nan")]}, "probability is not within"),
        ({"dates": [date(2015, 1, 5), None]}, "other than seed is missing"),
        ({"rows": [10, 10], "labels": [0, 0], "dates": [date(2015, 1, 5)] * 2}, "appears twice"),
    ],
)
def test_values_outside_the_contract_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_frame(**changes)


@pytest.mark.parametrize(
    "other",
    [
        {"labels": [1, 1]},
        {"dates": [date(2015, 1, 4), date(2015, 1, 6)]},
        {"part": "validation"},
        {"symbols": ["A", "B"]},
    ],
)
def test_models_must_be_scored_on_the_same_truth(other):
    frame = pl.concat([make_frame(), make_frame(model="20M", **other)])
    with pytest.raises(ValueError, match="two symbols, dates, parts or labels"):
        validate_predictions(frame)


def test_repeated_baseline_rows_are_found_though_their_seed_is_null():
    frame = pl.concat([make_frame(seed=None), make_frame(seed=None)])
    with pytest.raises(ValueError, match="appears twice"):
        validate_predictions(frame)


@pytest.mark.parametrize(
    "damage",
    [
        lambda frame: frame.drop("seed"),
        lambda frame: frame.with_columns(extra=1),
        lambda frame: frame.with_columns(pl.col("row").cast(pl.Int32)),
        lambda frame: frame.select(reversed(frame.columns)),
    ],
)
def test_other_columns_are_refused(damage):
    with pytest.raises(ValueError, match="columns must be"):
        validate_predictions(damage(make_frame()))


def test_bad_frame_is_not_written(tmp_path):
    path = tmp_path / "predictions.parquet"
    with pytest.raises(ValueError, match="columns must be"):
        write_predictions(path, make_frame().drop("seed"))
    assert not path.exists()


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"none\.parquet: no predictions here; evaluate"):
        read_predictions(tmp_path / "none.parquet")


def test_damaged_file_is_refused_on_one_line(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, make_frame())
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(RunDirectoryError, match="not a predictions file") as caught:
        read_predictions(path)

    assert "\n" not in str(caught.value)


def test_other_parquet_is_refused(tmp_path):
    path = tmp_path / "predictions.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(RunDirectoryError, match=r"predictions\.parquet: .*columns must be"):
        read_predictions(path)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from finscale.errors import FitError
from finscale.scaling.point_table import read_point_table, read_values, table_of

GOOD = "params,flops,note\n1e6,6e12, a\n2e6,24e12,b\n"


def written(directory: Path, text: str | bytes, name: str = "points.csv") -> Path:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("text", [GOOD, "\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), GOOD + "\n\n"])
def test_a_csv_file(tmp_path: Path, text: str) -> None:
    table = read_point_table(written(tmp_path, text))
    assert table.columns == ("params", "flops", "note")
    assert list(table.rows) == [2, 3]
    assert table.numbers("flops/(6*params)", "d").tolist() == [1e6, 2e6]


def test_a_parquet_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1, 2], "note": ["x", None]})
    frame.write_parquet(tmp_path / "points.parquet")
    table = read_point_table(tmp_path / "points.parquet")
    assert table.numbers("n*2", "n").tolist() == [2.0, 4.0]
    with pytest.raises(FitError, match=r"points.parquet, row 1: note is 'x', not a number"):
        table.numbers("note", "n")


@pytest.mark.parametrize(
    "points",
    [
        pl.DataFrame({"n": [1, 2], "m": [3.5, 4]}),
        pd.DataFrame({"n": [1, 2], "m": [3.5, 4]}),
        {"n": np.array([1, 2]), "m": [3.5, 4]},
    ],
    ids=["polars", "pandas", "dictionary"],
)
def test_frames_and_arrays(points) -> None:
    assert table_of(points).numbers("n + m", "x").tolist() == [4.5, 6.0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty; give a header and one row per point"),
        ("params,loss\n", "no points; give one row per point"),
        (
            "params,loss,params\n1,2,3\n",
            "line 1: column 'params' appears 2 times; rename all but one",
        ),
        (
            "params,loss\n1,2\n1;2\n",
            (
                "line 3: 1 cells under a header of 2; "
                "separate cells by commas and quote those that hold one"
            ),
        ),
        ('params,loss\n1,"2\n', "not a CSV file (unexpected end of data); check its quotes"),
        (b"params,loss\n1,\xff\n", "not text in UTF-8; save it as CSV with that encoding"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, text, fault: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FitError) as caught:
        read_point_table(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.removeprefix(str(path)).lstrip(":, ") == fault


def test_files_that_are_not_there_or_not_parquet(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="no such file; give a CSV or Parquet file of points"):
        read_point_table(tmp_path / "points.csv")
    with pytest.raises(FitError, match="not a Parquet file"):
        read_point_table(written(tmp_path, "params\n1\n", "points.parquet"))


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("many", "n is 'many', not a number; correct that row or leave it out"),
        ("", "n is empty; correct that row or leave it out"),
        ("-3", "n is -3, and must be positive and finite; correct that row or leave it out"),
        ("0", "n is 0, and must be positive and finite; correct that row or leave it out"),
        ("nan", "n is nan, and must be positive and finite; correct that row or leave it out"),
        ("inf", "n is inf, and must be positive and finite; correct that row or leave it out"),
    ],
)
def test_cells_that_are_no_positive_numbers(tmp_path: Path, cell: str, fault: str) -> None:
    path = written(tmp_path, f"n,loss\n1,2\n{cell},3\n")
    with pytest.raises(FitError) as caught:
        read_point_table(path).numbers("n", "n")
    assert str(caught.value) == f"{path}, line 3: {fault}"


def test_only_cells_that_are_used_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "n,loss,note\n1,2,\n3,4,good\n")
    assert read_point_table(path).numbers("n", "n").tolist() == [1.0, 3.0]


def test_points_that_are_no_table_are_refused() -> None:
    with pytest.raises(FitError, match=r"different lengths \(n 1, m 2\)"):
        table_of({"n": [1], "m": [1, 2]})
    with pytest.raises(FitError, match="no columns"):
        table_of(7)
    with pytest.raises(FitError, match=r"points: n has shape \(1, 2\)"):
        read_values(None, [[1, 2]], "n")
    with pytest.raises(FitError, match="points, row 2: n is -1, and must be positive"):
        read_values(None, [1, -1], "n")
    with pytest.raises(FitError, match="points, row 1: n is True, not a number"):
        read_values(None, [True, False], "n")


def test_rows_are_chosen_by_their_values(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("cell,n\nh1,1\nh5,2\nh1,3\n")
    table = table_of(tmp_path / "points.csv", {"cell": "h1"})
    assert table.numbers("n", "n").tolist() == [1, 3]
    # Rows keep their lines, for messages.
    assert list(table.rows) == [2, 4]
    assert table_of({"h": [1, 2, 1], "n": [1, 2, 3]}, {"h": 1}).numbers("n", "n").tolist() == [1, 3]
    with pytest.raises(FitError, match="where cell=h3: no such row"):
        table_of(tmp_path / "points.csv", {"cell": "h3"})
    with pytest.raises(FitError, match="where task: no such column; there are cell, n"):
        table_of(tmp_path / "points.csv", {"task": "x"})

"""A study of two symbols and two data sizes, from data to report."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from finscale.evaluation.predictions import read_predictions
from finscale.files import read_json
from finscale.rundir import RunDirectory
from tiny import run_tiny

CHANGES: dict[str, Any] = {
    "name": "panel",
    "data": {"symbols": ["SP500", "NASDAQ"]},
    "data_sizes": {"n_symbols": [1, 2]},
    "ladder.budgets": ["1.5K"],
    "search.n_trials": 2,
    "search.extremes_first": False,
}
ONE, TWO = "h1_threshold_1pct_symbols1", "h1_threshold_1pct_symbols2"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_tiny(tmp_path_factory.mktemp("panel") / "run", CHANGES).directory


def test_every_data_size_has_its_own_experiment_and_verdict(directory: RunDirectory) -> None:
    summary = read_json(directory.summary)
    assert [cell["cell"] for cell in summary["cells"]] == [ONE, TWO]
    assert summary["n_complete"] == 2
    assert set(summary["verdicts"]) == {ONE, TWO}
    assert read_json(directory.scaling)["cells"].keys() == {ONE, TWO}
    sizes = [cell["data_size"]["n_symbols"] for cell in summary["cells"]]
    assert sizes == [1, 2]


def test_the_records_say_which_data_size_they_are_of(directory: RunDirectory) -> None:
    records = directory.ledger.read().records
    assert {(one["experiment"].removeprefix("1.5K_"), one["data_size"]["n_symbols"])
            for one in records} == {(ONE, 1), (TWO, 2)}  # fmt: skip


def test_both_data_sizes_are_scored_on_the_same_rows_of_the_first_symbol(
    directory: RunDirectory,
) -> None:
    truth = []
    for cell in (ONE, TWO):
        frame = read_predictions(directory.experiment(f"1.5K_{cell}").predictions)
        assert frame["symbol"].unique().to_list() == ["SP500"]
        seed = frame["seed"].drop_nulls()[0]
        truth.append(frame.filter(pl.col("seed") == seed).select("row", "date", "part", "label"))
    assert truth[0].equals(truth[1])


def test_the_training_parts_differ(directory: RunDirectory) -> None:
    cells = read_json(directory.data)["cells"]
    one, two = (cells[cell]["parts"]["train"] for cell in (ONE, TWO))
    assert (one["n_symbols"], two["n_symbols"]) == (1, 2)
    assert two["n"] == 2 * one["n"]


def test_a_panel_without_sizes_shows_the_skill_on_every_symbol(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    changes = {**CHANGES, "data_sizes": {}, "horizons": [1]}
    directory = run_tiny(tmp_path_factory.mktemp("whole") / "run", changes).directory
    page = directory.report.read_text(encoding="utf-8")
    assert "Skill on test by symbol" in page
    assert "SP500, NASDAQ, 10,062 daily bars from 1999-01-04 to 2018-12-31" in page
    frame = read_predictions(directory.experiment("1.5K_h1_threshold_1pct").predictions)
    n_rows = frame.filter(pl.col("seed").is_null() & (pl.col("part") == "test"))
    assert n_rows.group_by("symbol").len()["len"].n_unique() == 1

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from finscale.errors import SplitError
from finscale.files import read_json, write_json_atomic
from finscale.pipeline.walk_forward import blocks_of
from finscale.rundir import RunDirectory
from tiny import CELL, run_tiny, tiny_prepared

CHANGES = {
    "ladder.budgets": ["1.5K"],
    "search.n_trials": 2,
    "search.extremes_first": False,
    "evidence.walk_forward_blocks": 2,
    "evidence.n_bootstrap": 100,
    "split": {"by": "date", "train_end": "2008-12-31", "validation_end": "2011-12-31"},
}
NAME = "1.5K_h1_threshold_1pct"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_tiny(tmp_path_factory.mktemp("walk") / "run", CHANGES).directory


def test_blocks_follow_each_other_up_to_the_test_part(directory: RunDirectory) -> None:
    walked = read_json(directory.evidence)[CELL]["walk_forward"]["1.5K"]
    first, second = walked["blocks"]
    assert first["last"] < second["first"]
    assert second["last"] < "2012-01-01"
    assert second["first"] >= "2009-01-01"
    # What is trained on grows, and ends a block before what is scored.
    assert first["n_trained"] < second["n_trained"]
    assert walked["summary"]["n_periods"] == 2
    assert walked["summary"]["n_rows"] == first["n_rows"] + second["n_rows"]


def test_the_last_block_is_validation_and_its_baseline_the_one_of_the_ledger(
    directory: RunDirectory,
) -> None:
    last = read_json(directory.evidence)[CELL]["walk_forward"]["1.5K"]["blocks"][-1]
    (baseline,) = [
        one for one in directory.ledger.read().records if one.get("model") == "logistic_volatility"
    ]
    assert last["n_rows"] == baseline["scores"]["validation"]["n"]
    assert last["baselines"]["logistic_volatility"] == pytest.approx(
        baseline["scores"]["validation"]["log_loss"], rel=1e-9
    )
    assert last["base_loss"] == pytest.approx(
        baseline["scores"]["validation"]["base_log_loss"], rel=1e-6
    )


def test_the_report_shows_the_blocks(directory: RunDirectory) -> None:
    page = directory.report.read_text(encoding="utf-8")
    assert "and walked forward" in page
    assert re.search(r"2009-0\d to 2011-1\d", page)


def test_a_finished_block_is_not_trained_again(directory: RunDirectory) -> None:
    files = directory.experiment(NAME)
    before = files.walk_forward.read_bytes()
    held = read_json(files.walk_forward)
    assert len(blocks_of(files, held["fingerprint"], held["trial"], 2)) == 2
    assert blocks_of(files, held["fingerprint"], held["trial"] + 1, 2) == []
    run_tiny(directory.root, CHANGES)
    assert files.walk_forward.read_bytes() == before


def test_blocks_of_a_file_of_another_form_are_walked_anew(
    directory: RunDirectory, tmp_path: Path
) -> None:
    files = RunDirectory(tmp_path).experiment(NAME)
    held = read_json(directory.experiment(NAME).walk_forward)
    assert held.pop("version") == 2
    write_json_atomic(files.walk_forward, held)
    assert blocks_of(files, held["fingerprint"], held["trial"], 2) == []


def test_another_number_of_blocks_cuts_history_anew(
    directory: RunDirectory, tmp_path: Path
) -> None:
    copied = RunDirectory(shutil.copytree(directory.root, tmp_path / "run"))
    two = read_json(directory.evidence)[CELL]["walk_forward"]["1.5K"]["blocks"]
    one = CHANGES | {"evidence.walk_forward_blocks": 1}
    run_tiny(copied.root, one, stages=("evaluate", "fit"))
    (block,) = read_json(copied.evidence)[CELL]["walk_forward"]["1.5K"]["blocks"]
    assert (block["first"], block["last"]) == (two[-1]["first"], two[-1]["last"])
    run_tiny(copied.root, CHANGES | {"evidence.walk_forward_blocks": 0}, stages=("fit",))
    assert read_json(copied.evidence)[CELL]["walk_forward"] == {}


def test_too_many_blocks_are_refused_before_anything_is_spent() -> None:
    with pytest.raises(SplitError, match=r"evidence\.walk_forward_blocks: got 3, .* use at most"):
        tiny_prepared(CHANGES | {"evidence.walk_forward_blocks": 3})

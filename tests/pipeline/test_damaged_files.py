"""Files that are valid JSON and hold something else: derived ones are passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finscale.files import utc_now, write_json_atomic
from finscale.pipeline.failures import failure_reasons, read_failures
from finscale.pipeline.status import run_status
from finscale.pipeline.walk_forward import blocks_of
from finscale.pipeline.worker_status import read_worker_status
from finscale.rundir import RunDirectory
from finscale.search.processes import this_worker
from tiny import NAMES, tiny_prepared, tiny_study

OTHER_SHAPES = ["{}", "[]", "null", "3", '"text"', '[{"reason": "x"}]']


@pytest.mark.parametrize("text", OTHER_SHAPES)
def test_a_failure_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    directory, experiments = RunDirectory(tmp_path), tiny_prepared().experiments
    write_json_atomic(directory.experiment(NAMES[0]).failure, json.loads(text))
    write_json_atomic(directory.experiment(NAMES[1]).failure, {"reason": "why", "at": utc_now()})
    assert list(read_failures(directory, experiments)) == [NAMES[1]]
    assert failure_reasons(directory, experiments) == {NAMES[1]: "why"}


@pytest.mark.parametrize(
    "said",
    [
        *OTHER_SHAPES,
        json.dumps({"worker": "no colons", "started_at": "2030-01-01T00:00:00+00:00"}),
        json.dumps({"worker": "a:b:c", "started_at": "2030-01-01T00:00:00+00:00"}),
        json.dumps({"worker": 3, "started_at": "2030-01-01T00:00:00+00:00"}),
        json.dumps({"worker": "US"}),
        json.dumps({"worker": "US", "started_at": 3}),
        json.dumps({"worker": "x:1:2", "started_at": "2030-01-01T00:00:00+00:00", "at": "now"}),
    ],
)
def test_a_worker_that_says_something_else_is_passed_over(tmp_path: Path, said: str) -> None:
    (tmp_path / "one.json").write_text(said.replace("US", this_worker()))
    good = {"worker": this_worker(), "started_at": utc_now(), "at": utc_now()}
    write_json_atomic(tmp_path / "two.json", good)
    [found] = read_worker_status(tmp_path)
    assert found["worker"] == this_worker()


@pytest.mark.parametrize("text", [*OTHER_SHAPES, '{"data": 3}', '{"data": {}, "made_by": 1}'])
def test_what_the_data_came_from_is_found_out_again(copied: RunDirectory, text: str) -> None:
    before = run_status(tiny_study(), copied.root)
    copied.data_inputs.write_text(text)
    for part in copied.data_inputs.parent.glob("*.json"):
        if part != copied.data_inputs:
            part.write_text(text)
    after = run_status(tiny_study(), copied.root)
    assert [one.state for one in after.experiments] == [one.state for one in before.experiments]
    assert after.data_problem is None


@pytest.mark.parametrize("text", OTHER_SHAPES)
def test_blocks_that_are_none_are_walked_again(tmp_path: Path, text: str) -> None:
    files = RunDirectory(tmp_path).experiment(NAMES[0])
    files.walk_forward.parent.mkdir(parents=True)
    files.walk_forward.write_text(text)
    assert blocks_of(files, "f", 0, 2) == []

"""How far a run is, and what of it is stale and why, from its files alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from finscale.features import modules
from finscale.features.registry import REGISTRY
from finscale.files import hash_bytes
from finscale.market.sources.bundled import load_bundled
from finscale.pipeline import basis, results, status, today
from finscale.pipeline import prepare as preparing
from finscale.pipeline.status import RunStatus, run_status
from finscale.pipeline.worker_status import WorkerStatus
from finscale.progress import RunStart
from finscale.rundir import RunDirectory
from finscale.search.processes import this_worker
from tiny import CELL, NAMES, run_tiny, tiny_study


def look(directory: RunDirectory, changes: dict[str, Any] | None = None) -> RunStatus:
    return run_status(tiny_study(changes), directory.root)


def reasons(found: RunStatus) -> dict[str, list[str]]:
    return {name: [one.text for one in changes] for name, changes in found.stale.items()}


@pytest.fixture
def _no_preparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where data are loaded: a look at a run whose inputs are what they were needs none."""

    def fails(_: Any) -> None:
        raise AssertionError("the data were prepared")

    monkeypatch.setattr(preparing, "prepare", fails)


@pytest.mark.usefixtures("_no_preparing")
def test_a_finished_run(finished: RunDirectory) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.root.rglob("*")}
    found = look(finished)
    assert {file: file.stat().st_mtime_ns for file in finished.root.rglob("*")} == before
    assert found.is_finished
    assert [(one.name, one.state, one.time_left_s) for one in found.experiments] == [
        (name, "done", 0.0) for name in NAMES
    ]
    assert found.totals == {
        "n_experiments": 2,
        "n_done": 2,
        "n_failed": 0,
        "n_stale": 0,
        "n_trials_done": 8,
        "n_trials": 8,
        "n_workers_alive": 0,
        "time_left_s": 0.0,
        "finished": True,
    }
    assert (found.queue, found.stale, found.last_error) == ((), {}, None)
    assert (found.damaged_lines, found.data_problem) == ((), None)
    assert {name: one.extremes.n_tried for name, one in found.coverage.items()} == dict.fromkeys(
        NAMES, 3
    )
    [worker] = found.workers
    assert worker["alive"] is False
    assert worker["left_at"] is not None
    assert found.machine is not None
    assert 0.0 <= found.machine["memory_used_frac"] <= 1.0
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.usefixtures("_no_preparing")
def test_trials_that_are_left_take_what_the_others_took(finished: RunDirectory) -> None:
    found = look(finished, {"search.n_trials": 6})
    trials = json.loads(finished.experiment(NAMES[0]).all_trials.read_text())
    mean_s = sum(one["duration_s"] for one in trials) / 4
    assert [one.state for one in found.experiments] == ["started", "started"]
    assert found.experiments[0].time_left_s == pytest.approx(2 * mean_s)
    assert found.time_left_s == pytest.approx(
        sum(one.time_left_s or 0 for one in found.experiments)
    )
    assert found.queue == NAMES
    assert not found.is_finished


def test_nothing_is_known_of_a_run_without_trials(copied: RunDirectory) -> None:
    copied.ledger.path.unlink()
    found = look(copied)
    assert [one.time_left_s for one in found.experiments] == [None, None]
    assert found.time_left_s is None
    assert found.totals["n_trials_done"] == 0


# --- what is stale, and why ----------------------------------------------------------------------


def test_a_setting_is_named_with_both_values(finished: RunDirectory) -> None:
    found = look(finished, {"training.patience": 8})
    assert reasons(found) == {
        name: ["settings (training.patience 2 → 8)"] for name in (CELL, *NAMES)
    }
    assert {one.state for one in found.experiments} == {"stale"}
    assert found.experiments[0].note == "other settings (training.patience 2 → 8)"


@pytest.mark.usefixtures("_no_preparing")
def test_a_grid_is_named_by_its_dimensions(finished: RunDirectory) -> None:
    found = look(finished, {"ladder.grid.n_heads": [1]})
    # 4x1x2x8 and 4x1x2x16 are no longer among four; of the other budget likewise four of eight.
    assert reasons(found) == {
        NAMES[0]: ["grid (n_heads without 2; 2 architectures fewer)"],
        NAMES[1]: ["grid (n_heads without 2; 4 architectures fewer)"],
    }


def test_a_split_and_features_are_named(finished: RunDirectory) -> None:
    split = {"by": "fraction", "train_frac": 0.2, "validation_frac": 0.1}
    [settings, data] = reasons(look(finished, {"split": split}))[CELL]
    assert settings == "settings (split.train_frac 0.15 → 0.2)"
    assert data.startswith(
        "data (train 707 rows from 2000-03-30 to 2003-01-24 → "
        "943 rows from 2000-03-30 to 2003-12-31; validation 471 rows from "
    )
    [settings, data, grid] = reasons(look(finished, {"features.extra": ["month_progress"]}))[
        NAMES[0]
    ]
    assert settings == 'settings (features.extra [] → ["month_progress"])'
    assert data == "data (feature month_progress added)"
    assert grid.startswith("grid (n_features 25 → 26")


def test_code_is_named_by_its_files(
    finished: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = basis.code_files() | {"splits.py": "other"}
    monkeypatch.setattr(basis, "code_files", lambda: files)
    for module in (basis, today):
        monkeypatch.setattr(module, "code_hash", lambda: hash_bytes(b"other"))
    assert reasons(look(finished))[NAMES[0]] == ["code (splits.py)"]


def test_a_run_that_kept_no_reasons_names_the_parts(copied: RunDirectory) -> None:
    shutil.rmtree(copied.data_inputs.parent)
    assert reasons(look(copied)) == {}
    assert [one.state for one in look(copied).experiments] == ["done", "done"]
    assert reasons(look(copied, {"training.patience": 8}))[CELL] == ["settings"]


FEATURE = """
import numpy as np
from finscale.features.registry import feature

@feature(
    family="own", meaning="m", formula="f", reference="r (2000)", inputs=["open", "close"],
    lookback_bars=0,
)
def own_gap(bars):
    return np.log(bars.close / bars.open) * {factor}
"""


@pytest.fixture(scope="module")
def with_own_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bars, a module of features, and a run that was made from them."""
    folder = tmp_path_factory.mktemp("own")
    load_bundled("SP500").bars.write_csv(folder / "prices.csv")
    (folder / "own.py").write_text(FEATURE.format(factor=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "render_report", lambda _: "<html>")
        patch.setattr(modules, "_REGISTERED", {})
        patch.setattr(modules, "_CONTENT", {})
        run_tiny(folder / "run", own(folder))
        del REGISTRY["own_gap"]
    return folder


def own(folder: Path) -> dict[str, Any]:
    return {
        "data": {"source": "file", "path": str(folder / "prices.csv")},
        "features.modules": [str(folder / "own.py")],
        "features.extra": ["own_gap"],
        "ladder.budgets": ["1.5K"],
    }


@pytest.fixture
def prices(with_own_data: Path) -> Any:
    """The file of bars, put back after the test."""
    kept = {name: (with_own_data / name).read_bytes() for name in ("prices.csv", "own.py")}
    yield with_own_data / "prices.csv"
    for name, content in kept.items():
        (with_own_data / name).write_bytes(content)


@pytest.mark.usefixtures("_no_preparing")
def test_a_file_of_the_same_content_is_the_same(prices: Path) -> None:
    os.utime(prices, (1, 1))
    found = look(RunDirectory(prices.parent / "run"), own(prices.parent))
    assert ([one.state for one in found.experiments], found.stale) == (["done"], {})


def test_a_file_with_other_bars_is_named_by_its_symbol(prices: Path) -> None:
    prices.write_text("\n".join(prices.read_text().splitlines()[:-30]) + "\n")
    found = look(RunDirectory(prices.parent / "run"), own(prices.parent))
    assert reasons(found)[NAMES[0]] == [
        "data (SP500 bars changed (5,031 to 2018-12-31 → 5,001 to 2018-11-14))"
    ]


def test_a_file_that_is_gone_leaves_the_rest_to_be_said(prices: Path) -> None:
    prices.unlink()
    found = look(RunDirectory(prices.parent / "run"), own(prices.parent))
    assert found.data_problem is not None
    assert str(prices) in found.data_problem
    assert [one.state for one in found.experiments] == ["done"]
    assert found.totals["n_trials_done"] == 4


def test_a_feature_that_was_changed_is_named(prices: Path) -> None:
    (prices.parent / "own.py").write_text(FEATURE.format(factor=2))
    found = look(RunDirectory(prices.parent / "run"), own(prices.parent))
    assert reasons(found)[NAMES[0]] == ["data (other values of feature own_gap)"]


# --- what goes on, and what went wrong -----------------------------------------------------------


def test_a_worker_says_what_it_does_and_that_it_left(copied: RunDirectory) -> None:
    start = RunStart(experiment=NAMES[0], label="trial 3", detail="8x1x1x16", epochs=9)
    shutil.rmtree(copied.workers)
    with WorkerStatus(copied.workers, this_worker()) as said:
        assert [one["label"] for one in look(copied).workers] == [None]
        said.run_started(start)
        [worker] = look(copied).workers
        assert (worker["alive"], worker["label"], worker["epochs"]) == (True, "trial 3", 9)
        assert worker["pid"] == os.getpid()
        assert look(copied).n_alive == 1
    [worker] = look(copied).workers
    assert (worker["alive"], worker["label"]) == (False, None)


def test_the_first_trial_starts_its_experiment(copied: RunDirectory) -> None:
    copied.ledger.path.unlink()
    with WorkerStatus(copied.workers, this_worker()) as said:
        said.run_started(RunStart(NAMES[1], "trial 0", "8x1x1x16", epochs=9))
        assert [one.state for one in look(copied).experiments] == ["waiting", "started"]
    assert [one.state for one in look(copied).experiments] == ["waiting", "waiting"]


def test_a_wrong_order_is_said_and_is_not_the_order(copied: RunDirectory) -> None:
    copied.ledger.path.unlink()
    copied.queue.write_text(f"{NAMES[1]}\nnonsense\n", encoding="utf-8")
    found = look(copied)
    assert found.queue == NAMES
    assert found.queue_fault.startswith(f"{copied.queue}: line 2: no experiment is named 'nonsen")
    copied.queue.write_text(f"{NAMES[1]}\n", encoding="utf-8")
    assert (look(copied).queue, look(copied).queue_fault) == (NAMES[::-1], "")


@pytest.mark.parametrize(
    ("worker", "at", "alive"),
    [
        ("elsewhere:1:0.00", "2020-01-01T00:00:00+00:00", False),
        ("elsewhere:1:0.00", "2999-01-01T00:00:00+00:00", None),
        (f"{os.uname().nodename}:1:0.00", "2999-01-01T00:00:00+00:00", False),
    ],
)
def test_a_worker_that_cannot_be_asked(
    copied: RunDirectory, worker: str, at: str, alive: bool | None
) -> None:
    shutil.rmtree(copied.workers)
    copied.workers.mkdir()
    said = {"worker": worker, "started_at": "2020-01-01T00:00:00+00:00", "at": at}
    (copied.workers / "one.json").write_text(json.dumps(said))
    (copied.workers / "torn.json").write_text("{")
    [found] = look(copied).workers
    assert found["alive"] is alive
    assert found["pid"] == 1


def test_the_newest_failure_is_the_last_error(copied: RunDirectory) -> None:
    records = [json.loads(line) for line in copied.ledger.path.read_text().splitlines()]
    trial = next(r for r in records if r["kind"] == "trial" and r["experiment"] == NAMES[1])
    trial |= {"state": "failed", "reason": "diverged", "created_at": "2030-01-01T00:00:00+00:00"}
    copied.ledger.path.write_text("".join(f"{json.dumps(one)}\n" for one in records))
    assert look(copied).last_error == {
        "experiment": NAMES[1],
        "what": f"trial {trial['trial']}",
        "reason": "diverged",
        "at": "2030-01-01T00:00:00+00:00",
    }
    failure = {"reason": "no memory", "at": "2031-01-01T00:00:00+00:00"}
    copied.experiment(NAMES[0]).failure.write_text(json.dumps(failure))
    found = look(copied)
    assert found.last_error == {"experiment": NAMES[0], "what": "experiment", **failure}
    assert (found.experiments[0].state, found.experiments[0].note) == ("failed", "no memory")
    assert found.is_finished


def test_damaged_lines_are_named(copied: RunDirectory) -> None:
    with copied.ledger.path.open("a") as stream:
        stream.write('{"uid": "torn')
    found = look(copied)
    n_lines = len(copied.ledger.path.read_text().splitlines())
    assert found.damaged_lines == (n_lines,)
    assert f"line {n_lines} is damaged and not used" in found.damage


def test_a_line_that_is_being_written_is_not_damaged(
    copied: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copied.ledger.path.read_bytes()
    copied.ledger.path.write_bytes(whole[:-100])
    monkeypatch.setattr(status.time, "sleep", lambda _: copied.ledger.path.write_bytes(whole))
    with WorkerStatus(copied.workers, this_worker()):
        assert look(copied).damaged_lines == ()

"""Runs in processes of their own, ended by kill -9, Ctrl-C and a stop request."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import Begin, trial_lines

from finscale.files import read_json
from finscale.rundir import RunDirectory
from tiny import NAMES, outcome_of, raw_records, run_tiny, write_study

# Seconds on an idle machine; many times that where others work on it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Trials of most of a second, for the end to come in the middle of one.
CHANGES: dict[str, Any] = {
    "search.n_trials": 8,
    "search.n_startup_trials": 3,
    "search.prune_after_epochs": 4,
    "search.space.epochs": [24, 36],
    "training.patience": 100,
    "ladder.budgets": ["2.5K"],
}


@pytest.fixture(autouse=True)
def _one_thread_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    directory = run_tiny(tmp_path_factory.mktemp("uninterrupted") / "run", CHANGES).directory
    return {record["uid"]: outcome_of(record) for record in raw_records(directory.ledger)}


def wait_for_trials(process: subprocess.Popen[str], ledger: Path, n_trials: int) -> Sequence[str]:
    """Wait until the ledger holds that many trials, and return their lines."""
    deadline = time.monotonic() + 240
    while len(lines := trial_lines(ledger)) < n_trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return lines


def wait_until_it_has_worked_for(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait until a process has had the processor for that long, however busy the machine is."""
    times = psutil.Process(process.pid).cpu_times
    begun = times().user
    deadline = time.monotonic() + 240
    while times().user < begun + seconds:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_complete(
    directory: RunDirectory, uninterrupted: dict[str, dict[str, Any]], n_experiments: int = 1
) -> None:
    records = raw_records(directory.ledger)
    assert directory.ledger.read().damaged_lines == []
    assert len(records) == len(uninterrupted)

    def comparable(record: dict[str, Any]) -> dict[str, Any]:
        # These name the trial by its number in the storage, which an interruption shifts.
        renamed = {"uid", "members"} if record["kind"] in {"final", "ensemble"} else set()
        return {k: v for k, v in outcome_of(record).items() if k not in renamed}

    expected = [comparable(record) for record in uninterrupted.values()]
    assert [comparable(record) for record in records] == expected
    slots = [r["uid"].rpartition("/")[2] for r in records if r["kind"] == "trial"]
    assert slots == [str(slot) for slot in range(8)]
    summary = read_json(directory.summary)
    assert (summary["n_experiments"], summary["n_complete"]) == (n_experiments, n_experiments)
    assert summary["failures"] == {}
    assert list(directory.root.glob("experiments/*/checkpoints/*")) == []
    assert list(directory.root.rglob("*.tmp")) == []


def test_killed_three_times_the_run_is_the_one_that_was_not_killed(
    begin: Begin, tmp_path: Path, uninterrupted: dict[str, dict[str, Any]]
) -> None:
    study, directory = write_study(tmp_path, CHANGES), RunDirectory(tmp_path / "run")
    kept: Sequence[str] = []
    for n_trials in (1, 3, 5):
        process = begin("run", study, "--out", directory.root, cwd=tmp_path)
        wait_for_trials(process, directory.ledger.path, n_trials)
        time.sleep(0.03)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        lines = trial_lines(directory.ledger.path)
        # What was finished before the last kill is still there, byte for byte.
        assert list(lines[: len(kept)]) == list(kept)
        assert n_trials <= len(lines) < 8
        kept = lines
    process = begin("run", study, "--out", directory.root, cwd=tmp_path)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert list(trial_lines(directory.ledger.path)[: len(kept)]) == list(kept)
    assert_complete(directory, uninterrupted)


def test_a_run_that_is_asked_to_stop_says_how_to_go_on(
    begin: Begin, tmp_path: Path, uninterrupted: dict[str, dict[str, Any]]
) -> None:
    study, directory = write_study(tmp_path, CHANGES), RunDirectory(tmp_path / "run")
    process = begin("run", study, "--out", directory.root, cwd=tmp_path)
    kept = wait_for_trials(process, directory.ledger.path, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert re.search(rf"{NAMES[1]} +started +\d/8 ", out)
    assert "Traceback" not in err
    assert (
        err.count(" stopping after this epoch; asked once more: after this optimiser step\n") == 1
    )
    assert " stopping after this epoch; " in directory.log.read_text(encoding="utf-8")
    last = err.splitlines()[-1]
    assert last == (
        "finscale: stopped on request; everything finished is kept; go on with: "
        f"finscale run {directory.study} --out {directory.root}"
    )
    _, _, command = last.partition("go on with: finscale ")
    process = begin(*shlex.split(command), cwd=tmp_path)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert list(trial_lines(directory.ledger.path)[: len(kept)]) == list(kept)
    assert err.count(" trial 0 ") == 0
    assert_complete(directory, uninterrupted)


def test_a_second_ctrl_c_leaves_after_the_step(begin: Begin, tmp_path: Path) -> None:
    # An epoch that takes for ever: a first Ctrl-C alone would not end it.
    changes = CHANGES | {"search.space.epochs": [100_000], "training.patience": 100_000}
    changes |= {"training.effective_batch": 1, "split.train_frac": 0.88}
    study = write_study(tmp_path, changes)
    process = begin("run", study, "--out", "run", cwd=tmp_path)
    assert process.stderr is not None
    while " trial 0 " not in process.stderr.readline():
        assert process.poll() is None
    # PyTorch loads more of itself at the first step, and of two signals in between sees one.
    wait_until_it_has_worked_for(process, 2)
    process.send_signal(signal.SIGINT)
    wait_until_it_has_worked_for(process, 0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "finscale: stopped on request; everything finished is kept; go on with: "
        "finscale run run/study.yaml --out run"
    )
    # The epoch is not lost: the checkpoint is one of the step.
    assert len(list((tmp_path / "run").glob("experiments/*/checkpoints/*"))) == 1


def test_ctrl_c_before_anything_is_written(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python says what it has loaded: a Ctrl-C while it loads its own modules is not ours to answer.
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    process = begin("run", write_study(tmp_path), "--out", "a run", cwd=tmp_path)
    assert process.stderr is not None
    # Of torch there are seconds to come after its first part.
    while "torch." not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode in {130, -signal.SIGINT}
    assert not (tmp_path / "a run").exists()

"""Two workers on one run directory: a small matrix, left in peace and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import CommandLine

from finscale.files import read_json
from finscale.pipeline.status import run_status
from finscale.rundir import RunDirectory
from finscale.study_file import load_study
from run_checks import assert_exactly_the_planned_trials
from tiny import raw_records, write_study

# Under a minute each on an idle machine; many times that where others work on it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Trials of more than a second: a worker that comes late has to find some left.
LEFT_IN_PEACE: dict[str, Any] = {
    "search.n_trials": 6,
    "search.prune": False,
    "search.space.epochs": [60],
    "split": {"by": "fraction", "train_frac": 0.4, "validation_frac": 0.1},
    "training.patience": 100,
}
N_TRIALS = 3
# Shorter ones, and more: there have to be some left to interrupt, however fast the machine is.
MATRIX: dict[str, Any] = LEFT_IN_PEACE | {
    "search.space.epochs": [40],
    "ladder.budgets": ["1.5K", "2.5K", "3.5K", "5K"],
    "ladder.grid": {
        "d_model": [4, 6, 8, 10, 12],
        "n_layers": [1],
        "n_heads": [1, 2],
        "ff_ratio": [2, 4],
    },
    "horizons": [1, 3, 5],
    "search.n_trials": N_TRIALS,
}


@pytest.fixture(autouse=True)
def _one_thread_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class TwoWorkers:
    """``finscale run --workers 2``, again and again."""

    def __init__(self, root: Path, changes: dict[str, Any]) -> None:
        self.study = write_study(root, changes)
        self.directory = RunDirectory(root / "run")
        self._messages = root / "messages.txt"
        self.leader = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "finscale.cli.main", "run", self.study]
        command += ["--out", self.directory.root, "--workers", "2", "--plain"]
        with self._messages.open("ab") as messages:
            self.leader = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
            )
        return self.leader

    def said(self) -> str:
        return self._messages.read_text(encoding="utf-8")

    def n_trials(self) -> int:
        ledger = self.directory.ledger
        return sum(one["kind"] == "trial" for one in raw_records(ledger))

    def wait_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 400
        while not done():
            assert self.leader.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def wait_for_trials(self, n_trials: int) -> None:
        self.wait_until(lambda: self.n_trials() >= n_trials)

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.leader.pid).children()

    def close(self) -> None:
        """End the leader if the test did not; its workers miss it."""
        if self.leader.poll() is None:
            self.leader.kill()
            self.leader.wait()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], TwoWorkers]]:
    """Starts a run, and ends it if the test does not."""
    begun: list[TwoWorkers] = []

    def one(changes: dict[str, Any]) -> TwoWorkers:
        begun.append(TwoWorkers(tmp_path, changes))
        return begun[-1]

    yield one
    for run in begun:
        run.close()


def test_two_workers_share_a_run_and_do_everything_once(
    begin: Callable[[dict[str, Any]], TwoWorkers],
) -> None:
    run = begin(LEFT_IN_PEACE)
    assert run.leader.wait(timeout=2000) == 0, run.said()
    planned = assert_exactly_the_planned_trials(run.directory, n_experiments=2, n_trials=6)
    assert planned.n_attempts == 12
    # The extremes are enqueued, and no worker takes what another has.
    assert sum(bool(trial["forced"]) for trial in planned.trials) == 6
    assert len({trial["machine"]["worker"] for trial in planned.trials}) == 2


def test_a_matrix_interrupted_three_times_ends_with_exactly_the_planned_trials(
    begin: Callable[[dict[str, Any]], TwoWorkers], finscale: CommandLine
) -> None:
    run = begin(MATRIX)
    # Ctrl-C.
    run.wait_for_trials(4)
    run.leader.send_signal(signal.SIGINT)
    assert run.leader.wait(timeout=200) == 130, run.said()
    assert "go on with: finscale run" in run.said()
    # A worker is killed, and another takes its place; then the leader is.
    run.start()
    run.wait_for_trials(10)
    os.kill(run.workers()[0].pid, signal.SIGKILL)
    run.wait_until(lambda: "died (killed by SIGKILL); another is started" in run.said())
    run.wait_for_trials(12)
    orphans = run.workers()
    run.leader.kill()
    run.leader.wait()
    # Its workers miss it; whoever has not left yet does no harm to the next.
    run.start()
    run.wait_for_trials(20)
    # finscale stop.
    assert finscale("stop", run.directory.root).code == 0
    assert run.leader.wait(timeout=200) == 130, run.said()
    assert psutil.wait_procs(orphans, timeout=200)[1] == []
    kept = raw_records(run.directory.ledger)
    assert run.n_trials() < 12 * N_TRIALS
    # And to the end.
    assert run.start().wait(timeout=2000) == 0, run.said()
    planned = assert_exactly_the_planned_trials(run.directory, n_experiments=12, n_trials=N_TRIALS)
    records = raw_records(run.directory.ledger)
    assert records[: len(kept)] == kept
    # Two workers, each killed or stopped in at most one trial of theirs each time.
    assert planned.n_attempts <= 12 * N_TRIALS + 3 * 2 + 1
    kinds = [(one["experiment"], one["kind"]) for one in records if one["kind"] != "trial"]
    assert sum(kind == "final" for _, kind in kinds) == 36
    assert sum(kind == "ensemble" for _, kind in kinds) == 12
    status = run_status(load_study(run.directory.study), run.directory.root)
    assert status.is_finished
    assert [(one.state, one.n_trials_done) for one in status.experiments] == [
        ("done", N_TRIALS)
    ] * 12
    summary = read_json(run.directory.summary)
    assert (summary["n_experiments"], summary["n_complete"]) == (12, 12)
    assert summary["failures"] == {}

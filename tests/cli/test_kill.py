"""A real run of two workers, killed again and again at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from finscale.rundir import RunDirectory
from run_checks import assert_exactly_the_planned_trials
from tiny import write_study

N_KILLS = 25
N_TRIALS = 16
N_WORKERS = 2
# Long enough for a kill to fall into the middle of a trial more often than not.
CHANGES = {
    "search.n_trials": N_TRIALS,
    "search.prune": False,
    "search.space.epochs": [40],
    "split": {"by": "fraction", "train_frac": 0.7, "validation_frac": 0.1},
    "training.patience": 100,
    "machine.n_threads": 1,
}


def start(study: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "finscale.cli.main", "run", study, "--out", out]
    with (out.parent / "messages.txt").open("ab") as messages:
        return subprocess.Popen(
            [*map(str, command), "--workers", str(N_WORKERS), "--plain"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
        )


def kill_something(leader: subprocess.Popen[bytes], rng: random.Random) -> int:
    """Kill a worker, the leader, or all of them; return how many died."""
    workers = psutil.Process(leader.pid).children()
    what = rng.choice(["worker", "worker", "leader", "all"])
    victims = {
        "worker": rng.sample(workers, min(1, len(workers))),
        "leader": [psutil.Process(leader.pid)],
        "all": [psutil.Process(leader.pid), *workers],
    }[what]
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    return len(victims)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_killed_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    study, out = write_study(tmp_path, CHANGES), tmp_path / "run"
    rng = random.Random(7)  # noqa: S311 - moments, not secrets
    n_kills = n_deaths = 0
    leader = start(study, out)
    while n_kills < N_KILLS:
        time.sleep(rng.uniform(1.0, 8.0))
        if leader.poll() is not None:
            # All was done before enough was killed: the moments were too late.
            assert leader.returncode != 0, f"finished after {n_kills} kills"
            leader = start(study, out)
            continue
        n_deaths += kill_something(leader, rng)
        n_kills += 1
        if leader.poll() is None and rng.random() < 0.3:
            leader.kill()
            n_deaths += 1
    while leader.wait(timeout=600) != 0:
        said = (tmp_path / "messages.txt").read_text(encoding="utf-8")
        assert leader.returncode in {-signal.SIGKILL, 2}, said
        leader = start(study, out)

    planned = assert_exactly_the_planned_trials(
        RunDirectory(out), n_experiments=2, n_trials=N_TRIALS
    )
    # A death costs at most the one trial that its worker was at.
    n_planned = 2 * N_TRIALS
    assert n_planned <= planned.n_attempts <= n_planned + n_deaths + N_WORKERS * n_kills
    assert (out / "report.html").exists()

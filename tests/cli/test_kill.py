"""A real run of two workers, killed again and again at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from command_line import trial_lines

from finscale.rundir import RunDirectory
from finscale.search.slots import MAX_RETRIES, STOPPED, is_finished, slot_of, was_interrupted
from finscale.search.storage import open_storage
from run_checks import assert_exactly_the_planned_trials
from tiny import write_study

N_KILLS = 25
# Enough for some to be left at the last kill, however fast the machine is.
N_TRIALS = 24
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


def is_near_its_end(leader: subprocess.Popen[bytes], directory: RunDirectory) -> bool:
    """Return whether another death or two could have a trial given up.

    On a slow machine a trial takes longer than the time between kills.
    """
    if not psutil.Process(leader.pid).children():
        # There is no worker to be lost, and maybe no storage yet.
        return False
    with open_storage(directory.storage) as storage:
        searches = [
            storage.get_all_trials(search._study_id) for search in storage.get_all_studies()
        ]
    for trials in searches:
        done = {slot_of(one, trials) for one in trials if is_finished(one)}
        begun = Counter(
            slot_of(one, trials)
            for one in trials
            if was_interrupted(one) and not one.user_attrs.get(STOPPED, False)
        )
        # One that is under way counts: it may be lost as well.
        if any(n >= MAX_RETRIES for slot, n in begun.items() if slot not in done):
            return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_run_killed_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    study, out = write_study(tmp_path, CHANGES), tmp_path / "run"
    directory = RunDirectory(out)
    rng = random.Random(7)  # noqa: S311 - moments, not secrets
    n_kills = n_deaths = n_done = n_in_vain = 0
    leader = start(study, out)
    try:
        while n_kills < N_KILLS:
            time.sleep(rng.uniform(1.0, 8.0))
            if leader.poll() is not None:
                # All was done before enough was killed: the moments were too late.
                assert leader.returncode != 0, f"finished after {n_kills} kills"
                leader = start(study, out)
                continue
            n_done_before, n_done = n_done, len(trial_lines(directory.ledger.path))
            if n_done > n_done_before:
                n_in_vain = 0
            # Where loading takes longer than the time between kills, nothing would ever be begun.
            if n_in_vain >= 3 or is_near_its_end(leader, directory):
                continue
            n_deaths += kill_something(leader, rng)
            n_kills += 1
            n_in_vain += 1
            if leader.poll() is None and rng.random() < 0.3:
                leader.kill()
                n_deaths += 1
        while leader.wait(timeout=600) != 0:
            said = (tmp_path / "messages.txt").read_text(encoding="utf-8")
            assert leader.returncode in {-signal.SIGKILL, 2}, said
            leader = start(study, out)
    finally:
        leader.kill()
        leader.wait()

    planned = assert_exactly_the_planned_trials(directory, n_experiments=2, n_trials=N_TRIALS)
    # A death costs at most the one trial that its worker was at.
    n_planned = 2 * N_TRIALS
    assert n_planned <= planned.n_attempts <= n_planned + n_deaths + N_WORKERS * n_kills
    assert (out / "report.html").exists()

"""How trials end that are not brought to their end: by errors, requests, and older storages."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from finscale.progress import Progress, RunStart
from finscale.records import TrialRecord
from finscale.search import experiment_run, objective, worker
from finscale.search.experiment_run import ExperimentRun
from finscale.search.slots import RECORD, STOPPED
from finscale.search.storage import open_storage
from finscale.search.worker import Search, open_search
from tiny import tiny_run

CHANGES = {"search.n_trials": 3}


class Kept:
    """The records that a ledger would keep."""

    def __init__(self) -> None:
        self.by_uid: dict[str, TrialRecord] = {}

    def __call__(self, record: TrialRecord) -> None:
        self.by_uid.setdefault(record.uid, record)

    @property
    def slots(self) -> list[int]:
        return sorted(one.trial for one in self.by_uid.values())


def search(root: Path, run: ExperimentRun, kept: Kept, n_steps: int = 99) -> None:
    recorded = list(kept.by_uid.values())
    with open_storage(root / "search.db") as storage:
        one = Search(run, storage, root / ".claims", kept, recorded=recorded)
        for _ in range(n_steps):
            if one.step() == "done":
                return


def trials_in(root: Path, run: ExperimentRun) -> list[optuna.trial.FrozenTrial]:
    with open_storage(root / "search.db") as storage:
        return open_search(run, storage).get_trials()


def test_an_experiment_that_cannot_begin_takes_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = tiny_run(tmp_path, CHANGES), Kept()
    with monkeypatch.context() as patched:
        patched.setattr(worker, "Objective", lambda _: 1 / 0)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                search(tmp_path, run, kept)
    assert trials_in(tmp_path, run) == []
    search(tmp_path, run, kept)
    assert [(one.state, one.retries) for one in kept.by_uid.values()] == [("complete", 0)] * 3
    # Where nothing is left, nothing is made ready either.
    monkeypatch.setattr(worker, "Objective", lambda _: pytest.fail("made ready"))
    search(tmp_path, run, kept)


def test_an_error_of_training_is_no_lost_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = tiny_run(tmp_path, CHANGES), Kept()
    with monkeypatch.context() as patched:
        patched.setattr(experiment_run, "train", lambda *_, **__: 1 / 0)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                search(tmp_path, run, kept)
    trials = trials_in(tmp_path, run)
    assert [one.state for one in trials] == [TrialState.FAIL] * 5
    assert all(one.user_attrs[STOPPED] for one in trials)
    search(tmp_path, run, kept)
    assert [(one.state, one.retries) for one in kept.by_uid.values()] == [("complete", 0)] * 3


def interrupted_at_its_record(
    root: Path, run: ExperimentRun, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let Ctrl-C come as soon as the second trial's record is stored."""
    search(root, run, kept, n_steps=1)
    with monkeypatch.context() as patched:
        patched.setattr(objective, "discard", lambda _: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            search(root, run, kept)


def test_a_trial_interrupted_once_its_record_is_stored_ends_as_that_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = tiny_run(tmp_path, CHANGES), Kept()
    interrupted_at_its_record(tmp_path, run, kept, monkeypatch)
    last = trials_in(tmp_path, run)[-1]
    assert last.user_attrs[RECORD]["state"] == "complete"
    assert (last.state, last.value) == (
        TrialState.COMPLETE,
        last.user_attrs[RECORD]["validation_loss"],
    )
    search(tmp_path, run, kept)
    assert kept.slots == [0, 1, 2]
    assert len(trials_in(tmp_path, run)) == 3


def test_a_trial_that_was_closed_otherwise_than_its_record_says_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = tiny_run(tmp_path, CHANGES), Kept()

    def close(study: optuna.Study, trial: Any, **_: Any) -> None:
        study.tell(trial.number, state=TrialState.FAIL)

    with monkeypatch.context() as patched:
        patched.setattr(worker.leases, "close", close)
        interrupted_at_its_record(tmp_path, run, kept, monkeypatch)
    assert trials_in(tmp_path, run)[-1].state == TrialState.FAIL
    for _ in range(2):
        search(tmp_path, run, kept)
        trials = trials_in(tmp_path, run)
        complete = [one for one in trials if one.state == TrialState.COMPLETE]
        assert (
            sorted(one.user_attrs[RECORD]["trial"] for one in complete) == kept.slots == [0, 1, 2]
        )
        assert len(trials) == 4


class Copies(Progress):
    """Copies the storage when the second trial has begun."""

    def __init__(self, root: Path) -> None:
        self._root, self._n = root, 0

    def run_started(self, start: RunStart) -> None:
        self._n += 1
        if self._n == 2:
            with (
                sqlite3.connect(self._root / "search.db") as source,
                sqlite3.connect(self._root / "copy.db") as target,
            ):
                source.backup(target)
            source.close()
            target.close()


@pytest.mark.parametrize("waiting", [False, True])
def test_a_storage_put_back_from_an_older_copy_repeats_nothing_that_is_finished(
    tmp_path: Path, waiting: bool
) -> None:
    changes = CHANGES | {"search.n_trials": 5}
    run, kept = tiny_run(tmp_path, changes, progress=Copies(tmp_path)), Kept()
    search(tmp_path, run, kept, n_steps=3)
    for file in tmp_path.glob("search.db*"):
        file.unlink()
    (tmp_path / "copy.db").rename(tmp_path / "search.db")
    if waiting:  # as one that was enqueued, and not begun yet, when the copy was made
        with sqlite3.connect(tmp_path / "search.db") as storage:
            storage.execute("UPDATE trials SET state = 'WAITING' WHERE state = 'RUNNING'")
        storage.close()
    seeds = {one.seed for one in kept.by_uid.values()}
    assert len(seeds) == 3
    before = dict(kept.by_uid)
    search(tmp_path, tiny_run(tmp_path, changes), kept)
    assert kept.slots == list(range(5))
    assert {uid: kept.by_uid[uid] for uid in before} == before
    finished = [one for one in trials_in(tmp_path, run) if RECORD in one.user_attrs]
    assert sorted(one.user_attrs[RECORD]["trial"] for one in finished) == list(range(5))

"""Two workers that reach for one trial: whoever comes second goes on with the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from finscale.search import leases
from finscale.search.leases import WORKER, Silences, close_lost
from finscale.search.processes import this_worker
from finscale.search.slots import RECORD, STOPPED
from finscale.search.storage import Times, open_storage
from finscale.search.worker import Search
from tiny import tiny_run

# Optuna asks for Study.optimize where there are heartbeats.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

# No process has this name, so that its trials count as lost.
GONE = "gone"


def race(
    monkeypatch: pytest.MonkeyPatch, method: str, ends: TrialState, *, key: str | None = None
) -> list[int]:
    """Let another worker end each trial just before a write of this one; return which it ended."""
    write = getattr(RDBStorage, method)
    end = RDBStorage.set_trial_state_values
    ended: list[int] = []

    def late(self: RDBStorage, trial_id: int, *given: Any, **named: Any) -> Any:
        said = (*given, *named.values())
        is_meant = key in said if key else TrialState.RUNNING not in said
        if is_meant and not ended:
            end(self, trial_id, ends, [0.25] if ends == TrialState.COMPLETE else None)
            ended.append(trial_id)
        return write(self, trial_id, *given, **named)

    monkeypatch.setattr(RDBStorage, method, late)
    return ended


@pytest.mark.parametrize("record", [None, "complete", "pruned"])
def test_a_trial_that_its_worker_ends_while_it_is_closed_stays_as_that_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str | None
) -> None:
    monkeypatch.setattr(leases, "is_gone", lambda worker: worker == GONE)
    with open_storage(tmp_path / "search.db") as storage:
        study = optuna.create_study(study_name="one", storage=storage)
        for _ in range(2):
            trial = study.ask()
            trial.set_user_attr(WORKER, GONE)
            if record:
                trial.set_user_attr(RECORD, {"state": record, "validation_loss": 0.5})
        ended = race(monkeypatch, "set_trial_state_values", TrialState.COMPLETE)
        close_lost(study, storage, "us", Silences())
        first, second = study.get_trials()
    assert len(ended) == 1
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.25)
    # The one that nobody else ended is closed all the same.
    expected = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    assert second.state == expected.get(record or "", TrialState.FAIL)


def test_a_trial_of_our_own_that_another_ends_while_it_is_closed_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "is_gone", lambda _: False)
    with open_storage(tmp_path / "search.db") as storage:
        study = optuna.create_study(study_name="one", storage=storage)
        study.ask().set_user_attr(WORKER, "us")
        ended = race(monkeypatch, "set_trial_user_attr", TrialState.FAIL, key=STOPPED)
        close_lost(study, storage, "us", Silences())
        (trial,) = study.get_trials()
    assert len(ended) == 1
    assert trial.state == TrialState.FAIL
    assert STOPPED not in trial.user_attrs


def test_a_trial_taken_away_before_it_had_a_worker_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"search.n_trials": 2, "search.space.epochs": [2, 3]}
    run = tiny_run(tmp_path, changes)
    records: dict[str, Any] = {}
    ended = race(monkeypatch, "set_trial_user_attr", TrialState.FAIL, key=WORKER)
    with open_storage(tmp_path / "search.db") as storage:
        search = Search(
            run, storage, tmp_path / ".claims", lambda one: records.setdefault(one.uid, one)
        )
        steps = [search.step() for _ in range(4)]
    assert len(ended) == 1
    assert steps == ["busy", "trial", "trial", "done"]
    assert sorted(record.trial for record in records.values()) == [0, 1]


def test_the_storage_does_refuse_what_comes_too_late(tmp_path: Path) -> None:
    # What the tests above play: the error is real.
    with open_storage(tmp_path / "search.db") as storage:
        study = optuna.create_study(study_name="one", storage=storage)
        trial = study.ask()
        study.tell(trial, 0.5)
        with pytest.raises(UpdateFinishedTrialError):
            trial.set_user_attr(WORKER, "us")


@pytest.mark.parametrize(
    ("worker", "wakes", "states"),
    [
        # On this machine: there, and silent for a while by the time of day.
        (this_worker(), True, [TrialState.RUNNING, TrialState.RUNNING, TrialState.RUNNING]),
        (this_worker(), False, [TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL]),
        # Elsewhere its silence is all there is to see.
        ("elsewhere:1:0", False, [TrialState.FAIL] * 3),
    ],
    ids=["wakes", "frozen", "elsewhere"],
)
def test_a_worker_that_is_there_is_frozen_once_its_silence_lasts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker: str,
    wakes: bool,
    states: list[TrialState],
) -> None:
    clock_s = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock_s[0])
    silent: list[int] = []
    monkeypatch.setattr(RDBStorage, "_get_stale_trial_ids", lambda *_: list(silent))
    with open_storage(tmp_path / "search.db", times=Times(heartbeat_s=30)) as storage:
        study = optuna.create_study(study_name="one", storage=storage)
        trial = study.ask()
        trial.set_user_attr(WORKER, worker)
        silences, found = Silences(), []
        for passed_s in (0.0, 31.0, 30.0):
            clock_s[0] += passed_s
            silent[:] = [] if wakes and passed_s == 31.0 else [trial._trial_id]
            close_lost(study, storage, "us", silences)
            found.append(study.get_trials()[0].state)
    assert found == states

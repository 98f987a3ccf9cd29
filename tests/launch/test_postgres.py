"""Workers on several machines, played by processes, with a real PostgreSQL between them."""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import SQLAlchemyError

from elsewhere import loaded, start_elsewhere
from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.files import read_json
from finscale.rundir import RunDirectory
from finscale.search import leases
from finscale.search.leases import claiming
from finscale.search.redaction import redacted
from finscale.search.storage import Times, open_storage
from postgres_server import Server, any_server, database, own_server
from run_checks import assert_exactly_the_planned_trials
from tiny import raw_records, run_tiny, tiny_study

N_TRIALS = 5
# One experiment of a few extremes and a drawn trial, some seconds each: long enough for a machine
# to be seen at one and lost in it.
CHANGES: dict[str, Any] = {
    "ladder.budgets": ["2.5K"],
    "search.n_trials": N_TRIALS,
    "search.prune": False,
    "search.space.epochs": [60],
    "split": {"by": "fraction", "train_frac": 0.5, "validation_frac": 0.1},
    "training.patience": 100,
}


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with any_server() as url:
        yield url


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    with database(server_url) as one:
        yield one


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that may be stopped: never the one that the environment names."""
    with own_server() as server:
        yield server


class Shared:
    """A run directory that machines share, and the workers on them."""

    def __init__(self, root: Path, url: str, changes: dict[str, Any] | None = None) -> None:
        self.directory = RunDirectory(root / "run")
        self.url = url
        self.changes = CHANGES | {"storage": url} | (changes or {})
        self.started: list[subprocess.Popen[bytes]] = []
        self._logs, self._gate = root, root / "go"
        self._hosts: list[str] = []
        # What a leader writes before it starts workers.
        run_tiny(self.directory.root, self.changes, stages=("fit",))
        self.directory.study.write_text(tiny_study(self.changes).to_yaml(), encoding="utf-8")

    def start(self, host: str, **options: Any) -> subprocess.Popen[bytes]:
        arguments = ("worker", self.directory.root, "--stage", "search", "--threads", "1")
        self.started.append(
            start_elsewhere(host, *arguments, log=self.log(host), gate=self._gate, **options)
        )
        self._hosts.append(host)
        return self.started[-1]

    def go(self) -> None:
        """Let the workers begin, all at the same moment."""
        wait_until(lambda: all(loaded(self._gate, host).exists() for host in self._hosts))
        self._gate.touch()

    def log(self, host: str) -> Path:
        return self._logs / f"{host}.txt"

    def said(self, host: str) -> str:
        return self.log(host).read_text(encoding="utf-8")

    def is_training(self, host: str) -> bool:
        """Whether a machine is in a trial, as far as it has said."""
        states = [read_json(file) for file in self.directory.workers.glob(f"{host}_*.json")]
        return any(state.get("label") for state in states)

    def trials(self) -> list[dict[str, Any]]:
        return [one for one in raw_records(self.directory.ledger) if one["kind"] == "trial"]

    def assert_complete(self) -> list[dict[str, Any]]:
        """Check that everything planned is there once, and the same wherever it is written."""
        planned = assert_exactly_the_planned_trials(
            self.directory, n_experiments=1, n_trials=N_TRIALS, storage=self.url
        )
        assert any(one["forced"] for one in planned.trials)
        return planned.trials

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def shared(tmp_path: Path, url: str) -> Iterator[Shared]:
    one = Shared(tmp_path, url)
    yield one
    one.close()


def wait_until(done: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def wait_for_end(process: subprocess.Popen[bytes], said: Callable[[], str], code: int = 0) -> None:
    assert process.wait(timeout=300) == code, said()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_that_is_lost_is_missed_and_its_trial_taken_up(shared: Shared) -> None:
    hosts = ("alpha", "beta")
    alpha, beta = map(shared.start, hosts)
    shared.go()
    wait_until(lambda: all(map(shared.is_training, hosts)))
    alpha.send_signal(signal.SIGKILL)
    wait_for_end(beta, lambda: shared.said("beta"))
    assert alpha.wait() == -signal.SIGKILL
    trials = shared.assert_complete()
    [repeated] = [one for one in trials if one["retries"]]
    assert repeated["retries"] == 1
    assert repeated["machine"]["worker"].startswith("beta:")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_that_wakes_late_changes_nothing_of_its_successors(shared: Shared) -> None:
    alpha = shared.start("alpha")
    shared.go()
    wait_until(lambda: shared.is_training("alpha"))
    alpha.send_signal(signal.SIGSTOP)
    asleep = shared.trials()
    beta = shared.start("beta")
    wait_for_end(beta, lambda: shared.said("beta"))
    trials = shared.assert_complete()
    assert len(asleep) < N_TRIALS
    [repeated] = [one for one in trials if one["retries"]]
    assert repeated["machine"]["worker"].startswith("beta:")
    files = shared.directory.root.rglob("*.json*")
    before = {file: file.read_bytes() for file in files if "workers" not in file.parts}
    alpha.send_signal(signal.SIGCONT)
    wait_for_end(alpha, lambda: shared.said("alpha"))
    assert "given to another worker meanwhile; this one's result is thrown away" in shared.said(
        "alpha"
    )
    assert {file: file.read_bytes() for file in before} == before
    assert shared.assert_complete() == trials


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_that_goes_away_is_waited_for_and_then_given_up(
    tmp_path: Path, own: Server
) -> None:
    with database(own.url) as url:
        shared = Shared(tmp_path, url)
        try:
            # Cut off for a moment: the worker waits, and loses nothing.
            alpha = shared.start("alpha")
            shared.go()
            wait_until(lambda: shared.is_training("alpha") and bool(shared.trials()))
            own.stop()
            time.sleep(2)
            n_finished = len(shared.trials())
            own.start()
            wait_until(lambda: len(shared.trials()) > n_finished)
            assert alpha.poll() is None, shared.said("alpha")
            alpha.kill()
            alpha.wait()
            # Gone for good: one line, exit code 2, and everything finished is kept.
            beta = shared.start("beta", patience_s=0.5)
            wait_until(lambda: shared.is_training("beta"))
            own.stop()
            wait_for_end(beta, lambda: shared.said("beta"), code=2)
            said = shared.said("beta")
            assert "Traceback" not in said
            last = said.splitlines()[-1]
            assert last.startswith(f"finscale: {redacted(url)}: the search storage cannot be used")
            assert last.endswith("see that its server runs, and run again to go on")
            kept = shared.trials()
            assert n_finished < len(kept)
            own.start()
            wait_for_end(shared.start("gamma"), lambda: shared.said("gamma"))
            assert shared.assert_complete()[: len(kept)] == kept
        finally:
            shared.close()


def test_all_who_find_an_empty_database_may_make_its_tables(url: str) -> None:
    ready = threading.Barrier(6)

    def open_it() -> list[str]:
        ready.wait()
        with open_storage(url) as storage:
            return optuna.get_all_study_names(storage)

    with ThreadPoolExecutor(6) as pool:
        opened = [pool.submit(open_it) for _ in range(6)]
        assert [one.result() for one in opened] == [[]] * 6


def test_a_claim_that_is_held_too_long_is_taken_away(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "CLAIM_LIMIT_S", 0.3)
    with open_storage(url) as frozen, open_storage(url) as other:
        # Frozen while it holds the claim; the server frees the others from waiting.
        with (
            pytest.raises(SQLAlchemyError),
            claiming(frozen, tmp_path / "lock", "one"),
            claiming(other, tmp_path / "lock", "one"),
        ):
            pass
        # Claims of other searches are not waited for. This one is not to be taken away.
        monkeypatch.setattr(leases, "CLAIM_LIMIT_S", 60.0)
        with claiming(frozen, tmp_path / "lock", "one"), claiming(other, tmp_path, "two"):
            pass


def test_a_server_that_is_not_there_is_one_line_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="finscale[postgres] is not installed")
    place = f"postgresql+psycopg://me:secret@/runs?host={tmp_path}"
    with pytest.raises(RunDirectoryError) as refusal, open_storage(place):
        pytest.fail("opened")
    assert "secret" not in str(refusal.value)
    assert str(refusal.value).endswith(
        "cannot be opened as a search storage (OperationalError); check the URL and the server"
    )


def test_who_waits_for_a_server_can_be_stopped(own: Server) -> None:
    asked = itertools.count()
    times = Times(heartbeat_s=1, grace_s=4, patience_s=600)
    with open_storage(own.url, times=times, should_stop=lambda: next(asked) >= 1) as storage:
        own.stop()
        with pytest.raises(StopRequestedError):
            optuna.get_all_study_names(storage)
    assert next(asked) == 2

"""Who runs a trial, and whether they are still there.

A worker takes a trial while it holds the search's claim lock, and says in the storage that it is
alive for as long as it trains. A trial whose worker is gone is closed, by whoever looks next: at
once if the worker ran on the same machine, after a grace period otherwise. A worker that wakes up
after its trial was given to another finds that the storage takes nothing more from it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import text

from finscale.files import waiting_lock
from finscale.search.processes import is_gone
from finscale.search.slots import RECORD

WORKER = "worker"

log = logging.getLogger(__name__)


@contextlib.contextmanager
def claiming(storage: RDBStorage, lock: Path, name: str) -> Iterator[None]:
    """Hold the right to hand out the trials of one search; wait for it.

    Parameters
    ----------
    lock
        The lock file, for a storage on this machine.
    name
        Of the search, for a server: there the lock is the server's.
    """
    if storage.engine.dialect.name != "postgresql":
        with waiting_lock(lock):
            yield
        return
    with storage.engine.connect() as connection:
        # Freed by the server when the transaction ends, also if we do not live to end it.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})
        yield


def close_lost(study: optuna.Study, storage: RDBStorage) -> None:
    """Close the running trials whose workers are gone; the caller holds the claim lock.

    One that had stored its record is closed as that says, the others as failed.
    """
    silent = set(storage._get_stale_trial_ids(study._study_id))  # noqa: SLF001 - see take
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        # Without a name its worker died while it held the claim lock.
        if worker is None or is_gone(worker) or trial._trial_id in silent:  # noqa: SLF001
            record = trial.user_attrs.get(RECORD, {})
            if record.get("state") == "complete":
                study.tell(trial.number, record["validation_loss"], skip_if_finished=True)
            else:
                pruned = record.get("state") == "pruned"
                state = TrialState.PRUNED if pruned else TrialState.FAIL
                study.tell(trial.number, state=state, skip_if_finished=True)


def take(trial: optuna.Trial, storage: RDBStorage, worker: str) -> None:
    """Write down who runs a trial; the caller holds the claim lock.

    Optuna sends heartbeats only from ``Study.optimize``, which cannot hand out trials under a lock;
    the storage's own methods for them are used here instead.
    """
    trial.set_user_attr(WORKER, worker)
    storage.record_heartbeat(trial._trial_id)  # noqa: SLF001


@contextlib.contextmanager
def alive(trial: optuna.Trial, storage: RDBStorage) -> Iterator[None]:
    """Say at every heartbeat inside of the block that the trial's worker is alive."""
    done = threading.Event()
    every_s = storage.get_heartbeat_interval() or 60

    def beat() -> None:
        while not done.wait(every_s):
            try:
                storage.record_heartbeat(trial._trial_id)  # noqa: SLF001
            except Exception:
                # A server that is away for a moment must not end the training.
                log.exception("trial %d: no heartbeat could be written", trial.number)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

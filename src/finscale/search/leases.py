"""Who runs a trial, and whether they are still there.

A worker takes a trial while it holds the search's claim lock, and says in the storage that it is
alive for as long as it trains. A trial whose worker is gone is closed, by whoever looks next: at
once if the worker ran on the same machine, after a grace period otherwise. One that is there and
silent is frozen, or the clock was set forward: see :class:`Silences`. A worker that wakes up after
its trial was given to another finds that the storage takes nothing more from it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from finscale.files import waiting_lock
from finscale.search.processes import is_gone, is_here
from finscale.search.slots import RECORD, STOPPED
from finscale.search.storage import at_once

WORKER = "worker"
# A worker that is frozen, or whose machine is lost, while it holds a server's claim lock must not
# keep all others waiting; handing out a trial takes a fraction of a second.
CLAIM_LIMIT_S = 60.0

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
    with storage.engine.connect() as connection, at_once():
        limit_ms = str(int(CLAIM_LIMIT_S * 1000))
        connection.execute(
            text("SELECT set_config('idle_in_transaction_session_timeout', :limit, true)"),
            {"limit": limit_ms},
        )
        # Freed by the server when the transaction ends, also if we do not live to end it.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})
        yield
        # Fails if the lock was lost meanwhile: what was handed out is then given up.
        connection.execute(text("SELECT 1"))


class Silences:
    """Since when trials have been silent, as one worker sees it.

    The storage reckons a silence by the time of day, so that a clock that is set forward makes all
    workers silent until their next heartbeats. The process of a worker on this machine is known to
    be there; its silence counts once it has outlasted two heartbeats by a clock that nobody sets.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def lasting(self, silent: set[int], limit_s: float) -> set[int]:
        """Return those of the trials that are silent now that have been so for longer than that."""
        now = time.monotonic()
        self._since = {trial: self._since.get(trial, now) for trial in silent}
        return {trial for trial, since in self._since.items() if now - since > limit_s}


def close_lost(study: optuna.Study, storage: RDBStorage, own: str, silences: Silences) -> None:
    """Close the running trials whose workers are gone; the caller holds the claim lock.

    One that had stored its record is closed as that says, the others as failed. One that another
    worker closes meanwhile stays as that one left it.

    Parameters
    ----------
    own
        The name of the worker that asks. A trial that runs under it was cut off when the storage
        was; it is repeated, and its worker was not lost.
    silences
        What the same worker has seen before.
    """
    silent = set(storage._get_stale_trial_ids(study._study_id))  # noqa: SLF001 - see take
    lasting = silences.lasting(silent, 2 * (storage.get_heartbeat_interval() or 60))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        cut_off = worker == own and not is_gone(own)
        # Without a name its worker died while it held the claim lock.
        gone = worker is None or is_gone(worker)
        frozen = trial._trial_id in (lasting if worker and is_here(worker) else silent)  # noqa: SLF001 - see take
        if cut_off or gone or frozen:
            # Its own worker, which needs no claim for that, may end it between our look and this.
            with contextlib.suppress(UpdateFinishedTrialError):
                close(study, trial, cut_off=cut_off)


def close(study: optuna.Study, trial: FrozenTrial, *, cut_off: bool) -> None:
    """Close a trial as its record says, as failed without one.

    Parameters
    ----------
    cut_off
        Whether its worker was not lost, and only left it.
    """
    if cut_off:
        study._storage.set_trial_user_attr(trial._trial_id, STOPPED, value=True)  # noqa: SLF001 - as in `take`
    record = trial.user_attrs.get(RECORD, {})
    if record.get("state") == "complete":
        study.tell(trial.number, record["validation_loss"], skip_if_finished=True)
    else:
        pruned = record.get("state") == "pruned"
        state = TrialState.PRUNED if pruned else TrialState.FAIL
        study.tell(trial.number, state=state, skip_if_finished=True)


def take(trial: optuna.Trial, storage: RDBStorage, worker: str) -> bool:
    """Write down who runs a trial; the caller holds the claim lock.

    Optuna sends heartbeats only from ``Study.optimize``, which cannot hand out trials under a lock;
    the storage's own methods for them are used here instead.

    Returns
    -------
    bool
        False if the trial is closed already: the server had taken the claim lock away, and who
        held it next found a trial without a worker.
    """
    try:
        trial.set_user_attr(WORKER, worker)
    except UpdateFinishedTrialError:
        return False
    storage.record_heartbeat(trial._trial_id)  # noqa: SLF001
    return True


@contextlib.contextmanager
def alive(trial: optuna.Trial, storage: RDBStorage) -> Iterator[None]:
    """Say at every heartbeat inside of the block that the trial's worker is alive."""
    done = threading.Event()
    every_s = storage.get_heartbeat_interval() or 60

    def beat() -> None:
        while not done.wait(every_s):
            try:
                storage.record_heartbeat(trial._trial_id)  # noqa: SLF001
            except Exception as error:  # noqa: BLE001
                # A server that is away for a moment must not end the training.
                log.warning(
                    "trial %d: no heartbeat could be written (%s)",
                    trial.number,
                    type(error).__name__,
                )

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

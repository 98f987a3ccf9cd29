"""What a worker says of itself while it works, for whoever watches the run."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import time
from pathlib import Path
from typing import Any

from finscale.errors import RunDirectoryError
from finscale.files import read_json, utc_now, write_json_atomic
from finscale.progress import Progress, RunStart
from finscale.records import CurvePoint, Record
from finscale.search.processes import is_gone

# Often enough to watch, seldom enough to cost nothing.
_EVERY_S = 2.0
# A worker of another machine that has said nothing for so long is taken to be gone: no epoch lasts
# as long, and it says something after each.
_SILENT_S = 24 * 3600.0


class WorkerStatus(Progress):
    """Keeps a small JSON file up to date with what its worker is training.

    As a context manager it says at the end that the worker has left.
    """

    def __init__(self, directory: Path, worker: str) -> None:
        self._path = directory / f"{worker.replace(':', '_')}.json"
        self._state: dict[str, Any] = {"worker": worker, "started_at": utc_now(), "left_at": None}
        self._written = 0.0

    def __enter__(self) -> WorkerStatus:
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self._state |= {"label": None, "left_at": utc_now()}
        self._write()

    def baseline_started(self, cell: str, model: str) -> None:
        """Say which baseline is fitted now."""
        self._state |= {
            "experiment": cell,
            "label": f"baseline {model}",
            "run_started_at": utc_now(),
            **dict.fromkeys(("detail", "epochs", "epoch", "validation_loss")),
        }
        self._write()

    def run_started(self, start: RunStart) -> None:
        """Say what is trained now."""
        self._state |= {
            "experiment": start.experiment,
            "label": start.label,
            "detail": start.detail,
            "run_started_at": utc_now(),
            "epochs": start.epochs,
            "epoch": 0,
            "validation_loss": None,
        }
        self._write()

    def epoch_finished(self, point: CurvePoint) -> None:
        """Say how far it is."""
        self._state |= {"epoch": point.epoch, "validation_loss": point.validation_loss}
        if time.monotonic() - self._written > _EVERY_S:
            self._write()

    def run_finished(self, _record: Record) -> None:
        """Say that it is between two runs."""
        self._state |= {"label": None}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        # It only informs: a full disk is noticed where something would be lost.
        with contextlib.suppress(OSError):
            write_json_atomic(self._path, self._state | {"at": utc_now()})


_FIELDS = ("experiment", "label", "detail", "run_started_at", "epoch", "epochs", "validation_loss")


def read_worker_status(directory: Path) -> list[dict[str, Any]]:
    """Return what every worker said last, the one that started first at first.

    Added are its ``host`` and ``pid``, and ``alive``: false if it has left or its process is gone,
    None if it runs on another machine, where that cannot be known, and was heard of within a day.
    A file that is damaged is passed over.
    """
    states = []
    for path in directory.glob("*.json"):
        with contextlib.suppress(
            RunDirectoryError, AttributeError, KeyError, TypeError, ValueError
        ):
            said = read_json(path)
            host, pid, _ = said["worker"].rsplit(":", 2)
            dt.datetime.fromisoformat(said["started_at"])
            state = dict.fromkeys((*_FIELDS, "left_at")) | said
            states.append(state | {"host": host, "pid": int(pid), "alive": _is_alive(state, host)})
    return sorted(states, key=lambda one: (one["started_at"], one["worker"]))


def _is_alive(state: dict[str, Any], host: str) -> bool | None:
    if state["left_at"] is not None or is_gone(state["worker"]):
        return False
    if host == socket.gethostname():
        return True
    silent = dt.datetime.now(tz=dt.UTC) - dt.datetime.fromisoformat(state["at"])
    return None if silent.total_seconds() < _SILENT_S else False

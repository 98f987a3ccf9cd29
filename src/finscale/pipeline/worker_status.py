"""What a worker says of itself while it works, for whoever watches the run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from finscale.files import read_json, utc_now, write_json_atomic
from finscale.progress import Progress, RunStart
from finscale.records import CurvePoint, Record
from finscale.search.leases import is_gone

# Often enough to watch, seldom enough to cost nothing.
_EVERY_S = 2.0


class WorkerStatus(Progress):
    """Keeps a small JSON file up to date with what its worker is training."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._path = directory / f"{worker.replace(':', '_')}.json"
        self._state: dict[str, Any] = {"worker": worker, "started_at": utc_now()}
        self._written = 0.0

    def run_started(self, start: RunStart) -> None:
        """Say what is trained now."""
        self._state |= {
            "experiment": start.experiment,
            "label": start.label,
            "detail": start.detail,
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


def read_worker_status(directory: Path) -> list[dict[str, Any]]:
    """Return what every worker said last, with ``alive`` (None: on another machine)."""
    states = []
    for path in sorted(directory.glob("*.json")):
        state = read_json(path)
        states.append(state | {"alive": not is_gone(state["worker"])})
    return states

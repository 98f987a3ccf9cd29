"""The last reading in the machine logs of a run; needs no torch, as reading them all would."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# More than any two lines of a log.
_TAIL_BYTES = 4096
_TEXTS = {"time", "gpu_name"}


def last_reading(logs: Iterable[Path]) -> dict[str, Any] | None:
    """Return the newest reading of all logs, as `finscale.machine.sensors.Reading` names it.

    Added is ``log``, the name of its file. A log that cannot be read, and a line that is torn, are
    passed over; None if nothing is left.
    """
    readings = []
    for path in logs:
        with contextlib.suppress(OSError):
            found = _last_line(path)
            if found is not None:
                readings.append(found | {"log": path.name})
    return max(readings, key=lambda one: str(one["time"]), default=None)


def _last_line(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as stream:
        columns = stream.readline().decode(errors="replace").strip().split(",")
        start = stream.tell()
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(start, size - _TAIL_BYTES))
        tail = stream.read().decode(errors="replace")
    for line in reversed(tail.split("\n")[:-1]):
        with contextlib.suppress(ValueError):
            [values] = csv.reader([line])
            return _parse(dict(zip(columns, values, strict=True)))
    return None


def _parse(row: dict[str, str]) -> dict[str, Any]:
    return {
        name: None if not text else text if name in _TEXTS else float(text)
        for name, text in row.items()
    }

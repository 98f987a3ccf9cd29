"""A thread that looks at the machine while a run goes on, logs it, and says when it idles."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from finscale.files import append_line
from finscale.machine.idle import IdleRule, Workload, explain_idle, last_readings
from finscale.machine.sensors import Reading
from finscale.machine.usage import Meter, Usage

# How long somebody who wants a fresh reading waits for it; a sensor that hangs holds up nobody.
_PATIENCE_S = 1.0
# After so many missed readings the last one says nothing of the machine any more.
_MISSED_READINGS = 6

log = logging.getLogger(__name__)


class ReadsMachine(Protocol):
    """What a sampler looks through; :class:`finscale.machine.sensors.Sensors` is one."""

    def read(self) -> Reading:
        """Return a reading, relative to the one before."""


class Sampler:
    """Looks at the machine every few seconds in a thread of its own, while the block runs.

    Nothing that goes wrong here reaches the run: an exception is logged once, and whoever asks
    gets what is known.

    Parameters
    ----------
    sensors
        Read in the sampler's thread only.
    path
        Readings are appended to it as CSV, a header first; None keeps no log.
    every_s
        Time between readings.
    warn
        Takes the line that says why the machine idles, once per cause, from the sampler's thread.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        sensors: ReadsMachine,
        path: Path | None,
        every_s: float = 10.0,
        *,
        warn: Callable[[str], None] = log.warning,
        idle_rule: IdleRule | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensors, self._path, self._every_s = sensors, path, every_s
        self._warn, self._rule, self._clock = warn, idle_rule or IdleRule(), clock
        self._thread = threading.Thread(target=self._run, name="finscale-sampler", daemon=True)
        self._wake, self._fresh, self._stopping = (threading.Event() for _ in range(3))
        self._lock = threading.Lock()
        self._meter = Meter()
        self._latest: tuple[float, Reading] | None = None
        self._workload: Workload | None = None
        self._while_training: list[Reading] = []
        self._warned: set[str] = set()
        self._failed = False

    def __enter__(self) -> Sampler:
        self._thread.start()
        self._fresh.wait(_PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(_PATIENCE_S)

    @property
    def latest(self) -> Reading | None:
        """The last reading; None before the first, or if it is too old to say anything."""
        if self._latest is None:
            return None
        at_s, reading = self._latest
        return reading if self._clock() - at_s <= _MISSED_READINGS * self._every_s else None

    def temperature_c(self) -> float | None:
        """Return the highest temperature of the last reading, without asking a sensor."""
        reading = self.latest
        return reading.hottest_c if reading is not None else None

    def window(self) -> Usage:
        """Return what was used since the last call, up to a reading taken now."""
        self._refresh()
        with self._lock:
            meter, self._meter = self._meter, Meter()
        return meter.usage()

    @contextlib.contextmanager
    def training(self, workload: Workload) -> Iterator[None]:
        """Hold the machine to being busy inside the block."""
        yield from self._with_workload(workload)

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Take no idleness amiss inside the block, as in a pause for heat."""
        yield from self._with_workload(None)

    def _with_workload(self, workload: Workload | None) -> Iterator[None]:
        # With a reading at each change, no interval is half of the one and half of the other.
        before = self._workload
        self._refresh()
        self._workload = workload
        try:
            yield
        finally:
            self._refresh()
            self._workload = before

    def _refresh(self) -> None:
        if self._thread.is_alive():
            self._fresh.clear()
            self._wake.set()
            self._fresh.wait(_PATIENCE_S)

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            try:
                self._sample()
            except Exception:  # whatever it is, the run is worth more than its log
                if not self._failed:
                    log.exception("the log of the machine is not complete; the run goes on")
                self._failed = True
            self._fresh.set()
            if last:
                return
            self._wake.wait(self._every_s)
            self._wake.clear()

    def _sample(self) -> None:
        reading = self._sensors.read()
        self._latest = (self._clock(), reading)
        with self._lock:
            self._meter.add(reading)
        self._look_for_idleness(reading)
        if self._path is not None:
            append_line(self._path, _csv(_values(reading)), header=_csv(_COLUMNS))

    def _look_for_idleness(self, reading: Reading) -> None:
        workload = self._workload
        if workload is None:
            return
        self._while_training.append(reading)
        kept = last_readings(self._while_training, self._rule.over_s)
        if not kept:
            return
        self._while_training = kept
        idleness = explain_idle(kept, workload, self._rule)
        if idleness is not None and idleness.cause not in self._warned:
            self._warned.add(idleness.cause)
            self._warn(idleness.text)


_COLUMNS = tuple(field.name for field in dataclasses.fields(Reading))
_TEXTS = {"time", "gpu_name"}


def read_log(path: Path) -> list[Reading]:
    """Read a sampler's log; lines that were torn by a crash are passed over.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    readings = []
    for values in csv.reader(path.read_text(encoding="utf-8").splitlines()):
        # Neither a header nor a torn line has numbers where they belong.
        with contextlib.suppress(ValueError):
            readings.append(_parse(dict(zip(_COLUMNS, values, strict=True))))
    return readings


def _parse(row: dict[str, str]) -> Reading:
    values: dict[str, Any] = {
        name: text if name in _TEXTS else float(text) for name, text in row.items() if text
    }
    return Reading(**values)


def _values(reading: Reading) -> list[str]:
    values = (getattr(reading, name) for name in _COLUMNS)
    return [
        "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        for value in values
    ]


def _csv(values: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()

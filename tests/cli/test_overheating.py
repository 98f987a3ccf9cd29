"""A machine that gets too hot, played by a sensor: the run pauses, stops, and goes on later."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import CommandLine

from finscale.machine.heat import HeatGuard
from finscale.machine.sensors import Reading, open_sensors
from finscale.rundir import RunDirectory
from tiny import outcome_of, raw_records, write_study

# Short enough that heat is confirmed within the pause's first second.
FAST = {"machine": {"device": "cpu", "n_threads": 1, "sample_every_s": 0.1}}


class HotSensors:
    """The sensors of this machine, but for its temperature."""

    missing = ()

    def __init__(self, device: object, temperature_c: Callable[[], float]) -> None:
        self._own, self._temperature_c = open_sensors(device), temperature_c

    def read(self) -> Reading:
        return replace(self._own.read(), cpu_temperature_c=self._temperature_c())


@pytest.fixture
def heat(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The temperature that the sensors show; a test may change it."""
    shown = {"celsius": 60.0}
    # However late the next reading is, the last one holds.
    monkeypatch.setattr("finscale.machine.sampler._MISSED_READINGS", 10_000)
    monkeypatch.setattr(
        "finscale.pipeline.monitor.open_sensors",
        lambda device: HotSensors(device, lambda: shown["celsius"]),
    )
    return shown


def test_a_run_stopped_for_heat_says_so_and_goes_on_when_it_is_cool(
    finscale: CommandLine, heat: dict[str, float], tmp_path: Path, finished: RunDirectory
) -> None:
    study = write_study(tmp_path, FAST)
    heat["celsius"] = 96.5
    stopped = finscale("run", study, "--out", "run")
    assert stopped.code == 4
    *lines, last = stopped.err.splitlines()
    assert sum("paused at" in line for line in lines) == 1
    assert any(line.endswith("paused at 96 °C, until it is 75 °C") for line in lines)
    said, _, command = last.rpartition(": ")
    assert said == (
        "finscale: stopped at 96 °C, too hot to go on (from 95 °C on); let the machine cool and "
        "see to its fans; everything finished is kept; go on with"
    )
    heat["celsius"] = 60.0
    assert finscale(*shlex.split(command)[1:]).code == 0

    def trials(directory: RunDirectory) -> list[object]:
        records = raw_records(directory.ledger)
        return [outcome_of(one) for one in records if one["kind"] == "trial"]

    # The very trials of a run that was never hot.
    assert trials(RunDirectory(tmp_path / "run")) == trials(finished)


def test_a_pause_is_one_line_and_harms_nothing(
    finscale: CommandLine, heat: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temperatures = iter([60.0, 88.0])
    monkeypatch.setattr(
        "finscale.pipeline.monitor.HeatGuard",
        _guard_that_reads(lambda: next(temperatures, 60.0)),
    )
    done = finscale("run", write_study(tmp_path, FAST), "--out", "run")
    assert done.code == 0
    about = [line[9:] for line in done.err.splitlines() if "paused" in line or "resumed" in line]
    paused, resumed = about
    assert paused == "paused at 88 °C, until it is 75 °C"
    assert re.fullmatch(r"resumed at 60 °C, after \d+s", resumed)


def _guard_that_reads(read: Callable[[], float]) -> Callable[..., object]:

    def make(_read: object, *arguments: object, **options: object) -> object:
        return HeatGuard(read, *arguments, **options)

    return make

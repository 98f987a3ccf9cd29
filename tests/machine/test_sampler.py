from __future__ import annotations

import csv
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from finscale.machine.idle import IdleRule, Workload
from finscale.machine.sampler import Sampler, read_log
from finscale.machine.sensors import Reading
from finscale.machine.usage import Usage

SMALL = Workload(
    device="cpu",
    n_threads=1,
    n_cores=8,
    d_model=64,
    n_layers=128,
    micro_batch=256,
    effective_batch=256,
)


def reading(interval_s: float = 10.0, **values: float | str | None) -> Reading:
    return Reading(time="2026-01-05T00:00:00+00:00", interval_s=interval_s, **values)  # type: ignore[arg-type] # by name


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for readings however busy the machine is: how many there are is counted here."""
    monkeypatch.setattr("finscale.machine.sampler._PATIENCE_S", 60.0)


def standing_still() -> float:
    """A clock by which no reading grows old."""
    return 0.0


class Script:
    """Sensors that show the same thing over and over, or fail."""

    def __init__(self, shown: Reading | Exception) -> None:
        self.shown = shown
        self.n_read = 0
        self.threads: set[str] = set()

    def read(self) -> Reading:
        self.n_read += 1
        self.threads.add(threading.current_thread().name)
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown


def until(true: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


def test_readings_are_logged_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "machine.csv"
    shown = reading(cpu_frac=0.25, gpu_name='H "200", SXM', cpu_temperature_c=61.0)
    script = Script(shown)
    with Sampler(script, path, every_s=0.01, clock=standing_still) as sampler:
        assert sampler.latest == shown
        until(lambda: script.n_read >= 3)
    assert not [one for one in threading.enumerate() if one.name == "finscale-sampler"]
    assert script.threads == {"finscale-sampler"}
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == [field.name for field in fields(Reading)]
    assert len(rows) == 1 + script.n_read
    assert dict(zip(rows[0], rows[1], strict=True)) == {
        **dict.fromkeys(rows[0], ""),
        "time": "2026-01-05T00:00:00+00:00",
        "interval_s": "10.000",
        "cpu_frac": "0.250",
        "gpu_name": 'H "200", SXM',
        "cpu_temperature_c": "61.000",
    }
    assert read_log(path) == [shown] * script.n_read


def test_there_is_a_reading_from_the_start() -> None:
    class Slow(Script):
        def read(self) -> Reading:
            time.sleep(0.05)
            return super().read()

    with Sampler(Slow(reading(cpu_temperature_c=50.0)), None, every_s=60) as sampler:
        assert sampler.temperature_c() == 50


def test_a_log_is_continued_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "machine.csv"
    for _ in range(2):
        with Sampler(Script(reading(cpu_frac=0.5)), path, every_s=60):
            pass
        with path.open("a", encoding="utf-8") as stream:
            stream.write("2026-01-05T00:0")
    lines = path.read_text(encoding="utf-8").splitlines()
    # A reading at the start and one at the end of each block.
    assert [line[:16] for line in lines] == [
        "time,interval_s,",
        *["2026-01-05T00:00", "2026-01-05T00:00", "2026-01-05T00:0"] * 2,
    ]
    assert read_log(path) == [reading(cpu_frac=0.5)] * 4


def test_a_log_with_other_columns_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "machine.csv"
    path.write_text("time,watts\n", encoding="utf-8")
    with Sampler(Script(reading()), path, every_s=0.01) as sampler:
        assert sampler.window().n_readings >= 1
    assert path.read_text(encoding="utf-8") == "time,watts\n"
    assert f"{path}: has other columns; move it away" in caplog.text


def test_sensors_that_fail_are_logged_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(ValueError("no such sensor"))
    with Sampler(script, tmp_path / "machine.csv", every_s=0.001) as sampler:
        until(lambda: script.n_read >= 5)
        assert sampler.latest is None
        assert sampler.temperature_c() is None
        assert sampler.window() == Usage()
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "the run goes on" in record.message
    assert not (tmp_path / "machine.csv").exists()


def test_a_log_that_cannot_be_written_costs_only_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    script = Script(reading(cpu_temperature_c=71.0))
    path = tmp_path / "file" / "machine.csv"
    with Sampler(script, path, every_s=0.001, clock=standing_still) as sampler:
        until(lambda: script.n_read >= 5)
        assert sampler.temperature_c() == 71
        assert sampler.window().n_readings >= 4
    assert len(caplog.records) == 1


def test_a_window_holds_what_came_since_the_last() -> None:
    script = Script(reading(cpu_frac=0.5, gpu_energy_j=3.6e6, cpu_temperature_c=80.0))
    with Sampler(script, None, every_s=60) as sampler:
        # The first reading, and one taken for the window.
        first = sampler.window()
        script.shown = reading(cpu_temperature_c=60.0)
        second = sampler.window()
    assert (first.n_readings, first.duration_s, first.gpu_energy_kwh) == (2, 20, 2)
    assert (first.cpu_mean_frac, first.cpu_temperature_max_c) == (0.5, 80)
    assert (second.n_readings, second.cpu_mean_frac, second.cpu_temperature_max_c) == (1, None, 60)
    # The last reading of the block, and none thereafter.
    assert sampler.window().n_readings == 1
    assert sampler.window() == Usage()


def test_a_sensor_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Hangs(Script):
        def read(self) -> Reading:
            if self.n_read:
                release.wait(10)
            return super().read()

    script = Hangs(reading(cpu_temperature_c=50.0))
    with Sampler(script, None, every_s=0.001) as sampler:
        # Only now: the first reading is there.
        monkeypatch.setattr("finscale.machine.sampler._PATIENCE_S", 0.02)
        started_s = time.monotonic()
        assert sampler.window().n_readings == 1
        assert sampler.temperature_c() is None
    assert time.monotonic() - started_s < 5
    release.set()
    until(lambda: not any(one.name == "finscale-sampler" for one in threading.enumerate()))


def test_an_old_temperature_is_none() -> None:
    now_s = [100.0]
    script = Script(reading(cpu_temperature_c=90.0, gpu_temperature_c=91.0))
    with Sampler(script, None, every_s=60, clock=lambda: now_s[0]) as sampler:
        assert sampler.temperature_c() == 91
        now_s[0] += 360
        assert sampler.temperature_c() == 91
        now_s[0] += 1
        assert sampler.temperature_c() is None


def test_an_idle_machine_is_warned_of_once_and_only_while_training() -> None:
    said: list[str] = []
    script = Script(reading(cpu_frac=0.1, process_cpu_frac=0.125))
    with Sampler(script, None, every_s=60, warn=said.append, idle_rule=IdleRule(over_s=20)) as one:
        for _ in range(5):
            one.window()
        assert said == []
        with one.training(SMALL):
            one.window()
            with one.resting():
                for _ in range(5):
                    one.window()
            assert said != []
            for _ in range(5):
                one.window()
        assert len(said) == 1
        # Another reason is another warning.
        script.shown = reading(cpu_frac=0.1, process_cpu_frac=0.01)
        with one.training(SMALL):
            for _ in range(3):
                one.window()
    assert len(said) == 2
    assert "waits for the disk" in said[1]


def test_resting_is_not_idling() -> None:
    said: list[str] = []
    script = Script(reading(cpu_frac=0.9, process_cpu_frac=0.9))
    with (
        Sampler(script, None, every_s=60, warn=said.append, idle_rule=IdleRule(over_s=20)) as one,
        one.training(SMALL),
    ):
        one.window()
        with one.resting():
            script.shown = reading(cpu_frac=0.0, process_cpu_frac=0.0)
            for _ in range(5):
                one.window()
            script.shown = reading(cpu_frac=0.9, process_cpu_frac=0.9)
        one.window()
    assert said == []

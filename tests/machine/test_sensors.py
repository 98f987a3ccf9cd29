from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from finscale.machine import sensors, temperature
from finscale.machine.device import n_cores
from finscale.machine.nvidia import GpuUse
from finscale.machine.sensors import (
    CpuTimes,
    ProcessUse,
    Reading,
    Sensors,
    busy_frac,
    open_sensors,
    process_frac,
)

GIB = 2**30
CPU = torch.device("cpu")


def in_turn(*values: Any) -> Callable[[], Any]:
    """Return each value once; an exception among them is raised."""
    left = iter(values)

    def read() -> Any:
        value = next(left)
        if isinstance(value, Exception):
            raise value
        return value

    return read


def test_a_reading_is_relative_to_the_one_before() -> None:
    looking = Sensors(
        cores=2,
        cpu=in_turn(CpuTimes(10, 100), CpuTimes(16, 120), CpuTimes(18, 140)),
        process=in_turn(ProcessUse(1, 0), ProcessUse(6, GIB // 2), ProcessUse(6, GIB)),
        memory=in_turn((3 * GIB, 0.75), (2 * GIB, 0.5)),
        gpu=in_turn(
            GpuUse(),
            GpuUse("H", 0.5, GIB, 100.0, None, 60.0),
            GpuUse("H", 0.25, 2 * GIB, 300.0, None, 61.0),
        ),
        cpu_temperature_c=in_turn(70.0, 50.0),
        clock=in_turn(5.0, 15.0, 25.0),
    )
    first, second = looking.read(), looking.read()
    assert dataclasses.replace(first, time="") == Reading(
        time="",
        interval_s=10,
        cpu_frac=0.3,
        process_cpu_frac=0.25,
        memory_used_gib=3,
        memory_used_frac=0.75,
        process_memory_gib=0.5,
        cpu_temperature_c=70,
        gpu_name="H",
        gpu_util_frac=0.5,
        gpu_memory_gib=1,
        gpu_power_w=100,
        gpu_energy_j=None,
        gpu_temperature_c=60,
    )
    assert (second.cpu_frac, second.process_cpu_frac, second.gpu_energy_j) == (0.1, 0, 2000)
    assert (first.hottest_c, second.hottest_c) == (70, 61)
    assert first.time.endswith("+00:00")


def test_a_sensor_that_fails_is_left_out_and_comes_back() -> None:
    broken = OSError("gone")
    looking = Sensors(
        cores=1,
        cpu=in_turn(CpuTimes(0, 0), broken, CpuTimes(20, 20), CpuTimes(25, 30)),
        process=in_turn(broken, broken, ProcessUse(0, GIB), ProcessUse(5, GIB)),
        memory=in_turn(broken, broken, broken),
        gpu=in_turn(broken, broken, broken, GpuUse(power_w=1.0)),
        cpu_temperature_c=in_turn(broken, broken, 40.0),
        clock=in_turn(0.0, 10.0, 20.0, 30.0),
    )
    first, second, third = looking.read(), looking.read(), looking.read()
    empty = Reading(time="", interval_s=10)
    assert dataclasses.replace(first, time="") == empty
    assert dataclasses.replace(second, time="", process_memory_gib=None) == empty
    assert (third.cpu_frac, third.process_cpu_frac, third.gpu_power_w) == (0.5, 0.5, 1.0)
    assert (first.hottest_c, third.hottest_c) == (None, 40)


@pytest.mark.parametrize(
    ("before", "after", "frac"),
    [
        (CpuTimes(0, 0), CpuTimes(3, 4), 0.75),
        (CpuTimes(0, 8), CpuTimes(0, 8), None),
        (None, CpuTimes(3, 4), None),
        (CpuTimes(3, 4), None, None),
        # Counters of idle time may run backwards.
        (CpuTimes(3, 4), CpuTimes(2, 5), 0.0),
        (CpuTimes(0, 0), CpuTimes(5, 4), 1.0),
    ],
)
def test_busy_share(before: CpuTimes | None, after: CpuTimes | None, frac: float | None) -> None:
    assert busy_frac(before, after) == frac


def test_share_of_a_process() -> None:
    assert process_frac(ProcessUse(2, 0), ProcessUse(5, 0), 12) == 0.25
    # A child that ended unseen took its time along.
    assert process_frac(ProcessUse(5, 0), ProcessUse(2, 0), 12) == 0
    assert process_frac(ProcessUse(5, 0), ProcessUse(5, 0), 0) is None


def no_temperature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(temperature, "_THERMAL_ZONES", tmp_path)
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)


@pytest.mark.parametrize(("system", "word"), [("Linux", "virtual machine"), ("Darwin", "macOS")])
def test_this_machine_without_a_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, word: str
) -> None:
    no_temperature(monkeypatch, tmp_path)
    monkeypatch.setattr(platform, "system", lambda: system)
    looking = open_sensors(CPU)
    [sentence] = looking.missing
    assert sentence.startswith("no CPU temperature: ")
    assert word in sentence
    reading = looking.read()
    assert reading.cpu_temperature_c is None
    assert reading.gpu_name is None


def test_the_counters_of_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # Core 0 is another program's; core 1 is busy for 4 s of 10, one of them for a guest, which is
    # counted twice by the system; core 2 for 1 s of 10.
    before = [{"user": 0.0, "idle": 0.0, "iowait": 0.0, "guest": 0.0} for _ in range(3)]
    after = [
        {"user": 10.0, "idle": 0.0, "iowait": 0.0, "guest": 0.0},
        {"user": 4.0, "idle": 5.0, "iowait": 1.0, "guest": 1.0},
        {"user": 1.0, "idle": 9.0, "iowait": 0.0, "guest": 0.0},
    ]
    times = namedtuple("times", ("user", "idle", "iowait", "guest"))
    shown = [times(**core) for core in before]
    monkeypatch.setattr(sensors, "cpu_quota", lambda: None)
    monkeypatch.setattr(psutil, "cpu_times", lambda *, percpu: shown)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    looking = open_sensors(CPU)
    shown[:] = [times(**core) for core in after]
    assert looking.read().cpu_frac == 5 / 20
    monkeypatch.delattr(os, "sched_getaffinity")
    shown[:] = [times(**core) for core in before]
    everything = open_sensors(CPU)
    shown[:] = [times(**core) for core in after]
    assert everything.read().cpu_frac == 15 / 30


def test_a_container_is_busy_if_it_uses_its_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text("usage_usec 1000000\nuser_usec 900000\n", encoding="utf-8")
    monkeypatch.setattr(sensors, "_CPU_STAT", stat)
    monkeypatch.setattr(sensors, "cpu_quota", lambda: 2.5)
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    looking = open_sensors(CPU)
    # 5 s of processor time in 10 s, of 2.5 cores.
    now_s[0] += 10
    stat.write_text("usage_usec 6000000\nuser_usec 900000\n", encoding="utf-8")
    assert looking.read().cpu_frac == 5 / 25
    stat.unlink()
    assert looking.read().cpu_frac is None


def test_memory_in_use_is_what_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=8 * GIB, available=6 * GIB, used=GIB, free=GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    seen = open_sensors(CPU).read()
    assert (seen.memory_used_gib, seen.memory_used_frac) == (2, 0.25)


def test_a_busy_process_is_seen_with_its_children() -> None:
    looking = open_sensors(CPU)
    started_s = sum(psutil.Process().cpu_times()[:4])
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        give_up_s = time.monotonic() + 240
        while psutil.Process(child.pid).cpu_times().user < 0.15:
            assert time.monotonic() < give_up_s
            time.sleep(0.01)
        own_s = sum(psutil.Process().cpu_times()[:4]) - started_s
        seen = looking.read()
    finally:
        child.kill()
        child.wait()
    used_s = (seen.process_cpu_frac or 0) * seen.interval_s * n_cores()
    # The child's part comes on top of this process' own.
    assert used_s > own_s + 0.1
    assert seen.cpu_frac is not None
    assert 0 < seen.cpu_frac <= 1
    assert (seen.process_memory_gib or 0) * GIB > psutil.Process().memory_info().rss * 0.9


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not pass it on")
def test_what_an_ended_child_used_is_not_lost() -> None:
    looking = open_sensors(CPU)
    subprocess.run(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 0.1: pass"], check=True
    )
    seen = looking.read()
    used_s = (seen.process_cpu_frac or 0) * seen.interval_s * n_cores()
    assert used_s > 0.08


def test_a_gpu_on_a_mac(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_temperature(monkeypatch, tmp_path)
    looking = open_sensors(torch.device("mps"))
    assert [line.partition(":")[0] for line in looking.missing] == [
        "no GPU sensors",
        "no CPU temperature",
    ]

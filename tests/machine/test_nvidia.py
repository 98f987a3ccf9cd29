from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from finscale.machine import temperature
from finscale.machine.nvidia import GpuUse, energy_j
from finscale.machine.sensors import open_sensors

GIB = 2**30


@pytest.mark.parametrize(
    ("before", "after", "spent_j"),
    [
        (GpuUse(counted_j=100, power_w=9), GpuUse(counted_j=350, power_w=9), 250),
        # The driver was loaded anew, and counts from zero.
        (GpuUse(counted_j=100, power_w=10), GpuUse(counted_j=3, power_w=20), 60),
        (GpuUse(power_w=10), GpuUse(power_w=20, counted_j=5), 60),
        (GpuUse(), GpuUse(power_w=20), None),
        (GpuUse(power_w=20), GpuUse(), None),
    ],
)
def test_energy(before: GpuUse, after: GpuUse, spent_j: float | None) -> None:
    assert energy_j(before, after, interval_s=4) == spent_j


def test_integrated_power_finds_the_energy_of_a_known_load() -> None:
    # P(t) = 200 + 100 sin(t) over [0, 2π], whose integral is 400π.
    times_s = [2 * math.pi * i / 100 for i in range(101)]
    power = [GpuUse(power_w=200 + 100 * math.sin(t)) for t in times_s]
    spent = [energy_j(one, other, 2 * math.pi / 100) for one, other in itertools.pairwise(power)]
    assert sum(part or math.nan for part in spent) == pytest.approx(400 * math.pi)


def no_temperature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(temperature, "_THERMAL_ZONES", tmp_path)
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)


class Driver:
    """NVIDIA's management library, of a machine with one GPU."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, broken: str | None = None, lacks: tuple[str, ...] = ()) -> None:
        self.broken, self.lacks = broken, lacks
        self.asked_for: list[str] = []
        self.counted_mj = 7_000_000

    def nvmlInit(self) -> None:  # noqa: N802 - its names are not ours
        if self.broken:
            raise RuntimeError(self.broken)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.asked_for.append(uuid)
        return "handle"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kind = name.removeprefix("nvmlDeviceGet")
        answers: dict[str, Any] = {
            "UtilizationRates": SimpleNamespace(gpu=40, memory=90),
            "MemoryInfo": SimpleNamespace(total=8 * GIB, free=5 * GIB, used=3 * GIB),
            "PowerUsage": 250_500,
            "TotalEnergyConsumption": self.counted_mj,
            "Temperature": 66,
            "Name": "NVIDIA H200",
        }

        def answer(handle: str, *_: Any) -> Any:
            assert handle == "handle"
            if kind in self.lacks:
                raise RuntimeError("Not Supported")
            return answers[kind]

        return answer


def have_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: Driver | None) -> None:
    no_temperature(monkeypatch, tmp_path)
    found = SimpleNamespace(uuid="0a1b-2c")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setitem(sys.modules, "pynvml", driver)


def test_an_nvidia_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = Driver()
    have_gpu(monkeypatch, tmp_path, driver)
    looking = open_sensors(torch.device("cuda", 1))
    driver.counted_mj += 5_500
    seen = looking.read()
    assert driver.asked_for == ["GPU-0a1b-2c"]
    assert [line.partition(":")[0] for line in looking.missing] == ["no CPU temperature"]
    assert (seen.gpu_name, seen.gpu_util_frac, seen.gpu_memory_gib) == ("NVIDIA H200", 0.4, 3)
    assert (seen.gpu_power_w, seen.gpu_temperature_c, seen.hottest_c) == (250.5, 66, 66)
    assert seen.gpu_energy_j == 5.5


def test_a_gpu_that_shows_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacks = ("UtilizationRates", "PowerUsage", "TotalEnergyConsumption")
    have_gpu(monkeypatch, tmp_path, Driver(lacks=lacks))
    looking = open_sensors(torch.device("cuda"))
    assert looking.missing[0] == "the GPU does not show its use, power"
    seen = looking.read()
    assert (seen.gpu_util_frac, seen.gpu_power_w, seen.gpu_energy_j) == (None, None, None)
    assert (seen.gpu_memory_gib, seen.gpu_temperature_c) == (3, 66)


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (None, "no GPU sensors: pip install 'finscale[nvidia]'; without it use,"),
        (Driver(broken="Driver Not Loaded"), "no GPU sensors: Driver Not Loaded; use,"),
    ],
)
def test_a_gpu_without_sensors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: Driver | None, said: str
) -> None:
    # None in sys.modules makes the import fail.
    have_gpu(monkeypatch, tmp_path, driver)
    looking = open_sensors(torch.device("cuda"))
    assert looking.missing[0].startswith(said)
    seen = looking.read()
    assert seen.gpu_name is None
    assert seen.cpu_frac is None or 0 <= seen.cpu_frac <= 1

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from finscale.machine import temperature
from finscale.machine.temperature import hottest_core_c, read_cpu_temperature_c


@pytest.mark.parametrize(
    ("chips", "hottest_c"),
    [
        ({"coretemp": [("Package id 0", 61.0), ("Core 0", 59.0), ("Core 1", 63.0)]}, 63.0),
        ({"nvme": [("Composite", 80.0)], "iwlwifi_1": [("", 75.0)]}, None),
        ({"acpitz": [("", 27.8)], "k10temp": [("Tctl", 71.5)]}, 71.5),
        ({"acpitz": [("", 27.8)], "nvme": [("", 44.0)]}, 27.8),
        ({"k10temp": [("Tctl", 95.0), ("Tdie", 68.0), ("Tccd1", 66.0)]}, 68.0),
        ({"cpu_thermal": [("", 55.0)]}, 55.0),
        ({"cpu-0-thermal": [("", 50.0)], "cpu-1-thermal": [("", 52.0)]}, 52.0),
        # What broken sensors show.
        ({"coretemp": [("", 0.0), ("", -40.0), ("", 128.0), ("", 255.0)]}, None),
        ({"coretemp": [("", 255.0)], "acpitz": [("", 45.0)]}, 45.0),
        ({}, None),
    ],
)
def test_the_processors_temperature(
    chips: dict[str, list[tuple[str, float]]], hottest_c: float | None
) -> None:
    assert hottest_core_c(chips) == hottest_c


def zone(root: Path, number: int, kind: str, millidegrees: str) -> None:
    place = root / f"thermal_zone{number}"
    place.mkdir(parents=True)
    (place / "type").write_text(f"{kind}\n", encoding="utf-8")
    (place / "temp").write_text(f"{millidegrees}\n", encoding="utf-8")


def test_thermal_zones_stand_in_for_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, 0, "x86_pkg_temp", "64000")
    zone(tmp_path, 1, "x86_pkg_temp", "66500")
    zone(tmp_path, 2, "iwlwifi_1", "90000")
    zone(tmp_path, 3, "x86_pkg_temp", "unreadable")
    (tmp_path / "thermal_zone4").mkdir()
    monkeypatch.setattr(temperature, "_THERMAL_ZONES", tmp_path)
    disk_only = {"nvme": [SimpleNamespace(label="Composite", current=44.0)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: disk_only, raising=False)
    assert read_cpu_temperature_c() == 66.5
    chip = {"coretemp": [SimpleNamespace(label="Package id 0", current=70.0)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chip)
    assert read_cpu_temperature_c() == 70
    monkeypatch.delattr(psutil, "sensors_temperatures")
    assert read_cpu_temperature_c() == 66.5

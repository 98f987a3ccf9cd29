from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from finscale.errors import DataError
from finscale.machine import doctor, environment
from finscale.machine.doctor import Extra, Finding, examine
from finscale.machine.environment import describe_environment
from finscale.market.catalog import Catalog
from finscale.market.sources.bundled import load_bundled

CHECKS = [
    *("python", "device", "memory", "swap", "disk", "data", "catalogue", "storage", "sensors"),
    *("ray", "submitit", "psycopg", "yfinance", "nvidia-ml-py", "optuna-dashboard", "postgresql"),
]


def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in examine()}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_machine_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_MIN_MEMORY_GIB", 0)
    monkeypatch.setattr(doctor, "_MIN_DISK_GIB", 0)
    found = findings()
    assert list(found) == CHECKS
    assert [name for name, one in found.items() if not one.ok] == []
    assert torch.__version__ in found["python"].detail
    assert found["data"].detail.startswith("SP500 5031 bars, NASDAQ 5031 bars")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "limit", "fix"),
    [
        ("memory", "_MIN_MEMORY_GIB", "close other programs"),
        ("disk", "_MIN_DISK_GIB", "make room for a run directory"),
    ],
)
def test_too_little_room(monkeypatch: pytest.MonkeyPatch, name: str, limit: str, fix: str) -> None:
    monkeypatch.setattr(doctor, limit, 10**9)
    found = findings()[name]
    assert not found.ok
    assert "GiB free" in found.detail
    assert found.fix == fix


def test_a_check_that_raises_has_failed_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(symbol: str) -> None:
        raise DataError(f"bundled {symbol}: gone")

    monkeypatch.setattr(doctor, "load_bundled", gone)
    found = findings()
    assert list(found) == CHECKS
    assert found["data"] == Finding(
        "data",
        ok=False,
        detail="DataError: bundled SP500: gone",
        fix="install finscale anew: make clean verify",
    )


def test_a_place_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "write_text_atomic", refuse)
    found = findings()["storage"]
    assert not found.ok
    assert "Permission denied" in found.detail


def test_a_gpu_that_computes_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, **options: 1.5 * ones(*size, **options))
    assert not findings()["device"].ok


def test_a_machine_that_swaps_gets_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    total = psutil.virtual_memory().total
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=total))
    swap = findings()["swap"]
    assert swap.ok
    assert swap.detail.endswith(" in use")
    assert "memory is short already" in swap.fix


def test_a_gpu_that_cannot_be_used_gets_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = doctor.measure_machine
    monkeypatch.setattr(
        doctor,
        "measure_machine",
        lambda *given: replace(measure(*given), device_type="cpu", unused_gpu=True),
    )
    device = findings()["device"]
    assert device.ok
    assert "this PyTorch cannot use" in device.detail
    assert device.fix.startswith("install a PyTorch with CUDA")


def test_a_catalogue_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings()["catalogue"].detail == "none yet; data/ can be made here"
    bars = load_bundled("SP500").bars
    Catalog(tmp_path / "data").register("SP500.OHLCV.daily", bars, source="bundled", provenance={})
    found = findings()["catalogue"]
    assert found.ok
    assert found.detail.startswith("data/ with 1 data sets, ")
    monkeypatch.setattr(doctor, "_MIN_DISK_GIB", 10**9)
    assert not findings()["catalogue"].ok
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    [manifest] = tmp_path.glob("data/raw/*/*.json")
    manifest.write_text("{", encoding="utf-8")
    found = findings()["catalogue"]
    assert not found.ok
    assert found.fix.startswith("see: finscale data verify; ")


def test_a_catalogue_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = findings()["catalogue"]
    assert not found.ok
    assert "is a file, not a directory" in found.detail


def test_an_extra_that_is_there_and_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor,
        "EXTRAS",
        (
            Extra("pytest", "pytest", "dev", "tests"),
            Extra("finscale-none", "finscale_none", "none", "nothing at all"),
            Extra("unheard-of", "pytest", "odd", "a module without a package"),
        ),
    )
    found = findings()
    assert found["pytest"] == Finding("pytest", ok=True, detail=f"installed, {pytest.__version__}")
    assert found["finscale-none"] == Finding(
        "finscale-none",
        ok=True,
        detail="not installed",
        fix="pip install 'finscale[none]': nothing at all",
    )
    assert found["unheard-of"].detail == "installed, of an unknown version"


def test_a_postgresql_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    monkeypatch.setattr(doctor, "_POSTGRES_SERVERS", str(tmp_path / "*" / "bin" / "postgres"))
    missing = findings()["postgresql"]
    assert missing.ok
    assert missing.fix.startswith("only for searches across machines: ")
    for version in ("15", "16"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "postgres").touch()
    assert findings()["postgresql"].detail == f"server at {tmp_path}/16/bin/postgres"
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/opt/postgres")
    assert findings()["postgresql"].detail == "server at /opt/postgres"


def test_sensors_that_are_not_there_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = doctor.measure_machine
    monkeypatch.setattr(
        doctor,
        "measure_machine",
        lambda *given: replace(measure(*given), hottest_c=None, sensors_missing=("no sensor",)),
    )
    found = findings()["sensors"]
    assert found == Finding("sensors", True, "no sensor; training is not paused for heat")


def test_the_environment_outside_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(environment.subprocess, "run", no_git)
    described = describe_environment(torch.device("cpu"), "c0de")
    assert described["git_commit"] is None
    assert described["code_hash"] == "c0de"
    assert described["packages"]["optuna"].startswith("5.")
    assert described["memory_gib"] > 0

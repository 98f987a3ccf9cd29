from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finscale.errors import DataError
from finscale.machine import doctor, environment
from finscale.machine.doctor import Finding, examine
from finscale.machine.environment import describe_environment

CHECKS = ["python", "device", "memory", "disk", "data", "storage"]


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
        ("memory", "_MIN_MEMORY_GIB", "the quickstart may take"),
        ("disk", "_MIN_DISK_GIB", "make room for a run directory"),
    ],
)
def test_too_little_room(monkeypatch: pytest.MonkeyPatch, name: str, limit: str, fix: str) -> None:
    monkeypatch.setattr(doctor, limit, 10**9)
    found = findings()[name]
    assert not found.ok
    assert "GiB free" in found.detail
    assert fix in found.detail


def test_a_check_that_raises_has_failed_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(symbol: str) -> None:
        raise DataError(f"bundled {symbol}: gone")

    monkeypatch.setattr(doctor, "load_bundled", gone)
    found = findings()
    assert list(found) == CHECKS
    assert found["data"] == Finding("data", ok=False, detail="DataError: bundled SP500: gone")


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


def test_the_environment_outside_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(environment.subprocess, "run", no_git)
    described = describe_environment(torch.device("cpu"), "c0de")
    assert described["git_commit"] is None
    assert described["code_hash"] == "c0de"
    assert described["packages"]["optuna"].startswith("5.")
    assert described["memory_gib"] > 0

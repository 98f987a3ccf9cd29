from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from finscale.search import processes
from finscale.search.processes import is_gone, is_here, this_worker

SAY_NAME = "from finscale.search.processes import this_worker; print(this_worker(), flush=True)"


def test_a_living_process_is_not_gone() -> None:
    assert not is_gone(this_worker())


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere the clock alone says when a process began")
@pytest.mark.parametrize("seconds", [1, -1, 3600, -86400])
def test_a_clock_set_right_ends_nobody(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    name = this_worker()
    began = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: began + seconds)
    assert this_worker() == name
    assert not is_gone(name)


@pytest.mark.parametrize(("seconds", "gone"), [(1, False), (-1, False), (3600, True)])
def test_elsewhere_a_clock_set_right_by_a_little_ends_nobody(
    seconds: float, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "LINUX", False)
    host, number, began = this_worker().rsplit(":", 2)
    assert is_gone(f"{host}:{number}:{float(began) + seconds:.2f}") is gone


def test_a_number_given_again_is_another_process() -> None:
    host, number, began = this_worker().rsplit(":", 2)
    assert is_gone(f"{host}:{number}:{began}0")
    assert is_gone(f"{host}:{number}:1.00")


@pytest.mark.skipif(not psutil.LINUX, reason="other systems have no such name")
def test_after_another_boot_it_is_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = this_worker()
    (tmp_path / "boot_id").write_text("01234567-89ab-cdef-0123-456789abcdef\n", encoding="utf-8")
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "boot_id")
    assert is_gone(name)
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "none")
    assert not is_gone(this_worker())


def test_a_process_that_has_ended_is_gone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SAY_NAME], capture_output=True, text=True, check=True
    )
    assert is_gone(ended.stdout.strip())


@pytest.mark.skipif(not psutil.LINUX, reason="needs /proc")
def test_a_process_that_has_ended_is_gone_before_its_parent_asks() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SAY_NAME], stdout=subprocess.PIPE, text=True
    ) as ended:
        assert ended.stdout is not None
        # Read to the end: it has left, and is not waited for.
        name = ended.stdout.read().strip()
        process = psutil.Process(ended.pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            pass
        assert is_gone(name)


def test_of_another_machine_it_cannot_be_known() -> None:
    _, number, began = this_worker().rsplit(":", 2)
    assert is_here(this_worker())
    assert not is_here(f"another.example:{number}:{began}")
    assert not is_gone(f"another.example:{number}:{began}0")

"""A disk that is full, and one that cannot be written: nothing finished is lost, and one line."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, fault_of, names_in

from finscale.files import read_json
from finscale.pipeline import results
from finscale.rundir import RunDirectory
from finscale.search import experiment_run, storage
from tiny import outcome_of, raw_records, write_study


@pytest.fixture(autouse=True)
def _short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "render_report", lambda _: "<html>")


@contextlib.contextmanager
def mounted(place: Path, size: str) -> Iterator[None]:
    """Mount a small disk, where that is allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def outcomes(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    """Return what the records say, each once."""
    records = raw_records(directory.ledger)
    assert len({record["uid"] for record in records}) == len(records)
    return {record["uid"]: outcome_of(record) for record in records}


def assert_kept_and_complete(
    directory: RunDirectory, finished: RunDirectory, kept: list[dict[str, Any]]
) -> None:
    assert raw_records(directory.ledger)[: len(kept)] == kept
    assert outcomes(directory) == outcomes(finished)
    assert read_json(directory.summary)["failures"] == {}
    assert list(directory.root.rglob("*.tmp")) == []
    assert list(directory.root.glob("experiments/*/checkpoints/*")) == []


class FullDisk:
    """Lets the disk be full from the n-th flush on: what was being written is cut off."""

    def __init__(self, n_flushes: int) -> None:
        self._left = n_flushes
        self._fsync = os.fsync

    def __call__(self, descriptor: int) -> None:
        self._left -= 1
        if self._left < 0:
            size = os.fstat(descriptor).st_size
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, max(0, size - 20))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fsync(descriptor)


@pytest.mark.parametrize("n_flushes", [9, 30, 70])
def test_a_disk_that_fills_up_costs_nothing_that_was_finished(
    finscale: CommandLine,
    finished: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_flushes: int,
) -> None:
    study, directory = write_study(tmp_path), RunDirectory(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", FullDisk(n_flushes))
        said = fault_of_last(finscale("run", study, "--out", directory.root))
    assert said == "No space left on device; make room or check the path, and run again"
    kept = raw_records(directory.ledger)
    torn = directory.ledger.read().damaged_lines
    assert len(kept) < len(raw_records(finished.ledger))
    again = finscale("run", study, "--out", directory.root)
    assert again.code == 0, again.err
    assert ("is damaged and not used" in again.err) == bool(torn)
    assert_kept_and_complete(directory, finished, kept)


def test_a_search_storage_that_has_no_room_costs_nothing_that_was_finished(
    finscale: CommandLine,
    finished: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, directory = write_study(tmp_path), RunDirectory(tmp_path / "run")
    connect = storage._on_connect

    def small(connection: sqlite3.Connection, record: object) -> None:
        connect(connection, record)
        [n_pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={min(n_pages, 60)}")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "_on_connect", small)
        said = fault_of_last(finscale("run", study, "--out", directory.root))
    assert said == (
        f"{directory.storage}: the search storage cannot be used any more (database or disk is "
        "full); nothing finished is lost; make room or check the disk, and run again to go on"
    )
    kept = raw_records(directory.ledger)
    assert finscale("run", study, "--out", directory.root).code == 0
    assert_kept_and_complete(directory, finished, kept)


@pytest.mark.slow
def test_a_real_disk_that_is_filled_and_then_made_read_only(
    finscale: CommandLine,
    finished: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, disk = write_study(tmp_path), tmp_path / "disk"
    train, n_begun, ballast = experiment_run.train, itertools.count(), disk / "ballast"

    def fills_the_disk(*arguments: Any, **options: Any) -> Any:
        if next(n_begun) == 2:
            with contextlib.suppress(OSError), ballast.open("wb") as stream:
                while True:
                    stream.write(b"x" * 4096)
                    stream.flush()
        return train(*arguments, **options)

    with mounted(disk, "100m"):
        directory = RunDirectory(disk / "run")
        with monkeypatch.context() as patched:
            patched.setattr(experiment_run, "train", fills_the_disk)
            assert "make room" in fault_of_last(finscale("run", study, "--out", directory.root))
        kept = raw_records(directory.ledger)
        assert len(kept) < len(raw_records(finished.ledger))
        ballast.unlink()
        again = finscale("run", study, "--out", directory.root)
        assert again.code == 0, again.err
        assert_kept_and_complete(directory, finished, kept)
        before = names_in(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refused = finscale("run", study, "--out", disk / "other")
        assert fault_of(refused).endswith(
            f"{disk}: cannot be written (Read-only file system); choose another --out"
        )
        refused = finscale("run", study, "--out", directory.root)
        assert "Read-only file system" in fault_of(refused)
        assert names_in(disk) == before


@pytest.mark.parametrize("existing", [False, True], ids=["new", "run"])
def test_a_read_only_directory_is_refused_before_anything_is_spent(
    finscale: CommandLine,
    copied: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    existing: bool,
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # Root may write anywhere, so the refusal is played.
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(experiment_run, "train", lambda *_, **__: pytest.fail("trained"))
    study = write_study(tmp_path)
    out = copied.root if existing else tmp_path / "new" / "run"
    before = names_in(tmp_path)
    refused = finscale("run", study, "--out", out, "--set", "search.n_trials=9")
    place = out if existing else tmp_path
    assert fault_of(refused) == (
        f"{place}: cannot be written (Read-only file system); choose another --out"
    )
    assert names_in(tmp_path) == before


def fault_of_last(finished: Any) -> str:
    """Return the last line of a run that began and then could not go on."""
    assert finished.code == 2, finished
    assert finished.out == ""
    assert "Traceback" not in finished.err
    *_, last = finished.err.splitlines()
    assert last.startswith("finscale: ")
    return str(last.removeprefix("finscale: "))

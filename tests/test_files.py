from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from finscale import files
from finscale.errors import RunDirectoryError
from finscale.files import (
    Ledger,
    LedgerContent,
    append_line,
    canonical_json,
    exclusive_lock,
    hash_bytes,
    hash_json,
    hash_sources,
    read_json,
    reading_lock,
    require_writable,
    waiting_lock,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from processes import killed_after


def names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


# Atomic writes


def test_what_is_written_is_read(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.json"
    write_json_atomic(target, {"x": [1, None, "ü"]})
    assert target.read_text(encoding="utf-8").endswith("}\n")
    assert read_json(target) == {"x": [1, None, "ü"]}
    write_text_atomic(target, "ü")
    assert target.read_bytes() == b"\xc3\xbc"
    write_bytes_atomic(target, b"")
    assert target.read_bytes() == b""
    assert names_in(target.parent) == ["c.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    target = tmp_path / "best.json"
    write_text_atomic(target, "old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, failing, fail)
    if failing != "fsync":
        monkeypatch.setattr(Path, failing, fail)
    with pytest.raises(type(error)):
        write_text_atomic(target, "new")
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["best.json"]


def test_the_content_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "best.json"
    write_text_atomic(target, "old")
    seen = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, target.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_text_atomic(target, "newer")
    # First the file's five bytes while the old name stands, then the directory under the new one.
    assert [text for _, text in seen] == ["old", "newer"]
    assert seen[0][0] == 5


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text_atomic(tmp_path / "a", "x")
        assert (tmp_path / "a").stat().st_mode & 0o777 == mode
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"loss": [-float("inf")]}])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, value: object
) -> None:
    target = tmp_path / "a.json"
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(target, value)
    assert names_in(tmp_path) == []


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    with pytest.raises(RunDirectoryError, match=r"a\.json: no such file"):
        read_json(target)
    for content in (b"", b'{"a": 1', b"\xff"):
        target.write_bytes(content)
        with pytest.raises(RunDirectoryError, match=r"a\.json: cannot be read as JSON \("):
            read_json(target)
    with pytest.raises(RunDirectoryError, match="cannot be read as JSON"):
        read_json(tmp_path)


WRITER = """
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path
from finscale.files import write_bytes_atomic
target = Path(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    write_bytes_atomic(target, b"%d " % number * 300_000)
"""


def test_kill_never_leaves_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    write_bytes_atomic(target, b"0 ")
    waits = random.Random(1)  # noqa: S311 - moments to kill at
    n_changed = 0
    command = [sys.executable, "-c", WRITER, str(target)]
    for _ in range(5):
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(killed_after(subprocess.Popen(command, stdout=subprocess.PIPE)))
                for _ in range(4)
            ]
            for process in processes:
                assert process.stdout is not None
                process.stdout.readline()
            for process in processes:
                time.sleep(waits.uniform(0.0, 0.02))
                process.send_signal(signal.SIGKILL)
                process.communicate()
                words = target.read_bytes().split()
                assert len(set(words)) == 1
                assert len(words) in {1, 300_000}
                n_changed += len(words) > 1
    assert n_changed > 10


# Hashes


def test_equal_values_have_one_text_and_one_hash() -> None:
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert hash_json({"b": 1, "a": 2}) == hash_json({"a": 2, "b": 1})
    assert hash_json({"a": 1}) != hash_json({"a": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))
    # The test vector of FIPS 180-2.
    assert hash_bytes(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_the_hash_of_sources_is_of_names_and_contents(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def current() -> str:
        return hash_sources(tmp_path, ("part", "one.py"))

    write("part/a.py", "a")
    write("part/deep/b.py", "b")
    write("one.py", "1")
    write("other.py", "not asked for")
    write("part/notes.txt", "no source")
    hashes = [current()]
    write("other.py", "changed")
    write("part/notes.txt", "changed")
    assert current() == hashes[0] == hash_sources(tmp_path, ("one.py", "part"))
    for name, text in (("part/deep/b.py", "B"), ("one.py", "2"), ("part/c.py", "")):
        write(name, text)
        hashes.append(current())
    (tmp_path / "part/c.py").rename(tmp_path / "part/d.py")
    hashes.append(current())
    # The same bytes, cut otherwise into name and content.
    write("part/d.py", ".py")
    hashes.append(current())
    (tmp_path / "part/d.py").unlink()
    write("part/d.py.py", "")
    hashes.append(current())
    assert len(set(hashes)) == len(hashes)


# Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "run" / "ledger.jsonl")


def test_records_come_back_in_order(ledger: Ledger) -> None:
    assert ledger.read() == LedgerContent([], [])
    records = [{"uid": name, "loss": 0.1 + 0.2, "text": "line\nbreak ü"} for name in "cab"]
    assert [ledger.append(record) for record in records] == [True, True, True]
    assert ledger.read() == LedgerContent(records, [])
    assert ledger.path.read_bytes().count(b"\n") == 3


def test_a_uid_is_taken_once(ledger: Ledger) -> None:
    assert ledger.append({"uid": "a", "x": 1})
    assert not ledger.append({"uid": "a", "x": 2})
    assert ledger.read().records == [{"uid": "a", "x": 1}]
    assert ledger.append({"uid": "b", "x": 1})
    assert not ledger.append({"uid": "c", "x": 1}, key="x")


@pytest.mark.parametrize("torn", [b'{"uid": "b", "x', b"[1]", b"\xff\xfe", b'"text"', b"}"])
def test_a_torn_line_is_reported_and_the_next_record_starts_afresh(
    ledger: Ledger, torn: bytes
) -> None:
    ledger.append({"uid": "a"})
    with ledger.path.open("ab") as stream:
        stream.write(torn)
    assert ledger.read() == LedgerContent([{"uid": "a"}], [2])
    assert ledger.append({"uid": "b"})
    assert ledger.read() == LedgerContent([{"uid": "a"}, {"uid": "b"}], [2])
    # Nothing that was there is ever changed.
    assert ledger.path.read_bytes() == b'{"uid":"a"}\n' + torn + b'\n{"uid":"b"}\n'


def test_a_record_that_lacks_only_its_line_end_counts(ledger: Ledger) -> None:
    ledger.append({"uid": "a"})
    ledger.path.write_bytes(ledger.path.read_bytes().rstrip())
    assert not ledger.append({"uid": "a"})
    assert ledger.append({"uid": "b"})
    assert ledger.read() == LedgerContent([{"uid": "a"}, {"uid": "b"}], [])


def test_a_record_that_is_no_json_leaves_the_ledger_alone(ledger: Ledger) -> None:
    ledger.append({"uid": "a"})
    for bad in ({"uid": "b", "loss": float("nan")}, {"uid": "b", "loss": float("inf")}):
        with pytest.raises(ValueError, match="JSON"):
            ledger.append(bad)
    with pytest.raises(TypeError):
        ledger.append({"uid": "b", "path": Path()})
    assert ledger.read() == LedgerContent([{"uid": "a"}], [])


def test_a_record_and_a_new_ledger_are_flushed_to_the_disk(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []

    def record(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)

    if not Path("/proc/self/fd").exists():
        pytest.skip("names of open files are read from /proc")
    monkeypatch.setattr(os, "fsync", record)
    ledger.append({"uid": "a"})
    ledger.append({"uid": "b"})
    ledger.append({"uid": "b"})
    assert flushed == ["ledger.jsonl", "run", "ledger.jsonl"]


def append_many(path: Path, worker: int, barrier: Barrier) -> None:
    for number in range(25):
        # One that all workers want to write at once, as after a trial that was run twice.
        barrier.wait()
        Ledger(path).append({"uid": f"shared-{number}"})
        own = {"uid": f"{worker}-{number}", "filler": "x" * 5000}
        assert Ledger(path).append(own)


def test_four_processes_append_everything_once(ledger: Ledger) -> None:
    # Spawned: a fork would copy the locks of whatever threads earlier tests left behind.
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    workers = [
        context.Process(target=append_many, args=(ledger.path, i, barrier)) for i in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    content = ledger.read()
    own = {f"{worker}-{number}" for worker in range(4) for number in range(25)}
    shared = {f"shared-{number}" for number in range(25)}
    uids = [record["uid"] for record in content.records]
    assert sorted(uids) == sorted(own | shared)
    assert content.damaged_lines == []
    for writer in range(4):
        in_order = [uid for uid in uids if uid.startswith(f"{writer}-")]
        assert in_order == [f"{writer}-{number}" for number in range(25)]


def test_an_append_waits_for_the_one_before(ledger: Ledger) -> None:
    ledger.append({"uid": "a"})
    with ThreadPoolExecutor(1) as pool:
        with ledger.path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            waiting = pool.submit(ledger.append, {"uid": "b"})
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
            assert ledger.read().records == [{"uid": "a"}]
        assert waiting.result(timeout=10)
    assert ledger.read().records == [{"uid": "a"}, {"uid": "b"}]


# Tables


HEADER = "time,watts"


def test_a_table_begins_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "machine.csv"
    append_line(path, "1,2", header=HEADER)
    append_line(path, "ü,4", header=HEADER)
    assert path.read_text(encoding="utf-8") == "time,watts\n1,2\nü,4\n"


@pytest.mark.parametrize(
    ("torn", "kept"),
    [
        ("time,watts\n1,2\n3", "1,2\n3\n"),
        ("time,watts\n1,2", "1,2\n"),
        ("time,watts\n", ""),
        # Nothing was in it yet.
        ("time,watts", ""),
        ("time,w", ""),
        ("", ""),
    ],
)
def test_a_torn_line_stays_on_its_own(tmp_path: Path, torn: str, kept: str) -> None:
    path = tmp_path / "machine.csv"
    path.write_text(torn, encoding="utf-8")
    append_line(path, "5,6", header=HEADER)
    append_line(path, "7,8", header=HEADER)
    assert path.read_text(encoding="utf-8") == f"time,watts\n{kept}5,6\n7,8\n"


@pytest.mark.parametrize("other", ["time\n", "time,watts,c\n1,2,3\n", "1,2\n", "time,wat\n"])
def test_a_table_with_other_columns_is_left_alone(tmp_path: Path, other: str) -> None:
    path = tmp_path / "machine.csv"
    path.write_text(other, encoding="utf-8")
    with pytest.raises(RunDirectoryError) as refusal:
        append_line(path, "5,6", header=HEADER)
    assert str(refusal.value) == f"{path}: has other columns; move it away"
    assert path.read_text(encoding="utf-8") == other


def test_writers_take_turns_at_a_table(tmp_path: Path) -> None:
    # A lock belongs to an open file, so threads contend for it as processes do.
    path = tmp_path / "machine.csv"

    def write(name: str) -> None:
        for number in range(50):
            append_line(path, f"{name},{number}", header=HEADER)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    assert first == HEADER
    assert len(lines) == 200
    for name in "abcd":
        own = [line for line in lines if line.startswith(name)]
        assert own == [f"{name},{number}" for number in range(50)]


def test_an_appended_line_waits_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "machine.csv"
    append_line(path, "1,2", header=HEADER)
    with ThreadPoolExecutor(1) as pool:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            waiting = pool.submit(append_line, path, "3,4", header=HEADER)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
            assert path.read_text(encoding="utf-8") == "time,watts\n1,2\n"
        waiting.result(timeout=10)
    assert path.read_text(encoding="utf-8") == "time,watts\n1,2\n3,4\n"


# The run lock

HOLDER = """
import sys, time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from finscale.files import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(code: str, lock: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True
    )


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "lock"
    with killed_after(hold(HOLDER, lock)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError) as caught, exclusive_lock(lock):
            pass
        assert str(caught.value) == (
            f"{tmp_path / 'run'}: another finscale process is working here; "
            "wait for it, stop it, or choose another directory with --out"
        )
        holder.kill()
    with exclusive_lock(lock):
        pass


def test_a_lock_is_freed_at_the_end_and_on_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def fail() -> None:
        with exclusive_lock(lock):
            raise KeyError

    with exclusive_lock(lock), pytest.raises(RunDirectoryError), exclusive_lock(lock):
        pass
    with pytest.raises(KeyError):
        fail()
    with exclusive_lock(lock):
        pass


def test_who_waits_for_a_lock_gets_it_when_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "data" / "lock"

    def work() -> str:
        with waiting_lock(lock):
            return "done"

    with ThreadPoolExecutor(1) as pool:
        with waiting_lock(lock):
            waiting = pool.submit(work)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
        assert waiting.result(timeout=10) == "done"


def test_a_lock_that_is_waited_for_is_freed_by_an_error_and_by_kill(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(KeyError), waiting_lock(lock):
        raise KeyError
    holder = HOLDER.replace("exclusive_lock", "waiting_lock")
    with killed_after(hold(holder, lock)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError), exclusive_lock(lock):
            pass
        process.kill()
    with waiting_lock(lock):
        pass


def test_readers_share_a_lock_and_keep_writers_out(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def write() -> str:
        with waiting_lock(lock):
            return "written"

    with reading_lock(lock):
        # Nobody has ever written: nothing to lock, and nothing is left behind.
        assert names_in(tmp_path) == []
    lock.touch()
    with ThreadPoolExecutor(1) as pool:
        with reading_lock(lock), reading_lock(lock):
            waiting = pool.submit(write)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
        assert waiting.result(timeout=10) == "written"


# Directories


def test_a_directory_to_be_made_is_checked_and_left_alone(tmp_path: Path) -> None:
    require_writable(tmp_path)
    require_writable(tmp_path / "a" / "b")
    assert names_in(tmp_path) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    for directory in (tmp_path / "runs", tmp_path / "runs" / "a" / "b"):
        with pytest.raises(RunDirectoryError, match=r"runs: is a file, not a directory; choose an"):
            require_writable(directory)


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may write anywhere, so the refusal is played.
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(RunDirectoryError) as caught:
        require_writable(tmp_path / "run")
    assert str(caught.value) == (
        f"{tmp_path}: cannot be written (Permission denied); choose another --out"
    )


def test_a_time_is_utc_to_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        now = files.utc_now()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert now.endswith("+00:00")
    assert len(now) == len("2026-01-31T12:00:00+00:00")
    parsed = time.strptime(now, "%Y-%m-%dT%H:%M:%S%z")
    assert abs(time.time() - (time.mktime(parsed) - time.timezone)) < 100_000


def test_leftovers_of_a_write_that_was_cut_off_are_removed(tmp_path: Path) -> None:
    files.write_text_atomic(tmp_path / "a" / "kept.txt", "kept")
    for name in (".best.json.x1y2.tmp", "a/.kept.txt.abcd.tmp"):
        (tmp_path / name).write_text("half")
    (tmp_path / "mine.tmp").write_text("not ours")
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "kept.txt",
        "mine.tmp",
    ]


def test_a_file_that_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one "
        files.remove_leftovers(tmp_path)
        yield b"two"

    files.write_parts_atomic(tmp_path / "kept.txt", parts())
    assert (tmp_path / "kept.txt").read_bytes() == b"one two"


def test_a_file_taken_for_a_leftover_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkstemp, []

    def swept(**options: Any) -> tuple[int, str]:
        made.append(make(**options))
        if len(made) == 1:
            files.remove_leftovers(tmp_path)
        return made[-1]

    monkeypatch.setattr(files.tempfile, "mkstemp", swept)
    files.write_text_atomic(tmp_path / "kept.txt", "kept")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "kept"


def test_brackets_without_end_are_damage(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(RunDirectoryError, match=r"one\.json: cannot be read as JSON"):
        read_json(tmp_path / "one.json")
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append({"uid": "a"})
    with ledger.path.open("a") as stream:
        stream.write('{"uid":' * 100_000 + "1" + "}" * 100_000 + "\n")
    assert ledger.append({"uid": "b"})
    assert ledger.read() == LedgerContent([{"uid": "a"}, {"uid": "b"}], [2])

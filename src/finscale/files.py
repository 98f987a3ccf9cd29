"""The one place that writes: atomic files, content hashes, the append-only ledger, the locks."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from finscale.errors import RunDirectoryError


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` atomically (see :func:`write_parts_atomic`)."""
    write_parts_atomic(path, [data])


def write_parts_atomic(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts, joined, so that ``path`` holds either the old content or all of the new.

    The bytes go to a temporary file in the same directory, are flushed to the disk, and then take
    the name in one step; the directory entry is flushed too, so the file outlives a power loss.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stream, temporary = _open_temporary(path)
    try:
        with stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
            # It was made private; a finished result is as readable as any other file.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _open_temporary(path: Path) -> tuple[BinaryIO, Path]:
    """Make a temporary file for ``path``, locked for as long as it is open."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        stream = os.fdopen(descriptor, "wb")
        fcntl.flock(stream, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return stream, Path(name)
        stream.close()  # taken for a leftover before it was locked


def move_over(source: Path, target: Path) -> None:
    """Give a file another name in the same directory, if it is there; what had that name goes."""
    with contextlib.suppress(FileNotFoundError):
        source.replace(target)
        _sync_directory(target.parent)


def remove_leftovers(directory: Path) -> None:
    """Remove the temporary files of writes that were cut off.

    Other processes may be writing: the kernel keeps a lock on a file until its writer is gone.
    """
    for file in directory.rglob(".*.tmp"):
        # Being written, in its place by now, or not ours to remove.
        with contextlib.suppress(OSError), file.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text atomically (see :func:`write_bytes_atomic`)."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinities are refused."""
    write_text_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    RunDirectoryError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: cannot be read as JSON ({error})") from error


def canonical_json(value: Any) -> str:
    """Return the one JSON text that equal values share (sorted keys, no spaces, no NaN)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def hash_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON as 64 hexadecimal digits."""
    return hash_bytes(canonical_json(value).encode("utf-8"))


def hash_sources(root: Path, parts: tuple[str, ...]) -> str:
    """Hash the Python files under some parts of a package.

    Parameters
    ----------
    root
        The package's directory.
    parts
        Files or folders below it. Names and contents both count.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        place = root / part
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(b"\0")
            digest.update(file.read_bytes())
            digest.update(b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class LedgerContent:
    """What a ledger holds: whole records in order, and the numbers of damaged lines (from 1).

    Attributes
    ----------
    lines
        The numbers of the records' lines.
    """

    records: list[dict[str, Any]]
    damaged_lines: list[int]
    lines: list[int] = field(default_factory=list, compare=False)


class Ledger:
    """An append-only file of JSON records, one to a line.

    A record is on the disk when :meth:`append` returns. A line torn by a crash is never repaired
    or removed: the next record starts on a fresh line, and readers report the damaged one.
    Appending is safe between processes on one machine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(
        self,
        record: dict[str, Any],
        *,
        key: str = "uid",
        counts: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> bool:
        """Append ``record`` unless the ledger already holds one with the same ``key`` value.

        Parameters
        ----------
        counts
            Whether one that is held is whole, and no reason to leave out the new one if it is not.

        Returns
        -------
        bool
            Whether the record was written.
        """
        line = canonical_json(record).encode("utf-8") + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            written = stream.read()
            held = (one for one in _parse(written).records if one.get(key) == record[key])
            if any(map(counts, held)):
                return False
            stream.write(b"\n" + line if written and not written.endswith(b"\n") else line)
            stream.flush()
            os.fsync(stream.fileno())
        if not written:
            _sync_directory(self.path.parent)
        return True

    def read(self) -> LedgerContent:
        """Return every whole record; a missing ledger is an empty one."""
        try:
            return _parse(self.path.read_bytes())
        except FileNotFoundError:
            return LedgerContent([], [])


def _parse(content: bytes) -> LedgerContent:
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    damaged: list[int] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # no JSON, or brackets in brackets without end
            damaged.append(number)
            continue
        if isinstance(record, dict):
            records.append(record)
            lines.append(number)
        else:
            damaged.append(number)
    return LedgerContent(records, damaged, lines)


def append_line(path: Path, line: str, *, header: str) -> None:
    """Append a line to a table of text, after the header if the table is new.

    Safe between processes on one machine. What a crash tore stays on a line of its own. Nothing is
    flushed to the disk: a power loss may cost the last lines.

    Raises
    ------
    RunDirectoryError
        If the table has another header.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        found = stream.readline()
        if header.encode().startswith(found):
            # Empty, or torn within the header: there is nothing in it yet.
            stream.truncate(0)
            stream.write(f"{header}\n{line}\n".encode())
            return
        if found != f"{header}\n".encode():
            raise RunDirectoryError(f"{path}: has other columns; move it away")
        stream.seek(-1, os.SEEK_END)
        stream.write(b"" if stream.read(1) == b"\n" else b"\n")
        stream.write(f"{line}\n".encode())


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock on ``path`` for the duration; the kernel frees it if we die.

    Raises
    ------
    RunDirectoryError
        If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunDirectoryError(
                f"{path.parent}: another finscale process is working here; "
                "wait for it, stop it, or choose another directory with --out"
            ) from error
        yield


@contextlib.contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock on ``path``, as soon as whoever has it lets go.

    For short work that processes do in turn; :func:`exclusive_lock` refuses instead. The kernel
    frees it if we die.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold an advisory lock on ``path`` if nobody else does; yield whether we hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def reading_lock(path: Path) -> Iterator[None]:
    """Keep writers that take :func:`waiting_lock` out for the duration, and write nothing.

    Where no writer has made the lock's file yet there is nobody to keep out.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            stream = stack.enter_context(path.open("rb"))
            fcntl.flock(stream, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """Open a file that another process appends its output to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        yield stream


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append what finscale logs inside the block to ``path``, a line each with its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("finscale")
    previous_level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous_level)
        handler.close()


def require_writable(directory: Path) -> None:
    """Check that ``directory`` can be made and written, leaving nothing behind.

    Raises
    ------
    RunDirectoryError
        If it cannot.
    """
    nearest = directory
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise RunDirectoryError(f"{nearest}: is a file, not a directory; choose another --out")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise RunDirectoryError(
            f"{nearest}: cannot be written ({error.strerror}); choose another --out"
        ) from error


def utc_now() -> str:
    """Return the time as records carry it: UTC, ISO 8601, to the second."""
    return dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

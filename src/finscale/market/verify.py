"""What is in a catalogue's directory, and whether it is as it was registered. Writes nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import polars as pl

from finscale.errors import DataError
from finscale.files import hash_bytes
from finscale.market.manifest import (
    Entry,
    Problem,
    again,
    content_hash,
    measures,
    place,
    read_manifest,
    read_version,
)
from finscale.market.names import Kind, parse_name

_REMOVE = "delete it"


@dataclass(frozen=True)
class Scan:
    """A catalogue as its directory has it.

    Attributes
    ----------
    entries
        What is registered, by kind, name and version.
    problems
        Damaged manifests, and files that are not registered.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def scan(root: Path) -> Scan:
    """Read every manifest; a damaged one keeps nobody from reading the others."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for kind in get_args(Kind):
        for directory in _inside(root / kind):
            for found in _scan_data_set(root, kind, directory):
                if isinstance(found, Entry):
                    entries.append(found)
                else:
                    problems.append(found)
    return Scan(tuple(entries), tuple(problems))


def check_entries(root: Path, found: Scan, *, code_hash: str | None) -> list[Problem]:
    """Check files and lineage of what is registered."""
    known = {(one.name, one.version): one for one in found.entries}
    problems: list[Problem] = []
    for entry in found.entries:
        problems += _check_files(root, entry)
        problems += _check_lineage(entry, known)
    # An older version was made by older code; that is what versions are for.
    latest = {one.name: one for one in found.entries}
    for entry in latest.values():
        if entry.code_hash is not None and code_hash not in (None, entry.code_hash):
            message = f"{root / entry.file}: was made by other code than the present one"
            fix = "build the data again before comparing it with new ones"
            problems.append(
                Problem(entry.name, entry.version, "stale", message, fix, severity="note")
            )
    return problems


def _inside(directory: Path) -> list[Path]:
    """Return what is in a directory, less what an operating system left there."""
    if not directory.is_dir():
        return []
    return sorted(one for one in directory.iterdir() if not _is_foreign(one))


def _is_foreign(path: Path) -> bool:
    return path.name.startswith(".") and not path.name.endswith(".tmp")


def _scan_data_set(root: Path, kind: Kind, directory: Path) -> Iterator[Entry | Problem]:
    if not directory.is_dir():
        yield _stray(root, kind, directory, directory.name)
        return
    name = directory.name
    try:
        fault = None if parse_name(name).kind == kind else f"is not a name of {kind} data"
    except DataError as error:
        fault = str(error)
    if fault is not None:
        yield Problem(name, None, "name", f"{directory}: {fault}", "move it out of the catalogue")
        return
    suffixes: dict[int, list[str]] = {}
    for file in _inside(directory):
        read = read_version(file.name)
        if read is None:
            yield _stray(root, kind, file, name)
        else:
            suffixes.setdefault(read[0], []).append(read[1])
    for version, present in sorted(suffixes.items()):
        yield from _scan_version(root, kind, directory, version, present)


def _scan_version(
    root: Path, kind: Kind, directory: Path, version: int, suffixes: list[str]
) -> Iterator[Entry | Problem]:
    name = directory.name
    if "json" not in suffixes:
        for suffix in suffixes:
            yield Problem(
                name,
                version,
                "pending",
                f"{directory / f'v{version:04d}.{suffix}'}: present and not registered (the "
                "registration was interrupted)",
                f"{'import or download' if kind == 'raw' else 'build'} the data again (as the "
                f"next version), then {_REMOVE}",
            )
        return
    try:
        yield read_manifest(root, kind, name, version)
    except DataError as error:
        message, _, fix = str(error).rpartition("; ")
        yield Problem(name, version, "manifest", message, fix)


def _stray(root: Path, kind: Kind, path: Path, name: str) -> Problem:
    if path.name.endswith(".tmp"):
        message, fix = "left behind by a write that was interrupted", _REMOVE
    else:
        message = "present and not registered"
        how = f"finscale data import {path} --catalog {root}" if kind == "raw" else "build it"
        fix = f"register the data ({how}), and move the file out of the catalogue"
    return Problem(name, None, "pending", f"{path}: {message}", fix)


def _check_files(root: Path, entry: Entry) -> Iterator[Problem]:
    files = [(entry.file, entry.checksum), (entry.snapshot, entry.snapshot_checksum)]
    for file, checksum in files:
        if file is None:
            continue
        path = root / file
        try:
            data = path.read_bytes()
        except OSError as error:
            message = f"{path}: cannot be read ({error.strerror})"
            yield Problem(
                entry.name, entry.version, "missing_file", message, again(entry.kind, entry.version)
            )
        else:
            if hash_bytes(data) != checksum:
                message = f"{path}: has another checksum than registered"
                yield Problem(
                    entry.name, entry.version, "checksum", message, again(entry.kind, entry.version)
                )
            elif file == entry.file:
                yield from _check_measures(root, entry, data)


def _check_measures(root: Path, entry: Entry, data: bytes) -> Iterator[Problem]:
    """Compare what the manifest says of the data with the data, which are as registered."""
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.PolarsError as error:
        message = f"{root / entry.file}: is no Parquet file ({str(error).strip().splitlines()[0]})"
        yield Problem(
            entry.name, entry.version, "checksum", message, again(entry.kind, entry.version)
        )
        return
    found = {
        **measures(frame),
        "symbol": parse_name(entry.name).symbol,
        "content_hash": content_hash(frame),
    }
    other = [key for key, value in found.items() if getattr(entry, key) != value]
    if other:
        path = root / place(entry.kind, entry.name, entry.version, "json")
        stated = ", ".join(
            f"{key} is {getattr(entry, key)} (of the data {found[key]})" for key in other
        )
        message = f"{path}: does not fit its data: {stated}"
        yield Problem(
            entry.name, entry.version, "manifest", message, again(entry.kind, entry.version)
        )


def _check_lineage(entry: Entry, known: dict[tuple[str, int], Entry]) -> Iterator[Problem]:
    for one in entry.lineage:
        origin = known.get((one["name"], one["version"]))
        label = f"{one['name']} version {one['version']}"
        if origin is None:
            fault = f"{label}, which is not there or is damaged"
        elif origin.checksum != one["checksum"]:
            fault = f"a {label} that had another checksum"
        else:
            continue
        message = f"{entry.file}: was computed from {fault}"
        fix = again(entry.kind, entry.version, "that version")
        yield Problem(entry.name, entry.version, "lineage", message, fix)

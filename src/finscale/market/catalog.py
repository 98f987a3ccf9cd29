"""Versioned data sets on disk: what they are, where they come from, and whether they are intact.

::

    data/
      raw/SPY.OHLCV.daily/        v0001.parquet  v0001.json  v0001.snapshot.csv
      processed/SPY.features.a25/ v0001.parquet  v0001.json

The manifest is written after the data, in one step, and its being there *is* the registration:
data without one belong to a registration that never came to its end. A version is never changed,
and its number never used again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from finscale.errors import DataError
from finscale.files import (
    hash_bytes,
    reading_lock,
    utc_now,
    waiting_lock,
    write_bytes_atomic,
    write_text_atomic,
)
from finscale.market.bars import SCHEMA
from finscale.market.check import validate_bars
from finscale.market.manifest import (
    Entry,
    Problem,
    again,
    content_hash,
    jsonable,
    manifest_text,
    measures,
    place,
    read_manifest,
    read_version,
)
from finscale.market.names import DataName, Kind, bars_name, parse_name
from finscale.market.parquet import to_parquet
from finscale.market.symbol_bars import Finding, SymbolBars
from finscale.market.verify import Scan, check_entries, scan

LOCK_NAME = ".lock"
_RAW_SCALE = "daily"


class Catalog:
    """The data sets below a directory. Several processes may use one at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # Writing

    def register(
        self,
        name: str,
        frame: pl.DataFrame,
        *,
        source: str,
        provenance: Mapping[str, Any],
        warnings: Sequence[Finding] = (),
        lineage: Sequence[Entry] = (),
        code_hash: str | None = None,
        tier: str | None = None,
        snapshot: bytes | None = None,
    ) -> tuple[Entry, bool]:
        """Add the next version of a data set, unless it is there already.

        Parameters
        ----------
        name
            See :func:`finscale.market.names.parse_name`.
        frame
            Raw: valid daily bars, the columns of :data:`finscale.market.bars.SCHEMA`. Processed: a
            column ``date`` and whatever was computed.
        source, provenance, warnings
            See :class:`finscale.market.manifest.Entry`.
        lineage
            The versions it was computed from.
        code_hash
            Of the code that computed it.
        snapshot
            The answer the data were read from, kept beside them.

        Returns
        -------
        tuple
            The entry, and whether it is new. It is not if an intact version has the same values,
            lineage, code hash, tier and treatment (see
            :data:`finscale.market.manifest.TREATMENT`).

        Raises
        ------
        DataError
            If the name or the frame cannot be registered: bars that are invalid, or are to be
            kept as anything but daily ones, cannot.
        """
        parts = parse_name(name)
        frame = _checked(frame, parts, name)
        data = to_parquet(frame)
        entry = Entry(
            name=name,
            version=0,
            kind=parts.kind,
            file="",
            checksum=hash_bytes(data),
            content_hash=content_hash(frame),
            source=source,
            created_at=utc_now(),
            symbol=parts.symbol,
            tier=tier,
            **measures(frame),
            lineage=tuple(
                {"name": one.name, "version": one.version, "checksum": one.checksum}
                for one in lineage
            ),
            code_hash=code_hash,
            provenance=jsonable(provenance),
            warnings=tuple(warnings),
            snapshot=None,
            snapshot_checksum=None if snapshot is None else hash_bytes(snapshot),
        )
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"{self.root}: is a file, not a directory; choose another --catalog")
        with waiting_lock(self.root / LOCK_NAME):
            self.refuse_clash(name)
            same = self._same(entry)
            if same is not None:
                return same, False
            entry = self._numbered(entry, has_snapshot=snapshot is not None)
            if entry.snapshot is not None and snapshot is not None:
                write_bytes_atomic(self.root / entry.snapshot, snapshot)
            write_bytes_atomic(self.root / entry.file, data)
            manifest = self.root / place(entry.kind, name, entry.version, "json")
            write_text_atomic(manifest, manifest_text(entry))
        return entry, True

    def refuse_clash(self, name: str) -> None:
        """Refuse a name that is there in other capitals, or a file in its place.

        Raises
        ------
        DataError
            Naming what is there.
        """
        directory = self.root / parse_name(name).kind / name
        if directory.exists() and not directory.is_dir():
            raise DataError(
                f"{directory}: is a file, where the data set has its directory; move it out of "
                "the catalogue"
            )
        if not directory.parent.is_dir():
            return
        for other in directory.parent.iterdir():
            # On many file systems both would be the same directory.
            if other.name != name and other.name.casefold() == name.casefold():
                raise DataError(
                    f"{self.root}: {name} is there as {other.name}; write it the same way"
                )

    # Reading

    def entry(self, name: str, version: int | None = None) -> Entry:
        """Return what is known of a version; None: of the latest.

        Raises
        ------
        DataError
            If there is none, or its manifest is damaged. A damaged latest version is not passed
            over in silence: whoever wants an older one names it.
        """
        kind = parse_name(name).kind
        known = self._registered(kind, name)
        if not known:
            others = ", ".join(sorted({one.name for one in self.entries()})[:10]) or "nothing yet"
            raise DataError(f"{self.root}: no data set {name}; it holds {others}")
        if version is not None and version not in known:
            there = ", ".join(map(str, known))
            raise DataError(f"{self.root}: {name} has no version {version}; there are {there}")
        chosen = known[-1] if version is None else version
        try:
            return read_manifest(self.root, kind, name, chosen)
        except DataError as error:
            if version is not None or len(known) == 1:
                raise
            older = ", ".join(map(str, known[:-1]))
            raise DataError(f"{error}, or name an older version ({older})") from error

    def read(self, entry: Entry) -> pl.DataFrame:
        """Return the data of a version.

        Raises
        ------
        DataError
            If the file is missing, or is not what was registered.
        """
        path = self.root / entry.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path}: {entry.label} cannot be read ({error.strerror}); "
                f"{again(entry.kind, entry.version)}"
            ) from error
        if hash_bytes(data) != entry.checksum:
            raise DataError(
                f"{path}: {entry.label} has another checksum than registered; "
                f"{again(entry.kind, entry.version)}"
            )
        return pl.read_parquet(io.BytesIO(data))

    def load_bars(self, name: str, version: int | None = None) -> tuple[SymbolBars, Entry]:
        """Return the bars of a raw data set, with all that is known about them.

        Raises
        ------
        DataError
            As :meth:`entry` and :meth:`read`, and if the data set is not one of bars.
        """
        if parse_name(name).kind != "raw":
            raise DataError(f"data set {name}: holds no bars; name one like SPY.OHLCV.daily")
        entry = self.entry(name, version)
        bars = SymbolBars(entry.symbol, self.read(entry), entry.warnings, entry.provenance)
        return bars, entry

    def versions(self, name: str) -> list[Entry]:
        """Return the versions of one data set whose manifests are intact, oldest first."""
        kind, found = parse_name(name).kind, []
        for version in self._registered(kind, name):
            with contextlib.suppress(DataError):
                found.append(read_manifest(self.root, kind, name, version))
        return found

    def entries(self) -> list[Entry]:
        """Return every version whose manifest is intact, by kind, name and version.

        Those that are damaged are in :meth:`verify`.
        """
        return list(self.scan().entries)

    def scan(self) -> Scan:
        """Return what is registered, and what cannot be: damaged manifests and loose files."""
        return scan(self.root)

    def verify(self, *, code_hash: str | None = None) -> list[Problem]:
        """Check names, manifests, files, checksums and lineage; change nothing.

        Parameters
        ----------
        code_hash
            Of the code as it is now: processed data made by another are noted as stale.

        Returns
        -------
        list
            What is wrong, by name and version; empty if nothing is.
        """
        # Under the lock no registration is half done. Checksums may then be taken in peace,
        # because a version never changes.
        with reading_lock(self.root / LOCK_NAME):
            found = self.scan()
        problems = [*found.problems, *check_entries(self.root, found, code_hash=code_hash)]
        return sorted(problems, key=lambda one: (one.name, one.version or 0))

    # Inside

    def _registered(self, kind: Kind, name: str) -> list[int]:
        numbers = self._file_numbers(kind, name)
        return sorted({version for version, suffix in numbers if suffix == "json"})

    def _file_numbers(self, kind: Kind, name: str) -> list[tuple[int, str]]:
        directory = self.root / kind / name
        if not directory.is_dir():
            return []
        found = (read_version(file.name) for file in directory.iterdir())
        return [one for one in found if one is not None]

    def _same(self, wanted: Entry) -> Entry | None:
        """Return the latest intact version that is the same data."""
        for version in reversed(self._registered(wanted.kind, wanted.name)):
            try:
                known = read_manifest(self.root, wanted.kind, wanted.name, version)
                if known.identity() == wanted.identity():
                    self.read(known)
                    return known
            except DataError:
                # A damaged version is replaced by registering the same data again.
                continue
        return None

    def _numbered(self, entry: Entry, *, has_snapshot: bool) -> Entry:
        taken = [version for version, _ in self._file_numbers(entry.kind, entry.name)]
        version = max(taken, default=0) + 1
        return replace(
            entry,
            version=version,
            file=place(entry.kind, entry.name, version, "parquet"),
            snapshot=place(entry.kind, entry.name, version, "snapshot.csv")
            if has_snapshot
            else None,
        )


def _checked(frame: pl.DataFrame, parts: DataName, name: str) -> pl.DataFrame:
    """Return what is to be kept: bars valid, whatever was computed as it is."""
    if frame.is_empty():
        raise DataError(f"data set {name}: no rows; there is nothing to register")
    if parts.kind != "raw":
        return frame
    if parts.variant != _RAW_SCALE:
        raise DataError(
            f"data set {name}: bars are kept as daily ones, and coarser ones made from them; name "
            f"it {bars_name(parts.symbol)}"
        )
    if frame.schema != SCHEMA:
        raise DataError(
            f"data set {name}: its columns are {', '.join(frame.columns)}; give those of bars: "
            f"{', '.join(SCHEMA.names())}"
        )
    symbols = frame["symbol"].unique(maintain_order=True).to_list()
    if symbols != [parts.symbol]:
        raise DataError(
            f"data set {name}: the bars are of {', '.join(map(str, symbols[:5]))}; name the data "
            "set after their symbol"
        )
    return validate_bars(frame, source=f"data set {name}")

"""What the catalogue knows of one version of a data set, and how that is kept in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from finscale.errors import DataError
from finscale.files import canonical_json, hash_bytes
from finscale.market.names import Kind
from finscale.market.symbol_bars import Finding

_FORMAT = 1
_FILE_NAME = re.compile(r"v(\d{4,})\.(parquet|json|snapshot\.csv)")

# What of the provenance tells two versions of equal values apart. The rest is where and when the
# data were fetched, and what was looked at.
TREATMENT = ("prices", "repairs", "scale", "context")


def _origin(value: dict[str, Any]) -> dict[str, Any]:
    kinds = {"name": str, "version": int, "checksum": str}
    if {key: type(one) for key, one in value.items()} != kinds:
        raise ValueError("should have name, version and checksum")
    return value


@dataclass(frozen=True)
class Entry:
    """One registered version of a data set.

    Attributes
    ----------
    name
        ``SPY.OHLCV.daily``.
    version
        1, 2, …; numbers are never used twice, and may have holes.
    file
        The data, relative to the catalogue.
    checksum
        SHA-256 of the file.
    content_hash
        SHA-256 of the values, whatever the encoding of the file.
    source
        Where the data come from, for people: a file's name with its hash, ``Yahoo Finance``.
    created_at
        Time of registration, UTC.
    tier
        Of processed data; None for raw.
    first_date, last_date
        Sessions of the first and the last row, ISO; None where there is no column ``date``.
    lineage
        What it was computed from: name, version and checksum of each.
    code_hash
        Of the code that computed it.
    provenance
        What was done to the data on the way, as given at registration.
    warnings
        What was found odd, and kept.
    snapshot, snapshot_checksum
        The answer the data were read from, as it came, relative to the catalogue; None if it was
        not kept.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    name: str
    version: int
    kind: Kind
    file: str
    checksum: str
    content_hash: str
    source: str
    created_at: str
    symbol: str
    tier: str | None
    n_rows: int
    n_columns: int
    first_date: str | None
    last_date: str | None
    lineage: tuple[Annotated[dict[str, Any], AfterValidator(_origin)], ...]
    code_hash: str | None
    provenance: dict[str, Any]
    warnings: tuple[Finding, ...]
    snapshot: str | None
    snapshot_checksum: str | None

    @property
    def label(self) -> str:
        """``SPY.OHLCV.daily version 2``."""
        return f"{self.name} version {self.version}"

    def as_dict(self) -> dict[str, Any]:
        """Return the entry, JSON-ready; of a warning no more than 20 rows are spelled out."""
        return {
            **asdict(self),
            "lineage": list(self.lineage),
            "warnings": [one.as_dict() for one in self.warnings],
        }

    def identity(self) -> str:
        """Return what two versions share if one is a rebuild of the other."""
        kept = {key: self.provenance.get(key) for key in TREATMENT}
        return canonical_json([self.content_hash, self.lineage, self.code_hash, self.tier, kept])


@dataclass(frozen=True)
class Problem:
    """Something in the catalogue that is not as it was registered.

    Attributes
    ----------
    name, version
        What it is about; the version is None where it is not about one.
    kind
        A word for programs: ``"manifest"``, ``"missing_file"``, ``"checksum"``, ``"lineage"``,
        ``"pending"``, ``"name"``, ``"stale"``.
    message
        What is wrong, with the file.
    fix
        What to do about it.
    severity
        A note is worth knowing and harms nothing.
    """

    name: str
    version: int | None
    kind: str
    message: str
    fix: str
    severity: Literal["error", "note"] = "error"

    def as_dict(self) -> dict[str, Any]:
        """Return the problem, JSON-ready."""
        return asdict(self)


_ENTRY = TypeAdapter(Entry)


def place(kind: Kind, name: str, version: int, suffix: str) -> str:
    """Return the path of one of a version's files, relative to the catalogue."""
    return f"{kind}/{name}/v{version:04d}.{suffix}"


def read_version(file_name: str) -> tuple[int, str] | None:
    """Return version and suffix of a file of the catalogue; None if its name is of another make."""
    match = _FILE_NAME.fullmatch(file_name)
    return (int(match[1]), match[2]) if match and int(match[1]) > 0 else None


def manifest_text(entry: Entry) -> str:
    """Return what the manifest file of an entry holds: JSON, a line for each of its fields."""
    fields = {"format": _FORMAT, **asdict(entry)}
    lines = [f"  {json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in fields.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_manifest(root: Path, kind: Kind, name: str, version: int) -> Entry:
    """Read the manifest of one version.

    Raises
    ------
    DataError
        If it cannot be read, is damaged, or tells of another version.
    """
    path = root / place(kind, name, version, "json")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error}); {again(kind, version)}"
        ) from error
    if not isinstance(value, dict) or value.pop("format", None) != _FORMAT:
        raise DataError(
            f"{path}: not a manifest of format {_FORMAT}; use the finscale that wrote it, or "
            f"{again(kind, version)}"
        )
    try:
        entry = _ENTRY.validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path}: {where}: {first['msg'].lower()}; {again(kind, version)}"
        ) from error
    stated = (entry.kind, entry.name, entry.version, entry.file)
    if stated != (kind, name, version, place(kind, name, version, "parquet")):
        raise DataError(f"{path}: tells of {entry.label} ({entry.file}); {again(kind, version)}")
    return entry


def again(kind: Kind, version: int, lost: str = "it") -> str:
    """Say how lost data are replaced, and that what is left of them has to go."""
    how = "import or download" if kind == "raw" else "build"
    return (
        f"restore {lost} from a backup, or {how} the data again (as the next version) and delete "
        f"v{version:04d}.*"
    )


def jsonable(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as it comes back from its manifest, tuples as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    return plain


def content_hash(frame: pl.DataFrame) -> str:
    """Return a SHA-256 over column names, types and values.

    The same for every encoding, chunking and compression of equal values; one NaN is as good as
    another, and NaN is not null.

    Raises
    ------
    DataError
        If a column holds something other than numbers, text, times and truth values.
    """
    parts = [canonical_json([len(frame), *zip(frame.columns, map(str, frame.dtypes), strict=True)])]
    return hash_bytes(
        b"\0".join([parts[0].encode(), *(_column_digest(column) for column in frame)])
    )


def measures(frame: pl.DataFrame) -> dict[str, Any]:
    """Return what a manifest says of the extent of its data, by the fields of :class:`Entry`."""
    dates = frame["date"] if "date" in frame.columns and len(frame) else None
    return {
        "n_rows": frame.height,
        "n_columns": frame.width,
        "first_date": None if dates is None else str(dates[0]),
        "last_date": None if dates is None else str(dates[-1]),
    }


def _column_digest(column: pl.Series) -> bytes:
    """Return nulls and values as bytes."""
    nulls = np.packbits(column.is_null().to_numpy()).tobytes()
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        return nulls + canonical_json(column.cast(pl.String).to_list()).encode()
    if not (column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean):
        raise DataError(
            f"column {column.name!r} holds {column.dtype}; the catalogue keeps numbers, text and "
            "times"
        )
    values = column.to_physical().fill_null(0 if column.dtype != pl.Boolean else False).to_numpy()
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.array(np.nan, dtype=values.dtype), values)
    return nulls + np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()

"""CSV and Parquet files as tables of cells, before anything is made of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from finscale.errors import DataError
from finscale.files import hash_bytes
from finscale.market.findings import ROW
from finscale.market.layouts import RawTable, count_header_rows

CSV_SUFFIXES = (".csv", ".txt", ".tsv")
_SEPARATORS = ",;\t|"
_EMPTY_LINES = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:[ \t]*\r?\n)+")
_PAIR = re.compile(r"""\(\s*['"](.*)['"]\s*,\s*['"](.*)['"]\s*\)""")


def read_table(path: Path) -> tuple[RawTable, str]:
    """Return a file's header and cells (those of CSV as text), and the file's SHA-256.

    Rows are counted from 1, below the header; those without anything in any cell are counted
    and left out.

    Raises
    ------
    DataError
        If the file is missing, damaged, or neither CSV nor Parquet.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise DataError(f"{path}: a directory; give a .csv or .parquet file in it")
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a .csv or .parquet file")
    if suffix not in {*CSV_SUFFIXES, ".parquet"}:
        raise DataError(f"{path}: cannot tell the format; give a .csv or .parquet file")
    try:
        content = path.read_bytes()
        raw = _read_parquet(content) if suffix == ".parquet" else _read_csv(path, content)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, csv.Error) as error:
        kind = "PARQUET" if suffix == ".parquet" else "CSV"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, pl.exceptions.PanicException):
            reason = "its bytes contradict each other"
        raise DataError(f"{path}: damaged or not {kind} ({reason})") from error
    return raw, hash_bytes(content)


def _read_csv(path: Path, content: bytes) -> RawTable:
    if b"\0" in content[:65536]:
        raise DataError(f"{path}: damaged or not CSV (it is binary, or UTF-16); save it as UTF-8")
    # As a Macintosh once ended lines, and below a title that was emptied.
    content = content if b"\n" in content else content.replace(b"\r", b"\n")
    content = _EMPTY_LINES.sub(b"", content)
    separator = _find_separator(content)
    lines = list(islice(_rows(content, separator), 3))
    n_header = count_header_rows(lines)
    try:
        frame = pl.read_csv(
            content,
            separator=separator,
            infer_schema=False,
            skip_rows_after_header=n_header - 1,
            raise_if_empty=True,
        )
    except pl.exceptions.ComputeError as error:
        _refuse_long_row(path, content, separator, n_header)
        raise error from None
    # The frame's own names are no witness: polars renames a column that is there twice.
    header = tuple(tuple(line) for line in lines[:n_header])
    numbered, n_empty = _number(frame)
    return RawTable(header, numbered, n_empty_rows=n_empty)


def _read_parquet(content: bytes) -> RawTable:
    frame = pl.read_parquet(io.BytesIO(content))
    names = frame.columns
    numbered, n_empty = _number(frame.clone())
    # pandas writes a header of two levels as "('Close', 'SPY')".
    pairs = [_PAIR.fullmatch(name) for name in names]
    single = [at for at, pair in enumerate(pairs) if pair is None]
    if any(pairs) and len(single) == 1:
        header = tuple(
            tuple("" if pair is None else pair[level] for pair in pairs) for level in (1, 2)
        )
        return RawTable(header, numbered, index=single[0], n_empty_rows=n_empty)
    return RawTable((tuple(names),), numbered, n_empty_rows=n_empty)


def _number(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Name columns by position, number rows, leave out empty ones, and say how many they were."""
    frame.columns = [str(at) for at in range(frame.width)]
    filled = [
        pl.col(name).str.strip_chars() != "" if kind == pl.String else pl.col(name).is_not_null()
        for name, kind in frame.schema.items()
    ]
    rows = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW)
    kept = frame.with_columns(rows).filter(pl.any_horizontal(filled))
    return kept, len(frame) - len(kept)


def _find_separator(content: bytes) -> str:
    """Return the separator of the first line, the one that is there most often."""
    line = content[:65536].partition(b"\n")[0].decode("utf-8", errors="replace")
    bare = re.sub(r'"[^"]*"', "", line)
    return max(_SEPARATORS, key=bare.count)


def _rows(content: bytes, separator: str) -> Iterator[list[str]]:
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace", newline="")
    return csv.reader(text, delimiter=separator)


def _refuse_long_row(path: Path, content: bytes, separator: str, n_header: int) -> None:
    """Name the first row that has more cells than the header."""
    rows = _rows(content, separator)
    width = len(next(rows))
    for number, cells in enumerate(islice(rows, n_header - 1, None), start=1):
        if len(cells) > width:
            raise DataError(
                f"{path}: row {number}: {len(cells)} cells under {width} columns; remove what is "
                "too many, write numbers without commas and text with commas in quotes"
            )

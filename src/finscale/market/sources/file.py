"""Bars from a CSV or Parquet file of one's own."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from finscale.errors import DataError
from finscale.market.bars import SCHEMA, validate_bars


def load_file(path: Path, *, symbol: str | None = None) -> pl.DataFrame:
    """Return the bars in a CSV or Parquet file.

    Parameters
    ----------
    path
        A ``.csv`` or ``.parquet`` file with the columns date (ISO: 2018-12-31), open, high, low,
        close and volume, in any case and order; a ``symbol`` column is optional.
    symbol
        The symbol to keep where the file has a ``symbol`` column; else the name to give the bars
        (by default the file's name).

    Raises
    ------
    DataError
        Naming the file, the row and the fix.
    """
    frame = _read(path)
    lower = [name.strip().lower() for name in frame.columns]
    twice = sorted({name for name in lower if lower.count(name) > 1})
    if twice:
        raise DataError(f"{path}: column {', '.join(twice)} is there twice; remove one")
    frame = frame.rename(dict(zip(frame.columns, lower, strict=True)))
    if "symbol" not in frame.columns:
        frame = frame.with_columns(symbol=pl.lit(symbol or path.stem))
    elif symbol is not None:
        known = frame["symbol"].unique(maintain_order=True).to_list()
        frame = frame.filter(pl.col("symbol") == symbol)
        if frame.is_empty():
            raise DataError(
                f"{path}: no symbol {symbol!r}; it holds {', '.join(map(str, known[:10]))}"
            )
    return validate_bars(_cast(frame, path), source=str(path))


def _read(path: Path) -> pl.DataFrame:
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise DataError(f"{path}: cannot tell the format; give a .csv or .parquet file")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check data.path")
    try:
        if suffix == ".csv":
            return pl.read_csv(path, infer_schema=False)
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: damaged or not {suffix[1:].upper()} ({reason})") from error


def _cast(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Cast the columns of the schema, naming the first cell that cannot be."""
    for name, kind in SCHEMA.items():
        if name not in frame.columns or frame[name].dtype == kind:
            continue
        column = frame[name]
        text = column.dtype == pl.String
        if text:
            stripped = column.str.strip_chars()
            column = stripped.set(stripped == "", None)
        cast = (
            column.str.to_date("%Y-%m-%d", strict=False)
            if text and kind == pl.Date
            else (column.cast(kind, strict=False))
        )
        bad = (cast.is_null() & column.is_not_null()).arg_true()
        if len(bad):
            row = int(bad[0])
            wanted = "a date such as 2018-12-31" if kind == pl.Date else "a number"
            raise DataError(f"{path}: row {row + 1}: {name} is {column[row]!r}; give {wanted}")
        frame = frame.with_columns(cast.alias(name))
    return frame

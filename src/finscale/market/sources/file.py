"""Bars from a CSV or Parquet file of one's own."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from finscale.errors import DataError
from finscale.market.bars import SCHEMA
from finscale.market.check import require_columns, validate_bars

_WANTED: dict[pl.DataType, str] = {
    pl.String(): "text",
    pl.Date(): "a date such as 2018-12-31",
    pl.Float64(): "a number",
}


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
    frame, header = _read(path)
    lower = [name.strip().lower() for name in header]
    twice = sorted({name for name in lower if name and lower.count(name) > 1})
    if twice:
        raise DataError(f"{path}: column {', '.join(twice)} is there twice; remove one")
    frame = frame.rename(lambda name: name.strip().lower())
    required = tuple(name for name in SCHEMA if name != "symbol")
    require_columns(frame, required, source=str(path))
    if "symbol" not in frame.columns:
        frame = frame.with_columns(symbol=pl.lit(symbol or path.stem))
    elif symbol is not None:
        symbols = frame["symbol"].cast(pl.String)
        if symbol not in symbols:
            known = symbols.unique(maintain_order=True).to_list()
            raise DataError(
                f"{path}: no symbol {symbol!r}; it holds {', '.join(map(str, known[:10]))}"
            )
        # Rows are counted from here on among those of the symbol, and messages say so.
        frame = frame.filter(symbols == symbol)
        return validate_bars(_cast(frame, f"{path} [{symbol}]"), source=f"{path} [{symbol}]")
    return validate_bars(_cast(frame, str(path)), source=str(path))


def _read(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the table and its column names as the file has them."""
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise DataError(f"{path}: cannot tell the format; give a .csv or .parquet file")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check data.path")
    try:
        if suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False)
            # The frame's own names are no witness: polars renames a column that is there twice.
            first_line = pl.read_csv(path, has_header=False, infer_schema=False, n_rows=1).row(0)
            header = [name or "" for name in first_line]
        else:
            frame = pl.read_parquet(path)
            header = frame.columns
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: damaged or not {suffix[1:].upper()} ({reason})") from error
    return frame, header


def _cast(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Cast the columns of the schema, naming the first cell that cannot be."""
    for name, kind in SCHEMA.items():
        if name not in frame.columns or frame[name].dtype == kind:
            continue
        column = frame[name]
        if not _is_castable(column.dtype, kind):
            raise DataError(f"{source}: column {name} holds {column.dtype}; give {_WANTED[kind]}")
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
            raise DataError(
                f"{source}: row {row + 1}: {name} is {column[row]!r}; give {_WANTED[kind]}"
            )
        frame = frame.with_columns(cast.alias(name))
    return frame


def _is_castable(found: pl.DataType, kind: pl.DataType) -> bool:
    """Tell whether values mean the same after the cast; a number, for one, is no date."""
    if found in (pl.String, pl.Null):
        return True
    if kind == pl.Date:
        return found == pl.Datetime
    if kind == pl.String:
        return found.is_integer() or found in (pl.Categorical, pl.Enum)
    return found.is_numeric()

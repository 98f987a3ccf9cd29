"""Bars from a CSV or Parquet file of one's own, of one symbol or many."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from finscale.errors import DataError
from finscale.market.dates import Dates, read_dates
from finscale.market.findings import ROW, bare, refuse_errors, rows_where
from finscale.market.layouts import arrange
from finscale.market.repair import require_repairs
from finscale.market.sources.inspection import (
    UNREADABLE,
    Inspection,
    Options,
    Prices,
    inspect_symbol,
)
from finscale.market.sources.table import read_table
from finscale.market.symbol_bars import Finding, SymbolBars


def load_file(
    path: Path,
    *,
    symbols: Sequence[str] | None = None,
    layout: str = "auto",
    date_format: str | None = None,
    prices: Prices = "as_given",
    calendar: str | None = "auto",
    repairs: Sequence[str] = (),
    today: dt.date | None = None,
) -> tuple[SymbolBars, ...]:
    """Return the bars in a CSV or Parquet file, one item for each symbol, in the file's order.

    Rows in messages and findings are the file's: counted from 1 below the header (its two or three
    rows, for yfinance's), whatever the order, and over all symbols.

    A file that is strictly newest first is turned round, which is recorded; any other disorder is
    refused. High and low that miss open or close by a millionth of the price or less are taken
    for rounded and widened to hold them, which is counted in the provenance, as are rows in which
    every cell is empty, which are left out. Where there is no column of volume, it is 0.

    Parameters
    ----------
    path
        A ``.csv``, ``.txt`` or ``.tsv`` file (separated by comma, semicolon, tab or bar), or a
        ``.parquet`` one, in one of the layouts of :data:`finscale.market.layouts.LAYOUTS`; names of
        columns in any case and order, further columns are not read.
    symbols
        The symbols to take, by default all; where the file names none, the name to give its bars
        (by default the file's name without its ending).
    layout
        The file's layout, by default the one its header speaks of.
    date_format
        How dates are written, in the codes of ``strftime``; by default what all rows agree on.
    prices
        ``"as_given"``: open, high, low and close as they stand, the adjusted close is not used;
        where the source has adjusted them, ``"adjusted_by_source"`` is recorded, with a warning.
        ``"adjusted"``: all four on the basis of the adjusted close; see
        :func:`finscale.market.adjust.adjust_prices` for what each source's columns mean.
    calendar
        The exchange calendar to look for gaps by, by default
        :func:`finscale.market.calendars.calendar_for` the symbol; None for no such check.
    repairs
        Some of :data:`finscale.market.repair.REPAIRS`, each recorded.
    today
        Bars after it are refused; by default the date in UTC, which is never behind the date of
        a session that is over.

    Raises
    ------
    DataError
        Naming the file, the row with its date, and the fix.
    """
    found = _inspect(path, symbols, layout, date_format, _options(prices, calendar, repairs, today))
    loaded = []
    for place, one in found:
        refuse_errors(one.findings, source=place)
        loaded.append(SymbolBars(one.symbol, one.bars, one.findings, one.provenance))
    return tuple(loaded)


def inspect_file(
    path: Path,
    *,
    symbols: Sequence[str] | None = None,
    layout: str = "auto",
    date_format: str | None = None,
    prices: Prices = "as_given",
    calendar: str | None = "auto",
    repairs: Sequence[str] = (),
    today: dt.date | None = None,
) -> tuple[Inspection, ...]:
    """Return all that is wrong or odd in a file, where :func:`load_file` refuses the first error.

    Parameters as for :func:`load_file`.

    Raises
    ------
    DataError
        If the file cannot be read as a table of bars at all: no such file, a column missing, dates
        that can be read two ways, ….
    """
    found = _inspect(path, symbols, layout, date_format, _options(prices, calendar, repairs, today))
    return tuple(one for _, one in found)


def _options(
    prices: Prices, calendar: str | None, repairs: Sequence[str], today: dt.date | None
) -> Options:
    if prices not in {"as_given", "adjusted"}:
        raise DataError(f"no prices {prices!r}; choose as_given or adjusted")
    require_repairs(repairs)
    # No session that is over has a date after that in UTC, in Auckland neither.
    return Options(prices, calendar, tuple(repairs), today or dt.datetime.now(dt.UTC).date())


def _inspect(
    path: Path,
    symbols: Sequence[str] | None,
    layout: str,
    date_format: str | None,
    options: Options,
) -> Iterator[tuple[str, Inspection]]:
    """Yield each symbol's inspection and what to call it in messages."""
    source = str(path)
    symbols = symbols or None
    raw, sha256 = read_table(path)
    table = arrange(raw, layout=layout, source=source)
    if table.frame.is_empty():
        raise DataError(f"{source}: no rows; give at least a few hundred bars")
    if options.prices == "adjusted" and "adj_close" not in table.names:
        raise DataError(
            f"{source}: no adjusted close to adjust by (found "
            f"{bare([*table.names.values(), *table.ignored])}); take prices as given "
            "(--prices as-given)"
        )
    frame = _with_symbols(table.frame, path, symbols)
    read = read_dates(frame["date"], frame[ROW], date_format=date_format, source=source)
    frame = frame.with_columns(
        date=read.dates, **{UNREADABLE: read.is_unreadable}, date_text=frame["date"].to_physical()
    )
    _refuse_intraday(frame, read, source)
    about_file = {
        "source": "file",
        "file": path.name,
        "sha256": sha256,
        "layout": table.layout.name,
        "ignored_columns": list(table.ignored),
        "n_empty_rows": raw.n_empty_rows,
        "date_form": read.form,
        "date_form_decided_by": read.decided_by,
    }
    parts = frame.partition_by("symbol", maintain_order=True)
    for part in parts:
        symbol = part["symbol"][0]
        if symbols is None or len(parts) == 1 or symbol in symbols:
            place = source if len(parts) == 1 else f"{source} [{bare([symbol])}]"
            found = inspect_symbol(part, place, table, read.form, options)
            yield place, replace(found, provenance={**about_file, **found.provenance})


def _with_symbols(frame: pl.DataFrame, path: Path, symbols: Sequence[str] | None) -> pl.DataFrame:
    """Name every row's symbol, and check that those asked for are there."""
    if "symbol" not in frame.columns:
        if symbols is not None and len(symbols) != 1:
            raise DataError(
                f"{path}: no column symbol, so it holds one symbol; got {len(symbols)} names "
                f"({', '.join(symbols)}), give one"
            )
        return frame.with_columns(symbol=pl.lit(path.stem if symbols is None else symbols[0]))
    kind = frame["symbol"].dtype
    is_text = kind in (pl.String, pl.Null, pl.Categorical) or isinstance(kind, pl.Enum)
    if not (is_text or kind.is_integer()):
        raise DataError(f"{path}: column symbol holds {kind}; give text")
    names = frame["symbol"].cast(pl.String).str.strip_chars()
    names = names.set(names == "", None)
    missing, _ = rows_where(frame.with_columns(date=pl.lit("")), names.is_null())
    if missing:
        fix = "fill it in or drop the row"
        finding = Finding("missing_value", "error", "symbol is missing", fix, missing)
        refuse_errors((finding,), source=str(path))
    known = names.unique(maintain_order=True).to_list()
    for symbol in symbols or ():
        if symbol not in known:
            raise DataError(f"{path}: no symbol {symbol!r}; it holds {bare(known)}")
    return frame.with_columns(symbol=names)


def _refuse_intraday(frame: pl.DataFrame, read: Dates, source: str) -> None:
    """Refuse several times of day on one date."""
    if read.times is not None:
        frame = frame.with_columns(time=read.times)
    if "time" not in frame.columns:
        return
    times = pl.col("time").n_unique().over("symbol", "date")
    several = frame.filter(pl.col("date").is_not_null()).filter(times > 1)
    if len(several):
        date = several["date"][0]
        same = several.filter((pl.col("date") == date) & (pl.col("symbol") == several["symbol"][0]))
        raise DataError(
            f"{source}: row {same[ROW][0]} ({date}): {len(same)} rows of this date at different "
            "times; give daily bars, one row per session"
        )

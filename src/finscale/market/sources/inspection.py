"""The bars of one symbol in a file: read, repaired, adjusted if asked for, and checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from finscale.market.adjust import (
    adjust_prices,
    find_adjusted_by_source,
    find_adjustment_faults,
    find_unnamed_splits,
    find_unused_adjustment,
)
from finscale.market.bars import PRICES, SCHEMA
from finscale.market.calendars import calendar_for
from finscale.market.check import RANGE_TOLERANCE, inspect_bars, needs_rounding, round_range
from finscale.market.dates import UNKNOWN_FORM
from finscale.market.findings import ROW, quoted, rows_where
from finscale.market.layouts import Table
from finscale.market.numbers import read_numbers
from finscale.market.repair import repair_bars
from finscale.market.symbol_bars import Finding

Prices = Literal["as_given", "adjusted"]

# The column that is true where a date cannot be read.
UNREADABLE = "unreadable_date"

_NUMBERS = (*PRICES, "volume")


@dataclass(frozen=True)
class Inspection:
    """What there is to say about the bars of one symbol in a file.

    Attributes
    ----------
    symbol
        Its name.
    n_rows
        Its rows in the file.
    bars
        What is left after repairs: the columns of the schema, valid if no finding is an error.
    findings
        All errors, or all warnings where there are none, with all rows; rows are numbered as in
        the file. What is odd beside errors may well be their doing.
    provenance
        As of :class:`finscale.market.symbol_bars.SymbolBars`.
    """

    symbol: str
    n_rows: int
    bars: pl.DataFrame
    findings: tuple[Finding, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """How a file is to be read, the same for all of its symbols."""

    prices: Prices
    calendar: str | None
    repairs: tuple[str, ...]
    today: dt.date


def inspect_symbol(
    part: pl.DataFrame, place: str, table: Table, date_form: str, options: Options
) -> Inspection:
    """Read, repair and check the rows of one symbol.

    Parameters
    ----------
    part
        Its rows of a table: the fields, row numbers, the date as read and as written
        (``date_text``), and :data:`UNREADABLE`.
    place
        What to call it in messages.
    table
        The whole file.
    date_form
        How its dates were read.
    options
        How to read it.

    Raises
    ------
    DataError
        If a column holds no numbers, or there is no such calendar.
    """
    symbol = part["symbol"][0]
    calendar = calendar_for(symbol) if options.calendar == "auto" else options.calendar
    bars, findings = _read_cells(part, place, date_form, options)
    newest_first = _is_newest_first(bars)
    if newest_first:
        bars = bars.reverse()
    bars, repaired = repair_bars(bars, options.repairs, calendar=calendar, today=options.today)
    bars, about_prices = _put_prices(bars, table, options)
    n_rounded = int(needs_rounding(bars).fill_null(value=False).sum())
    findings = (*findings, *about_prices)
    findings += inspect_bars(bars, calendar=calendar, today=options.today)
    findings = tuple(one for one in findings if one.severity == "error") or findings
    return Inspection(
        symbol,
        len(part),
        round_range(bars).select(SCHEMA.names()),
        findings,
        {
            "symbol": symbol,
            "order": "newest first, reversed" if newest_first else "oldest first",
            "prices": "adjusted_by_source" if table.is_adjusted else options.prices,
            "price_columns": _price_columns(table, options.prices, symbol),
            "calendar": calendar,
            "repairs": [one.as_dict() for one in repaired],
            "n_rows_in_file": len(part),
            "n_dates_without_bar": table.n_empty.get(symbol, 0),
            "range_tolerance": RANGE_TOLERANCE,
            "n_rounded": n_rounded,
        },
    )


def _read_cells(
    part: pl.DataFrame, place: str, date_form: str, options: Options
) -> tuple[pl.DataFrame, tuple[Finding, ...]]:
    """Return a symbol's readable rows, and the cells that cannot be read."""
    used = tuple(one for one in ("adj_close", "split") if one in part.columns)
    findings: tuple[Finding, ...] = ()
    rows, _ = rows_where(part, part[UNREADABLE])
    if rows:
        value = part.filter(pl.col(ROW) == rows[0])["date_text"][0]
        fix = (
            "give dates such as 2018-12-31, or say how they are written (--date-format %d/%m/%y)"
            if date_form == UNKNOWN_FORM
            else f"correct it; the dates of this file are read as {date_form}"
        )
        findings = (Finding("not_a_date", "error", f"date is {quoted(value)}", fix, rows),)
    bars, faults = read_numbers(part, _NUMBERS, source=place)
    bars, of_adjustment = read_numbers(bars, used, source=place)
    findings += faults if options.prices == "as_given" else (*faults, *of_adjustment)
    unreadable = [row for one in findings for row in one.rows]
    columns = ("symbol", "date", *_NUMBERS, *used, ROW)
    return bars.filter(~pl.col(ROW).is_in(unreadable)).select(columns), findings


def _is_newest_first(bars: pl.DataFrame) -> bool:
    days = bars["date"].drop_nulls().diff().drop_nulls().dt.total_days()
    return len(days) > 0 and bool((days < 0).all())


def _put_prices(
    bars: pl.DataFrame, table: Table, options: Options
) -> tuple[pl.DataFrame, tuple[Finding, ...]]:
    """Adjust prices if that is asked for, or say that they could be."""
    if table.is_adjusted:
        return bars, find_adjusted_by_source(can_be_plain=table.layout.name != "yfinance")
    if "adj_close" not in bars.columns:
        return bars, ()
    if options.prices == "as_given":
        return bars, find_unused_adjustment(bars, name=table.names["adj_close"])
    in_prices = table.layout.splits_in_prices
    faults = find_adjustment_faults(bars, splits_in_prices=in_prices, names=table.names)
    # What is wrong is said of the prices as the file has them.
    if faults or any(one.severity == "error" for one in inspect_bars(bars)):
        return bars, faults
    adjusted = adjust_prices(bars, splits_in_prices=in_prices)
    return adjusted, find_unnamed_splits(bars, name=table.names["adj_close"])


def _price_columns(table: Table, prices: Prices, symbol: str) -> str:
    """Say in words where the prices come from."""
    lacking = "; volume 0, the file has none" if table.lacks_volume(symbol) else ""
    if prices == "as_given":
        if lacking:
            return f"open, high, low and close as they stand{lacking}"
        return "open, high, low, close and volume as they stand"
    words = f"open, high, low and close × {table.names['adj_close']} / close"
    if "split" in table.names and not table.layout.splits_in_prices:
        words += f"; volume × the later {table.names['split']}"
    return words + lacking

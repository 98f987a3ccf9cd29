"""The layouts of files with bars, and how each becomes one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from finscale.errors import DataError
from finscale.market.findings import ROW, bare, quoted

REQUIRED = ("date", "open", "high", "low", "close")

_PLAIN: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "name"),
    "date": ("date", "datetime"),
    "time": ("time",),
    **{name: (name,) for name in ("open", "high", "low", "close", "volume")},
}
_YAHOO = {
    **_PLAIN,
    "adj_close": ("adj close", "adjclose", "adjusted close"),
    "split": ("stock splits",),
}


@dataclass(frozen=True)
class Layout:
    """How a kind of file names its columns.

    Attributes
    ----------
    name
        What ``--layout`` takes.
    meaning
        One line for people.
    columns
        Field to the names it goes by, lower case, ``_`` as a blank, without ``.`` and ``*``.
    marks
        Names by which the layout is known; one of them is enough.
    splits_in_prices
        Whether open to close are adjusted for splits in these files already.
    """

    name: str
    meaning: str
    columns: Mapping[str, tuple[str, ...]]
    marks: tuple[str, ...] = ()
    splits_in_prices: bool = True

    def is_marked_in(self, names: Sequence[str]) -> bool:
        """Tell whether a header speaks of the layout."""
        return any(mark in names for mark in self.marks)


LAYOUTS = {
    one.name: one
    for one in (
        Layout(
            "yfinance",
            "yfinance's download: two header rows (Price, Ticker), one or many symbols",
            _YAHOO,
        ),
        Layout(
            "stooq",
            "Stooq: <TICKER>, <PER>, <DATE>, <TIME>, <OPEN>, …, or Date, Open, …",
            {
                "symbol": ("<ticker>",),
                "period": ("<per>",),
                "date": ("<date>", "date"),
                "time": ("<time>",),
                **{name: (f"<{name}>", name) for name in ("open", "high", "low", "close")},
                "volume": ("<vol>", "volume"),
            },
            marks=("<date>",),
        ),
        Layout(
            "alphavantage",
            "Alpha Vantage: timestamp, open, …, adjusted_close, volume, split_coefficient",
            {
                **_PLAIN,
                "date": ("timestamp",),
                "adj_close": ("adjusted close",),
                "split": ("split coefficient",),
            },
            marks=("timestamp", "split coefficient"),
            splits_in_prices=False,
        ),
        Layout(
            "yahoo",
            "Yahoo: Date, Open, High, Low, Close, Adj Close, Volume, Dividends, Stock Splits",
            _YAHOO,
            marks=(*_YAHOO["adj_close"], "dividends", "stock splits", "capital gains"),
        ),
        Layout("plain", "date, open, high, low, close, volume, and symbol for many", _PLAIN),
    )
}

_UNNAMED_INDEX = ("", "index", "unnamed: 0", "index level 0")
_AS_BLANK = str.maketrans({"_": " ", ".": "", "*": ""})
_OF_PRICES = {
    *("open", "high", "low", "close", "volume", "adj close", "dividends", "stock splits"),
    "capital gains",
}


@dataclass(frozen=True)
class RawTable:
    """A file as it is.

    Attributes
    ----------
    header
        The rows of the header, usually one; names as written.
    frame
        The rows below it: columns "0", "1", …, and their numbers, counted from 1, as
        :data:`finscale.market.findings.ROW`.
    index
        The column of dates, under a header of several rows.
    n_empty_rows
        Rows that are left out because no cell of them holds anything.
    """

    header: tuple[tuple[str, ...], ...]
    frame: pl.DataFrame
    index: int = 0
    n_empty_rows: int = 0


@dataclass(frozen=True)
class Table:
    """A file with its columns named by field.

    Attributes
    ----------
    layout
        The file's layout.
    frame
        date, open, high, low, close, volume, row numbers, and where the file has them symbol,
        time, adj_close and split; values as in the file.
    names
        Field to the column's name in the file.
    ignored
        Names of columns that are not read.
    n_empty
        Where symbols stand side by side: on how many dates of the file a symbol has no bar.
    without_volume
        Where symbols stand side by side: those that have no column of volume; theirs is 0.
    is_adjusted
        Whether the source has adjusted the prices. yfinance does so by default (auto_adjust) and
        then writes no adjusted close; its files are known by two header rows or by columns of
        dividends and splits.
    """

    layout: Layout
    frame: pl.DataFrame
    names: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    n_empty: Mapping[str, int] = field(default_factory=dict)
    without_volume: frozenset[str] = frozenset()
    is_adjusted: bool = False

    def lacks_volume(self, symbol: str) -> bool:
        """Tell whether the file has no column of a symbol's volume."""
        return "volume" not in self.names or symbol in self.without_volume


def count_header_rows(lines: Sequence[Sequence[str]]) -> int:
    """Return how many of a CSV file's first lines are its header: 2 or 3 for yfinance's."""
    if len(lines) < 2 or _split_levels(lines[0], lines[1], 0) is None:
        return 1
    third = lines[2] if len(lines) > 2 else ()
    names_index = bool(third) and _clean(third[0]) in _YAHOO["date"] and not any(third[1:])
    return 3 if names_index else 2


def arrange(raw: RawTable, *, layout: str, source: str) -> Table:
    """Name a file's columns by field; volume is 0 where the file has no such column.

    Parameters
    ----------
    raw
        The file.
    layout
        One of :data:`LAYOUTS`, or ``"auto"``: the one that its header speaks of.
    source
        What to call the file in messages.

    Raises
    ------
    DataError
        If the layout is unknown or not the file's, or a column is missing or there twice.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise DataError(f"no layout {layout!r}; choose one of auto, {', '.join(LAYOUTS)}")
    levels = None
    if len(raw.header) > 1:
        levels = _split_levels(raw.header[0], raw.header[1], raw.index)
    if (levels is not None and layout not in {"auto", "yfinance"}) or (
        levels is None and layout == "yfinance"
    ):
        n_rows = "two header rows" if levels is not None else "one header row"
        raise DataError(f"{source}: has {n_rows}, so its layout is not {layout}; leave it out")
    if levels is not None:
        return _stack(raw, *levels, source)
    originals = raw.header[0]
    names = [_clean(name) for name in originals]
    kind = LAYOUTS[layout] if layout != "auto" else _recognise(names)
    at = _find_columns(kind, names, source)
    _require(at, originals, source, kind if layout != "auto" else None)
    frame = _select(raw.frame, at)
    if "period" in at:
        _require_daily(frame, originals[at["period"]], source)
    used = set(at.values())
    ignored = tuple(one.strip() for n, one in enumerate(originals) if n not in used and one.strip())
    is_adjusted = "adj_close" not in at and kind.name == "yahoo" and kind.is_marked_in(names)
    named = {one: originals[n].strip() for one, n in at.items()}
    return Table(kind, frame, named, ignored, is_adjusted=is_adjusted)


def _clean(name: str) -> str:
    """Return a name without what differs between writers: case, ``_``, full stops, footnotes."""
    return " ".join(name.translate(_AS_BLANK).lower().split())


def _recognise(names: Sequence[str]) -> Layout:
    return next(
        (one for one in LAYOUTS.values() if one.is_marked_in(names)),
        LAYOUTS["plain"],
    )


def _find_columns(kind: Layout, names: Sequence[str], source: str) -> dict[str, int]:
    """Return the position of each field that is there."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{source}: column {bare(twice)} is there twice; remove one")
    at: dict[str, int] = {}
    for one, known_as in kind.columns.items():
        found = [name for name in names if name in known_as]
        if len(found) > 1:
            # Beside a symbol, the name is that of the company.
            found = [name for name in found if name != "name"]
        if len(found) > 1:
            raise DataError(f"{source}: columns {', '.join(found)} all give the {one}; keep one")
        if found:
            at[one] = names.index(found[0])
    if "date" not in at:
        unnamed = [n for n, name in enumerate(names) if name in _UNNAMED_INDEX]
        at |= {"date": unnamed[0]} if unnamed else {}
    return at


def _require(
    at: Mapping[str, int],
    originals: Sequence[str],
    source: str,
    chosen: Layout | None,
) -> None:
    missing = [name for name in REQUIRED if name not in at]
    if not missing:
        _refuse_other_volume(at, originals, source)
        return
    # A date and one value, as FRED has them, or bars of which only the close is there.
    only_closes = {"open", "high", "low"} <= {*missing} and (len(originals) == 2 or "close" in at)
    if chosen is None:
        needed = f"needed are {', '.join(REQUIRED)}"
    else:
        names = [chosen.columns[name][0] for name in REQUIRED]
        missing = [chosen.columns[name][0] for name in missing]
        needed = f"the layout {chosen.name} needs {', '.join(names)}"
    found = bare(name.strip().lower() for name in originals) or "none"
    more = "; closes alone make no bars, get a file with open, high and low" if only_closes else ""
    raise DataError(f"{source}: no column {', '.join(missing)}; {needed} (found {found}){more}")


def _refuse_other_volume(at: Mapping[str, int], originals: Sequence[str], source: str) -> None:
    """Refuse volume by a name that is not read: it would be taken for none."""
    if "volume" in at:
        return
    like = [name.strip() for name in originals if _clean(name).strip("<").startswith("vol")]
    if like:
        raise DataError(
            f"{source}: column {bare(like)} is not read; call it volume, or remove it if the "
            "series has no volume"
        )


def _require_daily(frame: pl.DataFrame, name: str, source: str) -> None:
    other = frame.filter(pl.col("period").cast(pl.String).str.strip_chars() != "D")
    if len(other):
        row, value = other[ROW][0], other["period"][0]
        raise DataError(f"{source}: row {row}: {name} is {quoted(value)}; give daily bars (D)")


def _select(frame: pl.DataFrame, at: Mapping[str, int]) -> pl.DataFrame:
    return frame.select(
        *(pl.col(str(column)).alias(one) for one, column in at.items()),
        *([] if "volume" in at else [pl.lit(0.0).alias("volume")]),
        ROW,
    )


def _split_levels(
    first: Sequence[str], second: Sequence[str], index: int
) -> tuple[list[str], list[str]] | None:
    """Return the prices and the symbols of the columns under two header rows, if they are two."""
    rows = [[name.strip() for name in one] for one in (first, second)]
    if len(rows[0]) != len(rows[1]) or len(rows[0]) < 2:
        return None
    if any(_clean(row[index]) in _YAHOO["date"] for row in rows):
        # One row of names, and a first row of cells without a date.
        return None
    for prices, symbols in (rows, rows[::-1]):
        fields = [_clean(name) for name in prices]
        of_prices = all(one in _OF_PRICES for n, one in enumerate(fields) if n != index)
        of_symbols = all(one for n, one in enumerate(symbols) if n != index)
        if of_prices and of_symbols and symbols[index].lower() in {"ticker", "price", ""}:
            return fields, symbols
    return None


def _stack(
    raw: RawTable,
    fields: Sequence[str],
    symbols: Sequence[str],
    source: str,
) -> Table:
    """Put symbols that stand side by side below each other, without the dates one has no bar on."""
    kind = LAYOUTS["yfinance"]
    columns = [n for n in range(len(symbols)) if n != raw.index]
    tickers = list(dict.fromkeys(symbols[n] for n in columns))
    parts, n_empty, without_volume = [], {}, set()
    read: dict[str, int] = {}
    for ticker in tickers:
        own = [n for n in columns if symbols[n] == ticker]
        place = f"{source} [{ticker}]" if len(tickers) > 1 else source
        found = _find_columns(kind, [fields[n] for n in own], place)
        at = {"date": raw.index} | {one: own[n] for one, n in found.items()}
        _require(at, ["date", *(fields[n] for n in own)], place, None)
        part = _select(raw.frame, at).with_columns(symbol=pl.lit(ticker))
        if "volume" not in at:
            without_volume.add(ticker)
        nested = [(name, kind) for name, kind in part.schema.items() if kind.is_nested()]
        if nested:
            raise DataError(f"{place}: column {nested[0][0]} holds {nested[0][1]}; give a number")
        if len(tickers) > 1:
            # Volume that is filled in for want of a column says nothing of a date.
            filled_in = () if "volume" in at else ("volume",)
            cells = pl.exclude("date", "symbol", ROW, *filled_in).cast(pl.String).str.strip_chars()
            there = part.filter(pl.any_horizontal(~cells.fill_null("").is_in(["", "NaN"])))
            n_empty[ticker] = len(part) - len(there)
            part = there
        parts.append(part)
        read |= at
    names = {one: fields[n] for one, n in read.items() if one != "date"}
    ignored = tuple(dict.fromkeys(fields[n] for n in columns if fields[n] not in names.values()))
    frame = pl.concat(parts, how="diagonal_relaxed")
    lacking = frozenset(without_volume)
    return Table(kind, frame, names, ignored, n_empty, lacking, "adj_close" not in names)

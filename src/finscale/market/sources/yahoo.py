"""Daily bars from Yahoo Finance, asked for with patience and looked at before they are believed.

Open, high, low, close and volume are Yahoo's: adjusted for splits. Its ``Adj Close`` is adjusted
for dividends too; ``prices="adjusted"`` brings all prices to it, as from a file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.errors import DataError
from finscale.files import hash_bytes
from finscale.market.bars import PRICES
from finscale.market.calendars import calendar_for, find_sessions
from finscale.market.findings import ROW, refuse_errors
from finscale.market.layouts import LAYOUTS, Table
from finscale.market.names import bars_name
from finscale.market.repair import require_repairs
from finscale.market.sources.inspection import (
    UNREADABLE,
    Inspection,
    Options,
    Prices,
    inspect_symbol,
)
from finscale.market.sources.retry import RateLimitedError, Retrying, TemporaryError
from finscale.market.sources.yahoo_client import (
    Answer,
    Client,
    NoBarsError,
    UnknownSymbolError,
    YFinanceClient,
)
from finscale.market.symbol_bars import Finding, SymbolBars

# Share of the sessions asked for that may be missing. Yahoo's own gaps are below one in a hundred.
MAX_MISSING_FRAC = 0.05
# A session's bar is settled a little after its close: quotes come 15 minutes late.
_SETTLING = dt.timedelta(minutes=30)
_DAY = dt.timedelta(days=1)
# Field to the name Yahoo's files give it.
_COLUMNS = {name: name.title() for name in (*PRICES, "volume")} | {
    "adj_close": "Adj Close",
    "split": "Stock Splits",
}


class PartialAnswerError(TemporaryError):
    """An answer with holes. Asked twice more, Yahoo is believed to have no better one."""

    max_retries = 2


@dataclass(frozen=True)
class Wanted:
    """What an answer should hold.

    Attributes
    ----------
    start, end
        First and last session asked for, both included; None: Yahoo's first, and the last.
    prices, calendar
        As for :func:`download_yahoo`; the calendar is a name or None.
    now
        Time of the request, UTC.
    """

    start: dt.date | None
    end: dt.date | None
    prices: Prices
    calendar: str | None
    now: dt.datetime


@dataclass(frozen=True)
class _Judged:
    """An answer without the bars of unfinished sessions, and what is missing in it."""

    answer: Answer
    table: pl.DataFrame
    unfinished: tuple[Finding, ...]
    missing: tuple[dt.date, ...]
    n_expected: int


def download_yahoo(
    symbol: str,
    *,
    start: dt.date | None = None,
    end: dt.date | None = None,
    prices: Prices = "as_given",
    calendar: str | None = "auto",
    repairs: Sequence[str] = (),
    client: Client | None = None,
    retrying: Retrying | None = None,
    now: dt.datetime | None = None,
) -> tuple[SymbolBars, bytes]:
    """Fetch the daily bars of a symbol.

    An answer with missing prices or sessions is asked for again; what then still is missing is a
    warning, or refused where it is more than :data:`MAX_MISSING_FRAC` of the sessions. The bar of
    a session that is not over yet is left out, with a warning.

    Parameters
    ----------
    symbol
        As Yahoo writes it, in any case: ``SPY``, ``^DJI``, ``BRK-B``.
    start, end
        First and last session, both included; None: all that Yahoo has.
    prices
        ``"adjusted"``: for dividends, by Yahoo's adjusted close.
    calendar
        Exchange calendar to compare the sessions with; ``"auto"``: by the symbol.
    repairs
        Names of :data:`finscale.market.repair.REPAIRS`.
    client
        Who asks Yahoo; by default yfinance.
    retrying
        How it is asked again. Share one between symbols, so that requests keep their distance.
    now
        The time; by default the clock's.

    Returns
    -------
    bars, snapshot
        The second is what Yahoo answered, as the CSV file that Yahoo's own download would be; row
        numbers in warnings are those of its rows.

    Raises
    ------
    DataError
        If the symbol is unknown, Yahoo cannot be reached or does not answer in full, or the bars
        are invalid.
    """
    symbol = symbol.upper()
    bars_name(symbol)
    require_repairs(repairs)
    source = f"Yahoo {symbol}"
    if prices not in {"as_given", "adjusted"}:
        raise DataError(f"no prices {prices!r}; choose as_given or adjusted")
    if start is not None and end is not None and start > end:
        raise DataError(f"{source}: start {start} is after end {end}; give an earlier start")
    wanted = Wanted(
        start,
        end,
        prices,
        calendar_for(symbol) if calendar == "auto" else calendar,
        now or dt.datetime.now(tz=dt.UTC),
    )
    judged, n_asked = _ask(symbol, wanted, client or YFinanceClient(), retrying or Retrying())
    _refuse_gaps(judged, wanted, source)
    found = _inspect(judged.table, symbol, source, wanted, repairs)
    snapshot = judged.answer.table.write_csv().encode()
    provenance = {
        **found.provenance,
        "source": "yahoo",
        "request": {
            "symbol": symbol,
            "start": None if start is None else str(start),
            "end": None if end is None else str(end),
            "interval": "1d",
            "auto_adjust": False,
        },
        "downloaded_at": wanted.now.isoformat(timespec="seconds"),
        "n_requests": n_asked,
        "yfinance_version": judged.answer.library,
        "sha256": hash_bytes(snapshot),
        **judged.answer.about,
    }
    warnings = (*judged.unfinished, *_find_cuts(judged), *found.findings)
    return SymbolBars(symbol, found.bars, warnings, provenance), snapshot


def _ask(symbol: str, wanted: Wanted, client: Client, retrying: Retrying) -> tuple[_Judged, int]:
    """Return the best answer there is, and how often Yahoo was asked."""
    judged: list[_Judged] = []
    stop = None if wanted.end is None else wanted.end + _DAY
    n_asked = 0

    def request() -> _Judged:
        nonlocal n_asked
        n_asked += 1
        answer = client.history(symbol, wanted.start, stop)
        if answer.table.is_empty():
            raise TemporaryError("an empty answer")
        found = _judge(answer, wanted)
        # The same twice in a row is not an accident of the connection: it is what Yahoo has.
        is_last_word = bool(judged) and judged[-1].table.equals(found.table)
        judged.append(found)
        if found.missing and not is_last_word:
            raise PartialAnswerError(f"{len(found.missing)} of {found.n_expected} sessions missing")
        return found

    try:
        return retrying(request, what=f"Yahoo {symbol}")
    except TemporaryError as error:
        if judged:
            return min(judged, key=lambda one: len(one.missing)), n_asked
        raise DataError(_refusal(symbol, error, wanted, n_asked)) from error


def _refusal(symbol: str, error: TemporaryError, wanted: Wanted, n_asked: int) -> str:
    if isinstance(error, UnknownSymbolError):
        return (
            f"Yahoo {symbol}: no such symbol; look it up on finance.yahoo.com (indices begin with "
            "^, as ^DJI, and share classes take a dash, as BRK-B)"
        )
    if isinstance(error, NoBarsError):
        span = f"from {wanted.start or 'the first'} to {wanted.end or 'the last'}"
        return f"Yahoo {symbol}: no bars {span}; give other dates (--start, --end)"
    if isinstance(error, RateLimitedError):
        return f"Yahoo {symbol}: {error} (asked {n_asked} times); wait an hour and run again"
    return f"Yahoo {symbol}: {error} (asked {n_asked} times); check the network and run again"


def _judge(answer: Answer, wanted: Wanted) -> _Judged:
    """Set unfinished sessions apart, and compare the others with those that should be there."""
    over = _last_over(answer, wanted.now)
    dates, has_prices = answer.table["Date"], _has_prices(answer.table)
    numbered = answer.table.with_row_index(ROW, offset=1)
    # Yahoo may give the latest session without prices until it has been settled.
    n_settled = int(has_prices.arg_true()[-1]) + 1 if has_prices.any() else 0
    is_open = (dates > over) | pl.Series(np.arange(len(dates)) >= n_settled)
    unfinished = numbered.filter(is_open)
    findings = (
        Finding(
            "unfinished_session",
            "warning",
            "the session was not over or not settled, and its bar was left out",
            "download it again later",
            tuple(unfinished[ROW]),
            tuple(map(str, unfinished["Date"])),
        ),
    )
    expected = _expected(answer, wanted, over)
    there = dates.filter(has_prices).to_numpy().astype("datetime64[D]")
    holes = dates.filter(~has_prices & ~is_open).to_list()
    missing = {*np.setdiff1d(expected, there).tolist(), *holes}
    return _Judged(
        answer,
        numbered.filter(~is_open),
        findings if len(unfinished) else (),
        tuple(sorted(missing)),
        max(len(expected), int(has_prices.sum())),
    )


def _has_prices(table: pl.DataFrame) -> pl.Series:
    prices = [name.title() for name in PRICES]
    return table.select(pl.all_horizontal(pl.col(prices).is_not_null())).to_series()


def _last_over(answer: Answer, now: dt.datetime) -> dt.date:
    """Return the last day whose session is over."""
    end = answer.session_end
    if end is None:
        return now.date() - _DAY
    return end.date() if now >= end + _SETTLING else end.date() - _DAY


def _expected(answer: Answer, wanted: Wanted, over: dt.date) -> NDArray[np.datetime64]:
    """Return the sessions that a full answer has, as far as a calendar can tell."""
    if wanted.calendar is None:
        return np.empty(0, dtype="datetime64[D]")
    first = max(
        (day for day in (wanted.start, answer.first_trade) if day is not None),
        default=answer.table["Date"][0],
    )
    last = min(day for day in (wanted.end, answer.last_trade, over) if day is not None)
    return find_sessions(wanted.calendar, first, last).dates


def _refuse_gaps(judged: _Judged, wanted: Wanted, source: str) -> None:
    """Refuse an answer of which too much is missing."""
    n_missing = len(judged.missing)
    if judged.table.is_empty():
        raise DataError(f"{source}: no bar of a finished session; download it again later")
    if n_missing > 1 and n_missing > MAX_MISSING_FRAC * judged.n_expected:
        first, last = judged.missing[0], judged.missing[-1]
        dates = judged.table["Date"]
        raise DataError(
            f"{source}: {n_missing} of {judged.n_expected} sessions of {wanted.calendar} from "
            f"{first} to {last} are missing in the answer; run again later, ask for what there is "
            f"(--start {dates[0]} --end {dates[-1]}), or name another calendar (--calendar none)"
        )


def _find_cuts(judged: _Judged) -> tuple[Finding, ...]:
    """List the sessions missing before the first bar and after the last; others are gaps."""
    dates = judged.table["Date"]
    told = {date for one in judged.unfinished for date in one.dates}
    missing = [day for day in judged.missing if str(day) not in told]
    sides = (
        ("late_start", "before the first bar", [day for day in missing if day < dates[0]]),
        ("early_end", "after the last bar", [day for day in missing if day > dates[-1]]),
    )
    return tuple(
        Finding(
            kind,
            "warning",
            f"{len(cut)} session{'' if len(cut) == 1 else 's'} {where} missing",
            "download them again later",
            dates=tuple(map(str, cut)),
        )
        for kind, where, cut in sides
        if cut
    )


def _inspect(
    table: pl.DataFrame, symbol: str, source: str, wanted: Wanted, repairs: Sequence[str]
) -> Inspection:
    """Read the answer as the same table in a file is read, and refuse what is refused there."""
    part = table.rename({name: field for field, name in _COLUMNS.items()}).with_columns(
        pl.lit(symbol).alias("symbol"),
        pl.col("Date").cast(pl.String).alias("date_text"),
        pl.lit(value=False).alias(UNREADABLE),
    )
    part = part.rename({"Date": "date"})
    # Sessions that are not over have been left out, so the last bar is a whole one.
    tomorrow = part["date"].to_list()[-1] + _DAY
    options = Options(wanted.prices, wanted.calendar, tuple(repairs), tomorrow)
    whole = Table(LAYOUTS["yahoo"], part, _COLUMNS)
    found = inspect_symbol(part, source, whole, "Date", options)
    try:
        refuse_errors(found.findings, source=source)
    except DataError as error:
        # Yahoo's rows cannot be corrected, only left out.
        raise DataError(f"{error}, or leave such sessions out (--start, --end)") from error
    return found

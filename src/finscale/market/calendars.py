"""Exchange calendars: on which days there should be a bar."""

from __future__ import annotations

import datetime as dt
import importlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finscale.errors import DataError
from finscale.market.symbol_bars import Finding

DEFAULT_CALENDAR = "XNYS"

# The endings of Yahoo and, where they differ, of Stooq; and the indices everyone knows.
_TRADED_BY = {
    "BVMF": "SA ^BVSP",
    "XAMS": "AS ^AEX",
    "XASX": "AX ^AXJO",
    "XBKK": "BK",
    "XBOM": "BO NS ^BSESN ^NSEI",
    "XBRU": "BR",
    "XBUD": "HU",
    "XBUE": "BA",
    "XCSE": "CO",
    "XDUB": "IR",
    "XETR": "DE ^GDAXI ^STOXX50E",
    "XFRA": "F",
    "XHEL": "HE",
    "XHKG": "HK ^HSI",
    "XICE": "IC",
    "XIDX": "JK",
    "XIST": "IS",
    "XJSE": "JO",
    "XKLS": "KL",
    "XKRX": "KS KQ ^KS11",
    "XLIS": "LS",
    "XLON": "L IL UK ^FTSE",
    "XMAD": "MC ^IBEX",
    "XMEX": "MX ^MXX",
    "XMIL": "MI",
    "XNYS": "US",
    "XNZE": "NZ",
    "XOSL": "OL",
    "XPAR": "PA ^FCHI",
    "XPRA": "PR",
    "XSAU": "SR",
    "XSES": "SI",
    "XSGO": "SN",
    "XSHG": "SS SZ",
    "XSTO": "ST",
    "XSWX": "SW ^SSMI",
    "XTAI": "TW ^TWII",
    "XTKS": "T JP ^N225",
    "XTSE": "TO V ^GSPTSE",
    "XWAR": "WA",
    "XWBO": "VI",
}
_CALENDAR_OF = {one: name for name, those in _TRADED_BY.items() for one in those.split()}
# Athens and Tel Aviv: exchange_calendars 4.13 cannot make these two with pandas 3.
_WITHOUT = ("AT", "TA")
_CRYPTO_QUOTES = ("-USD", "-EUR", "-GBP", "-JPY", "-BTC", "-ETH", "-USDT", "-USDC")


@dataclass(frozen=True)
class Sessions:
    """The sessions of a calendar in an interval, both ends included.

    Attributes
    ----------
    dates
        ``datetime64[D]``, sorted.
    known_from, known_to
        The part of the interval that the calendar knows; before and after it nothing can be said.
        Where it knows no part of it, ``known_from`` is after ``known_to``.
    """

    dates: NDArray[np.datetime64]
    known_from: dt.date
    known_to: dt.date


def calendar_for(symbol: str) -> str | None:
    """Return the calendar that a symbol, written as Yahoo or Stooq do, trades by.

    By the ending (``.L`` is London), by name for the best-known indices (``^N225``), ``24/7`` for
    crypto currencies (``BTC-USD``), ``24/5`` for exchange rates (``EURUSD=X``), none for futures
    (``ES=F``: their rules changed too often) and where the package has no calendar that works, and
    New York for everything else, ``BRK.B`` too.
    """
    name = symbol.upper()
    if name.endswith("=X"):
        return "24/5"
    if name.endswith("=F"):
        return None
    if name.endswith(_CRYPTO_QUOTES):
        return "24/7"
    if "." in name:
        name = name.rpartition(".")[2]
    elif not name.startswith("^"):
        return DEFAULT_CALENDAR
    return None if name in _WITHOUT else _CALENDAR_OF.get(name, DEFAULT_CALENDAR)


def find_sessions(calendar: str, first: dt.date, last: dt.date) -> Sessions:
    """Return the sessions of a calendar from ``first`` to ``last``, both included.

    Parameters
    ----------
    calendar
        A name that the ``exchange_calendars`` package knows: ``XNYS``, ``24/7``, …

    Raises
    ------
    DataError
        If there is no such calendar, or none that works.
    """
    known_from, known_to = _bounds(calendar)
    low, high = max(first, known_from), min(last, known_to)
    if low > high:
        return Sessions(np.empty(0, dtype="datetime64[D]"), low, high)
    # Whole decades, so that the symbols of a panel share a few calendars.
    decade = dt.date(low.year - low.year % 10, 1, 1)
    year_end = dt.date(high.year, 12, 31)
    dates = _all_sessions(calendar, max(decade, known_from), min(year_end, known_to))
    start, stop = np.searchsorted(dates, np.array([low, high + dt.timedelta(1)], "datetime64[D]"))
    return Sessions(dates[start:stop], low, high)


def find_gaps(
    dates: NDArray[np.datetime64], rows: NDArray[np.int64], calendar: str
) -> tuple[Finding, ...]:
    """Compare dates with the sessions between the first and the last of them.

    Parameters
    ----------
    dates
        ``datetime64[D]``, sorted.
    rows
        The row number of each.
    calendar
        See :func:`find_sessions`.

    Raises
    ------
    DataError
        If there is no such calendar.
    """
    first, last = dates[0].item(), dates[-1].item()
    sessions = find_sessions(calendar, first, last)
    low, high = np.datetime64(sessions.known_from), np.datetime64(sessions.known_to)
    checked = (dates >= low) & (dates <= high)
    missing = np.setdiff1d(sessions.dates, dates)
    extra = checked & ~np.isin(dates, sessions.dates)
    findings = []
    if not checked.all():
        findings.append(
            Finding(
                "outside_calendar",
                "warning",
                f"{calendar} is known from {low} to {high} only"
                if low <= high
                else f"{calendar} is not known for these dates",
                "gaps were not looked for outside of it",
                tuple(rows[~checked].tolist()),
                tuple(map(str, dates[~checked])),
            )
        )
    if len(missing):
        findings.append(
            Finding(
                "missing_sessions",
                "warning",
                f"{_count(len(missing), 'session')} of {calendar} without a bar",
                "fetch them, or name the right calendar (--calendar)",
                dates=tuple(map(str, missing)),
            )
        )
    if extra.any():
        findings.append(
            Finding(
                "non_sessions",
                "warning",
                f"no session of {calendar}",
                "check the dates, name the right calendar (--calendar), or drop these rows "
                "(--repair drop_nonsessions)",
                tuple(rows[extra].tolist()),
                tuple(map(str, dates[extra])),
            )
        )
    return tuple(findings)


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _calendars() -> Any:
    # It brings pandas along: 0.4 s, which no command without bars from outside should pay.
    return importlib.import_module("exchange_calendars")


@lru_cache
def _bounds(calendar: str) -> tuple[dt.date, dt.date]:
    """Return the first and the last day that a calendar can say something about."""
    package = _calendars()
    try:
        # Its own code is behind the latest pandas, and says so at length.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = package.get_calendar(calendar)
    except package.errors.InvalidCalendarName as error:
        raise DataError(
            f"no exchange calendar {calendar!r}; name one that exchange_calendars has "
            "(XNYS, XLON, XETR, XTKS, 24/7, …), or none"
        ) from error
    except (NotImplementedError, ValueError) as error:
        raise DataError(
            f"exchange calendar {calendar!r} cannot be made by the exchange_calendars and pandas "
            "installed here; name another, or none"
        ) from error
    low, high = known.bound_min(), known.bound_max()
    return (
        dt.date(1900, 1, 1) if low is None else low.date(),
        dt.date(2100, 1, 1) if high is None else high.date(),
    )


@lru_cache
def _all_sessions(calendar: str, first: dt.date, last: dt.date) -> NDArray[np.datetime64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = _calendars().get_calendar(calendar, start=str(first), end=str(last))
    dates: NDArray[np.datetime64] = known.sessions.to_numpy().astype("datetime64[D]")
    dates.flags.writeable = False
    return dates

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import exchange_calendars
import numpy as np
import pytest

from finscale.errors import DataError
from finscale.market.calendars import (
    _TRADED_BY,
    _bounds,
    calendar_for,
    find_gaps,
    find_sessions,
)

D = dt.date


@pytest.mark.parametrize(
    ("symbol", "calendar"),
    [
        ("SPY", "XNYS"),
        ("T", "XNYS"),
        ("^VIX", "XNYS"),
        ("^DJI", "XNYS"),
        ("BRK.B", "XNYS"),
        ("BRK-B", "XNYS"),
        ("spy.us", "XNYS"),
        ("VOD.L", "XLON"),
        ("SAP.DE", "XETR"),
        ("MC.PA", "XPAR"),
        ("7203.T", "XTKS"),
        ("0700.HK", "XHKG"),
        ("RY.TO", "XTSE"),
        ("BHP.AX", "XASX"),
        ("^N225", "XTKS"),
        ("^GDAXI", "XETR"),
        ("BTC-USD", "24/7"),
        ("eth-eur", "24/7"),
        ("EURUSD=X", "24/5"),
        ("ES=F", None),
        ("OPAP.AT", None),
        ("SP500", "XNYS"),
    ],
)
def test_the_calendar_follows_from_the_symbol(symbol: str, calendar: str | None) -> None:
    assert calendar_for(symbol) == calendar


def test_every_calendar_that_a_symbol_leads_to_exists() -> None:
    names = exchange_calendars.get_calendar_names()
    assert {*_TRADED_BY, "24/7", "24/5"} <= set(names)


@pytest.mark.parametrize(("calendar", "n_days"), [("XETR", 8), ("24/5", 10), ("24/7", 14)])
def test_easter_of_2022(calendar: str, n_days: int) -> None:
    # Good Friday was the 15th of April, Easter Monday the 18th.
    assert len(find_sessions(calendar, D(2022, 4, 11), D(2022, 4, 24)).dates) == n_days


def test_sessions_include_both_ends_and_no_holidays() -> None:
    found = find_sessions("XNYS", D(2001, 9, 10), D(2001, 9, 18))
    # Closed after the attacks.
    assert found.dates.astype(str).tolist() == ["2001-09-10", "2001-09-17", "2001-09-18"]
    assert (found.known_from, found.known_to) == (D(2001, 9, 10), D(2001, 9, 18))
    assert len(find_sessions("XNYS", D(1993, 1, 1), D(1993, 12, 31)).dates) == 253


def test_sessions_are_the_same_however_they_are_asked_for() -> None:
    whole = find_sessions("XNYS", D(1988, 3, 3), D(2021, 4, 5)).dates
    parts = [find_sessions("XNYS", D(1988, 3, 3), D(1999, 12, 31)).dates]
    parts += [find_sessions("XNYS", D(2000, 1, 1), D(2021, 4, 5)).dates]
    assert np.array_equal(np.concatenate(parts), whole)


def test_what_a_calendar_does_not_know_is_said() -> None:
    found = find_sessions("XTKS", D(1990, 1, 1), D(1997, 1, 10))
    assert (found.known_from, found.known_to) == (D(1997, 1, 1), D(1997, 1, 10))
    before = find_sessions("XTKS", D(1990, 1, 1), D(1991, 1, 1))
    assert len(before.dates) == 0
    dates = np.array(["1996-12-30", "1997-01-06", "1997-01-08"], dtype="datetime64[D]")
    outside, missing = find_gaps(dates, np.array([4, 5, 6]), "XTKS")
    assert (outside.kind, outside.rows, outside.dates) == (
        "outside_calendar",
        (4,),
        ("1996-12-30",),
    )
    assert outside.message == "XTKS is known from 1997-01-01 to 1997-01-08 only"
    assert (missing.kind, missing.dates) == ("missing_sessions", ("1997-01-07",))
    [none] = find_gaps(dates[:1], np.array([1]), "XTKS")
    assert none.message == "XTKS is not known for these dates"


def test_gaps_and_bars_on_closed_days() -> None:
    # Independence Day 2024 was a Thursday; the third is missing, the sixth a Saturday.
    dates = np.array(["2024-07-02", "2024-07-04", "2024-07-05", "2024-07-06"], "datetime64[D]")
    missing, extra = find_gaps(dates, np.array([9, 10, 11, 12]), "XNYS")
    assert (missing.kind, missing.rows, missing.dates) == ("missing_sessions", (), ("2024-07-03",))
    assert missing.message == "1 session of XNYS without a bar"
    assert (extra.kind, extra.rows) == ("non_sessions", (10, 12))
    assert extra.dates == ("2024-07-04", "2024-07-06")
    assert find_gaps(dates[:1], np.array([9]), "XNYS") == ()
    [weekend] = find_gaps(dates[1:], np.array([1, 2, 3]), "24/5")
    assert weekend.kind == "non_sessions"
    assert find_gaps(dates[1:], np.array([1, 2, 3]), "24/7") == ()


def test_an_unknown_calendar_is_refused() -> None:
    with pytest.raises(DataError, match="no exchange calendar 'MARS'; name one that"):
        find_sessions("MARS", D(2020, 1, 1), D(2020, 1, 2))


def test_a_calendar_that_the_package_cannot_make_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(name: str) -> None:
        raise NotImplementedError

    monkeypatch.setattr("exchange_calendars.get_calendar", fail)
    _bounds.cache_clear()
    with pytest.raises(DataError, match="exchange calendar 'XLON' cannot be made by the exchange"):
        find_sessions("XLON", D(2020, 1, 1), D(2020, 1, 2))


def test_reading_files_without_a_calendar_does_not_load_the_package() -> None:
    code = (
        "import sys, finscale.market.sources.file\n"
        "sys.exit('exchange_calendars' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Calendar: what the date of a session and of those before it tells.

The next session's date is never used: a holiday to come shows in no feature here. Where a position
in a month is needed, weekdays are counted, Monday to Friday, holidays or not.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from finscale.features.registry import feature
from finscale.market.bars import OHLCV, FloatArray

_FRENCH = "French (1980), J. Financial Economics 8(1), weekend effect"
_BOUMAN = "Bouman & Jacobsen (2002), American Economic Review 92(5), Halloween effect"
_LAKONISHOK = "Lakonishok & Smidt (1988), Review of Financial Studies 1(4)"
_STOLL = "Stoll & Whaley (1987), Financial Analysts Journal 43(2)"
_ARIEL = "Ariel (1990), J. Finance 45(5), holidays"

_Dates = NDArray[np.datetime64]
_Days = NDArray[np.int64]


@feature(
    family="calendar",
    meaning="day of the week, as a sine",
    formula="sin(2 pi d / 7), d = 0 on Monday",
    reference=_FRENCH,
    inputs=["date"],
    lookback_bars=0,
)
def weekday_sine(bars: OHLCV) -> FloatArray:
    """Return the sine of the day of the week."""
    return np.sin(2 * math.pi * _weekday(_days(bars.date)) / 7)


@feature(
    family="calendar",
    meaning="day of the week, as a cosine",
    formula="cos(2 pi d / 7), d = 0 on Monday",
    reference=_FRENCH,
    inputs=["date"],
    lookback_bars=0,
)
def weekday_cosine(bars: OHLCV) -> FloatArray:
    """Return the cosine of the day of the week."""
    return np.cos(2 * math.pi * _weekday(_days(bars.date)) / 7)


@feature(
    family="calendar",
    meaning="time of the year, as a sine",
    formula="sin(2 pi d / D), d = days since 1 January, D = days of the year",
    reference=_BOUMAN,
    inputs=["date"],
    lookback_bars=0,
)
def year_sine(bars: OHLCV) -> FloatArray:
    """Return the sine of the time of the year: 1 at the end of March."""
    return np.sin(2 * math.pi * _part_of_year(bars.date))


@feature(
    family="calendar",
    meaning="time of the year, as a cosine",
    formula="cos(2 pi d / D), d = days since 1 January, D = days of the year",
    reference=_BOUMAN,
    inputs=["date"],
    lookback_bars=0,
)
def year_cosine(bars: OHLCV) -> FloatArray:
    """Return the cosine of the time of the year: 1 at its turn."""
    return np.cos(2 * math.pi * _part_of_year(bars.date))


@feature(
    family="calendar",
    meaning="days since the session before, up to a week",
    formula="min(date_t - date_{{t-1}}, 7 days) / 7 days",
    reference=_FRENCH,
    inputs=["date"],
    lookback_bars=1,
)
def days_since_session(bars: OHLCV) -> FloatArray:
    """Return the calendar days since the last session over 7, in (0, 1]."""
    days = np.full(len(bars), np.nan)
    days[1:] = np.minimum(np.diff(_days(bars.date)), 7) / 7
    return days


@feature(
    family="calendar",
    meaning="weekdays without a session just before this one, up to five",
    formula="min(weekdays between date_{{t-1}} and date_t, 5) / 5",
    reference=_ARIEL,
    inputs=["date"],
    lookback_bars=1,
)
def weekdays_missed(bars: OHLCV) -> FloatArray:
    """Return the holidays that have just ended over 5, in [0, 1]."""
    days = _days(bars.date)
    missed = np.full(len(bars), np.nan)
    missed[1:] = np.minimum(_weekdays_before(days[1:]) - _weekdays_before(days[:-1] + 1), 5) / 5
    return missed


@feature(
    family="calendar",
    meaning="share of days with a session over the last {n} sessions",
    formula="{n} / (days from date_{{t-{n}}} to date_t)",
    reference=_ARIEL,
    inputs=["date"],
    lookback_bars=lambda n: n,
    over=(20,),
)
def session_density(bars: OHLCV, n: int) -> FloatArray:
    """Return sessions per calendar day, in (0, 1]: low after holidays."""
    days = _days(bars.date)
    density = np.full(len(days), np.nan)
    density[n:] = n / (days[n:] - days[: max(len(days) - n, 0)])
    return density


@feature(
    family="calendar",
    meaning="part of the month that is over",
    formula="weekdays of the month up to t / weekdays of the month",
    reference="Ariel (1987), J. Financial Economics 18(1), monthly effect",
    inputs=["date"],
    lookback_bars=0,
)
def month_progress(bars: OHLCV) -> FloatArray:
    """Return the part of the month's weekdays up to and including the session, in [0, 1]."""
    return _progress(bars.date, *_month(bars.date, 1))


@feature(
    family="calendar",
    meaning="part of the quarter that is over",
    formula="weekdays of the quarter up to t / weekdays of the quarter",
    reference="Penman (1987), J. Financial Economics 18(2), earnings and the calendar",
    inputs=["date"],
    lookback_bars=0,
)
def quarter_progress(bars: OHLCV) -> FloatArray:
    """Return the part of the quarter's weekdays up to and including the session, in [0, 1]."""
    return _progress(bars.date, *_month(bars.date, 3))


@feature(
    family="calendar",
    meaning="last weekday of a month or one of the first three of the next",
    formula="1 or 0",
    reference=_LAKONISHOK,
    inputs=["date"],
    lookback_bars=0,
)
def turn_of_month(bars: OHLCV) -> FloatArray:
    """Return whether the session is at the turn of the month."""
    passed, left = _weekdays_in(bars.date, *_month(bars.date, 1))
    return np.asarray((passed <= 3) | (left == 0), dtype=np.float64)


@feature(
    family="calendar",
    meaning="one of the last five weekdays of a year or the first five of the next",
    formula="1 or 0",
    reference=_LAKONISHOK,
    inputs=["date"],
    lookback_bars=0,
)
def turn_of_year(bars: OHLCV) -> FloatArray:
    """Return whether the session is at the turn of the year."""
    passed, left = _weekdays_in(bars.date, *_month(bars.date, 12))
    return np.asarray((passed <= 5) | (left < 5), dtype=np.float64)


@feature(
    family="calendar",
    meaning="week in which the month's stock options expire",
    formula="1 from the Monday before the third Friday of the month to that Friday, else 0",
    reference=_STOLL,
    inputs=["date"],
    lookback_bars=0,
)
def option_expiry_week(bars: OHLCV) -> FloatArray:
    """Return whether the session is in the week of the third Friday."""
    return _in_expiry_week(bars.date).astype(np.float64)


@feature(
    family="calendar",
    meaning="week in which futures and options expire together",
    formula="option_expiry_week in March, June, September and December, else 0",
    reference=_STOLL,
    inputs=["date"],
    lookback_bars=0,
)
def quarterly_expiry_week(bars: OHLCV) -> FloatArray:
    """Return whether the session is in the week of the quarter's expiry."""
    month, _ = _month(bars.date, 1)
    in_quarter_end = month.astype(np.int64) % 3 == 2
    return np.asarray(_in_expiry_week(bars.date) & in_quarter_end, dtype=np.float64)


def _days(date: _Dates) -> _Days:
    return date.astype("datetime64[D]").astype(np.int64)


def _weekday(days: _Days) -> _Days:
    """Return 0 for Monday … 6 for Sunday; day 0, 1 January 1970, was a Thursday."""
    return (days + 3) % 7


def _weekdays_before(days: _Days) -> _Days:
    """Return the number of weekdays, Monday to Friday, before a day, from some fixed Monday on."""
    return (days + 3) // 7 * 5 + np.minimum(_weekday(days), 5)


def _month(date: _Dates, n_months: int) -> tuple[_Dates, _Dates]:
    """Return the first month of each date's block of ``n_months`` in the year, and of the next."""
    month = date.astype("datetime64[M]").astype(np.int64) // n_months * n_months
    return month.astype("datetime64[M]"), (month + n_months).astype("datetime64[M]")


def _weekdays_in(date: _Dates, begin: _Dates, end: _Dates) -> tuple[_Days, _Days]:
    """Return the weekdays of [begin, end) up to and including the date, and those after it."""
    until = _weekdays_before(_days(date) + 1)
    return until - _weekdays_before(_days(begin)), _weekdays_before(_days(end)) - until


def _progress(date: _Dates, begin: _Dates, end: _Dates) -> FloatArray:
    passed, left = _weekdays_in(date, begin, end)
    return passed / (passed + left)


def _part_of_year(date: _Dates) -> FloatArray:
    begin, end = _month(date, 12)
    first = _days(begin)
    return (_days(date) - first) / (_days(end) - first)


def _in_expiry_week(date: _Dates) -> NDArray[np.bool_]:
    first = _days(_month(date, 1)[0])
    third_friday = first + (4 - _weekday(first)) % 7 + 14
    days = _days(date)
    return (days >= third_friday - 4) & (days <= third_friday)

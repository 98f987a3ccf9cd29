from __future__ import annotations

import calendar
import datetime as dt
import math

import numpy as np
import pytest

from finscale.features import calendar as calendar_features
from finscale.features.registry import REGISTRY
from finscale.market.bars import OHLCV, FloatArray
from strategies import make_bars

NAMES = [name for name, one in REGISTRY.items() if one.family == "calendar"]


def on(*dates: str) -> OHLCV:
    flat = np.ones(len(dates))
    return OHLCV(np.array(dates, dtype="datetime64[D]"), flat, flat, flat, flat, flat)


def found(name: str, *dates: str) -> list[float]:
    values: FloatArray = REGISTRY[name].function(on(*dates))
    return [float(one) for one in values]


def test_all_are_registered_here() -> None:
    assert calendar_features.__name__ == "finscale.features.calendar"
    assert len(NAMES) == 13


def test_day_of_the_week() -> None:
    # Monday 1 January 2024 to Sunday 7 January.
    week = [f"2024-01-0{day}" for day in range(1, 8)]
    angles = [2 * math.pi * day / 7 for day in range(7)]
    assert found("weekday_sine", *week) == pytest.approx([math.sin(one) for one in angles])
    assert found("weekday_cosine", *week) == pytest.approx([math.cos(one) for one in angles])
    # Before 1970 too.
    assert found("weekday_cosine", "1969-12-29") == [1.0]


def test_time_of_the_year() -> None:
    # Of 366 days, 91 have passed before 1 April and 183 before 2 July.
    assert found("year_cosine", "2024-01-01", "2024-07-02") == pytest.approx([1.0, -1.0])
    quarter = math.sin(2 * math.pi * 91 / 366)
    assert found("year_sine", "2024-04-01") == pytest.approx([quarter])


def test_days_since_the_session_before() -> None:
    # Thursday, Monday after Good Friday, Tuesday; then a market closed for long.
    days = ("2024-03-28", "2024-04-01", "2024-04-02", "2024-05-02")
    assert np.isnan(found("days_since_session", *days)[0])
    assert found("days_since_session", *days)[1:] == pytest.approx([4 / 7, 1 / 7, 1.0])
    assert found("weekdays_missed", *days)[1:] == pytest.approx([1 / 5, 0.0, 1.0])
    # 11 to 14 September 2001, a Tuesday to a Friday.
    assert found("weekdays_missed", "2001-09-10", "2001-09-17")[1] == pytest.approx(4 / 5)
    assert found("weekdays_missed", "2024-01-05", "2024-01-08", "2024-01-13")[1] == 0.0


def test_sessions_per_day() -> None:
    every_day = np.arange("2024-01-01", "2024-02-01", dtype="datetime64[D]").astype(str).tolist()
    assert found("session_density_20", *every_day)[20:] == [1.0] * 11
    weekdays = [one for one in every_day if np.is_busday(one)]
    # 20 weekdays later is 28 days later.
    assert found("session_density_20", *weekdays)[20] == pytest.approx(20 / 28)


def test_place_in_month_and_quarter() -> None:
    # June 2024 begins on a Saturday, ends on a Sunday, and has 20 weekdays.
    days = ("2024-06-01", "2024-06-03", "2024-06-14", "2024-06-15", "2024-06-28", "2024-06-30")
    assert found("month_progress", *days) == pytest.approx([0, 1 / 20, 10 / 20, 10 / 20, 1, 1])
    # The second quarter of 2024 has 22 + 23 + 20 weekdays.
    expected = [45 / 65, 46 / 65, 55 / 65, 55 / 65, 1, 1]
    assert found("quarter_progress", *days) == pytest.approx(expected)


def test_turns_of_month_and_year() -> None:
    # Weekdays: 31 May is a Friday; June begins on Monday 3.
    days = ("2024-05-30", "2024-05-31", "2024-06-03", "2024-06-05", "2024-06-06")
    assert found("turn_of_month", *days) == [0, 1, 1, 1, 0]
    # The last five weekdays of 2024 begin on Wednesday 25 December, the first end on 7 January.
    days = ("2024-12-24", "2024-12-25", "2024-12-31", "2025-01-07", "2025-01-08")
    assert found("turn_of_year", *days) == [0, 1, 1, 1, 0]


def test_expiry() -> None:
    # Third Fridays: 15 March 2024, 19 April 2024, 21 June 2024.
    days = ("2024-03-08", "2024-03-11", "2024-03-15", "2024-03-18", "2024-04-15", "2024-06-21")
    assert found("option_expiry_week", *days) == [0, 1, 1, 0, 1, 1]
    assert found("quarterly_expiry_week", *days) == [0, 1, 1, 0, 0, 1]


def test_the_calendar_of_the_standard_library_agrees() -> None:
    first = dt.date(1995, 1, 1)
    days = [first + dt.timedelta(days=one) for one in range(12_000)]
    names = ("month_progress", "option_expiry_week", "turn_of_month")
    values = {name: found(name, *[one.isoformat() for one in days]) for name in names}
    # Steps of five days meet every day of the week in turn.
    for row in range(0, len(days), 5):
        day = days[row]
        month = [
            dt.date(day.year, day.month, number)
            for number in range(1, calendar.monthrange(day.year, day.month)[1] + 1)
        ]
        weekdays = [one for one in month if one.weekday() < 5]
        passed = sum(one <= day for one in weekdays)
        assert values["month_progress"][row] == pytest.approx(passed / len(weekdays))
        friday = [one for one in month if one.weekday() == 4][2]
        in_week = day.isocalendar()[:2] == friday.isocalendar()[:2] and day.weekday() < 5
        assert values["option_expiry_week"][row] == in_week
        assert values["turn_of_month"][row] == (passed <= 3 or passed == len(weekdays))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_dates_matter_and_none_after(name: str) -> None:
    world, other = make_bars(60, seed=1), make_bars(60, seed=2)
    moved = OHLCV(world.date, other.open, other.high, other.low, other.close, other.volume)
    function = REGISTRY[name].function
    np.testing.assert_array_equal(function(world), function(moved))
    assert REGISTRY[name].inputs == ("date",)
    for row in range(21, 60, 13):
        assert function(world.head(row + 1))[row] == function(world)[row]


def test_no_two_say_the_same() -> None:
    dates = np.arange("1999-01-01", "2019-01-01", dtype="datetime64[D]")
    world = on(*dates[np.is_busday(dates)].astype(str).tolist())
    # Of weekdays without holidays, two of the features are constant.
    constant = {"weekdays_missed", "session_density_20"}
    values = [REGISTRY[name].function(world)[20:] for name in NAMES if name not in constant]
    correlation = np.corrcoef(values) - np.eye(len(values))
    assert np.abs(correlation).max() < 0.95

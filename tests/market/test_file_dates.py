from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import DataError
from finscale.market.dates import UNKNOWN_FORM, Dates, read_dates

DAYS = [dt.date(2024, 1, 2), dt.date(2024, 1, 13), dt.date(2024, 5, 31), dt.date(2024, 9, 4)]


def read(cells: list[str | None], date_format: str | None = None) -> Dates:
    rows = pl.Series(range(1, len(cells) + 1))
    column = pl.Series(cells, dtype=pl.String)
    return read_dates(column, rows, date_format=date_format, source="x")


def refusal(cells: list[str | None], date_format: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(cells, date_format)
    return str(caught.value)


def offset(day: dt.date) -> str:
    return "-05:00" if day.month < 3 else "-04:00"


@pytest.mark.parametrize(
    ("write", "form"),
    [
        (lambda day: f"{day:%Y-%m-%d}", "%Y-%m-%d"),
        (lambda day: f"{day.year}-{day.month}-{day.day}", "%Y-%m-%d"),
        (lambda day: f"{day:%Y%m%d}", "%Y%m%d"),
        (lambda day: f"{day:%Y/%m/%d}", "%Y/%m/%d"),
        (lambda day: f"{day:%Y.%m.%d}", "%Y.%m.%d"),
        (lambda day: f"{day:%d-%b-%Y}", "%d-%b-%Y"),
        (lambda day: f"{day:%d-%b-%Y}".upper(), "%d-%b-%Y"),
        (lambda day: f"{day.day} {day:%B %Y}", "%d %b %Y"),
        (lambda day: f"{day:%b} {day.day}, {day.year}", "%b %d, %Y"),
        (lambda day: f"{day:%B} {day.day}, {day.year}", "%b %d, %Y"),
        (lambda day: f"{day:%b}. {day.day}, {day.year}", "%b %d, %Y"),
        (lambda day: f"{day:%b  %d %Y}", "%b %d %Y"),
        (lambda day: f"{day:%d/%m/%Y}", "%d/%m/%Y"),
        (lambda day: f"{day:%m/%d/%Y}", "%m/%d/%Y"),
        (lambda day: f"{day.month}/{day.day}/{day.year}", "%m/%d/%Y"),
        (lambda day: f"{day:%d.%m.%Y}", "%d.%m.%Y"),
        (lambda day: f"{day:%m-%d-%Y}", "%m-%d-%Y"),
        (lambda day: f"{day:%Y-%m-%d} 00:00:00{offset(day)}", "%Y-%m-%d"),
        (lambda day: f"{day:%Y-%m-%d}T16:00:00.000{offset(day)}", "%Y-%m-%d"),
        (lambda day: f"{day:%Y-%m-%d} 00:00:00+00:00", "%Y-%m-%d"),
        (lambda day: f"{day:%Y-%m-%d}T00:00:00Z", "%Y-%m-%d"),
        (lambda day: f"{day:%Y-%m-%d} 16:00", "%Y-%m-%d"),
        (lambda day: f"{day.month}/{day.day}/{day.year} 4:00 PM", "%m/%d/%Y"),
    ],
)
def test_common_forms_are_read(write: Callable[[dt.date], str], form: str) -> None:
    found = read([f" {write(day)} " for day in DAYS])
    assert found.dates.to_list() == DAYS
    assert found.form == form
    assert not found.is_unreadable.any()


def test_the_row_that_decides_is_recorded() -> None:
    assert read(["03/04/2024", "12/04/2024", "13/04/2024"]).decided_by == "row 3: 13/04/2024"
    assert read(["04/13/2024", "05/14/2024"]).decided_by == "row 1: 04/13/2024"
    assert read(["2024-04-13"]).decided_by is None


def test_a_form_with_one_meaning_in_every_row_needs_no_decision() -> None:
    assert read(["01/01/2024", "02/02/2024"]).dates.to_list() == [
        dt.date(2024, 1, 1),
        dt.date(2024, 2, 2),
    ]


@pytest.mark.parametrize("mark", ["/", "-", "."])
def test_two_readings_are_refused_with_both(mark: str) -> None:
    day_first, month_first = f"%d{mark}%m{mark}%Y", f"%m{mark}%d{mark}%Y"
    cell = f"03{mark}04{mark}2024"
    assert refusal([f"01{mark}01{mark}2024", cell]) == (
        f"x: row 2: date is {cell!r}, which is 2024-04-03 or 2024-03-04; say which with "
        f"--date-format {day_first} or --date-format {month_first}"
    )
    assert read([cell], day_first).dates.to_list() == [dt.date(2024, 4, 3)]
    assert read([cell], month_first).dates.to_list() == [dt.date(2024, 3, 4)]


@settings(max_examples=50)
@given(days=st.lists(st.dates(dt.date(1950, 1, 1), dt.date(2049, 12, 31)), min_size=1))
def test_a_date_is_never_misread(days: list[dt.date]) -> None:
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        cells: list[str | None] = [f"{day:{form}}" for day in days]
        assert read(cells, form).dates.to_list() == days
        if all(day.day <= 12 for day in days) and any(day.day != day.month for day in days):
            assert "say which with --date-format" in refusal(cells)
        else:
            assert read(cells).dates.to_list() == days


def test_mixed_forms_are_refused() -> None:
    for other in ("20240103", "3 Jan 2024", "2024-01-03 00:00", "01/03/2024"):
        message = refusal(["2024-01-02", "odd", other])
        assert message == (
            f"x: row 3: date is {other!r}, and in row 1 '2024-01-02'; "
            "write all dates in one form, such as 2018-12-31"
        )


def test_cells_that_are_no_dates_are_marked_and_others_read() -> None:
    found = read(["2024-01-02", None, "", " ", "2024-02-30", "soon", "2024-01-03"])
    assert found.dates.to_list() == [DAYS[0], *[None] * 5, dt.date(2024, 1, 3)]
    assert found.is_unreadable.to_list() == [False] * 4 + [True] * 2 + [False]


@pytest.mark.parametrize(
    "cell", ["0024-01-02", "soon", "1/2/24", "1704171600", "2024", "Foo 2 2024"]
)
def test_a_column_without_dates_is_unreadable(cell: str) -> None:
    found = read([cell] * 2)
    assert found.is_unreadable.all()
    assert found.form == ("%Y-%m-%d" if cell.startswith("00") else UNKNOWN_FORM)


def test_a_format_that_does_not_fit_leaves_cells_unreadable() -> None:
    for form in ("%d/%m/%Y", "%Y", "%Q"):
        assert read(["2024-01-02"], form).is_unreadable.all()
    # A year of two digits is no year 24.
    assert read(["01/02/24"], "%d/%m/%Y").is_unreadable.all()


def test_times_in_utc_leave_the_date_open() -> None:
    message = refusal(["2024-07-02 00:00:00Z", "2024-07-02 15:00:00Z"])
    assert message.startswith("x: row 2: date is '2024-07-02 15:00:00Z' in UTC, so the date of")
    # London is at UTC in winter and not in summer: then the offset is that of the exchange.
    found = read(["2024-01-02 16:30:00+00:00", "2024-07-02 16:30:00+01:00"])
    assert found.dates.to_list() == [DAYS[0], dt.date(2024, 7, 2)]
    assert found.times is not None
    assert found.times.to_list() == ["16:30:00"] * 2


@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Tokyo", "UTC"])
def test_datetimes_have_the_date_of_their_zone(zone: str | None) -> None:
    column = pl.Series(DAYS).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    found = read_dates(column, pl.Series(range(4)), date_format=None, source="x")
    assert found.dates.to_list() == DAYS


def test_datetimes_in_utc_off_midnight_are_refused() -> None:
    column = pl.Series([dt.datetime(2024, 1, 2, 15, tzinfo=dt.UTC)])
    with pytest.raises(DataError) as caught:
        read_dates(column, pl.Series([7]), date_format=None, source="x")
    assert str(caught.value) == (
        "x: row 7: date is '2024-01-02 15:00:00+00:00' in UTC, so the date of the session cannot "
        "be told; write dates, or convert it to the exchange's time zone"
    )


def test_another_type_is_no_date() -> None:
    with pytest.raises(DataError, match="x: column date holds Int64; give a date such as 2018"):
        read_dates(pl.Series([20240102]), pl.Series([1]), date_format=None, source="x")

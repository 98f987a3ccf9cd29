"""Dates as people write them: one form per file, and none that could be read two ways."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import NoReturn

import polars as pl

from finscale.errors import DataError
from finscale.market.findings import quoted

# What the form is called where no cell of a column looks like a date.
UNKNOWN_FORM = "unknown"

_MONTHS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    "sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_MON = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
# How each form is written, and how it looks once month names are cut to three letters.
_FORMS = (
    ("%Y-%m-%d", r"^\d{4}-\d{1,2}-\d{1,2}$"),
    ("%Y%m%d", r"^\d{8}$"),
    ("%Y/%m/%d", r"^\d{4}/\d{1,2}/\d{1,2}$"),
    ("%Y.%m.%d", r"^\d{4}\.\d{1,2}\.\d{1,2}$"),
    ("%d-%b-%Y", rf"^\d{{1,2}}-{_MON}-\d{{4}}$"),
    ("%d %b %Y", rf"^\d{{1,2}} {_MON} \d{{4}}$"),
    ("%b %d, %Y", rf"^{_MON} \d{{1,2}}, \d{{4}}$"),
    ("%b %d %Y", rf"^{_MON} \d{{1,2}} \d{{4}}$"),
    ("%Y-%b-%d", rf"^\d{{4}}-{_MON}-\d{{1,2}}$"),
    ("%d/%m/%Y", r"^\d{1,2}/\d{1,2}/\d{4}$"),
    ("%d-%m-%Y", r"^\d{1,2}-\d{1,2}-\d{4}$"),
    ("%d.%m.%Y", r"^\d{1,2}\.\d{1,2}\.\d{4}$"),
)
_TWO_WAYS = ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y")
_TIMED = (
    r"^(?P<day>.+?)(?:[T ]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?)"
    r" ?(?P<offset>Z|UTC|[+-]\d{2}:?\d{2})?)?$"
)
_MIDNIGHT = r"^0?0:00(:00(\.0+)?)?$"
_FIRST_DAY, _END_DAY = dt.date(1700, 1, 1), dt.date(9999, 12, 31)
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_UTC = r"(Etc/)?(UTC|UCT|GMT([+-]?0)?|Greenwich|Universal|Zulu)|[+-]00:?00"
_UTC_FIX = "the date of the session cannot be told"


@dataclass(frozen=True)
class Dates:
    """A column of dates, read.

    Attributes
    ----------
    dates
        Null where the cell is empty or unreadable, or its date is before 1700 or after 9999.
    is_unreadable
        True where the cell holds something that is not a date of the column's form.
    times
        The time of day as it was written, where there is one.
    form
        How the dates were read: ``%d/%m/%Y``, the column's type, or :data:`UNKNOWN_FORM`.
    decided_by
        The cell that told day from month, where one had to.
    """

    dates: pl.Series
    is_unreadable: pl.Series
    times: pl.Series | None
    form: str
    decided_by: str | None = None


def read_dates(
    column: pl.Series, rows: pl.Series, *, date_format: str | None, source: str
) -> Dates:
    """Read a column of dates, text or typed.

    A date with a time and an offset is the date as written: that of the exchange, where the
    offset is the exchange's.

    Parameters
    ----------
    column
        Text, dates or datetimes.
    rows
        The row number of each cell.
    date_format
        How to read text, in the codes of ``strftime``; by default one form that all cells share.
    source
        What to call the data in messages.

    Raises
    ------
    DataError
        If the column holds something else, mixed forms, a form that can be read two ways, or
        times in UTC that leave the session's date open; naming row, value and fix.
    """
    if isinstance(column.dtype, pl.Datetime):
        return _from_datetimes(column, rows, source)
    if column.dtype in (pl.Date, pl.Null):
        dates, is_far = _without_far_days(column.cast(pl.Date), 1)
        return Dates(dates, is_far, None, "date")
    if column.dtype != pl.String:
        raise DataError(
            f"{source}: column date holds {column.dtype}; give a date such as 2018-12-31"
        )
    text = column.str.strip_chars().str.replace_all(r"\s+", " ")
    text = text.set(text == "", None)
    cells = _Cells(text, rows, source)
    if date_format is not None and "%" not in date_format:
        raise DataError(f"date format {date_format!r} has no codes; write one such as %d/%m/%Y")
    if date_format is not None:
        return cells.result(_by_format(cells.unique, date_format), date_format)
    return _by_form(cells)


@dataclass(frozen=True)
class _Cells:
    """The cells of a column; what repeats in a file of many symbols is looked at once."""

    text: pl.Series
    rows: pl.Series
    source: str

    @property
    def unique(self) -> pl.Series:
        return self.text.drop_nulls().unique(maintain_order=True).alias("text")

    def row_of(self, text: str) -> int:
        return int(self.rows[(self.text == text).arg_max() or 0])

    def refuse(self, text: str, message: str) -> NoReturn:
        raise DataError(f"{self.source}: row {self.row_of(text)}: date is {quoted(text)}{message}")

    def result(
        self,
        dates: pl.Series,
        form: str,
        times: pl.Series | None = None,
        decided: str | None = None,
    ) -> Dates:
        """Carry what was found for the unique cells to all of them."""
        dates = dates.set((dates < _FIRST_DAY).fill_null(value=False), None)
        columns = [self.unique, dates.alias("date")]
        found = pl.DataFrame(columns if times is None else [*columns, times.alias("time")])
        table = pl.DataFrame({"text": self.text}).join(
            found, on="text", how="left", maintain_order="left"
        )
        return Dates(
            table["date"],
            table["date"].is_null() & table["text"].is_not_null(),
            None if times is None else table["time"],
            form,
            None if decided is None else f"row {self.row_of(decided)}: {decided}",
        )


def _by_format(unique: pl.Series, date_format: str) -> pl.Series:
    try:
        return unique.str.to_date(date_format, strict=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"date format {date_format!r} cannot be used; write one such as %d/%m/%Y"
        ) from error


def _by_form(cells: _Cells) -> Dates:
    parts = cells.unique.str.extract_groups(_TIMED).struct.unnest().with_columns(text=cells.unique)
    # "September 2, 2024" → "sep 2, 2024"; other words stay, and fit no form.
    day = pl.col("day").str.to_lowercase().str.replace(rf"\b({_MONTHS})\.?\b", "<$1>")
    day = day.str.replace(r"<([a-z]{3})[a-z]*>\.?", "$1")
    form = pl.coalesce(
        pl.when(pl.col("day").str.contains(look)).then(pl.lit(code)) for code, look in _FORMS
    )
    parts = parts.with_columns(day=day).with_columns(form=form)
    written = parts.filter(pl.col("form").is_not_null())
    if written.is_empty():
        nothing = pl.Series([None] * len(parts), dtype=pl.Date)
        return cells.result(nothing, UNKNOWN_FORM)
    _refuse_mixed(cells, written)
    _refuse_utc(cells, written)
    code = written["form"][0]
    decided = None
    if code in _TWO_WAYS:
        code, decided = _day_or_month_first(cells, written, code)
    same_form = pl.when(pl.col("form").is_not_null()).then(pl.col("day"))
    dates = parts.select(same_form.str.to_date(code, strict=False)).to_series()
    times = parts["time"] if written["time"][0] is not None else None
    return cells.result(dates, code, times, decided)


def _refuse_mixed(cells: _Cells, written: pl.DataFrame) -> None:
    first = written.row(0, named=True)
    is_timed = pl.col("time").is_not_null()
    other = written.filter(
        (pl.col("form") != first["form"]) | (is_timed != (first["time"] is not None))
    )
    if len(other):
        cells.refuse(
            other["text"][0],
            f", and in row {cells.row_of(first['text'])} {quoted(first['text'])}; "
            "write all dates in one form, such as 2018-12-31",
        )


def _refuse_utc(cells: _Cells, written: pl.DataFrame) -> None:
    """Refuse times in UTC: midnight in Tokyo is the day before there, and bars would move."""
    is_utc = pl.col("offset").is_in(["Z", "UTC", "+00:00", "-00:00", "+0000", "-0000"])
    off_midnight = written.filter(~pl.col("time").str.contains(_MIDNIGHT))
    if written.select(is_utc.fill_null(value=False).all()).item() and len(off_midnight):
        has_colon = ":" in off_midnight["offset"][0]
        form = f"%Y-%m-%d %H:%M:%S{'%:z' if has_colon else '%z'}"
        cells.refuse(
            off_midnight["text"][0],
            f" in UTC, so {_UTC_FIX}; write dates, or the exchange's own time, or say with "
            f"--date-format '{form}' that the date as written is meant",
        )


def _day_or_month_first(
    cells: _Cells, written: pl.DataFrame, day_first: str
) -> tuple[str, str | None]:
    """Return the form that all cells allow, and the first cell that allows no other."""
    month_first = day_first.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m")
    both = written.select(
        "text",
        day=pl.col("day").str.to_date(day_first, strict=False),
        month=pl.col("day").str.to_date(month_first, strict=False),
    )
    only_day = both.filter(pl.col("month").is_null() & pl.col("day").is_not_null())["text"]
    only_month = both.filter(pl.col("day").is_null() & pl.col("month").is_not_null())["text"]
    if len(only_day) and len(only_month):
        cells.refuse(
            only_month[0],
            f", and in row {cells.row_of(only_day[0])} {quoted(only_day[0])}: month first and day "
            "first; write all dates in one form, such as 2018-12-31",
        )
    if len(only_day):
        return day_first, only_day[0]
    if len(only_month):
        return month_first, only_month[0]
    differ = both.filter(pl.col("day") != pl.col("month"))
    if len(differ):
        one = differ.row(0, named=True)
        cells.refuse(
            one["text"],
            f", which is {one['day']} or {one['month']}; say which with "
            f"--date-format {day_first} or --date-format {month_first}",
        )
    return day_first, None


def _from_datetimes(column: pl.Series, rows: pl.Series, source: str) -> Dates:
    unit, zone = (getattr(column.dtype, name, None) for name in ("time_unit", "time_zone"))
    column, is_far = _without_far_days(column, _PER_DAY[unit or "us"])
    times = column.dt.time()
    if zone is not None and re.fullmatch(_UTC, zone):
        moved = (times != dt.time()).fill_null(value=False)
        if moved.any():
            at = moved.arg_max() or 0
            raise DataError(
                f"{source}: row {rows[at]}: date is {str(column[at])!r} in UTC, so {_UTC_FIX}; "
                "write dates, or convert it to the exchange's time zone"
            )
    form = "datetime" if zone is None else f"datetime [{zone}]"
    return Dates(column.dt.date(), is_far, times, form)


def _without_far_days(column: pl.Series, per_day: int) -> tuple[pl.Series, pl.Series]:
    """Return typed dates without those that no calendar has, and where they were.

    They are compared as the numbers that they are kept as: most have no year in Python.
    """
    first, end = ((day - dt.date(1970, 1, 1)).days for day in (_FIRST_DAY, _END_DAY))
    days = column.to_physical() // per_day
    is_far = ((days < first) | (days >= end)).fill_null(value=False)
    kept = pl.DataFrame({"date": column, "is_far": is_far})
    return kept.select(pl.when(~pl.col("is_far")).then("date")).to_series(), is_far

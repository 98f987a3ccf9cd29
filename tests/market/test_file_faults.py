"""Each fault has a file, and each file its message: place, value and fix on one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from market_files import FIXTURES, TODAY, load_one, refusal

from finscale.market.findings import describe_findings
from finscale.market.sources.file import inspect_file, load_file

_BODY = "correct the bar, and use all raw or all adjusted prices, or --repair clip_range"
_LONG = "remove what is too many, write numbers without commas and text with commas in quotes"
HEADER = "Date,Open,High,Low,Close,Volume"
FAULTS = {
    "column_twice.csv": ": column close is there twice; remove one",
    "day_or_month.csv": (
        ": row 1: date is '02/01/2024', which is 2024-01-02 or 2024-02-01; say which with "
        "--date-format %d/%m/%Y or --date-format %m/%d/%Y"
    ),
    "decimal_comma.csv": (
        ": row 1 (2024-01-02): open is '472,16' (and 5 more rows); "
        "write it with a decimal point (472.16)"
    ),
    "decimal_comma_unquoted.csv": f": row 1: 10 cells under 6 columns; {_LONG}",
    "dots_of_thousands.csv": (
        ": row 2 (2024-01-03): volume is '103.585.900'; write it without separators (103585900)"
    ),
    "empty.csv": ": damaged or not CSV (empty CSV)",
    "first_date_missing.csv": ": row 1: date is missing; fill it in or drop the row",
    "future.csv": (
        ": row 6 (2042-01-09): date is after today (2024-12-31); "
        "correct it or drop the row (--repair drop_future)"
    ),
    "header_only.csv": ": no rows; give at least a few hundred bars",
    "high_below_close.csv": f": row 5 (2024-01-08): high is below open or close; {_BODY}",
    "high_below_low.csv": ": row 5 (2024-01-08): high is below low; correct the bar",
    "infinite_price.csv": (
        ": row 2 (2024-01-03): close is not a finite number; correct it or drop the row"
    ),
    "intraday.csv": (
        ": row 1 (2024-01-02): 2 rows of this date at different times; "
        "give daily bars, one row per session"
    ),
    "long_row.csv": f": row 4: 8 cells under 6 columns; {_LONG}",
    "low_above_open.csv": f": row 1 (2024-01-02): low is above open or close; {_BODY}",
    "missing_date.csv": ": row 3: date is missing; fill it in or drop the row",
    "missing_symbol.csv": ": row 4: symbol is missing; fill it in or drop the row",
    "missing_volume.csv": (
        ": row 3 (2024-01-04): volume is missing; "
        "fill it in or drop the row, or set it to 0 (--repair fill_volume)"
    ),
    "mixed_dates.csv": (
        ": row 4: date is 'Jan 5 2024', and in row 1 '2024-01-02'; "
        "write all dates in one form, such as 2018-12-31"
    ),
    "mixed_day_and_month.csv": (
        ": row 3: date is '01/15/2024', and in row 1 '13/01/2024': month first and day first; "
        "write all dates in one form, such as 2018-12-31"
    ),
    "nan_price.csv": (
        ": row 2 (2024-01-03): close is not a finite number; "
        "correct it or drop the row (--repair drop_missing)"
    ),
    "negative_price.csv": (": row 3 (2024-01-04): low is not positive; correct it or drop the row"),
    "negative_volume.csv": (
        ": row 3 (2024-01-04): volume is negative; correct it; use 0 where none was traded"
    ),
    "no_dates.csv": ": row 1: date is missing (and 5 more rows); fill it in or drop the row",
    "not_a_date.csv": (
        ": row 4: date is '2024-02-30'; correct it; the dates of this file are read as %Y-%m-%d"
    ),
    "not_a_number.csv": ": row 3 (2024-01-04): close is 'ten'; give a number",
    "not_utf8.csv": ": damaged or not CSV (invalid utf-8 sequence)",
    "null_prices.csv": (
        ": row 2 (2024-01-03): open is missing (and 1 more row); "
        "fill it in or drop the row (--repair drop_missing)"
    ),
    "one_of_many.csv": " [DIA]: row 4 (2024-01-03): close is 'oops'; give a number",
    "repeated_row.csv": (
        ": row 4 (2024-01-04): the row above is there again; "
        "drop the row (--repair drop_duplicates)"
    ),
    "same_date.csv": (
        ": row 4 (2024-01-04): date is the same as in the row above; keep one row per session"
    ),
    "short_row.csv": (
        ": row 4 (2024-01-05): high is missing; fill it in or drop the row (--repair drop_missing)"
    ),
    "stooq_5_minutes.txt": ": row 1: <PER> is '5'; give daily bars (D)",
    "thousands.csv": (
        ": row 1 (2024-01-02): volume is '123,623,700' (and 5 more rows); "
        "write it without separators (123623700)"
    ),
    "thousands_or_decimal.csv": (
        ": row 2 (2024-01-03): close is '1,234'; "
        "write it without the comma (1234), or with a decimal point"
    ),
    "two_digit_years.csv": (
        ": row 1: date is '01/02/24' (and 5 more rows); give dates such as 2018-12-31, "
        "or say how they are written (--date-format %d/%m/%y)"
    ),
    "two_names.csv": ": columns symbol, ticker all give the symbol; keep one",
    "unsorted.csv": (
        ": row 3 (2024-01-04): date is before the row above (and 1 more row); "
        "sort the rows by date, oldest first (--repair sort)"
    ),
    "utc_times.csv": (
        ": row 1: date is '2024-01-02 15:00:00+00:00' in UTC, so the date of the session cannot "
        "be told; write dates, or the exchange's own time, or say with "
        "--date-format '%Y-%m-%d %H:%M:%S%:z' that the date as written is meant"
    ),
    "zero_price.csv": ": row 3 (2024-01-04): open is not positive; correct it or drop the row",
}
OF_ADJUSTING = {
    "adj_close_missing.csv": (
        ": row 3 (2024-01-04): Adj Close is not a positive number; "
        "fill it in, drop the row, or take prices as given (--prices as-given)"
    ),
    "split_in_prices.csv": (
        ": row 3 (2024-01-05): split_coefficient is 4 and prices are adjusted for it, contrary to "
        "the layout; name the file's layout (--layout), or take prices as given (--prices as-given)"
    ),
    "split_not_in_prices.csv": (
        ": row 4 (2024-01-05): Stock Splits is 4 and prices are not adjusted for it, contrary to "
        "the layout; name the file's layout (--layout), or take prices as given (--prices as-given)"
    ),
}
# The fix that each message names, and how many rows are left.
REPAIRED = {
    "future.csv": (["drop_future"], 5),
    "high_below_close.csv": (["clip_range"], 6),
    "low_above_open.csv": (["clip_range"], 6),
    "missing_volume.csv": (["fill_volume"], 6),
    "nan_price.csv": (["drop_missing"], 5),
    "null_prices.csv": (["drop_missing"], 4),
    "repeated_row.csv": (["drop_duplicates"], 6),
    "short_row.csv": (["drop_missing"], 3),
    "unsorted.csv": (["sort"], 6),
}


def test_every_file_has_its_message() -> None:
    files = {path.name for path in (FIXTURES / "faults").iterdir()}
    assert files == set(FAULTS) | set(OF_ADJUSTING)


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_is_refused_with_file_row_date_and_fix(name: str) -> None:
    assert refusal(FIXTURES / "faults" / name) == FAULTS[name]


@pytest.mark.parametrize("name", list(OF_ADJUSTING))
def test_a_fault_of_adjusting_is_refused_only_when_prices_are_adjusted(name: str) -> None:
    path = FIXTURES / "faults" / name
    assert refusal(path, prices="adjusted") == OF_ADJUSTING[name]
    assert len(load_one(path, prices="as_given").bars) >= 5


def test_every_message_that_names_a_repair_is_right() -> None:
    named = {name for name, text in FAULTS.items() if "--repair" in text}
    assert named == set(REPAIRED)


@pytest.mark.parametrize("name", list(REPAIRED))
def test_the_repair_that_is_named_helps(name: str) -> None:
    repairs, n_rows = REPAIRED[name]
    loaded = load_one(FIXTURES / "faults" / name, repairs=repairs)
    assert len(loaded.bars) == n_rows
    [record] = loaded.provenance["repairs"]
    assert record["n_rows"] > 0


def test_the_format_that_is_named_helps() -> None:
    faults = FIXTURES / "faults"
    for name, form, months in (
        ("day_or_month.csv", "%d/%m/%Y", {1}),
        ("day_or_month.csv", "%m/%d/%Y", {2, 3, 4, 5, 8, 9}),
        ("two_digit_years.csv", "%m/%d/%y", {1}),
        ("utc_times.csv", "%Y-%m-%d %H:%M:%S%:z", {1}),
    ):
        loaded = load_one(faults / name, date_format=form)
        assert set(loaded.bars["date"].dt.month()) == months
        assert loaded.provenance["date_form"] == form


def test_volume_is_0_for_the_symbol_that_lacks_it() -> None:
    dia, spy = load_file(FIXTURES / "odd" / "yfinance_without_volume.csv", today=TODAY)
    assert (dia.bars["volume"].to_list(), spy.bars["volume"].to_list()) == ([0.0], [5.0])
    assert [one.provenance["price_columns"] for one in (dia, spy)] == [
        "open, high, low and close as they stand; volume 0, the file has none",
        "open, high, low, close and volume as they stand",
    ]
    assert "no_volume" in [one.kind for one in dia.warnings]


def test_a_date_without_prices_is_none_where_volume_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "both.csv"
    path.write_text(
        "Price,Close,High,Low,Open,Close,High,Low,Open,Volume\nTicker,A,A,A,A,B,B,B,B,B\n"
        "Date,,,,,,,,,\n2024-01-02,,,,,1,1,1,1,5\n2024-01-03,1,1,1,1,1,1,1,1,5\n"
    )
    a, b = load_file(path, today=TODAY)
    assert (len(a.bars), len(b.bars), a.provenance["n_dates_without_bar"]) == (1, 2, 1)


def test_volume_by_another_name_is_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("Date,Open,High,Low,Close,Vol.\n2024-01-02,1,1,1,1,1\n")
    assert refusal(path) == (
        ": column Vol. is not read; call it volume, or remove it if the series has no volume"
    )


@pytest.mark.parametrize("header", ["DATE,VIXCLS", "Date,Close"])
def test_closes_alone_are_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "VIXCLS.csv"
    path.write_text(f"{header}\n2024-01-02,13.2\n")
    found = refusal(path)
    assert found.startswith(": no column open, high, low")
    assert found.endswith("; closes alone make no bars, get a file with open, high and low")


def test_rows_without_anything_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(f"{HEADER}\n{_ROW}\n\n , ,,,,\n2024-01-03,1,1,1,x,1\n\n,,,,,\n")
    assert refusal(path) == ": row 4 (2024-01-03): close is 'x'; give a number"
    path.write_text(path.read_text().replace("x", "1"))
    loaded = load_one(path)
    assert (len(loaded.bars), loaded.provenance["n_empty_rows"]) == (2, 4)
    assert loaded.provenance["n_rows_in_file"] == 2


def test_clip_range_is_not_named_where_high_and_low_are_crossed(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(f"{HEADER}\n2024-01-02,2,1,3,2,1\n")
    [found] = inspect_file(path, today=TODAY)
    assert [one.kind for one in found.findings] == ["high_below_low"]
    # Crossed by no more than rounding, it helps, and is named.
    path.write_text(f"{HEADER}\n2024-01-02,2,1.0000001,1.0000002,1.5,1\n")
    [found] = inspect_file(path, today=TODAY)
    assert [one.kind for one in found.findings] == ["high_below_body"]
    bars = load_one(path, repairs=["clip_range"]).bars
    assert bars["high"].to_list() == [2.0]


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        (
            "zero_volume.csv",
            (
                "row 3 (2024-01-04): volume is 0; check whether there was trade, or drop the rows "
                "(--repair drop_zero_volume)"
            ),
        ),
        (
            "no_volume.csv",
            (
                "no bar has volume, as for an index or an exchange rate; "
                "expect nothing of features made from volume"
            ),
        ),
        (
            "no_volume_column.csv",
            (
                "no bar has volume, as for an index or an exchange rate; "
                "expect nothing of features made from volume"
            ),
        ),
        (
            "missing_sessions.csv",
            (
                "2024-01-04, 2024-01-05: 2 sessions of XNYS without a bar; "
                "fetch them, or name the right calendar (--calendar)"
            ),
        ),
        (
            "weekend.csv",
            (
                "row 5 (2024-01-06): no session of XNYS; check the dates, name the right calendar "
                "(--calendar), or drop these rows (--repair drop_nonsessions)"
            ),
        ),
        (
            "split.csv",
            (
                "row 4 (2024-01-05): the price jumps overnight as in a split, or to another level "
                "altogether; check it; where prices are not adjusted for it, take adjusted ones "
                "(--prices adjusted)"
            ),
        ),
        (
            "stale.csv",
            (
                "row 3 (2024-01-04): prices and volume are those of the bar before; "
                "check whether the source repeats bars on days without trade"
            ),
        ),
        (
            "weekly.csv",
            (
                "bars are 7 days apart (median); "
                "give daily bars; weekly and monthly ones are made from them"
            ),
        ),
        (
            "ticker_history.csv",
            (
                "prices are adjusted already: yfinance does so (auto_adjust) where there is no "
                "Adj Close; for prices as traded take a file made with auto_adjust=False, or say "
                "that these are (--layout plain)"
            ),
        ),
        ("rounded.csv", None),
    ],
)
def test_what_is_odd_is_kept_and_said(name: str, warning: str | None) -> None:
    loaded = load_one(FIXTURES / "odd" / name)
    lines = describe_findings(loaded.warnings).splitlines()
    few = f"warning: only {len(loaded.bars)} bars, and features look back over a year of "
    few += "them; give at least 500, better some thousand"
    expected = [few] if warning is None else [few, f"warning: {warning}"]
    if name == "weekly.csv":
        lines = [line for line in lines if "sessions of XNYS" not in line]
    assert sorted(lines) == sorted(expected)


def test_an_inspection_lists_everything_where_loading_stops_at_the_first() -> None:
    spy, dia = inspect_file(FIXTURES / "faults" / "one_of_many.csv", today=TODAY)
    assert (spy.symbol, spy.n_rows, [one.kind for one in spy.findings]) == ("SPY", 6, ["few_bars"])
    # What is odd beside an error may be its doing.
    assert [one.kind for one in dia.findings] == ["not_a_number"]
    assert dia.findings[0].rows == (4,)
    [thousands] = inspect_file(FIXTURES / "faults" / "thousands.csv", today=TODAY)
    assert thousands.findings[0].rows == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"prices": "raw"}, "no prices 'raw'; choose as_given or adjusted"),
        (
            {"repairs": ["magic"]},
            (
                "no repair 'magic'; choose from drop_missing, fill_volume, drop_duplicates, "
                "drop_future, drop_today, drop_zero_volume, drop_nonsessions, sort, clip_range"
            ),
        ),
        (
            {"calendar": "MARS"},
            (
                "no exchange calendar 'MARS'; name one that exchange_calendars has "
                "(XNYS, XLON, XETR, XTKS, 24/7, …), or none"
            ),
        ),
        (
            {"calendar": None, "repairs": ["drop_nonsessions"]},
            "repair drop_nonsessions needs an exchange calendar; name it (--calendar)",
        ),
        (
            {"prices": "adjusted"},
            (
                ": no adjusted close to adjust by (found date, open, high, low, close, volume); "
                "take prices as given (--prices as-given)"
            ),
        ),
    ],
)
def test_an_option_that_cannot_be_is_refused(option: dict[str, object], message: str) -> None:
    assert refusal(FIXTURES / "long.csv", **option).replace("symbol, ", "") == message


_ROW = "2024-01-02,1,1,1,1,1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            f"{HEADER}\n{_ROW[:-1]}{'x' * 999}",
            f": row 1 (2024-01-02): volume is '{'x' * 59}…; give",
        ),
        (f'Date,"Op\nen",High,a,b,c\n{_ROW}', ": no column open, low, close; needed are "),
        (f"{','.join(map(str, range(99)))}\n1", ": no column date, open, high, low, close; need"),
        (
            f'{HEADER},symbol\n{_ROW},"A\nB"\n{_ROW},C\n{_ROW},C',
            " [C]: row 3 (2024-01-02): the row",
        ),
        (f'{HEADER},symbol\n{_ROW},"A\nB"\n{_ROW},"A\nB"\n{_ROW},C', " ['A\\nB']: row 2 (2024-01-"),
        ("\0" * 99, ": damaged or not CSV (it is binary, or UTF-16); save it as UTF-8"),
        (
            HEADER.encode("utf-16"),
            ": damaged or not CSV (it is binary, or UTF-16); save it as UTF-8",
        ),
        (
            f"{HEADER}\n{_ROW}\n2\n{_ROW}",
            ": row 2: date is '2'; correct it; the dates of this file are",
        ),
    ],
)
def test_a_message_is_one_line_of_print_whatever_the_file_holds(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = refusal(path)
    assert found.startswith(message)
    assert found.isprintable()
    assert len(found) < 400


def test_what_is_wrong_is_said_of_prices_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,0,1,0,0,1,1\n")
    expected = ": row 1 (2024-01-02): open is not positive; correct it or drop the row"
    assert refusal(path, prices="adjusted") == expected


def test_no_symbols_asked_for_are_all_symbols() -> None:
    assert len(load_file(FIXTURES / "long.csv", symbols=(), today=TODAY)) == 2


def test_a_format_without_codes_is_refused() -> None:
    assert refusal(FIXTURES / "long.csv", date_format="dd.mm.yyyy") == (
        "date format 'dd.mm.yyyy' has no codes; write one such as %d/%m/%Y"
    )

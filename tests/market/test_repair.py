from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from market_files import SPY

from finscale.errors import DataError
from finscale.market.check import inspect_bars
from finscale.market.repair import REPAIRS, describe_repair, repair_bars

BARS = SPY.with_columns(file_row=pl.int_range(1, 7))
TODAY = dt.date(2024, 1, 10)


def repair(
    frame: pl.DataFrame, *names: str, today: dt.date = TODAY
) -> tuple[pl.DataFrame, dict[str, tuple[int, ...]]]:
    bars, records = repair_bars(frame, names, calendar="XNYS", today=today)
    return bars, {one.name: one.rows for one in records}


def with_cell(frame: pl.DataFrame, name: str, row: int, value: object) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(pl.col("file_row") == row).then(pl.lit(value)).otherwise(name).alias(name)
    )


@pytest.mark.parametrize("name", list(REPAIRS))
def test_bars_that_need_no_repair_stay_as_they_are_and_that_is_recorded(name: str) -> None:
    bars, done = repair(BARS, name)
    assert bars.equals(BARS)
    assert done == {name: ()}


def test_nothing_is_repaired_that_was_not_asked_for() -> None:
    broken = with_cell(BARS, "close", 2, None)
    assert repair(broken)[0].equals(broken)
    others = [name for name in REPAIRS if name != "drop_missing"]
    assert repair(broken, *others)[0].equals(broken)


@pytest.mark.parametrize("value", [None, float("nan")])
@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_drop_missing(name: str, value: float | None) -> None:
    bars, done = repair(with_cell(BARS, name, 3, value), "drop_missing")
    assert bars.equals(BARS.filter(pl.col("file_row") != 3))
    assert done == {"drop_missing": (3,)}


@pytest.mark.parametrize("value", [None, float("nan")])
def test_fill_volume_fills_what_is_missing_with_zero(value: float | None) -> None:
    broken = with_cell(BARS, "volume", 4, value)
    assert repair(broken, "drop_missing")[0].equals(broken)
    bars, done = repair(broken, "fill_volume")
    assert bars.equals(with_cell(BARS, "volume", 4, 0.0))
    assert done == {"fill_volume": (4,)}


def test_drop_duplicates_drops_later_copies_wherever_they_stand() -> None:
    twice = pl.concat([BARS, BARS[1:3].with_columns(file_row=pl.Series([7, 8]))])
    bars, done = repair(twice, "drop_duplicates")
    assert bars.equals(BARS)
    assert done == {"drop_duplicates": (7, 8)}
    other = pl.concat([BARS, with_cell(BARS, "close", 2, 1.0)[1:2]])
    assert repair(other, "drop_duplicates")[0].equals(other)


def test_drop_future_and_today() -> None:
    today = dt.date(2024, 1, 5)
    bars, done = repair(BARS, "drop_future", today=today)
    assert (bars["file_row"].to_list(), done) == ([1, 2, 3, 4], {"drop_future": (5, 6)})
    bars, done = repair(BARS, "drop_today", today=today)
    assert (bars["file_row"].to_list(), done) == ([1, 2, 3, 5, 6], {"drop_today": (4,)})


def test_drop_zero_volume() -> None:
    bars, done = repair(with_cell(BARS, "volume", 1, 0.0), "drop_zero_volume")
    assert (bars["file_row"].to_list(), done) == ([2, 3, 4, 5, 6], {"drop_zero_volume": (1,)})


def test_drop_nonsessions() -> None:
    saturday = with_cell(BARS, "date", 5, dt.date(2024, 1, 6))
    bars, done = repair(saturday, "drop_nonsessions")
    assert (bars["file_row"].to_list(), done) == ([1, 2, 3, 4, 6], {"drop_nonsessions": (5,)})
    with pytest.raises(DataError, match="repair drop_nonsessions needs an exchange calendar"):
        repair_bars(BARS, ["drop_nonsessions"], calendar=None, today=TODAY)


def test_drop_nonsessions_keeps_what_the_calendar_does_not_know() -> None:
    early = BARS.with_columns(date=pl.col("date").dt.offset_by("-30y"))
    bars, _ = repair_bars(early, ["drop_nonsessions"], calendar="XTKS", today=TODAY)
    assert bars.equals(early)


def test_sort() -> None:
    bars, done = repair(BARS[[0, 4, 1, 3, 2, 5]], "sort")
    assert bars.equals(BARS)
    assert done == {"sort": (2, 3)}


def test_clip_range_widens_and_never_narrows() -> None:
    close = BARS["close"][4]
    bars, done = repair(with_cell(BARS, "high", 5, close - 1), "clip_range")
    assert bars.equals(with_cell(BARS, "high", 5, close))
    assert done == {"clip_range": (5,)}
    opened = BARS["open"][0]
    bars, done = repair(with_cell(BARS, "low", 1, opened + 0.1), "clip_range")
    assert bars.equals(with_cell(BARS, "low", 1, opened))
    # High below low is another fault: the two may have changed places.
    swapped = BARS.with_columns(high=pl.col("low"), low=pl.col("high"))
    assert repair(swapped, "clip_range")[0].equals(swapped)


def test_several_repairs_are_made_in_one_order_whatever_was_asked_first() -> None:
    rows = pl.concat(
        [BARS[[2, 0, 1]], BARS[2:3].with_columns(file_row=pl.lit(7, pl.Int64)), BARS[3:]]
    )
    rows = with_cell(rows, "close", 4, None)
    for names in (("sort", "drop_duplicates", "drop_missing"), ("drop_missing", *REPAIRS)):
        bars, done = repair(rows, *names)
        assert bars["file_row"].to_list() == [1, 2, 3, 5, 6]
        assert (done["drop_missing"], done["drop_duplicates"]) == ((4,), (7,))
    assert not [one for one in inspect_bars(bars) if one.severity == "error"]


def test_a_record_names_all_rows() -> None:
    zeros = BARS.with_columns(volume=pl.when(pl.col("file_row") != 4).then(0.0).otherwise(1.0))
    _, [record] = repair_bars(zeros, ["drop_zero_volume"], calendar=None, today=TODAY)
    assert record.as_dict() == {
        "repair": "drop_zero_volume",
        "n_rows": 5,
        "rows": "1-3, 5-6",
        "dates": ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-08", "2024-01-09"],
    }
    assert describe_repair(record.as_dict()) == "drop_zero_volume, 5 rows (1-3, 5-6)"


@pytest.mark.parametrize(
    ("n_rows", "rows", "text"),
    [
        (0, "", "sort, 0 rows"),
        (1, "7", "sort, 1 row (7)"),
        (1234, "1, 3, 5-1232, 1234, 1236, 1238", "sort, 1,234 rows (1, 3, 5-1232, 1234, 1236, …)"),
    ],
)
def test_a_record_in_words(n_rows: int, rows: str, text: str) -> None:
    assert describe_repair({"repair": "sort", "n_rows": n_rows, "rows": rows}) == text

"""Parquet files that hold what CSV cannot: typed dates, zones, nested cells, broken bytes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from market_files import SPY, load_one, refusal

from finscale.errors import DataError
from finscale.market.sources import table

STAMPS = SPY["date"].cast(pl.Datetime("ns"))


def write(path: Path, dates: pl.Series) -> Path:
    SPY.drop("symbol").with_columns(date=dates).write_parquet(path)
    return path


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "GMT0", "Zulu", "Universal"])
def test_times_in_utc_are_refused_whatever_it_is_called(zone: str, tmp_path: Path) -> None:
    tokyo = STAMPS.dt.replace_time_zone("Asia/Tokyo")
    path = write(tmp_path / "SPY.parquet", tokyo.dt.convert_time_zone(zone))
    message = refusal(path)
    assert message.startswith(": row 1: date is '2024-01-01 15:00:00+00:00' in UTC, so the date ")
    # Midnight there is a date, and so is the exchange's own time.
    for dates in (STAMPS.dt.replace_time_zone(zone), tokyo):
        write(path, dates)
        assert load_one(path).bars["date"].equals(SPY["date"])


@pytest.mark.parametrize(
    ("day", "kind", "form"),
    [
        (20_000_000, pl.Date(), "date"),
        (2**31 - 1, pl.Date(), "date"),
        (-(2**31), pl.Date(), "date"),
        (2**62, pl.Datetime("ms"), "datetime"),
        (-(10**15), pl.Datetime("ms"), "datetime"),
        (2**62, pl.Datetime("us", "Asia/Tokyo"), "datetime [Asia/Tokyo]"),
        (2**62, pl.Datetime("us", "UTC"), "datetime [UTC]"),
    ],
)
def test_a_day_that_no_calendar_has_is_refused(
    day: int, kind: pl.DataType, form: str, tmp_path: Path
) -> None:
    numbers = SPY["date"].cast(kind).to_physical().to_list()
    width = pl.Int32 if kind == pl.Date else pl.Int64
    dates = pl.Series([*numbers[:-1], day], dtype=width).cast(kind)
    assert refusal(write(tmp_path / "SPY.parquet", dates)) == (
        f": row 6: date is {day}; correct it; the dates of this file are read as {form}"
    )


def test_a_typed_date_before_1700_is_refused_as_in_text(tmp_path: Path) -> None:
    dates = pl.Series([dt.date(1699, 12, 31), *SPY["date"][1:]])
    assert refusal(write(tmp_path / "SPY.parquet", dates)).startswith(": row 1: date is -98")


def test_cells_that_hold_lists_are_refused_where_symbols_stand_side_by_side(
    tmp_path: Path,
) -> None:
    path = tmp_path / "two.parquet"
    columns = {
        f"('{name.title()}', '{symbol}')": [[1.0]] if (name, symbol) == ("high", "B") else [1.0]
        for name in ("open", "high", "low", "close", "volume")
        for symbol in "AB"
    }
    pl.DataFrame({"Date": [dt.date(2024, 1, 2)], **columns}).write_parquet(path)
    assert refusal(path) == " [B]: column high holds List(Float64); give a number"


def test_a_reader_that_panics_is_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What polars raises for some damage is no Exception.
    def panic(_content: object) -> None:
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    path = write(tmp_path / "SPY.parquet", SPY["date"])
    monkeypatch.setattr(table.pl, "read_parquet", panic)
    with pytest.raises(DataError) as caught:
        load_one(path)
    assert str(caught.value) == (
        f"{path}: damaged or not PARQUET (its bytes contradict each other)"
    )

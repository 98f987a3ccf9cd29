from __future__ import annotations

import datetime as dt
import hashlib
import struct
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given

from finscale.errors import DataError
from finscale.market.bars import OHLCV, SCHEMA, bars_hash, to_arrays
from finscale.market.check import validate_bars
from strategies import bars, to_frame

# Three sessions, and a fourth of another kind in each field.
GOOD = pl.DataFrame(
    {
        "symbol": ["SPY"] * 4,
        "date": [dt.date(2018, 1, day) for day in (2, 3, 4, 8)],
        "open": [10.0, 11.0, 12.0, 9.0],
        "high": [11.0, 12.0, 12.0, 9.0],
        "low": [9.0, 10.0, 11.0, 9.0],
        "close": [10.5, 11.5, 11.0, 9.0],
        "volume": [100.0, 0.0, 300.0, 400.0],
    },
    schema=SCHEMA,
)


def with_cell(column: str, row: int, value: object) -> pl.DataFrame:
    values = GOOD[column].to_list()
    values[row] = value
    return GOOD.with_columns(pl.Series(column, values, dtype=SCHEMA[column]))


def test_good_bars_come_back_as_they_are() -> None:
    assert validate_bars(GOOD, source="x").equals(GOOD)


def test_order_of_columns_types_and_further_columns_do_not_matter() -> None:
    shuffled = GOOD.select(reversed(GOOD.columns)).with_columns(
        pl.col("volume").cast(pl.Int64), pl.lit(1).alias("dividends")
    )
    assert validate_bars(shuffled, source="x").equals(GOOD)


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        *(
            (name, 2, None, f"x.csv: row 3 (2018-01-04): {name} is missing; fill it in or drop")
            for name in ("open", "high", "low", "close", "volume")
        ),
        ("date", 2, None, "x.csv: row 3: date is missing; fill it in or drop the row"),
        *(
            (
                name,
                1,
                bad,
                f"x.csv: row 2 (2018-01-03): {name} is not a finite number; correct it or drop",
            )
            for name in ("open", "high", "low", "close", "volume")
            for bad in (float("nan"), float("inf"), float("-inf"))
        ),
        *(
            (
                name,
                3,
                bad,
                f"x.csv: row 4 (2018-01-08): {name} is not positive; correct it or drop the row",
            )
            for name in ("open", "high", "low", "close")
            for bad in (0.0, -1.0)
        ),
        ("volume", 0, -1.0, "x.csv: row 1 (2018-01-02): volume is negative; correct it; use 0"),
        ("high", 3, 8.0, "x.csv: row 4 (2018-01-08): high is below low; correct the bar"),
        ("high", 0, 10.4, "x.csv: row 1 (2018-01-02): high is below open or close; correct the"),
        ("open", 0, 11.1, "x.csv: row 1 (2018-01-02): high is below open or close; correct the"),
        ("low", 1, 11.2, "x.csv: row 2 (2018-01-03): low is above open or close; correct the bar"),
        ("close", 1, 9.9, "x.csv: row 2 (2018-01-03): low is above open or close; correct the bar"),
        (
            "date",
            2,
            dt.date(2018, 1, 3),
            "x.csv: row 3 (2018-01-03): date is the same as in the row above; keep one row per",
        ),
        (
            "date",
            2,
            dt.date(2018, 1, 1),
            "x.csv: row 3 (2018-01-01): date is before the row above; sort the rows by date",
        ),
        ("symbol", 3, "DIA", "x.csv: holds 2 symbols (SPY, DIA); choose one with data.symbols"),
        ("symbol", 3, None, "x.csv: holds 2 symbols (SPY, None); choose one with data.symbols"),
    ],
)
def test_a_fault_is_refused_with_source_row_date_and_fix(
    column: str, row: int, value: object, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        validate_bars(with_cell(column, row, value), source="x.csv")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_row_above_twice_is_told_from_another_bar_of_that_date() -> None:
    with pytest.raises(DataError) as caught:
        validate_bars(pl.concat([GOOD[:2], GOOD[1:]]), source="x")
    assert str(caught.value) == (
        "x: row 3 (2018-01-03): the row above is there again; "
        "drop the row (--repair drop_duplicates)"
    )


def test_rows_are_those_of_the_file_where_they_are_known() -> None:
    bad = with_cell("volume", 1, -1.0).with_columns(file_row=pl.Series([7, 5, 3, 1]))
    with pytest.raises(DataError, match=r"^x: row 5 \(2018-01-03\): volume is negative; "):
        validate_bars(bad, source="x")


def test_bars_after_today_are_refused_when_asked_to() -> None:
    assert validate_bars(GOOD, source="x", today=dt.date(2018, 1, 8)).equals(GOOD)
    with pytest.raises(DataError) as caught:
        validate_bars(GOOD, source="x", today=dt.date(2018, 1, 4))
    assert str(caught.value) == (
        "x: row 4 (2018-01-08): date is after today (2018-01-04); "
        "correct it or drop the row (--repair drop_future)"
    )


@pytest.mark.parametrize("level", [1e-3, 1.0, 1e5])
def test_what_rounding_explains_is_rounded_and_no_more(level: float) -> None:
    frame = GOOD.with_columns(pl.col("open", "high", "low", "close") * level)
    inside, outside = 1 - 0.9e-6, 1 - 1.1e-6
    # Row 2: the open is the high; row 4: all four are the same.
    for row, column in ((2, "high"), (3, "high")):
        price = frame[column][row]
        close = with_frame_cell(frame, column, row, price * inside)
        assert validate_bars(close, source="x")[column][row] == price
        with pytest.raises(DataError, match="high is below"):
            validate_bars(with_frame_cell(frame, column, row, price * outside), source="x")
    price = frame["low"][3]
    close = with_frame_cell(frame, "low", 3, price / inside)
    assert validate_bars(close, source="x")["low"][3] == price
    with pytest.raises(DataError, match="high is below low"):
        validate_bars(with_frame_cell(frame, "low", 3, price / outside), source="x")


def with_frame_cell(frame: pl.DataFrame, column: str, row: int, value: float) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values))


def test_several_bad_rows_are_counted_and_the_first_is_named() -> None:
    bad = GOOD.with_columns(volume=pl.Series([1.0, -1.0, 1.0, -2.0]))
    with pytest.raises(DataError, match=r"row 2 \(2018-01-03\): volume .*\(and 1 more row\); "):
        validate_bars(bad, source="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frame: frame.drop("high", "volume"),
            (
                "x: no column high, volume; needed are symbol, date, open, high, low, close, "
                "volume (found symbol, date, open, low, close)"
            ),
        ),
        (lambda _: pl.DataFrame(), "x: no column symbol, date, open, high, low, close, volume; "),
        (lambda frame: frame.clear(), "x: no rows; give at least a few hundred bars"),
        (
            lambda frame: frame.with_columns(symbol=pl.lit(None, dtype=pl.String)),
            "x: row 1 (2018-01-02): symbol is missing (and 3 more rows); fill it in",
        ),
    ],
)
def test_a_frame_that_holds_no_bars_is_refused(
    change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        validate_bars(change(GOOD), source="x")
    assert str(caught.value).startswith(message)


@given(world=bars(1, 50))
def test_the_shared_strategy_gives_valid_bars_that_survive_the_frame(world: OHLCV) -> None:
    frame = to_frame(world)
    assert validate_bars(frame, source="strategy").equals(frame)
    again = to_arrays(frame)
    assert again.date.dtype == np.dtype("datetime64[D]")
    for name in SCHEMA.names()[1:]:
        assert np.array_equal(getattr(again, name), getattr(world, name))


def test_arrays_are_sliced_by_half_open_rows() -> None:
    world = to_arrays(GOOD)
    assert len(world) == 4
    part = world.slice(1, 3)
    assert len(part) == 2
    assert part.close.tolist() == [11.5, 11.0]
    assert part.date.tolist() == [dt.date(2018, 1, 3), dt.date(2018, 1, 4)]
    assert world.head(1).volume.tolist() == [100.0]


def test_the_hash_is_of_the_content() -> None:
    # Spelled out, so that the hashes in ledgers of earlier versions stay comparable.
    days = [date.toordinal() - dt.date(1970, 1, 1).toordinal() for date in GOOD["date"]]
    numbers = [GOOD[name].to_list() for name in ("open", "high", "low", "close", "volume")]
    parts = [b"SPY", struct.pack("<4q", *days), *(struct.pack("<4d", *one) for one in numbers)]
    assert bars_hash(GOOD) == hashlib.sha256(b"\0".join(parts)).hexdigest()
    assert bars_hash(GOOD.clone()) == bars_hash(GOOD)
    others = [
        with_cell("close", 0, np.nextafter(10.5, 11)),
        with_cell("volume", 1, 1.0),
        with_cell("date", 3, dt.date(2018, 1, 9)),
        GOOD.with_columns(symbol=pl.lit("DIA")),
        GOOD.with_columns(open=pl.col("close"), close=pl.col("open")),
        GOOD.head(3),
    ]
    assert len({bars_hash(GOOD), *map(bars_hash, others)}) == 7

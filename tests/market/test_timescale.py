from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import DataError
from finscale.market.bars import OHLCV, SCHEMA
from finscale.market.check import validate_bars
from finscale.market.timescale import TIME_SCALES, resample
from strategies import bars, make_bars, to_frame

COARSE = TIME_SCALES[1:]


def on(dates: Sequence[str]) -> pl.DataFrame:
    """Bars on the given sessions: session i has a close of 10 + i and a volume of 2^i."""
    close = [10.0 + i for i in range(len(dates))]
    return pl.DataFrame(
        {
            "symbol": ["X"] * len(dates),
            "date": [dt.date.fromisoformat(date) for date in dates],
            "open": [one - 0.25 for one in close],
            "high": [one + 0.5 for one in close],
            "low": [one - 0.5 for one in close],
            "close": close,
            "volume": [2.0**i for i in range(len(dates))],
        },
        schema=SCHEMA,
    )


def every_day(first: str, n_days: int) -> list[str]:
    start = dt.date.fromisoformat(first)
    return [(start + dt.timedelta(days=i)).isoformat() for i in range(n_days)]


def weekdays(first: str, n_days: int) -> list[str]:
    return [day for day in every_day(first, n_days) if dt.date.fromisoformat(day).weekday() < 5]


def dates_of(frame: pl.DataFrame) -> list[str]:
    return [date.isoformat() for date in frame["date"]]


def test_daily_bars_stay_as_they_are() -> None:
    frame = to_frame(make_bars(7))
    assert resample(frame, "daily").equals(frame)


def test_a_block_is_labelled_by_its_last_session_and_an_incomplete_one_is_left_out() -> None:
    # Weekdays 12523 to 12527 since 1970: 2 divides 12524, 3 divides 12525, 5 divides 12525.
    frame = on(["2018-01-02", "2018-01-03", "2018-01-04", "2018-01-05", "2018-01-08"])
    assert resample(frame, "2d").rows() == [
        ("X", dt.date(2018, 1, 2), 9.75, 10.5, 9.5, 10.0, 1.0),
        ("X", dt.date(2018, 1, 4), 10.75, 12.5, 10.5, 12.0, 6.0),
        ("X", dt.date(2018, 1, 8), 12.75, 14.5, 12.5, 14.0, 24.0),
    ]
    assert resample(frame, "3d").rows() == [
        ("X", dt.date(2018, 1, 3), 9.75, 11.5, 9.5, 11.0, 3.0),
        ("X", dt.date(2018, 1, 8), 11.75, 14.5, 11.5, 14.0, 28.0),
    ]
    assert resample(frame, "5d").rows() == [("X", dt.date(2018, 1, 3), 9.75, 11.5, 9.5, 11.0, 3.0)]


def test_blocks_are_counted_in_weekdays_since_1970() -> None:
    days = weekdays("1969-01-01", 800)
    for n in (2, 3, 5):
        ends = [day for day in days if (np.busday_count("1970-01-01", day) + 1) % n == 0]
        assert dates_of(resample(on(days), f"{n}d")) == ends


def test_a_holiday_makes_a_shorter_block_and_moves_no_other() -> None:
    days = weekdays("2018-01-01", 60)
    whole = dates_of(resample(on(days), "3d"))
    missing = [day for day in days if day not in ("2018-01-15", whole[7])]
    found = resample(on(missing), "3d")
    # Without its last session a block ends with the one before; the next weekday completes it.
    before = days[days.index(whole[7]) - 1]
    assert dates_of(found) == [*whole[:7], before, *whole[8:]]


@pytest.mark.parametrize("scale", ["2d", "3d", "5d"])
def test_symbols_of_a_panel_end_their_bars_on_the_same_days(scale: str) -> None:
    days = weekdays("2018-01-01", 100)
    whole = dates_of(resample(on(days), scale))
    for start in range(1, 12):
        assert dates_of(resample(on(days[start:]), scale)) == [d for d in whole if d >= days[start]]


@settings(max_examples=60)
@given(world=bars(70, 150), start=st.integers(0, 60))
@pytest.mark.parametrize("scale", COARSE)
def test_where_the_history_begins_moves_the_first_bar_only(
    scale: str, world: OHLCV, start: int
) -> None:
    frame = to_frame(world)
    whole, part = resample(frame, scale), resample(frame[start:], scale)
    assert part[1:].equals(whole[whole.height - part.height + 1 :])


def test_weeks_end_with_their_last_session() -> None:
    # Good Friday, 30 March 2018, ends its week on a Thursday; 2 April is a Monday.
    days = ["2018-03-22", "2018-03-23", "2018-03-26", "2018-03-29", "2018-04-02", "2018-04-06"]
    assert resample(on(days), "weekly").rows() == [
        ("X", dt.date(2018, 3, 23), 9.75, 11.5, 9.5, 11.0, 3.0),
        ("X", dt.date(2018, 3, 29), 11.75, 13.5, 11.5, 13.0, 12.0),
        ("X", dt.date(2018, 4, 6), 13.75, 15.5, 13.5, 15.0, 48.0),
    ]


def test_a_week_of_two_years_is_one() -> None:
    assert dates_of(resample(on(["2018-12-31", "2019-01-04"]), "weekly")) == ["2019-01-04"]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["2018-01-05", "2018-01-11"], ["2018-01-05"]),  # a Thursday: Friday may come
        (["2018-01-05", "2018-01-12"], ["2018-01-05", "2018-01-12"]),
        # Good Friday is not known from the Thursday alone, but from the Monday after it.
        (["2018-03-23", "2018-03-29"], ["2018-03-23"]),
        (["2018-03-23", "2018-03-29", "2018-04-02"], ["2018-03-23", "2018-03-29"]),
        # Weekend sessions are the beginning of a week, whose end no weekend makes known.
        (["2018-01-05", "2018-01-06"], ["2018-01-05"]),
        (["2018-01-05", "2018-01-07", "2018-01-12"], ["2018-01-05", "2018-01-12"]),
    ],
)
def test_the_last_week_is_there_when_it_is_known_to_be_complete(
    days: list[str], expected: list[str]
) -> None:
    assert dates_of(resample(on(days), "weekly")) == expected


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        # 29 June 2018 is a Friday, and the next weekday is in July.
        (["2018-05-31", "2018-06-29"], ["2018-05-31", "2018-06-29"]),
        (["2018-05-31", "2018-06-28"], ["2018-05-31"]),
        (["2018-05-30", "2018-06-28"], ["2018-05-30"]),
        # Saturday 30 June counts to July: June was known to be complete on Friday.
        (["2018-06-29", "2018-06-30"], ["2018-06-29"]),
        (["2018-06-29", "2018-06-30", "2018-07-31"], ["2018-06-29", "2018-07-31"]),
        (["2018-12-31"], ["2018-12-31"]),
    ],
)
def test_the_last_month_is_there_when_it_is_known_to_be_complete(
    days: list[str], expected: list[str]
) -> None:
    assert dates_of(resample(on(days), "monthly")) == expected


def test_months_of_weekdays_are_calendar_months() -> None:
    frame = on(weekdays("2018-01-01", 400))
    months = frame.group_by(pl.col("date").dt.strftime("%Y-%m"), maintain_order=True).agg(
        pl.col("date").last().alias("last"), pl.col("volume").sum()
    )
    found = resample(frame, "monthly")
    # 4 February 2019, the last day, is in the middle of its month.
    assert found["date"].to_list() == months["last"].to_list()[:-1]
    assert found["volume"].to_list() == months["volume"].to_list()[:-1]


@settings(max_examples=60)
@given(world=bars(1, 120), cut=st.floats(0, 1))
@pytest.mark.parametrize("scale", COARSE)
def test_bars_of_a_prefix_are_a_prefix_of_the_bars(scale: str, world: OHLCV, cut: float) -> None:
    frame = to_frame(world)

    def made(part: pl.DataFrame) -> pl.DataFrame:
        try:
            return resample(part, scale)
        except DataError:
            return frame.clear()

    whole, part = made(frame), made(frame[: max(1, round(cut * frame.height))])
    assert whole[: part.height].equals(part)


@settings(max_examples=60)
@given(world=bars(70, 150))
@pytest.mark.parametrize("scale", COARSE)
def test_the_bars_are_valid_and_hold_all_of_their_sessions(scale: str, world: OHLCV) -> None:
    frame = to_frame(world)
    coarse = resample(frame, scale)
    assert validate_bars(coarse, source=scale).equals(coarse)
    covered = frame.filter(pl.col("date") <= coarse["date"][-1])
    assert coarse["volume"].sum() == covered["volume"].sum()
    before = None
    for row in coarse.iter_rows(named=True):
        inside = covered.filter(pl.col("date") <= row["date"])
        if before is not None:
            inside = inside.filter(pl.col("date") > before)
        before = row["date"]
        assert (row["open"], row["close"]) == (inside["open"][0], inside["close"][-1])
        assert (row["high"], row["low"]) == (inside["high"].max(), inside["low"].min())


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        resample(to_frame(make_bars(5)), "4d")
    assert str(caught.value) == (
        "unknown time scale '4d'; choose one of daily, 2d, 3d, 5d, weekly, monthly"
    )


@pytest.mark.parametrize("scale", ["5d", "weekly", "monthly"])
def test_too_short_a_history_is_refused(scale: str) -> None:
    with pytest.raises(DataError) as caught:
        resample(on(["2018-01-08", "2018-01-09"]), scale)
    assert str(caught.value) == (
        f"2 daily bars make no complete {scale} bar; give a longer history or choose a finer time "
        "scale"
    )

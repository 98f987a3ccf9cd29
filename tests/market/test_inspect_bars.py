from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from market_files import bundled_bars, long_bars

from finscale.errors import DataError
from finscale.market.bars import OHLCV
from finscale.market.check import inspect_bars, validate_bars
from finscale.market.findings import describe_findings, refuse_errors
from finscale.market.sources.bundled import BUNDLED
from finscale.market.symbol_bars import Finding
from strategies import bars, to_frame


def kinds(frame: pl.DataFrame, **options: Any) -> list[str]:
    return [one.kind for one in inspect_bars(frame, **options)]


def with_row(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in values.items()
    )


@pytest.mark.parametrize("symbol", list(BUNDLED))
def test_bundled_bars_are_every_session_of_new_york_and_hold_no_split(symbol: str) -> None:
    frame = bundled_bars(symbol)
    found = {one.kind: one.dates for one in inspect_bars(frame, calendar="XNYS")}
    if symbol == "SP500":
        # Its source records no opens before 2008: the open is a copy.
        assert list(found) == ["stale_open"]
        assert len(found["stale_open"]) == 2560
    else:
        assert found == {"zero_volume": ("2015-05-12", "2018-01-09")}


@given(world=bars(1, 60))
def test_valid_bars_have_no_errors(world: OHLCV) -> None:
    assert all(one.severity == "warning" for one in inspect_bars(to_frame(world)))


def test_all_errors_are_listed_with_all_rows() -> None:
    frame = long_bars(600)
    frame = with_row(frame, 10, close=None)
    frame = with_row(frame, 20, volume=-1.0)
    frame = with_row(frame, 30, volume=-2.0)
    frame = with_row(frame, 40, high=1e-9)
    found = inspect_bars(frame, today=dt.date(2100, 1, 1))
    assert [(one.kind, one.severity, one.rows) for one in found] == [
        ("missing_value", "error", (11,)),
        ("negative_volume", "error", (21, 31)),
        ("high_below_low", "error", (41,)),
    ]
    assert found[1].dates == (str(frame["date"][20]), str(frame["date"][30]))


def test_a_missing_price_hides_no_other_fault_and_makes_none() -> None:
    frame = with_row(long_bars(600), 10, open=float("nan"))
    assert kinds(frame) == ["not_finite"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (long_bars(3).drop("high"), "no column high"),
        (long_bars(3).clear(), "no rows"),
        (with_row(long_bars(3), 1, symbol="B"), "holds 2 symbols (A, B)"),
    ],
)
def test_what_is_no_table_of_bars_is_one_error(frame: pl.DataFrame, message: str) -> None:
    [found] = inspect_bars(frame)
    assert (found.severity, found.message) == ("error", message)


def test_the_bar_of_today_is_odd_and_later_ones_are_wrong() -> None:
    frame = long_bars(600)
    last, before = frame["date"][-1], frame["date"][-2]
    assert kinds(frame, today=last + dt.timedelta(1)) == []
    assert kinds(frame, today=last) == ["bar_of_today"]
    assert kinds(frame, today=before) == ["future_bar"]
    assert kinds(frame) == []


def test_volume_that_is_always_zero_is_that_of_an_index() -> None:
    frame = long_bars(600)
    assert kinds(with_row(frame, 5, volume=0.0)) == ["zero_volume"]
    assert kinds(frame.with_columns(volume=pl.lit(0.0))) == ["no_volume"]


def test_a_repeated_bar_is_stale_only_with_its_volume() -> None:
    frame = long_bars(600)
    bar = frame.row(99, named=True)
    prices = {name: bar[name] for name in ("open", "high", "low", "close")}
    assert kinds(with_row(frame, 100, **prices)) == []
    [found] = inspect_bars(with_row(frame, 100, **prices, volume=bar["volume"]))
    assert (found.kind, found.rows) == ("stale_bar", (101,))


def test_few_and_distant_bars_are_odd() -> None:
    assert kinds(long_bars(500)) == []
    assert kinds(long_bars(499)) == ["few_bars"]
    assert kinds(long_bars(3000)[::5]) == ["not_daily"]
    assert kinds(long_bars(3000)[::2]) == []


FINDINGS = (
    Finding("a", "warning", "volume is 0", "look", tuple(range(1, 9)), ("2018-01-02",) * 8),
    Finding("b", "error", "high is below low", "correct it", (3, 5), ("2018-01-04", "")),
    Finding("c", "warning", "2 sessions without a bar", "fetch", dates=("2018-01-05", "x")),
    Finding("d", "warning", "only 4 bars", "give more"),
)


def test_findings_are_described_a_line_each_errors_first() -> None:
    assert describe_findings(FINDINGS).splitlines() == [
        "error: rows 3 (2018-01-04), 5: high is below low; correct it",
        (
            "warning: rows 1 (2018-01-02), 2 (2018-01-02), 3 (2018-01-02), 4 (2018-01-02), "
            "5 (2018-01-02) and 3 more: volume is 0; look"
        ),
        "warning: 2018-01-05, x: 2 sessions without a bar; fetch",
        "warning: only 4 bars; give more",
    ]
    assert describe_findings(()) == ""


def test_only_errors_are_refused() -> None:
    refuse_errors(FINDINGS[:1], source="x")
    with pytest.raises(DataError) as caught:
        refuse_errors(FINDINGS, source="x")
    assert str(caught.value) == (
        "x: row 3 (2018-01-04): high is below low (and 1 more row); correct it"
    )


def test_what_is_valid_to_one_is_valid_to_the_other() -> None:
    frame = long_bars(600)
    assert validate_bars(frame, source="x").equals(frame)
    for row in (0, 300, 599):
        bad = with_row(frame, row, low=1e9)
        assert "error" in {one.severity for one in inspect_bars(bad)}
        with pytest.raises(DataError):
            validate_bars(bad, source="x")

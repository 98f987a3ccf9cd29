from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from market_files import bundled_bars, long_bars

from finscale.market.bars import OHLCV, PRICES
from finscale.market.check import inspect_bars
from finscale.market.odd_prices import find_reverting, find_split_like, find_wild_ticks
from finscale.market.oddities import find_volume_breaks
from finscale.market.symbol_bars import Finding
from strategies import bars, make_bars, to_frame

ROW = pl.int_range(pl.len())


def times(factor: float, where: pl.Expr, *columns: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    factors = pl.when(where).then(factor).otherwise(1.0)
    return lambda frame: frame.with_columns(pl.col(one) * factors for one in columns or PRICES)


def changed(change: Callable[[pl.DataFrame], pl.DataFrame]) -> tuple[Finding, ...]:
    return inspect_bars(change(long_bars(800)))


@pytest.mark.parametrize(
    "ratio", [1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 50, 100, 1000]
)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_level_that_changes_is_found(ratio: float, *, reverse: bool) -> None:
    [found] = changed(times(ratio if reverse else 1 / ratio, ROW >= 300))
    assert (found.kind, found.rows) == ("split_like", (301,))


@pytest.mark.parametrize("factor", [100, 1.3, 1 / 1.3, 1 / 100])
def test_one_bar_at_another_level_is_found_once(factor: float) -> None:
    [found] = changed(times(factor, ROW == 400))
    assert (found.kind, found.rows) == ("reverting_bar", (401,))


@pytest.mark.parametrize("factor", [50, 1.3])
def test_a_wild_high_is_found(factor: float) -> None:
    [found] = changed(times(factor, ROW == 400, "high"))
    assert (found.kind, found.rows) == ("wild_tick", (401,))


@pytest.mark.parametrize("factor", [1e-4, 0.7])
def test_a_wild_low_is_found(factor: float) -> None:
    [found] = changed(times(factor, ROW == 400, "low"))
    assert (found.kind, found.rows) == ("wild_tick", (401,))


def test_a_wild_open_takes_the_high_along_and_is_found() -> None:
    [found] = changed(times(50, ROW == 400, "open", "high"))
    assert (found.kind, found.rows) == ("reverting_bar", (401,))


def test_bars_without_a_range_are_found() -> None:
    [found] = changed(lambda frame: frame.with_columns(open="close", high="close", low="close"))
    assert (found.kind, len(found.rows)) == ("flat_bars", 800)
    assert found.message == "open, high, low and close are one price in 100% of the bars"
    few = pl.when(ROW % 25 == 0).then("close")
    assert not changed(
        lambda frame: frame.with_columns(few.otherwise(pl.col(one)).alias(one) for one in PRICES)
    )


def stale(where: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    before = pl.col("close").shift().fill_null(pl.col("open"))
    opened = pl.when(where).then(before).otherwise(pl.col("open"))
    return lambda frame: frame.with_columns(open=opened).with_columns(
        high=pl.max_horizontal("open", "high"), low=pl.min_horizontal("open", "low")
    )


def test_an_open_that_is_always_the_close_before_is_found() -> None:
    [found] = changed(stale(pl.lit(value=True)))
    assert (found.kind, found.rows) == ("stale_open", tuple(range(2, 801)))
    assert found.message == "the open is the close before in 100% of the bars"


def test_opens_that_come_and_go_with_the_years_are_found() -> None:
    year = pl.col("date").dt.year()
    # All of 2002, which is a third of the bars, and one in ten of 2003.
    [found] = changed(stale((year == 2002) | ((year == 2003) & (ROW % 10 == 0))))
    assert found.message == (
        "the open is the close before in 100% of the bars of 2002 and 0% of those of 2001, in most "
        "of them in 2002"
    )
    assert not changed(stale((year == 2002) & (ROW % 3 == 0)))


def test_the_years_of_stale_opens_are_named_for_sp500() -> None:
    [found] = inspect_bars(bundled_bars("SP500"))
    assert found.message == (
        "the open is the close before in 100% of the bars of 2004 and 3% of those of 2018, in most "
        "of them in 1999-2007, 2012"
    )


def test_prices_between_the_smallest_and_the_largest_number_are_looked_at_quietly() -> None:
    price = np.array([5e-324, 1e308, 1.0, 1e308, 5e-324, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_split_like(price, price).tolist() == [False] * 6
        assert not find_reverting(price, price).all()
        assert not find_wild_ticks(price, price, price, price).any()


@pytest.mark.parametrize("factor", [1000, 100, 1 / 100, 1 / 1000])
def test_a_unit_of_volume_that_changes_is_found(factor: float) -> None:
    [found] = changed(times(factor, ROW >= 300, "volume"))
    assert found.kind == "volume_break"
    assert len(found.rows) == 1
    # Volume of these bars varies by itself, so that the largest step may be a bar or two beside.
    assert abs(found.rows[0] - 301) <= 2


def test_volume_breaks_are_where_the_step_is_and_each_is_found() -> None:
    volume = np.full(300, 100.0)
    volume[100:200] = 3001.0
    assert np.flatnonzero(find_volume_breaks(volume)).tolist() == [100, 200]
    volume[100:200] = 2999.0
    assert not find_volume_breaks(volume).any()
    assert not find_volume_breaks(volume[:39]).any()
    # A single session, however busy, is no new level.
    busy = np.full(300, 100.0)
    busy[150] = 1e6
    assert not find_volume_breaks(busy).any()


def walk(*, overnight: float, session: float, volatility: float = 0.005) -> np.ndarray:
    step = volatility * np.random.default_rng(0).standard_normal(400)
    gap = np.zeros(400)
    step[200], gap[200] = overnight + session, overnight
    close = 100 * np.exp(np.cumsum(step))
    opened = np.roll(close, 1) * np.exp(gap)
    opened[0] = close[0]
    return np.flatnonzero(find_split_like(opened, close))


def test_only_an_overnight_jump_by_a_usual_ratio_in_a_calm_series_looks_like_a_split() -> None:
    half = float(np.log(0.5))
    assert walk(overnight=half, session=0.0).tolist() == [200]
    assert walk(overnight=0.9 * half, session=0.1 * half).tolist() == [200]
    assert walk(overnight=0.7 * half, session=0.3 * half).tolist() == []
    assert walk(overnight=half + 0.029, session=0.0).tolist() == [200]
    assert walk(overnight=half + 0.031, session=0.0).tolist() == []
    assert walk(overnight=half, session=0.0, volatility=0.09).tolist() == []
    assert find_split_like(np.array([1.0, 2.0]), np.array([1.0, 2.0])).tolist() == [False] * 2


def test_a_jump_to_five_times_or_more_needs_no_usual_ratio_and_no_night() -> None:
    jump = float(np.log(8.6))
    assert walk(overnight=jump, session=0.0).tolist() == [200]
    assert walk(overnight=0.0, session=-jump).tolist() == [200]
    assert walk(overnight=0.0, session=float(np.log(4.9))).tolist() == []


def test_a_crash_that_stays_and_one_that_half_recovers_are_no_wrong_bars() -> None:
    close = np.full(200, 100.0) * np.exp(0.01 * np.sin(np.arange(200.0)))
    back, half, stays = close.copy(), close.copy(), close.copy()
    back[100] *= 0.7
    half[100], half[101:] = half[100] * 0.7, half[101:] * 0.85
    stays[100:] *= 0.7
    opened = np.roll(close, 1)
    assert np.flatnonzero(find_reverting(np.roll(back, 1), back)).tolist() == [100]
    for one in (half, stays):
        assert not find_reverting(np.roll(one, 1), one).any()
    assert not find_reverting(opened, close).any()
    assert find_reverting(np.array([1.0, 9.0]), np.array([1.0, 1.0])).tolist() == [False] * 2


def test_a_tick_is_measured_by_the_usual_range() -> None:
    close = np.full(100, 100.0)
    high, low = close * 1.005, close / 1.005  # A range of 1%, so that 10% is the limit.
    high[50], low[60] = 100 * 1.09, 100 / 1.09
    assert not find_wild_ticks(close, high, low, close).any()
    high[50], low[60] = 100 * 1.11, 100 / 1.11
    assert np.flatnonzero(find_wild_ticks(close, high, low, close)).tolist() == [50, 60]
    # Where nothing ever moves a tick of 5% is still none.
    still = close.copy()
    still[10], still[20] = 104.9, 105.1
    assert np.flatnonzero(find_wild_ticks(close, still, close, close)).tolist() == [20]


@pytest.mark.parametrize("seed", range(5))
def test_clean_bars_hold_nothing_odd(seed: int) -> None:
    days = np.busday_offset("2001-01-01", np.arange(3000))
    frame = to_frame(make_bars(3000, seed=seed)).with_columns(date=pl.Series(days))
    assert inspect_bars(frame) == ()


@given(world=bars(1, 300))
def test_every_series_can_be_looked_at(world: OHLCV) -> None:
    assert all(one.severity == "warning" for one in inspect_bars(to_frame(world)))

"""Prices that are possible and yet odd: jumps like splits, wild ticks, bars without a range.

What is odd is measured against the series itself, by medians, which a few wrong bars do not move.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.market.bars import PRICES, FloatArray
from finscale.market.findings import rows_where
from finscale.market.symbol_bars import Finding

SPLIT_RATIOS = (1.5, 2, 2.5, 3, 4, 5)
_SPLIT_TOLERANCE = 0.03
_DEVIATIONS = 10.0
_OVERNIGHT_SHARE = 0.8
# What is left of a step and its way back, as a share of the smaller of the two.
_LEFT_SHARE = 0.2
# A pegged price hardly moves, and any step of it is many times the usual one.
_LEAST_STEP = math.log(1.05)

# Shares of all bars say something from here on.
_FEW_FOR_SHARES = 100
_FEW_FOR_A_YEAR = 50
_FLAT_SHARE = 0.05
# Less than a tick of most prices, and about what rounding leaves of an index.
_SAME_PRICE = 1e-4
_STALE_SHARE = 0.5
_STALE_CHANGE = 0.5

# Steps between the smallest and the largest number there is are beyond both, and as odd as any.
_QUIET = np.errstate(over="ignore", divide="ignore", invalid="ignore")

BoolArray = NDArray[np.bool_]


def find_odd_prices(bars: pl.DataFrame) -> Iterator[Finding]:
    """List the warnings about the prices of valid bars (with row numbers; one row at least)."""
    open_T, high_T, low_T, close_T = (bars[name].to_numpy() for name in PRICES)
    reverting_T = find_reverting(open_T, close_T)
    # The way back of a wrong bar is no split.
    back_T = np.append(False, reverting_T[:-1])
    jumps_T = find_split_like(open_T, close_T) & ~reverting_T & ~back_T
    yield from _finding(
        bars,
        jumps_T,
        "split_like",
        "the price jumps overnight as in a split, or to another level altogether",
        "check it; where prices are not adjusted for it, take adjusted ones (--prices adjusted)",
    )
    yield from _finding(
        bars,
        reverting_T,
        "reverting_bar",
        "the open or the close leaps away from the bars beside it, which agree",
        "compare it with another source, and correct the bar or drop the row",
    )
    yield from _finding(
        bars,
        find_wild_ticks(open_T, high_T, low_T, close_T),
        "wild_tick",
        "high or low is far from open and close, beyond 10 usual ranges",
        "compare it with another source, and correct the bar or drop the row",
    )
    yield from _flat(bars)
    yield from _stale_open(bars)


@_QUIET
def find_split_like(open_T: FloatArray, close_T: FloatArray) -> BoolArray:
    """Tell for each bar whether the price jumps into it as it does in a split.

    Two kinds of jumps are found, if they lie more than 10 robust standard deviations (1.4826 ×
    median absolute deviation) of the series' log returns from their median. Either the close is n
    or 1/n times the one before, within 3%, for an n of :data:`SPLIT_RATIOS`, and at least 80% of
    that log return are made overnight, before the open: crashes and squeezes rarely meet all three.
    Or the close is 5 times the one before or a fifth of it, or more: by whatever ratio, and whether
    overnight or not, as where prices change from cents to dollars.
    """
    found_T = np.zeros(len(close_T), dtype=np.bool_)
    if len(close_T) < 3:
        return found_T
    step = np.log(close_T[1:] / close_T[:-1])
    overnight = np.log(open_T[1:] / close_T[:-1])
    size = np.abs(step)
    ratios = np.log(np.array(SPLIT_RATIOS))
    distance = np.abs(size[:, None] - ratios).min(axis=1)
    as_split = (distance <= math.log1p(_SPLIT_TOLERANCE)) & (
        overnight * np.sign(step) >= _OVERNIGHT_SHARE * size
    )
    is_far = np.abs(step - np.median(step)) > _DEVIATIONS * _robust_deviation(step)
    found_T[1:] = is_far & (as_split | (size >= ratios[-1]))
    return found_T


@_QUIET
def find_reverting(open_T: FloatArray, close_T: FloatArray) -> BoolArray:
    """Tell for each bar whether its open or close alone lies off the price's way.

    The log return into it and the next one out of it have opposite signs, each is more than 10
    robust standard deviations of the series' log returns and more than 5%, and they cancel to a
    fifth of the smaller one or less. For the open the ways are from the close before and to the
    bar's own close.
    """
    found_T = np.zeros(len(close_T), dtype=np.bool_)
    if len(close_T) < 3:
        return found_T
    step = np.log(close_T[1:] / close_T[:-1])
    least = max(_DEVIATIONS * _robust_deviation(step), _LEAST_STEP)
    found_T[1:-1] = _cancel(step[:-1], step[1:], least)
    found_T[1:] |= _cancel(
        np.log(open_T[1:] / close_T[:-1]), np.log(close_T[1:] / open_T[1:]), least
    )
    return found_T


@_QUIET
def find_wild_ticks(
    open_T: FloatArray, high_T: FloatArray, low_T: FloatArray, close_T: FloatArray
) -> BoolArray:
    """Tell for each bar whether its high or low alone lies off the price's way.

    The log distance from the high down to the body (open and close), or from the body down to the
    low, is more than 10 times the median of the series' log ranges, and more than 5%.
    """
    above_T = np.log(high_T / np.maximum(open_T, close_T))
    below_T = np.log(np.minimum(open_T, close_T) / low_T)
    usual = float(np.median(np.log(high_T / low_T)))
    return np.asarray(np.maximum(above_T, below_T) > max(_DEVIATIONS * usual, _LEAST_STEP))


def _robust_deviation(values: FloatArray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _cancel(first: FloatArray, second: FloatArray, least: float) -> BoolArray:
    smaller = np.minimum(np.abs(first), np.abs(second))
    is_left = np.abs(first + second) > _LEFT_SHARE * smaller
    return (smaller > least) & ~is_left


def _flat(bars: pl.DataFrame) -> Iterator[Finding]:
    is_flat_T = (bars["high"] == bars["low"]).to_numpy()
    share = float(is_flat_T.mean())
    if len(bars) >= _FEW_FOR_SHARES and share >= _FLAT_SHARE:
        yield from _finding(
            bars,
            is_flat_T,
            "flat_bars",
            f"open, high, low and close are one price in {share:.0%} of the bars",
            "take a source that records ranges, or trust no feature and no label made of them",
        )


def _stale_open(bars: pl.DataFrame) -> Iterator[Finding]:
    """Warn where the open is a copy of the close before, mostly or in some years and not others."""
    if len(bars) < _FEW_FOR_SHARES:
        return
    is_stale = ((bars["open"] / bars["close"].shift() - 1).abs() <= _SAME_PRICE).fill_null(
        value=False
    )
    years = (
        pl.DataFrame({"year": bars["date"].dt.year(), "is_stale": is_stale})
        .group_by("year", maintain_order=True)
        .agg(pl.len().alias("n"), pl.col("is_stale").mean().alias("share"))
        .filter(pl.col("n") >= _FEW_FOR_A_YEAR)
        .sort("share", maintain_order=True)
    )
    share = float(is_stale.to_numpy().mean())
    fix = "take a source that records opens, or trust no feature of the gap between sessions"
    if len(years) and years["share"][-1] - years["share"][0] >= _STALE_CHANGE:
        low, high = years.row(0, named=True), years.row(-1, named=True)
        most = years.filter(pl.col("share") >= _STALE_SHARE)["year"].sort().to_list()
        message = (
            f"the open is the close before in {high['share']:.0%} of the bars of {high['year']} "
            f"and {low['share']:.0%} of those of {low['year']}, in most of them in {_spans(most)}"
        )
        yield from _finding(bars, is_stale.to_numpy(), "stale_open", message, fix)
    elif share >= _STALE_SHARE:
        message = f"the open is the close before in {share:.0%} of the bars"
        yield from _finding(bars, is_stale.to_numpy(), "stale_open", message, fix)


def _spans(years: Sequence[int]) -> str:
    """Return years as text: ``1999-2007, 2012``."""
    parts = []
    for _, numbered in itertools.groupby(enumerate(years), key=lambda one: one[1] - one[0]):
        run = [year for _, year in numbered]
        parts.append(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(parts)


def _finding(
    bars: pl.DataFrame, found_T: BoolArray, kind: str, message: str, fix: str
) -> Iterator[Finding]:
    rows, dates = rows_where(bars, pl.Series(found_T))
    if rows:
        yield Finding(kind, "warning", message, fix, rows, dates)

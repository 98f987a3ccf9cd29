"""Repairs of bars: each does what its line says, only when asked for, and is recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finscale.errors import DataError
from finscale.market.bars import PRICES
from finscale.market.calendars import find_sessions
from finscale.market.check import RANGE_TOLERANCE
from finscale.market.findings import rows_where

# So many ranges of rows fit a line.
_N_RANGES = 5


@dataclass(frozen=True)
class Repaired:
    """What a repair did.

    Attributes
    ----------
    name
        One of :data:`REPAIRS`.
    rows, dates
        The row numbers that it dropped, moved or changed, and their dates.
    """

    name: str
    rows: tuple[int, ...]
    dates: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready: all rows, as ``"3, 7-12"``, and the first 20 dates."""
        return {
            "repair": self.name,
            "n_rows": len(self.rows),
            "rows": _as_ranges(self.rows),
            "dates": list(self.dates[:20]),
        }


@dataclass(frozen=True)
class _Known:
    """What a repair may need besides the bars."""

    calendar: str | None
    today: dt.date


@dataclass(frozen=True)
class Repair:
    """One repair: the rows it is about, and what becomes of the bars."""

    meaning: str
    find: Callable[[pl.DataFrame, _Known], pl.Series]
    change: Callable[[pl.DataFrame, pl.Series], pl.DataFrame]


def _drop(bars: pl.DataFrame, found: pl.Series) -> pl.DataFrame:
    return bars.filter(~found)


def _where(condition: pl.Expr) -> Callable[[pl.DataFrame, _Known], pl.Series]:
    return lambda bars, _: bars.select(condition.fill_null(value=False)).to_series()


def _after(bars: pl.DataFrame, known: _Known) -> pl.Series:
    return (bars["date"] > known.today).fill_null(value=False)


def _on(bars: pl.DataFrame, known: _Known) -> pl.Series:
    return (bars["date"] == known.today).fill_null(value=False)


def _off_calendar(bars: pl.DataFrame, known: _Known) -> pl.Series:
    if known.calendar is None:
        raise DataError("repair drop_nonsessions needs an exchange calendar; name it (--calendar)")
    dates = bars["date"].drop_nulls()
    if dates.is_empty():
        return pl.Series([False]).new_from_index(0, len(bars))
    dates_T = dates.to_numpy().astype("datetime64[D]")
    sessions = find_sessions(known.calendar, dates_T.min().item(), dates_T.max().item())
    is_session = pl.Series(np.isin(dates_T, sessions.dates))
    known_day = (dates >= sessions.known_from) & (dates <= sessions.known_to)
    off = dates.filter(~is_session & known_day)
    return bars["date"].is_in(off.implode()).fill_null(value=False)


_EMPTY = pl.any_horizontal(*(pl.col(one).is_null() | pl.col(one).is_nan() for one in PRICES))
_NO_VOLUME = pl.col("volume").is_null() | pl.col("volume").is_nan()
_NARROW = (pl.col("high") >= pl.col("low") * (1 - RANGE_TOLERANCE)) & (
    (pl.col("high") < pl.max_horizontal("open", "close"))
    | (pl.col("low") > pl.min_horizontal("open", "close"))
)
_REPEATED = ~pl.struct("date", *PRICES, "volume").is_first_distinct()

# They are made in this order, whatever the order in which they are asked for.
REPAIRS = {
    "drop_missing": Repair(
        "drop rows in which open, high, low or close is missing", _where(_EMPTY), _drop
    ),
    "fill_volume": Repair(
        "set volume to 0 where it is missing",
        _where(_NO_VOLUME),
        lambda bars, found: bars.with_columns(volume=bars["volume"].set(found, 0.0)),
    ),
    "drop_duplicates": Repair(
        "drop rows whose date, prices and volume are those of an earlier row",
        _where(_REPEATED),
        _drop,
    ),
    "drop_future": Repair("drop rows after today", _after, _drop),
    "drop_today": Repair("drop the row of today, which may not be complete", _on, _drop),
    "drop_zero_volume": Repair("drop rows whose volume is 0", _where(pl.col("volume") == 0), _drop),
    "drop_nonsessions": Repair(
        "drop rows on days that are no sessions of the exchange calendar", _off_calendar, _drop
    ),
    "sort": Repair(
        "sort rows by date, oldest first",
        _where(pl.col("date").diff().dt.total_days() < 0),
        lambda bars, _: bars.sort("date", maintain_order=True, nulls_last=True),
    ),
    "clip_range": Repair(
        "raise high and lower low to hold open and close",
        _where(_NARROW),
        lambda bars, found: bars.with_columns(
            high=pl.when(found).then(pl.max_horizontal("high", "open", "close")).otherwise("high"),
            low=pl.when(found).then(pl.min_horizontal("low", "open", "close")).otherwise("low"),
        ),
    ),
}


def require_repairs(names: Sequence[str]) -> None:
    """Check that repairs exist.

    Raises
    ------
    DataError
        Listing those that do.
    """
    for name in names:
        if name not in REPAIRS:
            raise DataError(f"no repair {name!r}; choose from {', '.join(REPAIRS)}")


def repair_bars(
    bars: pl.DataFrame, names: Sequence[str], *, calendar: str | None, today: dt.date
) -> tuple[pl.DataFrame, tuple[Repaired, ...]]:
    """Make the named repairs, in the order of :data:`REPAIRS`.

    Parameters
    ----------
    bars
        The bars of one symbol: the columns of the schema (null and NaN allowed), row numbers, and
        perhaps more columns, which follow their rows.
    names
        Some of :data:`REPAIRS`.
    calendar, today
        What ``drop_nonsessions``, ``drop_future`` and ``drop_today`` go by.

    Returns
    -------
    bars, repaired
        A record for each repair asked for, also where there was nothing to do.

    Raises
    ------
    DataError
        If a repair does not exist, or needs a calendar that is not there.
    """
    require_repairs(names)
    known = _Known(calendar, today)
    records = []
    for name, repair in REPAIRS.items():
        if name in names:
            found = repair.find(bars, known)
            records.append(Repaired(name, *rows_where(bars, found)))
            bars = repair.change(bars, found)
    return bars, tuple(records)


def describe_repair(record: Mapping[str, Any]) -> str:
    """Return a repair's record as text: ``drop_future, 3 rows (798-800)``."""
    n_rows = record["n_rows"]
    text = f"{record['repair']}, {n_rows:,} row{'' if n_rows == 1 else 's'}"
    ranges = str(record["rows"]).split(", ")
    more = ", …" if len(ranges) > _N_RANGES else ""
    return f"{text} ({', '.join(ranges[:_N_RANGES])}{more})" if n_rows else text


def _as_ranges(rows: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for row in sorted(rows):
        if parts and row == parts[-1][1] + 1:
            parts[-1][1] = row
        else:
            parts.append([row, row])
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in parts)

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from finscale.market.revisions import Revision, compare_bars
from strategies import make_bars, to_frame

BARS = to_frame(make_bars(20))
DATES = BARS["date"].to_list()


def test_equal_bars_differ_in_nothing() -> None:
    same = compare_bars(BARS, BARS.clone())
    assert same == Revision(0, 0, 0, 0, None, 0.0, 0)
    assert not same.rewrites_history


def test_new_sessions_at_the_end_rewrite_nothing() -> None:
    longer = compare_bars(BARS[:15], BARS)
    assert longer == Revision(5, 0, 0, 0, None, 0.0, 0)
    assert not longer.rewrites_history


def test_adjusting_anew_changes_all_before() -> None:
    anew = BARS.with_columns(
        pl.when(pl.col("date") < DATES[12])
        .then(pl.col(name) * 0.75)
        .otherwise(pl.col(name))
        .alias(name)
        for name in ("open", "high", "low", "close")
    )
    revision = compare_bars(BARS[:18], anew)
    assert revision == Revision(2, 12, 0, 0, DATES[0], pytest.approx(0.25), 0)
    assert revision.rewrites_history


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_one_value_counts(column: str) -> None:
    values = BARS[column].to_list()
    values[7] += 1e-9 if column != "volume" else 1.0
    revision = compare_bars(BARS, BARS.with_columns(pl.Series(column, values)))
    assert (revision.n_changed, revision.first_changed) == (1, DATES[7])
    assert revision.rewrites_history


def test_a_version_that_ends_earlier_goes_back() -> None:
    revision = compare_bars(BARS, BARS[:15])
    days = (DATES[19] - DATES[14]).days
    assert revision == Revision(0, 0, 5, 0, DATES[15], 0.0, days)
    assert revision.rewrites_history


def test_sessions_that_come_to_light_are_inserted() -> None:
    revision = compare_bars(pl.concat([BARS[2:9], BARS[10:15]]), BARS)
    assert revision == Revision(8, 0, 0, 3, DATES[0], 0.0, 0)
    assert revision.rewrites_history


def test_a_revision_is_json_ready() -> None:
    assert Revision(1, 2, 3, 4, dt.date(2020, 1, 2), 0.5, 6).as_dict() == {
        "n_added": 1,
        "n_changed": 2,
        "n_removed": 3,
        "n_inserted": 4,
        "first_changed": "2020-01-02",
        "max_change_frac": 0.5,
        "n_days_back": 6,
        "rewrites_history": True,
    }
    assert compare_bars(BARS, BARS).as_dict()["first_changed"] is None

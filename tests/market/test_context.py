from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import DataError
from finscale.market.bars import OHLCV, FloatArray
from finscale.market.context import join_context, join_series
from finscale.study_data import ContextSeries
from strategies import make_bars, to_frame

SESSIONS = ["2018-01-02", "2018-01-03", "2018-01-04", "2018-01-05", "2018-01-08"]


def bars_on(dates: list[str]) -> OHLCV:
    price = np.full(len(dates), 10.0)
    return OHLCV(np.array(dates, dtype="datetime64[D]"), price, price, price, price, price)


def joined(
    dates: list[str], values: list[float], sessions: list[str] = SESSIONS, **options: Any
) -> OHLCV:
    named = {"max_staleness_days": 4, "source": "vix.csv", **options}
    return join_context(bars_on(sessions), "vix", dates, values, **named)


def message_of(*args: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        joined(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_same_close_is_seen_and_a_missing_day_shows_the_one_before() -> None:
    days = ["2018-01-01", "2018-01-02", "2018-01-04", "2018-01-06", "2018-01-09"]
    bars = joined(days, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert bars.context["vix"].tolist() == [2.0, 2.0, 3.0, 3.0, 4.0]


def test_before_the_series_begins_nothing_is_seen() -> None:
    bars = joined(["2018-01-04", "2018-01-05"], [1.0, 2.0])
    np.testing.assert_array_equal(bars.context["vix"], [np.nan, np.nan, 1.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("lag", "expected"),
    [
        (0, [1, 2, 3, 4, 5]),
        (1, [np.nan, 1, 2, 3, 4]),
        (2, [np.nan, np.nan, 1, 2, 3]),
        (4, [np.nan, np.nan, np.nan, np.nan, 1]),
    ],
)
def test_a_lag_is_counted_in_the_series_own_sessions(lag: int, expected: list[float]) -> None:
    found = joined(SESSIONS, [1, 2, 3, 4, 5], lag_sessions=lag).context["vix"]
    np.testing.assert_array_equal(found, expected)


def test_a_lag_reaches_back_to_sessions_that_the_bars_do_not_have() -> None:
    days = ["2018-01-02", "2018-01-06", "2018-01-07", "2018-01-08"]
    found = joined(days, [1, 2, 3, 4], ["2018-01-03", "2018-01-08"], lag_sessions=1)
    np.testing.assert_array_equal(found.context["vix"], [np.nan, 3.0])


def test_the_bars_stay_and_what_is_joined_cannot_be_changed() -> None:
    plain = bars_on(SESSIONS)
    one = join_context(plain, "vix", SESSIONS, range(1, 6), max_staleness_days=0, source="x")
    two = join_context(one, "gold", SESSIONS, range(2, 7), max_staleness_days=0, source="y")
    assert (set(plain.context), set(one.context), set(two.context)) == (
        set(),
        {"vix"},
        {"vix", "gold"},
    )
    assert two.close is plain.close
    assert two.context["vix"].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="read-only"):
        two.context["gold"][0] = 7.0


def test_the_callers_values_are_not_frozen() -> None:
    values = np.arange(1.0, 6.0)
    join_context(bars_on(SESSIONS), "vix", SESSIONS, values, max_staleness_days=0, source="x")
    values[0] = 9.0


def test_a_gap_in_the_series_is_refused() -> None:
    sessions = ["2018-01-02", "2018-01-05", "2018-01-06", "2018-01-08", "2018-01-09"]
    days = ["2018-01-01", "2018-01-08"]
    assert joined(days, [1, 2], sessions, max_staleness_days=5).context["vix"].tolist() == [
        *(1, 1, 1, 2, 2)
    ]
    assert message_of(days, [1, 2], sessions, max_staleness_days=3) == (
        "vix.csv: context vix: on 2018-01-05 its newest value is that of 2018-01-01, 4 days "
        "before, and max_staleness_days is 3 (2 rows are too old in all, the last on 2018-01-06); "
        "fill the gap in the series, use bars that end before it, or allow older values"
    )


def test_a_series_that_ends_early_is_refused() -> None:
    message = message_of(["2018-01-01", "2018-01-02"], [1, 2], max_staleness_days=3)
    assert message.startswith(
        "vix.csv: context vix: on 2018-01-08 its newest value is that of 2018-01-02, 6 days "
        "before, and max_staleness_days is 3 (1 row is too old in all, the last on 2018-01-08); "
    )


def test_what_a_lag_adds_is_not_staleness() -> None:
    # On Monday the 8th the value is Friday's, 3 days old, as the lag wants it.
    bars = joined(SESSIONS, [1, 2, 3, 4, 5], lag_sessions=1, max_staleness_days=0)
    assert bars.context["vix"][-1] == 4


def test_a_series_of_another_time_is_refused() -> None:
    assert message_of(["2018-01-09"], [1.0]) == (
        "vix.csv: context vix begins on 2018-01-09 and has no value for any of the bars from "
        "2018-01-02 to 2018-01-08; give a series of their time"
    )
    assert message_of([], []).startswith("vix.csv: context vix has no rows and has no value for ")
    assert "begins on 2018-01-08" in message_of(["2018-01-08"], [1.0], lag_sessions=1)


@pytest.mark.parametrize(
    ("days", "values", "message"),
    [
        (["2018-01-02", "2018-01-03"], [1, 0], "row 2 (2018-01-03): its value is not positive; "),
        (["2018-01-02", "2018-01-03"], [-1, 0], "row 1 (2018-01-02): its value is not positive ("),
        (["2018-01-02"], [np.nan], "row 1 (2018-01-02): its value is not a finite number; "),
        (["2018-01-02"], [np.inf], "row 1 (2018-01-02): its value is not a finite number; "),
        (
            ["2018-01-03", "2018-01-02"],
            [1, 2],
            "row 2 (2018-01-02): its date is not after the row above; sort the rows, one per",
        ),
        (["2018-01-03", "2018-01-03"], [1, 2], "row 2 (2018-01-03): its date is not after the "),
        (["2018-01-02", "NaT"], [1, 2], "row 2 (NaT): its date is missing; correct it or drop"),
        (["2018-01-02"], [1, 2], "1 dates and 2 values; give one value per date"),
    ],
)
def test_a_bad_series_is_refused(days: list[str], values: list[float], message: str) -> None:
    assert message_of(days, values).startswith(f"vix.csv: context vix: {message}")


@pytest.mark.parametrize("name", ["", "VIX", "^vix", "vix-3m", "vix 3m", "3m", "../vix", "vix\n"])
def test_a_name_that_no_feature_could_have_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="use lower case letters, digits and underscores"):
        join_context(bars_on(SESSIONS), name, SESSIONS, [1] * 5, max_staleness_days=1, source="x")


def test_a_series_is_joined_once() -> None:
    bars = joined(SESSIONS, [1] * 5)
    with pytest.raises(DataError, match="context vix: joined twice; give each series a name of"):
        join_context(bars, "vix", SESSIONS, [1] * 5, max_staleness_days=1, source="x")


@pytest.mark.parametrize("options", [{"max_staleness_days": -1}, {"lag_sessions": -1}])
def test_negative_settings_are_refused(options: dict[str, int]) -> None:
    assert "; give whole numbers from 0" in message_of(SESSIONS, [1] * 5, **options)


def as_of(bars: OHLCV, days: np.ndarray, values: FloatArray, lag: int) -> FloatArray:
    """Row by row, the slow way."""
    known = []
    for date in bars.date:
        sessions = [i for i in range(len(days)) if days[i] <= date]
        known.append(values[sessions[-1] - lag] if len(sessions) > lag else np.nan)
    return np.array(known)


@settings(max_examples=100)
@given(
    sizes=st.tuples(st.integers(2, 60), st.integers(1, 60)),
    offset=st.integers(-100, 20),
    lag=st.integers(0, 3),
    cut=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_later_value_is_ever_seen(
    sizes: tuple[int, int], offset: int, lag: int, cut: float, seed: int
) -> None:
    n_bars, n_values = sizes
    rng = np.random.default_rng(seed)
    bars = make_bars(n_bars, seed=seed)
    days = bars.date[0] + (offset + np.cumsum(rng.integers(1, 5, n_values)))
    values = rng.uniform(5, 80, n_values)
    expected = as_of(bars, days, values, lag)

    def join(days: np.ndarray, values: FloatArray, bars: OHLCV) -> FloatArray:
        options = {"max_staleness_days": 10_000, "lag_sessions": lag, "source": "x"}
        return join_context(bars, "vix", days, values, **options).context["vix"]

    if np.isnan(expected).all():
        with pytest.raises(DataError, match="has no value for any of the bars"):
            join(days, values, bars)
        return
    found = join(days, values, bars)
    np.testing.assert_array_equal(found, expected)
    # NaN is a beginning and never a hole.
    assert np.isfinite(found[np.argmax(np.isfinite(found)) :]).all()
    # What comes after a bar's close, of the bars or of the series, changes nothing up to it.
    row = round(cut * (n_bars - 1))
    is_past = days <= bars.date[row]
    if np.isfinite(found[row]):
        past = join(days[is_past], values[is_past], bars.head(row + 1))
        np.testing.assert_array_equal(past, found[: row + 1])


def test_a_series_is_joined_as_its_settings_say() -> None:
    closes = to_frame(make_bars(5)).with_columns(
        date=pl.Series(np.array(SESSIONS, "datetime64[D]"))
    )
    series = ContextSeries(
        name="gold",
        kind="price",
        source="bundled",
        symbol="G",
        max_staleness_days=0,
        lag_sessions=1,
    )
    found = join_series(bars_on(SESSIONS), series, closes, source="x").context["gold"]
    assert found[1:].tolist() == closes["close"].to_list()[:-1]
    assert np.isnan(found[0])

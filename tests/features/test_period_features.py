from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.features import monthly_periods, period_bars, periods
from finscale.features.causality import find_look_ahead
from finscale.features.registry import REGISTRY
from finscale.market.bars import OHLCV
from finscale.market.timescale import resample
from strategies import bars, make_bars, to_frame

MODULES = (periods, monthly_periods)
NAMES = [name for name, one in REGISTRY.items() if one.family == "periods"]

Bar = dict[str, float]


def on(dates: np.ndarray, world: OHLCV) -> OHLCV:
    """Put the bars on other dates."""
    n = len(dates)
    part = world.head(n)
    return OHLCV(dates, part.open, part.high, part.low, part.close, part.volume)


def weekdays(begin: str, end: str, *closed: str) -> np.ndarray:
    dates = np.arange(begin, end, dtype="datetime64[D]")
    return dates[np.is_busday(dates) & ~np.isin(dates, np.array(closed, dtype="datetime64[D]"))]


def known_closes(view: period_bars.View, dates: np.ndarray) -> dict[str, str]:
    """Return for each session that of the last close of a complete period."""
    n = len(dates)
    price = np.arange(1.0, n + 1)
    world = OHLCV(dates, price, price, price, price, np.ones(n))
    weeks = period_bars.period_bars(world, view)
    close = weeks.by_session(weeks.close, 0)
    return {
        str(date): "" if np.isnan(one) else str(dates[int(one) - 1])
        for date, one in zip(dates, close, strict=True)
    }


def test_a_week_is_known_from_its_friday_on() -> None:
    known = known_closes("weekly", weekdays("2024-01-08", "2024-01-23"))
    assert known["2024-01-11"] == ""
    assert known["2024-01-12"] == "2024-01-12"
    assert known["2024-01-18"] == "2024-01-12"
    assert known["2024-01-19"] == "2024-01-19"
    assert known["2024-01-22"] == "2024-01-19"


def test_the_week_of_good_friday_is_known_on_monday() -> None:
    # 29 March 2024: on Thursday, only a calendar of holidays would know that the week is over.
    known = known_closes("weekly", weekdays("2024-03-18", "2024-04-09", "2024-03-29"))
    assert known["2024-03-27"] == "2024-03-22"
    assert known["2024-03-28"] == "2024-03-22"
    assert known["2024-04-01"] == "2024-03-28"
    assert known["2024-04-04"] == "2024-03-28"
    assert known["2024-04-05"] == "2024-04-05"


def test_a_market_closed_for_a_week() -> None:
    # 11 to 14 September 2001: the week is one Monday, known a week later.
    closed = [f"2001-09-{day}" for day in range(11, 15)]
    known = known_closes("weekly", weekdays("2001-09-03", "2001-09-25", *closed))
    assert known["2001-09-07"] == "2001-09-07"
    assert known["2001-09-10"] == "2001-09-07"
    assert known["2001-09-17"] == "2001-09-10"
    assert known["2001-09-21"] == "2001-09-21"
    # Without any session in a week, the week before it stays the last one.
    closed = [f"2001-09-{day}" for day in range(10, 15)]
    known = known_closes("weekly", weekdays("2001-09-03", "2001-09-25", *closed))
    assert known["2001-09-20"] == "2001-09-07"


def test_a_month_that_ends_on_a_weekend_is_known_on_friday() -> None:
    # June 2024 ends on a Sunday, May on a Friday, July on a Wednesday.
    known = known_closes("monthly", weekdays("2024-05-01", "2024-08-05"))
    assert known["2024-05-30"] == ""
    assert known["2024-05-31"] == "2024-05-31"
    assert known["2024-06-27"] == "2024-05-31"
    assert known["2024-06-28"] == "2024-06-28"
    assert known["2024-07-30"] == "2024-06-28"
    assert known["2024-07-31"] == "2024-07-31"


def test_a_month_that_a_holiday_ends_is_known_in_the_next() -> None:
    # March 2024: Friday 29 was Good Friday, 30 and 31 a weekend.
    known = known_closes("monthly", weekdays("2024-02-01", "2024-04-10", "2024-03-29"))
    assert known["2024-03-28"] == "2024-02-29"
    assert known["2024-04-01"] == "2024-03-28"


def test_a_session_on_a_weekend_counts_to_the_monday_after() -> None:
    # Saturday 1 and Sunday 2 June 2024, and Saturday 29 June, in a market that trades every day.
    dates = np.arange("2024-05-20", "2024-07-10", dtype="datetime64[D]")
    weekly, monthly = known_closes("weekly", dates), known_closes("monthly", dates)
    assert weekly["2024-05-31"] == weekly["2024-06-02"] == weekly["2024-06-06"] == "2024-05-31"
    assert monthly["2024-05-31"] == monthly["2024-06-02"] == monthly["2024-06-27"] == "2024-05-31"
    assert monthly["2024-06-28"] == monthly["2024-06-30"] == "2024-06-28"


@pytest.mark.parametrize("view", ["weekly", "monthly"])
@settings(max_examples=30)
@given(world=bars(40, 200))
def test_period_bars_are_those_of_the_coarser_time_scale(
    view: period_bars.View, world: OHLCV
) -> None:
    coarse = period_bars.period_bars(world, view)
    n_complete = int(coarse.known[-1]) + 1
    if n_complete == 0:
        return
    expected = resample(to_frame(world), view)
    assert expected.height == n_complete
    for name in ("open", "high", "low", "close"):
        found = getattr(coarse, name)[:n_complete]
        np.testing.assert_array_equal(found, expected[name].to_numpy())
    n_sessions = np.diff(
        np.searchsorted(world.date, expected["date"].to_numpy(), "right"), prepend=0
    )
    np.testing.assert_allclose(
        coarse.volume[:n_complete] * n_sessions, expected["volume"].to_numpy(), rtol=1e-12
    )


def test_the_current_period_never_leaks_in() -> None:
    # Whatever happens from Monday to Thursday, views of complete weeks are those of last Friday.
    world = on(weekdays("2023-01-02", "2024-06-01"), make_bars(400, seed=1))
    friday = int(np.flatnonzero(world.date == np.datetime64("2024-05-17"))[0])
    wild = np.exp(np.linspace(0.3, 2.0, len(world) - friday - 1))
    factor = np.append(np.ones(friday + 1), wild)
    other = OHLCV(
        date=world.date,
        **{
            name: getattr(world, name) * factor
            for name in ("open", "high", "low", "close", "volume")
        },
    )
    to_date = ("to_date", "close_to")
    for name in NAMES:
        if "month" in name or any(one in name for one in to_date):
            continue
        values = REGISTRY[name].function(other)
        np.testing.assert_array_equal(values[friday + 1 : friday + 5], values[friday])
        assert values[friday] == REGISTRY[name].function(world)[friday]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999),
    row=st.integers(0, 379),
    every_day=st.booleans(),
    start=st.integers(0, 60),
)
def test_no_period_feature_looks_ahead(seed: int, row: int, every_day: bool, start: int) -> None:
    dates = np.arange("2019-12-01", "2024-01-01", dtype="datetime64[D]")
    dates = dates if every_day else dates[np.is_busday(dates)]
    world = on(dates[start : start + 380], make_bars(380, seed=seed, jump_share=0.05))
    for name in NAMES:
        assert find_look_ahead(REGISTRY[name], world, row, np.random.default_rng(seed)) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_look_back_is_enough_in_a_market_that_never_closes(name: str) -> None:
    # Four years hold every way in which a month can begin and end, but for one or two.
    dates = np.arange("2000-01-01", "2004-03-01", dtype="datetime64[D]")
    world = on(dates, make_bars(len(dates), seed=6))
    n_back = REGISTRY[name].lookback_bars
    assert n_back <= 254
    values = REGISTRY[name].function(world)
    assert np.isfinite(values[n_back:]).all()
    for row in range(n_back, len(dates), 3):
        assert REGISTRY[name].function(world.slice(row - n_back, row + 1))[-1] == values[row]


@pytest.mark.parametrize("view", ["weekly", "monthly"])
@pytest.mark.parametrize("n_periods", [0, 1, 3, 7])
def test_the_look_back_covers_the_periods_and_the_close_before(
    view: period_bars.View, n_periods: int
) -> None:
    # 28 years are a whole cycle of the calendar.
    dates = np.arange("2000-01-01", "2028-01-01", dtype="datetime64[D]")
    world = on(dates, make_bars(len(dates)))
    coarse = period_bars.period_bars(world, view)
    sizes = [int(one) for one in np.bincount(np.asarray(periods_of(view, dates)))]
    ends = np.cumsum(sizes) - 1
    rows = np.flatnonzero(coarse.known >= n_periods)
    needed = rows - ends[coarse.known[rows] - n_periods]
    assert needed.max() <= period_bars.lookback_bars(view, n_periods)
    # Seven rows too many at most: the bound is close.
    assert needed.max() >= period_bars.lookback_bars(view, n_periods) - 7


def periods_of(view: period_bars.View, dates: np.ndarray) -> np.ndarray:
    """Number the periods by the date of the next weekday, the way numpy counts weekdays."""
    rolled = np.busday_offset(dates, 0, roll="forward")
    if view == "monthly":
        month = rolled.astype("datetime64[M]").astype(int)
        return np.asarray(month - month[0])
    week = np.busday_count(np.datetime64("1999-12-27"), rolled) // 5
    return np.asarray(week - week[0])


# Each view once more, plainly: from a list of complete periods, the last one last, to its value.


def complete(view: period_bars.View, world: OHLCV) -> list[Bar]:
    number = periods_of(view, world.date)
    following = periods_of(view, np.append(world.date, world.date[-1] + 1))[-1]
    result = []
    for one in range(int(number[-1]) + (following > number[-1])):
        rows = np.flatnonzero(number == one)
        result.append(
            {
                "open": world.open[rows[0]],
                "high": world.high[rows].max(),
                "low": world.low[rows].min(),
                "close": world.close[rows[-1]],
                "volume": world.volume[rows].mean(),
                "last": world.close[-1],
            }
        )
    return result


def moves(bar: list[Bar], n: int) -> list[float]:
    closes = [one["close"] for one in bar]
    return [math.log(b / a) for a, b in zip(closes[-n - 1 :], closes[-n:], strict=False)]


def span(one: Bar) -> float:
    return math.log(one["high"] / one["low"])


def place(bar: list[Bar], n: int) -> float:
    low, high = min(one["low"] for one in bar[-n:]), max(one["high"] for one in bar[-n:])
    return (bar[-1]["close"] - low) / (high - low)


def ratio_to_mean(values: list[float], n: int) -> float:
    return math.log(values[-1] / fmean(values[-n:]))


def relative_strength(bar: list[Bar], n: int) -> float:
    r = moves(bar, n)
    return sum(one for one in r if one > 0) / sum(abs(one) for one in r)


def streak(bar: list[Bar], most: int) -> float:
    signs = [math.copysign(1.0, one) for one in moves(bar, most)]
    length = next((i for i, one in enumerate(signs[::-1]) if one != signs[-1]), most)
    return signs[-1] * length / most


def autocorrelation(bar: list[Bar], n: int) -> float:
    r = moves(bar, n + 1)
    return float(np.corrcoef(r[1:], r[:-1])[0, 1])


def breakout(bar: list[Bar]) -> float:
    close = bar[-1]["close"]
    return float(close > bar[-2]["high"]) - float(close < bar[-2]["low"])


def overlap(bar: list[Bar]) -> float:
    two = bar[-2:]
    highs, lows = [one["high"] for one in two], [one["low"] for one in two]
    return (min(highs) - max(lows)) / (max(highs) - min(lows))


def choppiness(bar: list[Bar], n: int) -> float:
    recent = bar[-n:]
    whole = math.log(max(one["high"] for one in recent) / min(one["low"] for one in recent))
    return 1 - whole / max(whole, sum(span(one) for one in recent))


PLAIN: dict[str, Callable[..., float]] = {
    "to_date_return": lambda bar: math.log(bar[-1]["last"] / bar[-1]["close"]),
    "return": lambda bar, n: sum(moves(bar, n)),
    "earlier_return": lambda bar, n: sum(moves(bar, n + 1)[:-1]),
    "close_position": lambda bar: place(bar, 1),
    "log_range": lambda bar: math.log(span(bar[-1])),
    "range_ratio": lambda bar, n: ratio_to_mean([span(one) for one in bar], n),
    "log_volatility": lambda bar, n: math.log(math.sqrt(fmean(r**2 for r in moves(bar, n)))),
    "stochastic": place,
    "sma_distance": lambda bar, n: bar[-1]["close"] / fmean(b["close"] for b in bar[-n:]) - 1,
    "relative_strength": relative_strength,
    "volume_ratio": lambda bar, n: ratio_to_mean([one["volume"] for one in bar], n),
    "rising_share": lambda bar, n: fmean(one > 0 for one in moves(bar, n)),
    "streak": streak,
    "autocorrelation": autocorrelation,
    "breakout": breakout,
    "range_overlap": overlap,
    "choppiness": choppiness,
    "close_to_high": lambda bar: math.log(bar[-1]["last"] / bar[-1]["high"]),
    "close_to_low": lambda bar: math.log(bar[-1]["last"] / bar[-1]["low"]),
}


def idea_and_periods(name: str) -> tuple[str, list[int]]:
    words = [one for one in name.split("_") if one not in {"week", "weekly", "month", "monthly"}]
    numbers = [one for one in words if one.isdigit()]
    return "_".join(words[: len(words) - len(numbers)]), [int(one) for one in numbers]


def test_every_idea_is_checked() -> None:
    assert {idea_and_periods(name)[0] for name in NAMES} == set(PLAIN)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_plain_version(name: str) -> None:
    idea, numbers = idea_and_periods(name)
    view: period_bars.View = "monthly" if "month" in name else "weekly"
    holidays = ("2022-04-15", "2022-05-30", "2022-09-05", "2022-11-24", "2022-12-26")
    world = on(weekdays("2021-12-29", "2023-02-10", *holidays), make_bars(400, seed=8))
    values = REGISTRY[name].function(world)
    n_back = REGISTRY[name].lookback_bars
    assert np.isnan(values[:n_back]).all()
    for row in (n_back, *range(251, len(world), 4)):
        expected = PLAIN[idea](complete(view, world.head(row + 1)), *numbers)
        assert values[row] == pytest.approx(expected, rel=1e-8, abs=1e-12)


STILL = {
    "close_position": 0.5,
    "stochastic": 0.5,
    "relative_strength": 0.5,
    "log_range": math.log(1e-6),
    "log_volatility": math.log(1e-6),
    "range_overlap": 1.0,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_market_that_never_moves_has_the_stated_value(name: str) -> None:
    flat = np.full(400, 7.0)
    world = OHLCV(weekdays("2021-01-01", "2023-01-01")[:400], flat, flat, flat, flat, 0 * flat)
    expected = STILL.get(idea_and_periods(name)[0], 0.0)
    assert REGISTRY[name].function(world)[-1] == pytest.approx(expected, abs=1e-12)


def test_an_idle_week_counts_as_a_thousandth_of_the_usual_volume() -> None:
    dates = weekdays("2021-01-04", "2021-07-01")
    flat = np.full(len(dates), 7.0)
    volume = np.where(dates >= np.datetime64("2021-06-21"), 0.0, 10.0)
    world = OHLCV(dates, flat, flat, flat, flat, volume)
    values = REGISTRY["weekly_volume_ratio_13"].function(world)
    assert values[dates == np.datetime64("2021-06-25")][0] == pytest.approx(math.log(1e-3))
    assert values[dates == np.datetime64("2021-06-24")][0] == 0.0

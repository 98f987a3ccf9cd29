from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.market.bars import OHLCV, PRICES
from finscale.study_rows import TaskName
from finscale.tasks import Task, get_task, label_rows, log_reach
from strategies import bars, make_bars

NAN = math.nan
BINARY: tuple[TaskName, ...] = tuple(name for name in get_args(TaskName) if name != "return")


def world(close: list[float], high: list[float] | None = None) -> OHLCV:
    prices, highs = np.array(close), np.array(high or close)
    date = np.datetime64("2001-01-01") + np.arange(len(close))
    return OHLCV(date, prices, highs, prices, prices, np.ones(len(close)))


#        row  0      1      2      3      4      5
CLOSE = [100.0, 100.0, 102.0, 101.0, 101.0, 100.0]
HIGH = [200.0, 101.0, 102.5, 103.0, 101.0, 101.0]


@pytest.mark.parametrize(
    ("task", "horizon", "labels"),
    [
        # Row 0: the next high is 101, exactly 1% up. Row 2: 103 is short of 103.02.
        ("threshold_1pct", 1, [1, 1, 0, 0, 0, NAN]),
        ("threshold_1pct", 3, [1, 1, 0, NAN, NAN, NAN]),
        ("threshold_0.5pct", 1, [1, 1, 1, 0, 0, NAN]),
        ("threshold_2pct", 1, [0, 1, 0, 0, 0, NAN]),
        ("threshold_2pct", 2, [1, 1, 0, 0, NAN, NAN]),
        ("threshold_3pct", 3, [1, 1, 0, NAN, NAN, NAN]),
        ("threshold_5pct", 5, [0, NAN, NAN, NAN, NAN, NAN]),
        # The close alone: from row 1 it rises by exactly 2%, then never again.
        ("threshold_1pct_close", 1, [0, 1, 0, 0, 0, NAN]),
        ("threshold_2pct_close", 2, [1, 1, 0, 0, NAN, NAN]),
        ("threshold_3pct_close", 5, [0, NAN, NAN, NAN, NAN, NAN]),
        # Unmoved is not above.
        ("direction", 1, [0, 1, 0, 0, 0, NAN]),
        ("direction", 2, [1, 1, 0, 0, NAN, NAN]),
        ("direction", 5, [0, NAN, NAN, NAN, NAN, NAN]),
        ("direction", 6, [NAN] * 6),
        ("threshold_1pct", 7, [NAN] * 6),
    ],
)
def test_labels_by_hand(task: TaskName, horizon: int, labels: list[float]) -> None:
    found = label_rows(world(CLOSE, HIGH), get_task(task), horizon)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("percent", ["0.5", "1", "2", "3", "5"])
def test_a_threshold_reached_to_the_cent_counts_as_reached(percent: str) -> None:
    # In binary, 2.60 * 1.05 is above 2.73; quoted to the cent, it is reached.
    rise = 1 + Fraction(percent) / 100
    cents = [one for one in range(100, 40_000) if (one * rise).denominator == 1]
    task = Task("any", float(percent) / 100, "high")
    reached = [
        label_rows(world([one / 100, 1.0], [one / 100, int(one * rise) / 100]), task, 1)[0]
        for one in cents
    ]
    missed = [
        label_rows(world([one / 100, 1.0], [one / 100, (int(one * rise) - 1) / 100]), task, 1)[0]
        for one in cents
    ]
    assert len(cents) > 150
    assert all(label == 1.0 for label in reached)
    assert all(label == 0.0 for label in missed)


def slow_label(seen: OHLCV, task: Task, horizon: int, row: int) -> float:
    ahead = range(row + 1, row + horizon + 1)
    if ahead[-1] >= len(seen):
        return NAN
    close = Fraction(float(seen.close[row]))
    if task.threshold_frac is None:
        return float(Fraction(float(seen.close[ahead[-1]])) > close)
    price = seen.high if task.price == "high" else seen.close
    best = max(Fraction(float(price[one])) for one in ahead)
    # Decimal thresholds are not binary numbers: the last digits are a matter of taste.
    return float(best * (1 + Fraction(1, 10**12)) >= close * (1 + Fraction(task.threshold_frac)))


@settings(max_examples=60)
@given(seen=bars(1, 40), name=st.sampled_from(BINARY), horizon=st.integers(1, 8))
def test_labels_agree_with_a_plain_loop(seen: OHLCV, name: TaskName, horizon: int) -> None:
    task = get_task(name)
    expected = [slow_label(seen, task, horizon, row) for row in range(len(seen))]
    np.testing.assert_array_equal(label_rows(seen, task, horizon), expected)


@given(
    seen=bars(2, 40),
    name=st.sampled_from(BINARY),
    horizon=st.integers(1, 8),
    place=st.floats(0, 1),
)
def test_a_label_reads_its_h_rows_and_no_other(
    seen: OHLCV, name: TaskName, horizon: int, place: float
) -> None:
    row = round(place * (len(seen) - 1))
    task = get_task(name)
    label = label_rows(seen, task, horizon)[row]
    # Cut to the row's own past and future, the label is the same; one row less, there is none.
    own = label_rows(seen.slice(row, row + horizon + 1), task, horizon)[0]
    np.testing.assert_array_equal(own, label)
    assert np.isnan(label_rows(seen.slice(row, row + horizon), task, horizon)[0])


def test_units_of_price_change_no_label() -> None:
    seen = make_bars(300, seed=2)
    for name in BINARY:
        for factor in (0.01, 7.3, 1e4):
            prices = {one: getattr(seen, one) * factor for one in PRICES}
            other = OHLCV(date=seen.date, volume=seen.volume, **prices)
            np.testing.assert_array_equal(
                label_rows(other, get_task(name), 3), label_rows(seen, get_task(name), 3)
            )


def test_every_task_of_a_study_is_known() -> None:
    tasks = {name: get_task(name) for name in get_args(TaskName)}
    assert tasks["threshold_0.5pct"] == Task("threshold_0.5pct", 0.005, "high")
    assert tasks["threshold_5pct_close"] == Task("threshold_5pct_close", 0.05, "close")
    assert tasks["direction"] == Task("direction", None, "close")
    assert tasks["return"] == Task("return", None, "close")
    assert [name for name, task in tasks.items() if task.is_return] == ["return"]
    assert {task.n_outputs for name, task in tasks.items() if name in BINARY} == {1}
    assert all(task.name == name for name, task in tasks.items())
    different = {(task.threshold_frac, task.price, task.n_outputs) for task in tasks.values()}
    assert len(different) == len(tasks)


@pytest.mark.parametrize(
    ("name", "horizon", "words"),
    [
        (
            "threshold_1pct",
            1,
            "does the highest high of the next bar reach today's close plus 1%?",
        ),
        (
            "threshold_0.5pct_close",
            5,
            "does the highest close of the next 5 bars reach today's close plus 0.5%?",
        ),
        ("direction", 1, "is the close 1 bar ahead above today's?"),
        ("direction", 3, "is the close 3 bars ahead above today's?"),
    ],
)
def test_the_question_in_words(name: TaskName, horizon: int, words: str) -> None:
    assert get_task(name).describe(horizon) == words


def test_the_base_rate_of_the_reference_task(sp500: OHLCV) -> None:
    # Counted with a loop over the published prices.
    close, high = sp500.close.tolist(), sp500.high.tolist()
    count = sum(high[t + 1] / close[t] >= 1.01 for t in range(len(close) - 1))
    labels = label_rows(sp500, get_task("threshold_1pct"), 1)
    assert np.nansum(labels) == count
    assert 0.15 < count / len(close) < 0.35


def test_a_return_is_that_of_the_close_h_rows_later() -> None:
    seen = world([100.0, 110.0, 99.0, 99.0], [100.0, 120.0, 110.0, 99.0])
    task = get_task("return")
    np.testing.assert_allclose(
        log_reach(seen, task, 1), [math.log(1.1), math.log(0.9), 0.0, NAN], atol=1e-15
    )
    np.testing.assert_allclose(log_reach(seen, task, 3), [math.log(0.99), NAN, NAN, NAN])
    np.testing.assert_array_equal(log_reach(seen, task, 9), [NAN] * 4)
    assert task.n_outputs == 20
    with pytest.raises(ValueError, match="no label before its bins are known"):
        label_rows(seen, task, 1)
    assert task.describe(1) == "what is the log return from today's close to that 1 bar ahead?"
    assert task.describe(5) == "what is the log return from today's close to that 5 bars ahead?"

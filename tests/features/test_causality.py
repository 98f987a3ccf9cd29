from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import FeatureError
from finscale.features.causality import find_look_ahead, with_other_future
from finscale.features.registry import REGISTRY, Feature
from finscale.features.tiers import TIERS
from finscale.market.bars import OHLCV, SCHEMA, FloatArray
from finscale.market.check import validate_bars
from strategies import bars, make_bars, to_frame


def as_feature(function: Callable[[OHLCV], FloatArray]) -> Feature:
    return Feature(
        name=function.__name__,
        family="price",
        meaning="planted",
        formula="planted",
        inputs=("close",),
        reference="none",
        lookback_bars=0,
        function=function,
    )


def test_the_registry_is_full() -> None:
    # Importing the tiers registers every family; an empty registry would prove nothing.
    assert {name for names in TIERS.values() for name in names} <= set(REGISTRY)


@settings(max_examples=40)
@given(world=bars(1, 300), place=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_no_registered_feature_looks_ahead(world: OHLCV, place: float, seed: int) -> None:
    row = round(place * (len(world) - 1))
    for feature in REGISTRY.values():
        assert find_look_ahead(feature, world, row, np.random.default_rng(seed)) is None


@pytest.mark.parametrize("row", [0, 1, 49, 254, 2500, 5029])
def test_no_registered_feature_looks_ahead_on_a_real_market(sp500: OHLCV, row: int) -> None:
    for feature in REGISTRY.values():
        assert find_look_ahead(feature, sp500, row, np.random.default_rng(row)) is None


def next_close(world: OHLCV) -> FloatArray:
    return np.log(np.append(world.close[1:], np.nan) / world.close)


def next_close_filled(world: OHLCV) -> FloatArray:
    # The forgery that a look at NaN patterns alone does not see.
    return np.append(world.close[1:], world.close[-1]) / world.close


def centred_mean(world: OHLCV) -> FloatArray:
    return np.convolve(world.close, np.ones(3) / 3, mode="same")


def full_sample_standardised(world: OHLCV) -> FloatArray:
    return np.asarray(world.volume - world.volume.mean())


def full_sample_rank(world: OHLCV) -> FloatArray:
    return np.argsort(np.argsort(world.close)) / len(world)


def backward_filled(world: OHLCV) -> FloatArray:
    values = np.full(len(world), np.nan)
    values[::10] = world.high[::10]
    last = np.nan
    for row in range(len(world) - 1, -1, -1):
        last = values[row] if np.isfinite(values[row]) else last
        values[row] = last
    return values


def rows_to_come(world: OHLCV) -> FloatArray:
    return np.arange(len(world), 0, -1, dtype=np.float64)


def later_date(world: OHLCV) -> FloatArray:
    days = np.diff(world.date).astype(np.float64)
    return np.append(days, days[-1:] if len(days) else [0.0])


PLANTED = [
    next_close,
    next_close_filled,
    centred_mean,
    full_sample_standardised,
    full_sample_rank,
    backward_filled,
    rows_to_come,
    later_date,
]


@pytest.mark.parametrize("function", PLANTED)
@pytest.mark.parametrize("row", [11, 53, 88])
def test_a_planted_look_ahead_is_found(function: Callable[[OHLCV], FloatArray], row: int) -> None:
    world = make_bars(100, seed=3)
    found = find_look_ahead(as_feature(function), world, row, np.random.default_rng(0))
    assert found is not None
    assert found.startswith(f"feature {function.__name__} looks ahead: its value on ")
    assert f"when the bars after {world.date[row]} " in found


def test_the_message_names_session_and_values() -> None:
    world = make_bars(10, seed=3)

    def peek(seen: OHLCV) -> FloatArray:
        return np.full(len(seen), 1.0 if len(seen) == 10 else 2.0)

    assert find_look_ahead(as_feature(peek), world, 4, np.random.default_rng(0)) == (
        f"feature peek looks ahead: its value on {world.date[0]} goes from 1 to 2 when the bars "
        f"after {world.date[4]} are cut off; use rows up to t only"
    )


def test_a_look_ahead_that_survives_the_cut_is_found_by_the_other_future() -> None:
    def peek(seen: OHLCV) -> FloatArray:
        return np.full(len(seen), 0.0 if len(seen) < 10 else float(seen.close[9] > 1e4))

    world = make_bars(10, seed=3, level=9e3, volatility=1e-4)
    found = [
        find_look_ahead(as_feature(peek), world, 4, np.random.default_rng(seed))
        for seed in range(10)
    ]
    assert any(one is not None and one.endswith("change; use rows up to t only") for one in found)


def test_the_last_bit_counts() -> None:
    def last_bit(seen: OHLCV) -> FloatArray:
        return np.full(len(seen), np.nextafter(1.0, 2.0) if len(seen) == 10 else 1.0)

    world = make_bars(10)
    assert find_look_ahead(as_feature(last_bit), world, 4, np.random.default_rng(0)) is not None


def test_a_causal_feature_passes_at_every_row() -> None:
    def running_mean(seen: OHLCV) -> FloatArray:
        return np.cumsum(seen.close) / np.arange(1, len(seen) + 1)

    world = make_bars(30)
    for row in range(30):
        assert (
            find_look_ahead(as_feature(running_mean), world, row, np.random.default_rng(1)) is None
        )


def test_a_wrong_number_of_values_is_refused() -> None:
    def returns(seen: OHLCV) -> FloatArray:
        return np.diff(seen.close)

    with pytest.raises(FeatureError, match=r"returns returns shape \(9,\) for 10 bars; return one"):
        find_look_ahead(as_feature(returns), make_bars(10), 4, np.random.default_rng(0))


@given(world=bars(1, 100), place=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_the_other_future_is_valid_and_differs_in_every_field(
    world: OHLCV, place: float, seed: int
) -> None:
    row = round(place * (len(world) - 1))
    other = with_other_future(world, row, np.random.default_rng(seed))
    validate_bars(to_frame(other), source="other future")
    for name in SCHEMA.names()[1:]:
        one, two = getattr(world, name), getattr(other, name)
        assert np.array_equal(one[: row + 1], two[: row + 1])
        assert not (one[row + 1 :] == two[row + 1 :]).any()

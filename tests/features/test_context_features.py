from __future__ import annotations

import dataclasses
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import FeatureError
from finscale.features.build import first_usable_row
from finscale.features.causality import find_look_ahead
from finscale.features.context import context_features, first_value_row
from finscale.features.registry import REGISTRY, Feature
from finscale.market.bars import OHLCV, PRICES, FloatArray
from strategies import bars, make_bars

INDEX = context_features("vix", "volatility_index")
PRICE = context_features("gold", "price")
FEATURES = {one.name: one for one in (*INDEX, *PRICE)}

_SHARES = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])


def with_series(
    world: OHLCV,
    *,
    seed: int = 0,
    begin_frac: float = 0.0,
    stale_share: float = 0.0,
    jump_share: float = 0.0,
    level: float = 20.0,
    volatility: float = 0.05,
) -> OHLCV:
    """Give bars the series vix and gold: random walks that begin late, stand still, and jump.

    ``begin_frac`` of the rows come before the first value; at 1 there is none.
    """
    rng = np.random.default_rng(seed)
    begin = round(begin_frac * len(world))
    context = {}
    for name in ("vix", "gold"):
        step = volatility * rng.standard_normal(len(world))
        step += np.where(rng.random(len(world)) < jump_share, rng.uniform(-3, 3, len(world)), 0)
        step[rng.random(len(world)) < stale_share] = 0.0
        values = level * np.exp(np.clip(np.cumsum(step), -7, 7))
        values[:begin] = np.nan
        context[name] = values
    return dataclasses.replace(world, context=context)


def worlds(min_size: int, max_size: int, max_begin: float = 1.0) -> st.SearchStrategy[OHLCV]:
    return st.builds(
        with_series,
        bars(min_size, max_size),
        seed=st.integers(0, 2**32 - 1),
        begin_frac=st.one_of(st.just(0.0), st.floats(0, max_begin)),
        stale_share=_SHARES,
        jump_share=st.sampled_from([0.0, 0.0, 0.05]),
        level=st.sampled_from([1e-3, 20.0, 1e5]),
        volatility=st.sampled_from([1e-4, 0.05]),
    )


# Proofs.


@settings(max_examples=40)
@given(world=worlds(1, 320), place=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_none_looks_ahead(world: OHLCV, place: float, seed: int) -> None:
    row = round(place * (len(world) - 1))
    for feature in FEATURES.values():
        assert find_look_ahead(feature, world, row, np.random.default_rng(seed)) is None


def test_none_looks_back_before_the_first_value() -> None:
    world = with_series(make_bars(400, seed=1), begin_frac=0.25)
    for feature in FEATURES.values():
        values = feature.function(world)
        assert np.isnan(values[:100]).all(), feature.name
        later = feature.function(world.slice(100, 400))
        np.testing.assert_array_equal(values[100:], later, err_msg=feature.name)


@settings(max_examples=40)
@given(world=worlds(300, 400, max_begin=0.2))
def test_every_one_is_finite_from_its_look_back_on(world: OHLCV) -> None:
    for feature in FEATURES.values():
        first = first_usable_row(feature, world)
        assert np.isfinite(feature.function(world)[first:]).all(), feature.name


@settings(max_examples=40)
@given(world=worlds(300, 400, max_begin=0.1), place=st.floats(0, 1))
def test_the_look_back_is_all_a_value_needs(world: OHLCV, place: float) -> None:
    for feature in FEATURES.values():
        first = first_usable_row(feature, world)
        row = first + round(place * (len(world) - 1 - first))
        alone = feature.function(world.slice(row - feature.lookback_bars, row + 1))[-1]
        assert alone == feature.function(world)[row], feature.name


@pytest.mark.parametrize("name", FEATURES)
def test_no_look_back_is_longer_than_it_has_to_be(name: str) -> None:
    feature = FEATURES[name]
    world = with_series(make_bars(300, seed=5), begin_frac=0.1)
    assert feature.lookback_bars <= 254
    assert first_usable_row(feature, world) == 30 + feature.lookback_bars
    values = feature.function(world)
    assert np.isnan(values[: 30 + feature.lookback_bars]).all()


@settings(max_examples=30)
@given(
    world=worlds(260, 300),
    price=st.integers(-20, 20),
    volume=st.integers(-30, 20),
    series=st.integers(-20, 20),
)
def test_units_change_no_bit(world: OHLCV, price: int, volume: int, series: int) -> None:
    # Powers of two scale without rounding: what is left over is a hidden absolute threshold.
    scaled = {one: getattr(world, one) * 2.0**price for one in PRICES}
    other = OHLCV(
        date=world.date, volume=world.volume * 2.0**volume, context=world.context, **scaled
    )
    regauged = dataclasses.replace(
        other, context={**world.context, "gold": world.context["gold"] * 2.0**series}
    )
    for feature in INDEX:
        one, two = feature.function(world), feature.function(other)
        np.testing.assert_array_equal(one, two, err_msg=feature.name)
    for feature in PRICE:
        one, two = feature.function(world), feature.function(regauged)
        np.testing.assert_array_equal(one, two, err_msg=feature.name)


# Values, a window at a time, the slow way. Each function sees the bars and the series' values of
# the look-back and the row itself, and nothing more.


def steps(values: FloatArray) -> FloatArray:
    return np.diff(np.log(values))


def rms(values: FloatArray) -> float:
    return math.sqrt(float(np.mean(values**2)))


def slope(y: FloatArray, x: FloatArray) -> float:
    return float(np.polyfit(x, y, 1)[0])


def z(values: FloatArray) -> float:
    return float((values[-1] - values.mean()) / values.std())


Plain = Callable[[OHLCV, FloatArray], float]

EXPECTED: dict[str, Plain] = {
    "vix_log_level": lambda b, x: math.log(x[-1]),
    **{f"vix_change_{n}": lambda b, x: math.log(x[-1] / x[0]) for n in (1, 5, 20)},
    "vix_zscore_60": lambda b, x: z(np.log(x)),
    "vix_rank_252": lambda b, x: float(np.mean(x[:-1] < x[-1])),
    "vix_slope_20": lambda b, x: slope(np.log(x), np.arange(20)),
    "vix_mean_distance_20": lambda b, x: math.log(x[-1] / x.mean()),
    "vix_below_peak_60": lambda b, x: math.log(x[-1] / x.max()),
    "vix_log_volatility_20": lambda b, x: math.log(rms(steps(x))),
    **{
        f"vix_over_realized_volatility_{n}": lambda b, x: math.log(
            x[-1] / (100 * math.sqrt(252) * rms(steps(b.close)))
        )
        for n in (5, 20, 60)
    },
    "vix_over_parkinson_volatility_10": lambda b, x: math.log(
        x[-1] / (100 * math.sqrt(252) * rms(np.log(b.high / b.low)) / math.sqrt(4 * math.log(2)))
    ),
    "vix_volatility_premium_20": lambda b, x: x[-1] / 100 - math.sqrt(252) * rms(steps(b.close)),
    **{
        f"vix_scaled_return_{n}": lambda b, x, n=n: (
            math.log(b.close[-1] / b.close[0]) / (x[0] / 100 * math.sqrt(n / 252))
        )
        for n in (1, 5)
    },
    "vix_return_correlation_60": lambda b, x: float(
        scipy.stats.pearsonr(steps(x), steps(b.close)).statistic
    ),
    "vix_return_beta_60": lambda b, x: slope(steps(x), steps(b.close)),
    "vix_unexplained_change_60": lambda b, x: (
        steps(x)[-1] - slope(steps(x), steps(b.close)) * steps(b.close)[-1]
    ),
    **{f"gold_log_return_{n}": lambda b, x: math.log(x[-1] / x[0]) for n in (1, 5, 20)},
    **{
        f"gold_relative_strength_{n}": lambda b, x: math.log(
            (b.close[-1] / x[-1]) / (b.close[0] / x[0])
        )
        for n in (1, 20, 60)
    },
    "gold_momentum_difference_252_21": lambda b, x: math.log(
        (b.close[-22] / x[-22]) / (b.close[0] / x[0])
    ),
    "gold_correlation_60": lambda b, x: float(
        scipy.stats.pearsonr(steps(x), steps(b.close)).statistic
    ),
    "gold_lead_correlation_60": lambda b, x: float(
        scipy.stats.pearsonr(steps(x)[:-1], steps(b.close)[1:]).statistic
    ),
    "gold_beta_60": lambda b, x: slope(steps(b.close), steps(x)),
    "gold_unexplained_return_60": lambda b, x: (
        steps(b.close)[-1] - slope(steps(b.close), steps(x)) * steps(x)[-1]
    ),
    "gold_spread_zscore_60": lambda b, x: z(b.close / x),
    **{
        f"gold_volatility_ratio_{n}": lambda b, x: math.log(rms(steps(b.close)) / rms(steps(x)))
        for n in (20, 60)
    },
    "gold_drawdown_difference_60": lambda b, x: (
        math.log(b.close[-1] / b.close.max()) - math.log(x[-1] / x.max())
    ),
}


def test_every_feature_has_a_value_to_compare_with() -> None:
    assert set(EXPECTED) == set(FEATURES)


@pytest.mark.parametrize("name", FEATURES)
def test_values(name: str) -> None:
    feature = FEATURES[name]
    world = with_series(make_bars(330, seed=11), seed=12, begin_frac=0.05)
    found = feature.function(world)
    first = first_usable_row(feature, world)
    for row in (first, first + 1, 300, 329):
        seen = world.slice(row - feature.lookback_bars, row + 1)
        expected = EXPECTED[name](seen, seen.context[feature.context])
        assert found[row] == pytest.approx(expected, rel=1e-9, abs=1e-12)


# What does not move has a stated answer.


def still(n_bars: int = 300) -> OHLCV:
    """A market and two series that never move: 0.1 is not exact, so sums of it round."""
    price = np.full(n_bars, 0.1)
    date = np.datetime64("2018-01-01") + np.arange(n_bars)
    context = {"vix": np.full(n_bars, 0.1), "gold": np.full(n_bars, 0.7)}
    return OHLCV(date, price, price, price, price, np.zeros(n_bars), context)


FLOOR = math.log(0.1 / 100 / math.sqrt(252) / 1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vix_zscore_60", 0.0),
        ("vix_rank_252", 0.5),
        ("vix_log_volatility_20", math.log(1e-6)),
        ("vix_over_realized_volatility_20", FLOOR),
        ("vix_over_parkinson_volatility_10", FLOOR),
        ("vix_volatility_premium_20", 0.001),
        ("vix_return_correlation_60", 0.0),
        ("vix_return_beta_60", 0.0),
        ("vix_unexplained_change_60", 0.0),
        ("gold_correlation_60", 0.0),
        ("gold_beta_60", 0.0),
        ("gold_spread_zscore_60", 0.0),
        ("gold_volatility_ratio_20", 0.0),
    ],
)
def test_when_nothing_moves(name: str, expected: float) -> None:
    values = FEATURES[name].function(still())
    assert values[FEATURES[name].lookback_bars :] == pytest.approx(expected, rel=1e-12)


def test_when_the_price_alone_stands_still_the_change_is_unexplained() -> None:
    world = with_series(still())
    change = FEATURES["vix_change_1"].function(world)[60:]
    np.testing.assert_array_equal(
        FEATURES["vix_unexplained_change_60"].function(world)[60:], change
    )


# What they say of themselves.


@pytest.mark.parametrize("feature", FEATURES.values(), ids=lambda one: one.name)
def test_each_is_documented(feature: Feature) -> None:
    series = feature.name.partition("_")[0]
    assert feature.context == series
    assert feature.family == "context"
    assert feature.inputs[-1] == f"context {series}"
    assert set(feature.inputs[:-1]) <= set(PRICES)
    assert re.search(r"\(\d{4}\)", feature.reference)
    assert feature.meaning
    assert not re.search(r"[{}\n]", feature.meaning)
    assert "{n" not in feature.formula


def test_names_and_texts_carry_series_and_periods() -> None:
    one = FEATURES["gold_momentum_difference_252_21"]
    assert one.meaning == "log return from 252 to 21 bars ago beyond that of gold"
    assert one.formula == "ln(C_{t-21} / C_{t-252}) - ln(X_{t-21} / X_{t-252})"
    assert one.inputs == ("close", "context gold")
    assert one.lookback_bars == 252
    assert FEATURES["vix_change_5"].meaning == "5-bar log change of vix"
    assert FEATURES["vix_change_5"].inputs == ("context vix",)


def test_they_travel_to_other_processes() -> None:
    world = with_series(make_bars(300))
    for feature in FEATURES.values():
        arrived = pickle.loads(pickle.dumps(feature))  # noqa: S301 - our own bytes
        np.testing.assert_array_equal(arrived.function(world), feature.function(world))


def test_two_series_of_one_kind_share_no_name() -> None:
    other = context_features("vxn", "volatility_index")
    assert len(other) == len(INDEX) == 20
    assert len(PRICE) == 15
    assert {one.name for one in other}.isdisjoint(one.name for one in INDEX)
    # They are made, not registered: the registry holds what every market has.
    assert not set(FEATURES) & set(REGISTRY)


@pytest.mark.parametrize("feature", [INDEX[0], PRICE[-1]], ids=lambda one: one.name)
def test_a_series_that_is_not_there_is_refused(feature: Feature) -> None:
    world = dataclasses.replace(make_bars(5), context={"oil": np.ones(5), "bund": np.ones(5)})
    with pytest.raises(FeatureError) as caught:
        feature.function(world)
    assert str(caught.value) == (
        f"no context series {feature.context!r} beside the bars (there are: oil, bund); "
        "join it to them, or choose other features"
    )
    with pytest.raises(FeatureError, match=r"\(there are: none\)"):
        feature.function(make_bars(5))


def test_an_unknown_kind_is_refused() -> None:
    kind: Any = "rate"
    with pytest.raises(FeatureError) as caught:
        context_features("vix", kind)
    assert str(caught.value) == (
        "context vix: unknown kind 'rate'; choose one of volatility_index, price"
    )


def test_the_first_value() -> None:
    world = make_bars(3)
    for values, row in (([np.nan, 2.0, 3.0], 1), ([1.0, 2.0, 3.0], 0), ([np.nan] * 3, 3)):
        joined = dataclasses.replace(world, context={"vix": np.array(values)})
        assert first_value_row(joined, "vix") == row

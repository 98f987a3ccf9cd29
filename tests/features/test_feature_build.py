from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from finscale.errors import FeatureError
from finscale.features.build import (
    FeatureMatrix,
    build_features,
    feature_values,
    first_usable_row,
)
from finscale.features.context import context_features
from finscale.features.registry import REGISTRY, Feature, feature
from finscale.features.tiers import MODULES, TIERS, tier_features
from finscale.market.bars import OHLCV, FloatArray
from finscale.study_rows import TierName
from strategies import make_bars


def planted(name: str, values: list[float], lookback_bars: int = 0) -> Feature:
    return Feature(
        name=name,
        family="price",
        meaning="what it means",
        formula="how it is made",
        inputs=("close",),
        reference="where it comes from",
        lookback_bars=lookback_bars,
        function=lambda bars: np.array(values[: len(bars)]),
    )


def test_a25_is_5_from_the_bar_and_20_indicators() -> None:
    features = tier_features("a25")
    assert len({one.name for one in features}) == len(features) == 25
    assert [one.family for one in features[:5]] == ["price"] * 5
    assert sum(one.family == "price" for one in features) == 5


def test_tiers_are_those_a_study_may_name() -> None:
    assert tuple(TIERS) == get_args(TierName)


def test_each_tier_starts_with_the_one_below() -> None:
    tiers = list(TIERS.values())
    for smaller, larger in pairwise(tiers):
        assert larger[: len(smaller)] == smaller
    for name, names in TIERS.items():
        assert name == f"a{len(names)}"


def test_every_registered_feature_is_documented() -> None:
    modules = {module.__name__ for module in MODULES}
    families = {module.rpartition(".")[2] for module in modules}
    for name, one in REGISTRY.items():
        assert name == one.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert one.family in families
        # A family may take several modules; one of them has its name.
        function = one.function.func if isinstance(one.function, partial) else one.function
        assert function.__module__ in modules
        assert one.meaning
        assert "\n" not in one.meaning
        assert re.search(r"\d{4}", one.reference)


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(FeatureError, match="unknown tier 'a26'; choose one of a25"):
        tier_features("a26")


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.usefixtures("registry")
def test_a_feature_of_several_periods_is_registered_once_for_each() -> None:
    @feature(
        family="price",
        meaning="{fast} over {slow} bars",
        formula="C_t / C_{{t-{slow}}}",
        reference="r",
        inputs=["close"],
        lookback_bars=lambda fast, slow: fast + slow,
        over=[(2, 5), (3, 7)],
    )
    def my_ratio(bars: OHLCV, fast: int, slow: int) -> FloatArray:
        return bars.close * fast - slow

    one, other = REGISTRY["my_ratio_2_5"], REGISTRY["my_ratio_3_7"]
    assert (one.meaning, one.formula, one.lookback_bars) == ("2 over 5 bars", "C_t / C_{t-5}", 7)
    assert (other.meaning, other.lookback_bars) == ("3 over 7 bars", 10)
    world = make_bars(4)
    np.testing.assert_array_equal(other.function(world), world.close * 3 - 7)


@pytest.mark.usefixtures("registry")
def test_a_feature_is_registered_under_its_own_name_once() -> None:
    def my_feature(bars: OHLCV) -> FloatArray:
        return bars.close

    register = feature(
        family="price", meaning="m", formula="f", reference="r", inputs=["close"], lookback_bars=3
    )
    assert register(my_feature) is my_feature
    assert REGISTRY["my_feature"] == Feature(
        "my_feature", "price", "m", "f", "r", ("close",), 3, my_feature
    )
    with pytest.raises(FeatureError, match="'my_feature' is registered twice; rename one"):
        register(my_feature)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "C_{t-1}"}, "formula: {t-1} names no parameter; write {{t-1}}"),
        ({"meaning": "over {} bars"}, "meaning: {} names no parameter; write {{}}"),
        ({"formula": "C_{t"}, "write {{ and }}"),
    ],
)
def test_braces_that_name_no_parameter_are_refused(changes: dict[str, Any], message: str) -> None:
    given = {
        "family": "own",
        "meaning": "m",
        "formula": "f",
        "reference": "r",
        "inputs": ["close"],
        "lookback_bars": 1,
        "over": (5,),
    } | changes

    def my_feature(bars: OHLCV, n: int = 1) -> FloatArray:
        return bars.close * n

    with pytest.raises(FeatureError, match=f"'my_feature', .*{re.escape(message)}$"):
        feature(**given)(my_feature)
    assert not any(name.startswith("my_feature") for name in REGISTRY)


def test_the_matrix_has_a_column_per_feature_and_starts_with_the_slowest() -> None:
    bars = make_bars(4)
    matrix = build_features(
        bars, (planted("one", [1, 2, 3, 4], 1), planted("two", [np.nan, np.inf, 7, 8], 2))
    )
    assert matrix.names == ("one", "two")
    assert matrix.families == ("price", "price")
    assert matrix.first_row == 2
    assert matrix.values.dtype == np.float32
    np.testing.assert_array_equal(
        matrix.values, [[np.nan, np.nan], [np.nan, np.nan], [3, 7], [4, 8]]
    )
    np.testing.assert_array_equal(matrix.date, bars.date)


def test_a25_on_a_real_market(sp500: OHLCV) -> None:
    matrix = build_features(sp500, tier_features("a25"))
    assert matrix.values.shape == (5031, 25)
    assert matrix.first_row == 254
    assert np.isfinite(matrix.values[254:]).all()
    assert np.isnan(matrix.values[:254]).all()
    column = matrix.names.index("return_1")
    np.testing.assert_allclose(
        matrix.values[254:, column], np.diff(np.log(sp500.close))[253:], rtol=1e-5, atol=1e-7
    )


def test_too_few_bars_name_the_feature_that_needs_more() -> None:
    features = (planted("quick", [1.0]), planted("slow", [1.0], 3))
    with pytest.raises(FeatureError, match="3 bars are too few: slow needs 3 before the first"):
        build_features(make_bars(3), features)
    assert build_features(make_bars(4), (planted("slow", [1.0] * 4, 3),)).first_row == 3


def with_series(n_bars: int, **begins: int) -> OHLCV:
    """Bars with context series that begin at the given rows."""
    context = {
        name: np.where(np.arange(n_bars) < begin, np.nan, 20.0) for name, begin in begins.items()
    }
    return dataclasses.replace(make_bars(n_bars), context=context)


def of_series(series: str, lookback_bars: int) -> Feature:
    one = planted(f"{series}_level", [1.0] * 100, lookback_bars)
    return dataclasses.replace(one, family="context", context=series)


@pytest.mark.parametrize(
    ("features", "first_row"),
    [
        ([of_series("vix", 0)], 30),
        ([of_series("vix", 5)], 35),
        ([of_series("vix", 5), planted("own", [1.0] * 100, 40)], 40),
        ([of_series("vix", 5), of_series("gold", 20)], 35),
        ([of_series("vix", 5), of_series("gold", 26)], 36),
        ([of_series("gold", 0)], 10),
    ],
)
def test_a_look_back_counts_from_where_its_series_begins(
    features: list[Feature], first_row: int
) -> None:
    bars = with_series(100, vix=30, gold=10)
    matrix = build_features(bars, tuple(features))
    assert matrix.first_row == first_row
    assert max(first_usable_row(one, bars) for one in features) == first_row
    assert np.isnan(matrix.values[:first_row]).all()
    assert (matrix.values[first_row:] == 1.0).all()


def test_context_features_on_real_bars(sp500: OHLCV) -> None:
    series = np.where(np.arange(5031) < 100, np.nan, 20.0)
    bars = dataclasses.replace(sp500, context={"vix": series})
    features = (*tier_features("a25"), *context_features("vix", "volatility_index"))
    matrix = build_features(bars, features)
    # The longest: vix_rank_252, from row 100 on.
    assert matrix.first_row == 100 + 251
    assert np.isfinite(matrix.values[matrix.first_row :]).all()


def test_a_series_that_the_bars_do_not_have_is_refused() -> None:
    bars = with_series(50, gold=0)
    with pytest.raises(FeatureError) as caught:
        build_features(bars, (planted("own", [1.0] * 50), of_series("vix", 3)))
    assert str(caught.value) == (
        "feature vix_level: no context series 'vix' beside the bars (there are: gold); "
        "join it to them, or choose other features"
    )


@pytest.mark.parametrize("begin", [30, 40])
def test_a_series_that_begins_too_late_is_named(begin: int) -> None:
    bars = with_series(40, vix=begin)
    when = f"on {bars.date[30]}" if begin == 30 else f"after {bars.date[39]}"
    with pytest.raises(FeatureError) as caught:
        build_features(bars, (planted("own", [1.0] * 40), of_series("vix", 10)))
    assert str(caught.value) == (
        f"40 bars are too few: vix_level needs 10 after vix begins {when}; give a longer series, "
        "later bars, or choose other features"
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda bars: bars.close[1:], r"feature own returns shape \(4,\) for 5 bars; return one "),
        (lambda bars: 1.0, r"feature own returns shape \(\) for 5 bars; return one value per bar"),
        (
            lambda bars: bars.close[7],
            r"feature own fails on 5 bars from \S+: IndexError: .*; correct its function",
        ),
    ],
)
def test_a_function_that_gives_no_values_is_named(
    function: Callable[[OHLCV], FloatArray], message: str
) -> None:
    one = dataclasses.replace(planted("own", []), function=function)
    with pytest.raises(FeatureError, match=message):
        build_features(make_bars(5), (one,))


def test_values_become_float64() -> None:
    one = dataclasses.replace(planted("own", []), function=lambda bars: [1] * len(bars))
    values = feature_values(one, make_bars(3))
    assert values.dtype == np.float64
    assert values.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_names_itself_and_the_session(bad: float) -> None:
    bars = make_bars(5)
    features = (planted("good", [1.0] * 5, 1), planted("wild", [bad, 0.0, bad, bad, 0.0]))
    with pytest.raises(FeatureError) as caught:
        build_features(bars, features)
    assert str(caught.value) == (
        f"feature wild is not finite on {bars.date[2]} (2 rows in all); "
        "check the bars before that session (what it means)"
    )


def matrix_of(**changes: Any) -> FeatureMatrix:
    parts: dict[str, Any] = {
        "values": np.array([[1.0, 2.0]], dtype=np.float32),
        "names": ("a", "b"),
        "families": ("price", "price"),
        "date": np.array(["2001-01-01"], dtype="datetime64[D]"),
        "first_row": 0,
    }
    return FeatureMatrix(**{**parts, **changes})


def test_the_content_hash_is_of_names_dates_and_values() -> None:
    same = matrix_of(values=np.asfortranarray(np.array([[1.0, 2.0]], dtype=np.float32)))
    assert matrix_of().content_hash() == same.content_hash()
    others = [
        matrix_of(values=np.array([[1.0, np.nextafter(np.float32(2), np.float32(3))]], "f4")),
        matrix_of(names=("a", "c")),
        matrix_of(date=np.array(["2001-01-02"], dtype="datetime64[D]")),
    ]
    assert len({matrix_of().content_hash(), *(one.content_hash() for one in others)}) == 4

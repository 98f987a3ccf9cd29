from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from finscale.features.context import context_features
from finscale.features.proof import find_price_unit, prove
from finscale.features.registry import Feature
from finscale.features.rolling import rolling_mean
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV, FloatArray
from strategies import make_bars

WORLD = make_bars(1500, seed=7)
ROWS = (700, 0, 1498, 1499, 30, 1200)


def mine(function: Callable[[OHLCV], FloatArray], lookback_bars: int = 0) -> Feature:
    return Feature("mine", "mine", "m", "f", "r", ("close",), lookback_bars, function)


def problems(
    function: Callable[[OHLCV], FloatArray],
    lookback_bars: int = 0,
    *,
    world: OHLCV = WORLD,
    rows: tuple[int, ...] = ROWS,
) -> list[str]:
    return prove(mine(function, lookback_bars), world, rows, np.random.default_rng(0))


def only(found: list[str]) -> str:
    [line] = found
    assert "\n" not in line
    return line


def test_a_sound_feature_has_no_problem() -> None:
    assert problems(lambda bars: bars.close / rolling_mean(bars.close, 20), 19) == []


def test_built_in_features_have_no_problem(sp500: OHLCV) -> None:
    rng = np.random.default_rng(0)
    for feature in tier_features("a25"):
        assert prove(feature, sp500, [2500, 0, 5029, 254, 4000], rng) == []
        assert find_price_unit(feature, sp500) is None


def test_context_features_that_begin_late_have_no_problem() -> None:
    series = np.exp(0.05 * np.cumsum(np.random.default_rng(1).standard_normal(1500)))
    series[:600] = np.nan
    world = dataclasses.replace(WORLD, context={"vix": series})
    features = context_features("vix", "volatility_index") + context_features("vix", "price")
    for feature in features:
        rows = [700, 0, 1498, 599, 600, 600 + feature.lookback_bars]
        assert prove(feature, world, rows, np.random.default_rng(2)) == []
        assert find_price_unit(feature, world) is None
        assert only(prove(feature, WORLD, rows, np.random.default_rng(2))) == (
            f"feature {feature.name}: no context series 'vix' beside the bars (there are: none); "
            "join it to them, or choose other features"
        )


def ahead(n_bars: int) -> Callable[[OHLCV], FloatArray]:
    def peek(bars: OHLCV) -> FloatArray:
        later = np.r_[bars.close[n_bars:], np.full(min(n_bars, len(bars)), bars.close[-1])]
        return later / bars.close

    return peek


@pytest.mark.parametrize("n_bars", [1, 5, 700])
def test_a_look_ahead_is_found(n_bars: int) -> None:
    # 700 bars ahead is further than the part around a row reaches; the first row sees it all.
    found = problems(ahead(n_bars))
    assert found[0].startswith("feature mine looks ahead: its value on ")
    assert found[0].endswith("; use rows up to t only")


def test_a_look_ahead_at_one_of_the_rows_is_enough() -> None:
    def peek(bars: OHLCV) -> FloatArray:
        values = np.zeros(len(bars))
        at = np.flatnonzero(bars.date == WORLD.date[1199])
        values[at] = bars.close[np.minimum(at + 2, len(bars) - 1)]
        return values

    assert f"its value on {WORLD.date[1199]} goes from" in only(problems(peek))
    assert problems(peek, rows=(700, 0, 1498, 1499, 30, 1100)) == []


def test_a_look_back_that_is_too_short_is_found() -> None:
    found = problems(lambda bars: np.cumsum(bars.close) / np.arange(1, len(bars) + 1), 5)
    assert found[-1].startswith(
        "feature mine remembers more than its look-back of 5 bars: its value on "
        f"{WORLD.date[700]} goes from "
    )
    assert found[-1].endswith(
        f" when the bars before {WORLD.date[695]} are cut off; state a longer look-back"
    )


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_look_back_is_right_to_one_part_in_a_million(size: float) -> None:
    def remembering(error: float) -> Callable[[OHLCV], FloatArray]:
        return lambda bars: np.full(len(bars), size * (1 + error * (len(bars) > 100)))

    # Not a look-ahead check: a single row, the last, has no future.
    assert problems(remembering(0.9e-6), 50, rows=(1499,)) == []
    assert "remembers more" in only(problems(remembering(1.1e-6), 50, rows=(1499,)))


def test_a_value_that_is_not_finite_is_found() -> None:
    def holes(bars: OHLCV) -> FloatArray:
        values = np.ones(len(bars))
        values[np.isin(bars.date, WORLD.date[[3, 40, 900]])] = np.nan
        return values

    assert only(problems(holes, 10)) == (
        f"feature mine is nan on {WORLD.date[40]} (2 rows in all), with 40 bars before it and a "
        "look-back of 10; give every division and logarithm an answer at zero, or state a longer "
        "look-back"
    )


def test_a_value_that_is_missing_without_the_rest_of_history_is_found() -> None:
    line = problems(lambda bars: rolling_mean(bars.close, 20), 10, rows=(500,))[-1]
    assert f"its value on {WORLD.date[500]} goes from" in line
    assert f" to nan when the bars before {WORLD.date[490]} are cut off" in line


def test_chance_is_found() -> None:
    rng = np.random.default_rng(0)
    found = problems(lambda bars: rng.random(len(bars)))
    assert found[0].startswith(
        f"feature mine is not the same twice: its value on {WORLD.date[0]} goes from "
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda bars: np.diff(bars.close), "returns shape (1499,) for 1500 bars; return one value"),
        (lambda bars: 1.0, "returns shape () for 1500 bars; return one value per bar"),
        (lambda bars: bars.close[:, None], "returns shape (1500, 1) for 1500 bars; return one "),
        (
            lambda bars: bars.closing,
            (
                f"fails on 1500 bars from {WORLD.date[0]}: AttributeError: 'OHLCV' object has no "
                "attribute 'closing'; correct its function"
            ),
        ),
        (lambda bars: ["a"] * len(bars), "fails on 1500 bars from "),
        # Written for long histories only.
        (lambda bars: bars.close / bars.close[5], "fails on 1 bars from "),
    ],
)
def test_a_function_that_gives_no_values_is_named(
    function: Callable[[OHLCV], FloatArray], message: str
) -> None:
    line = only(problems(function))
    assert line.startswith(f"feature mine {message}")


def test_too_short_a_history_proves_nothing() -> None:
    assert only(problems(lambda bars: bars.close, 1500)) == (
        "feature mine needs 1500 bars before its first value, and there are 1500; give a longer "
        "history"
    )


def test_a_price_level_is_warned_about() -> None:
    line = find_price_unit(mine(lambda bars: rolling_mean(bars.close, 3), 2), WORLD)
    value = rolling_mean(WORLD.close, 3)[2]
    assert line == (
        f"feature mine depends on the unit of the price: on {WORLD.date[2]} it goes from "
        f"{value:.6g} to {8 * value:.6g} when all prices are multiplied by 8; use ratios or log "
        "returns"
    )
    assert find_price_unit(mine(lambda bars: bars.high / bars.low), WORLD) is None

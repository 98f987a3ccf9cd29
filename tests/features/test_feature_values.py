from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given, settings

from finscale.features.registry import REGISTRY
from finscale.features.rolling import lagged_log_ratio, ratio_or, rolling_mean
from finscale.features.tiers import TIERS, tier_features
from finscale.market.bars import OHLCV
from strategies import bars

Bars = list[dict[str, float]]


def make(
    close: list[float],
    *,
    high: list[float] | None = None,
    low: list[float] | None = None,
    open_: list[float] | None = None,
    volume: list[float] | None = None,
) -> OHLCV:
    opened, highest, lowest = (np.array(one or close, dtype=float) for one in (open_, high, low))
    return OHLCV(
        date=np.datetime64("2001-01-01") + np.arange(len(close)),
        open=opened,
        high=highest,
        low=lowest,
        close=np.array(close, dtype=float),
        volume=np.array(volume or [1.0] * len(close)),
    )


def value(name: str, world: OHLCV, row: int = -1) -> float:
    return float(REGISTRY[name].function(world)[row])


# Literal values, worked out by hand.


def test_returns_and_gap() -> None:
    world = make([100, 110, 121, 133.1, 146.41, 100], open_=[100, 105, 121, 133.1, 146.41, 73.205])
    assert value("return_1", world, 1) == pytest.approx(math.log(1.1))
    assert value("return_5", world) == pytest.approx(0.0)
    assert value("overnight_gap", world, 1) == pytest.approx(math.log(1.05))
    assert value("overnight_gap", world) == pytest.approx(math.log(0.5))
    assert np.isnan(REGISTRY["return_1"].function(world)[0])


def test_high_and_low_against_the_close() -> None:
    world = make([100.0], high=[110.0], low=[80.0])
    assert value("high_above_close", world) == pytest.approx(math.log(1.1))
    assert value("low_below_close", world) == pytest.approx(math.log(1.25))
    assert value("log_range", world) == pytest.approx(math.log(math.log(1.375)))


def test_relative_volume() -> None:
    # 19 sessions of 10 and one of 210 average 20.
    assert value("volume_ratio_20", make([1.0] * 20, volume=[10.0] * 19 + [210.0])) == (
        pytest.approx(math.log(10.5))
    )
    assert value("volume_ratio_20", make([1.0] * 20, volume=[10.0] * 19 + [0.0])) == (
        pytest.approx(math.log(1e-3))
    )
    assert value("volume_ratio_20", make([1.0] * 20, volume=[0.0] * 20)) == 0.0


def test_distance_from_the_average_and_place_in_the_band() -> None:
    # 1 … 20: mean 10.5, population variance (20^2 - 1) / 12 = 33.25.
    world = make([float(price) for price in range(1, 21)])
    assert value("sma_distance_20", world) == pytest.approx(20 / 10.5 - 1)
    assert value("sma_distance_10", world) == pytest.approx(20 / 15.5 - 1)
    assert value("bollinger_position_20", world) == pytest.approx(9.5 / (2 * math.sqrt(33.25)))


def test_commodity_channel_index() -> None:
    # 1 … 20: mean 10.5, mean absolute deviation 5, so (20 - 10.5) / (0.015 * 5) / 100.
    world = make([float(price) for price in range(1, 21)])
    assert value("cci_20", world) == pytest.approx(9.5 / 7.5)


def test_stochastic() -> None:
    world = make([50.0] * 13 + [45.0], high=[60.0] * 14, low=[40.0] * 14)
    assert value("stochastic_k_14", world) == pytest.approx(0.25)


def test_aroon() -> None:
    rising = make([float(price) for price in range(1, 27)])
    assert value("aroon_oscillator_25", rising) == 1.0
    # High 5 bars ago, low 20 bars ago: (20 - 5) / 25.
    close = [50.0] * 26
    close[-1 - 5], close[-1 - 20] = 60.0, 40.0
    assert value("aroon_oscillator_25", make(close)) == pytest.approx(0.6)


def test_relative_strength_of_a_zigzag() -> None:
    # Up 3, down 1, for long: gains make three quarters of the moves, up to the last step's weight.
    steps = np.tile([3.0, -1.0], 300)
    strength = REGISTRY["rsi_14"].function(make((100 + np.cumsum(steps)).tolist()))
    # Steady state of Wilder's average of a 2-cycle: after a rise a / (1 - q^2), q = 13/14.
    q = 13 / 14
    gain, loss = 3 * (1 - q) / (1 - q**2), 1 * q * (1 - q) / (1 - q**2)
    assert strength[-2] == pytest.approx(gain / (gain + loss))
    assert strength[-1] == pytest.approx(gain * q / (gain * q + loss / q))


def test_realised_and_range_volatility() -> None:
    # Up 2% and down 2% by turns (in logs): the root mean square is 0.02 whatever the window.
    close = np.exp(0.02 * (np.arange(30) % 2)).tolist()
    assert value("log_realized_volatility_5", make(close)) == pytest.approx(math.log(0.02))
    assert value("log_realized_volatility_20", make(close)) == pytest.approx(math.log(0.02))
    high = [math.exp(0.03)] * 10
    assert value("log_parkinson_volatility_10", make([1.0] * 10, high=high)) == (
        pytest.approx(math.log(0.03 / math.sqrt(4 * math.log(2))))
    )
    # Every true range is 3% of the close.
    steady = make([100.0] * 300, high=[102.0] * 300, low=[99.0] * 300)
    assert value("log_natr_14", steady) == pytest.approx(math.log(0.03))


def test_money_flow() -> None:
    # 15 bars: 12 rises and 2 falls, each moving the money of its own typical price.
    close = [10.0, *[11.0 + i for i in range(12)], 20.0, 15.0]
    rising = sum(11.0 + i for i in range(12))
    assert value("money_flow_index_14", make(close)) == pytest.approx(rising / (rising + 35.0))
    # Close at the high in 15 bars of 20, at the low in the others, with twice the volume.
    world = make(
        [12.0] * 15 + [10.0] * 5,
        high=[12.0] * 20,
        low=[10.0] * 20,
        volume=[1.0] * 15 + [2.0] * 5,
    )
    assert value("chaikin_money_flow_20", world) == pytest.approx((15 - 10) / 25)


def test_a_market_that_never_moves_is_neutral() -> None:
    world = make([1.1] * 300, volume=[0.0] * 300)
    neutral = {
        "rsi_14": 0.5,
        "stochastic_k_14": 0.5,
        "money_flow_index_14": 0.5,
        "log_natr_14": math.log(1e-6),
        "log_range": math.log(1e-6),
        "log_realized_volatility_5": math.log(1e-6),
        "log_realized_volatility_20": math.log(1e-6),
        "log_parkinson_volatility_10": math.log(1e-6),
    }
    for feature in tier_features("a25"):
        expected = neutral.get(feature.name, 0.0)
        assert value(feature.name, world) == pytest.approx(expected, abs=1e-12), feature.name


def test_a_first_move_after_a_still_start_counts_in_full() -> None:
    assert value("rsi_14", make([5.0] * 30 + [6.0])) == 1.0
    assert value("rsi_14", make([5.0] * 30 + [4.0])) == 0.0
    assert value("money_flow_index_14", make([5.0] * 20 + [6.0])) == 1.0


# A second method: plain Python, one row at a time, straight from the definitions.


def average(values: list[float], smoothing: float) -> list[float]:
    state, out = values[0], []
    for one in values:
        state += smoothing * (one - state)
        out.append(state)
    return out


def true_ranges(world: Bars) -> list[float]:
    return [
        max(bar["high"], last["close"]) - min(bar["low"], last["close"])
        for last, bar in pairwise(world)
    ]


def closes(world: Bars, n_bars: int) -> list[float]:
    return [bar["close"] for bar in world[-n_bars:]]


def typical(bar: dict[str, float]) -> float:
    return (bar["high"] + bar["low"] + bar["close"]) / 3


def log_return(world: Bars, n_bars: int) -> float:
    return math.log(world[-1]["close"] / world[-1 - n_bars]["close"])


def relative_volume(world: Bars) -> float:
    mean = fmean(bar["volume"] for bar in world[-20:])
    return math.log(max(world[-1]["volume"] / mean, 1e-3)) if mean else 0.0


def sma_distance(world: Bars, n_bars: int) -> float:
    return world[-1]["close"] / fmean(closes(world, n_bars)) - 1


def ema_distance(world: Bars) -> float:
    return world[-1]["close"] / average(closes(world, 0), 2 / 13)[-1] - 1


def macd(world: Bars) -> float:
    fast, slow = average(closes(world, 0), 2 / 13), average(closes(world, 0), 2 / 27)
    line = [one - two for one, two in zip(fast, slow, strict=True)]
    return (line[-1] - average(line, 0.2)[-1]) / world[-1]["close"]


def adx(world: Bars) -> float:
    up, down = [], []
    for last, bar in pairwise(world):
        rise, fall = bar["high"] - last["high"], last["low"] - bar["low"]
        up.append(rise if rise > fall and rise > 0 else 0.0)
        down.append(fall if fall > rise and fall > 0 else 0.0)
    plus, minus = average(up, 1 / 14), average(down, 1 / 14)
    index = [abs(p - m) / (p + m) if p + m else 0.0 for p, m in zip(plus, minus, strict=True)]
    return average(index, 1 / 14)[-1]


def aroon(world: Bars) -> float:
    recent = world[-26:][::-1]
    since_high = max(range(26), key=lambda age: (recent[age]["high"], -age))
    since_low = min(range(26), key=lambda age: (recent[age]["low"], age))
    return (since_low - since_high) / 25


def rsi(world: Bars) -> float:
    moves = [math.fsum([bar["close"], -last["close"]]) for last, bar in pairwise(world)]
    gain = average([max(move, 0.0) for move in moves], 1 / 14)[-1]
    loss = average([max(-move, 0.0) for move in moves], 1 / 14)[-1]
    return gain / (gain + loss) if gain + loss else 0.5


def stochastic(world: Bars) -> float:
    low, high = min(bar["low"] for bar in world[-14:]), max(bar["high"] for bar in world[-14:])
    return (world[-1]["close"] - low) / (high - low) if high > low else 0.5


def cci(world: Bars) -> float:
    prices = [typical(bar) for bar in world[-20:]]
    mean = fmean(prices)
    deviation = fmean(abs(price - mean) for price in prices)
    return (prices[-1] - mean) / (0.015 * deviation) / 100 if max(prices) > min(prices) else 0.0


def bollinger(world: Bars) -> float:
    prices = closes(world, 20)
    spread = pstdev(prices)
    return (prices[-1] - fmean(prices)) / (2 * spread) if max(prices) > min(prices) else 0.0


def natr(world: Bars) -> float:
    return math.log(max(average(true_ranges(world), 1 / 14)[-1] / world[-1]["close"], 1e-6))


def log_range(world: Bars) -> float:
    return math.log(max(math.log(world[-1]["high"] / world[-1]["low"]), 1e-6))


def realized(world: Bars, n_bars: int) -> float:
    squares = [log_return(world[: len(world) - back], 1) ** 2 for back in range(n_bars)]
    return math.log(max(math.sqrt(fmean(squares)), 1e-6))


def parkinson(world: Bars) -> float:
    squares = [math.log(bar["high"] / bar["low"]) ** 2 for bar in world[-10:]]
    return math.log(max(math.sqrt(fmean(squares) / (4 * math.log(2))), 1e-6))


def mfi(world: Bars) -> float:
    rising = falling = 0.0
    for last, bar in zip(world[-15:], world[-14:], strict=False):
        if typical(bar) > typical(last):
            rising += typical(bar) * bar["volume"]
        elif typical(bar) < typical(last):
            falling += typical(bar) * bar["volume"]
    return rising / (rising + falling) if rising + falling else 0.5


def chaikin(world: Bars) -> float:
    flow = traded = 0.0
    for bar in world[-20:]:
        span = bar["high"] - bar["low"]
        place = (2 * bar["close"] - bar["high"] - bar["low"]) / span if span else 0.0
        flow, traded = flow + place * bar["volume"], traded + bar["volume"]
    return flow / traded if traded else 0.0


FINITE: dict[str, Callable[[Bars], float]] = {
    "return_1": lambda world: log_return(world, 1),
    "return_5": lambda world: log_return(world, 5),
    "return_10": lambda world: log_return(world, 10),
    "overnight_gap": lambda world: math.log(world[-1]["open"] / world[-2]["close"]),
    "high_above_close": lambda world: math.log(world[-1]["high"] / world[-1]["close"]),
    "low_below_close": lambda world: math.log(world[-1]["close"] / world[-1]["low"]),
    "volume_ratio_20": relative_volume,
    "sma_distance_10": lambda world: sma_distance(world, 10),
    "sma_distance_20": lambda world: sma_distance(world, 20),
    "sma_distance_50": lambda world: sma_distance(world, 50),
    "aroon_oscillator_25": aroon,
    "stochastic_k_14": stochastic,
    "cci_20": cci,
    "bollinger_position_20": bollinger,
    "log_range": log_range,
    "log_realized_volatility_5": lambda world: realized(world, 5),
    "log_realized_volatility_20": lambda world: realized(world, 20),
    "log_parkinson_volatility_10": parkinson,
    "money_flow_index_14": mfi,
    "chaikin_money_flow_20": chaikin,
}
RECURSIVE: dict[str, Callable[[Bars], float]] = {
    "ema_distance_12": ema_distance,
    "macd_histogram": macd,
    "adx_14": adx,
    "rsi_14": rsi,
    "log_natr_14": natr,
}


def test_every_feature_has_a_second_method() -> None:
    assert {**FINITE, **RECURSIVE}.keys() == set(TIERS["a25"])


def as_dicts(world: OHLCV) -> Bars:
    names = ("open", "high", "low", "close", "volume")
    columns = [getattr(world, name).tolist() for name in names]
    return [dict(zip(names, bar, strict=True)) for bar in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", sorted(TIERS["a25"]))
def test_values_agree_with_plain_python_on_real_markets(
    name: str, sp500: OHLCV, nasdaq: OHLCV
) -> None:
    plain = {**FINITE, **RECURSIVE}[name]
    # The start of an exponential average is forgotten to 1e-6; sums are exact to rounding.
    tolerance = 1e-6 if name in RECURSIVE else 1e-10
    for market in (sp500, nasdaq):
        values = REGISTRY[name].function(market)
        for row in range(700, len(market), 437):
            expected = plain(as_dicts(market.slice(row - 600, row + 1)))
            assert values[row] == pytest.approx(expected, rel=0, abs=tolerance)


@settings(max_examples=50)
@given(world=bars(50, 80))
def test_values_agree_with_plain_python_on_any_bars(world: OHLCV) -> None:
    rows = as_dicts(world)
    for name, plain in FINITE.items():
        # Running sums inside the indicators carry rounding from a price a thousand times higher.
        assert value(name, world) == pytest.approx(plain(rows), rel=1e-4, abs=1e-4), name


# Building blocks.


def test_building_blocks() -> None:
    one, two = np.array([1.0, 2.0, 8.0]), np.array([1.0, 4.0, 2.0])
    np.testing.assert_allclose(lagged_log_ratio(one, two, 1), [np.nan, math.log(2), math.log(2)])
    np.testing.assert_allclose(lagged_log_ratio(one, two, 3), [np.nan] * 3)
    np.testing.assert_allclose(lagged_log_ratio(one, two, 5), [np.nan] * 3)
    np.testing.assert_allclose(rolling_mean(one, 2), [np.nan, 1.5, 5.0])
    np.testing.assert_allclose(rolling_mean(one, 4), [np.nan] * 3)
    zero = np.array([1.0, 0.0, 4.0])
    np.testing.assert_allclose(ratio_or(one, zero, -7.0), [1.0, -7.0, 2.0])

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from finscale.features import channel_extremes, channels
from finscale.features.registry import REGISTRY, Feature
from finscale.market.bars import OHLCV
from plain_series import (
    Plain,
    PlainFeature,
    assert_agrees,
    deviation,
    gap,
    line,
    mean,
    new_features,
    plain_value,
    rank,
    ratio,
    sign,
    signed_run,
    since_best,
    sma,
    to_plain,
)
from strategies import bars

FEATURES = new_features(channels, channel_extremes)


def place(p: Plain, n: int) -> float:
    low, high = p.range(n)
    return ratio(p.last - low, high - low, 0.5)


def width(p: Plain, n: int) -> float:
    low, high = p.range(n)
    return high - low


def width_ratio(p: Plain, fast: int, slow: int) -> float:
    return math.log(max(ratio(width(p, fast), width(p, slow), 1.0), 1e-3))


def true_range(p: Plain, n: int) -> float:
    return mean(p.true_ranges[-n:])


def outside(price: float, low: float, high: float) -> float:
    return max(price - high, 0.0) - max(low - price, 0.0)


def breakout(p: Plain, n: int) -> float:
    return ratio(outside(p.last, *p.back(1).range(n)), true_range(p, n), 0.0)


def opening(p: Plain, n: int) -> float:
    low, high = p.back(1).range(n)
    return min(max(ratio(p.open[-1] - low, high - low, 0.5), -1.0), 2.0)


def opening_gap(p: Plain, n: int) -> float:
    return ratio(outside(p.open[-1], *p.back(1).range(n)), true_range(p, 14), 0.0)


def pivot(p: Plain, n: int) -> float:
    before = p.back(1)
    low, high = before.range(n)
    return ratio(gap(p.last, (low + high + before.last) / 3), true_range(p, n + 1), 0.0)


def overlap(p: Plain, n: int) -> float:
    (low, high), (old_low, old_high) = p.range(n), p.back(n).range(n)
    union = max(high, old_high) - min(low, old_low)
    return ratio(min(high, old_high) - max(low, old_low), union, 1.0)


def asymmetry(p: Plain, n: int) -> float:
    return ratio(gap(sum(p.range(n)) / 2, sma(p, n)), width(p, n), 0.0)


def band(p: Plain, n: int) -> float:
    return ratio(gap(p.last, sma(p, n)), 2 * spread(p, n), 0.0)


def spread(p: Plain, n: int) -> float:
    return deviation(p.close[-n:]) if len(set(p.close[-n:])) > 1 else 0.0


def width_rank(p: Plain, n: int, window: int) -> float:
    return rank([round(spread(one, n) / sma(one, n), 12) for one in p.tail(window)])


def breaks(p: Plain, n: int, window: int) -> float:
    places = [round(band(one, n), 9) for one in p.tail(window)]
    return mean((z > 1) - (z < -1) for z in places)


def keltner(p: Plain, n: int) -> float:
    recent = zip(p.high[-n:], p.low[-n:], p.close[-n:], strict=True)
    return ratio(gap(p.last, mean(mean(bar) for bar in recent)), true_range(p, n), 0.0)


def squeeze(p: Plain, n: int) -> float:
    return math.log(max(ratio(2 * spread(p, n), 1.5 * true_range(p, n), 1.0), 1e-3))


def regression_place(p: Plain, n: int) -> float:
    logs = [math.log(one) for one in p.close[-n:]]
    slope, end = line(logs)
    residuals = [value - (end - slope * (n - 1 - i)) for i, value in enumerate(logs)]
    error = math.sqrt(mean(one**2 for one in residuals))
    return residuals[-1] / error if error > 1e-6 else 0.0


def projection(p: Plain, n: int) -> float:
    rise, fall = line(p.high[-n:])[0], line(p.low[-n:])[0]
    upper = max(p.high[-1 - i] + i * rise for i in range(n))
    lower = min(p.low[-1 - i] + i * fall for i in range(n))
    return ratio(gap(p.last, lower), gap(upper, lower), 0.5)


def extremes(p: Plain, n: int, window: int) -> float:
    states = p.tail(window)
    return mean(
        (one.high[-1] == one.range(n)[1]) - (one.low[-1] == one.range(n)[0]) for one in states
    )


def leg(p: Plain, n: int) -> float:
    low, high = p.range(n)
    since_high, since_low = since_best(p.high[-n:]), since_best([-x for x in p.low[-n:]])
    if since_high == since_low:
        return 0.0
    return (p.last - (low if since_high < since_low else high)) / (high - low)


def swing(values: list[float], side: int, n: int) -> float:
    for back in range(n):
        known = values[: len(values) - back]
        window = known[-2 * side - 1 :]
        if window[side] == max(window):
            return window[side]
    return max(values[-n:])


def streak(values: list[float], cap: int) -> float:
    moves = [sign(values[-age] - values[-age - 1]) for age in range(cap, 0, -1)]
    return signed_run(moves, cap)


METHODS: dict[str, PlainFeature] = {
    "donchian_position": place,
    "log_width_ratio": width_ratio,
    "donchian_breakout": breakout,
    "open_position": opening,
    "gap_beyond_range": opening_gap,
    "pivot_distance": pivot,
    "range_overlap": overlap,
    "range_asymmetry": asymmetry,
    "band_width_rank": width_rank,
    "band_break_balance": breaks,
    "band_position_change": lambda p, n, step: band(p, n) - band(p.back(step), n),
    "keltner_position": keltner,
    "log_squeeze": squeeze,
    "regression_channel_position": regression_place,
    "projection_position": projection,
    "distance_to_high": lambda p, n: math.log(p.last / p.range(n)[1]),
    "distance_to_low": lambda p, n: math.log(p.last / p.range(n)[0]),
    "bars_since_high": lambda p, n: since_best(p.high[-n:]) / (n - 1),
    "bars_since_low": lambda p, n: since_best([-one for one in p.low[-n:]]) / (n - 1),
    "new_extreme_balance": extremes,
    "leg_position": leg,
    "swing_high_distance": lambda p, side, n: math.log(p.last / swing(p.high, side, n)),
    "swing_low_distance": lambda p, side, n: math.log(
        p.last / -swing([-one for one in p.low], side, n)
    ),
    "high_streak": lambda p, cap: streak(p.high, cap),
    "low_streak": lambda p, cap: streak(p.low, cap),
}


@pytest.mark.parametrize("one", FEATURES, ids=lambda one: one.name)
def test_a_channel_feature_is_its_plain_self_on_a_real_market(one: Feature, sp500: OHLCV) -> None:
    assert_agrees(METHODS, one, sp500, recursive=False)


@settings(max_examples=15)
@given(world=bars(255, 270))
def test_channel_features_are_their_plain_selves_on_any_bars(world: OHLCV) -> None:
    p = to_plain(world)
    for one in FEATURES:
        expected = plain_value(METHODS, one, p)
        found = one.function(world)[-1]
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), one.name


def value(
    name: str,
    close: list[float],
    *,
    opened: list[float] | None = None,
    high: list[float] | None = None,
    low: list[float] | None = None,
) -> float:
    prices = [np.array(one or close, dtype=float) for one in (opened, high, low, close)]
    date = np.datetime64("2001-01-01") + np.arange(len(close))
    world = OHLCV(date, *prices, np.ones(len(close)))
    return float(REGISTRY[name].function(world)[-1])


def test_a_market_that_never_moves_is_in_the_middle() -> None:
    neutral = {
        **dict.fromkeys(["donchian_position_55", "open_position_5"], 0.5),
        **dict.fromkeys(["projection_position_14", "band_width_rank_20_120"], 0.5),
        "range_overlap_20": 1.0,
    }
    for one in FEATURES:
        expected = neutral.get(one.name, 0.0)
        assert value(one.name, [1.1] * 300) == pytest.approx(expected, abs=1e-12), one.name


def test_a_steady_rise_is_at_the_top_of_every_channel() -> None:
    rise = [math.exp(0.01 * day) for day in range(300)]
    for name in ("donchian_position_55", "leg_position_250", "high_streak_8"):
        assert value(name, rise) == pytest.approx(1.0), name
    for name in ("new_extreme_balance_20_60", "bars_since_low_252", "low_streak_8"):
        assert value(name, rise) == pytest.approx(1.0), name
    for name in ("distance_to_high_252", "bars_since_high_252", "gap_beyond_range_1"):
        assert value(name, rise, opened=[1.0, *rise[:-1]]) == pytest.approx(0.0), name
    assert value("distance_to_low_252", rise) == pytest.approx(2.51)
    # No swing is ever completed: the level is the window's own extreme.
    assert value("swing_high_distance_5_60", rise) == pytest.approx(0.0)
    assert value("swing_low_distance_5_60", rise) == pytest.approx(0.59)
    # On a line there is no residual, and not noise over noise.
    assert value("regression_channel_position_60", rise) == 0.0


def test_literal_channels() -> None:
    close, high, low = [50.0] * 60, [60.0] * 60, [40.0] * 60
    assert value("donchian_position_55", [*close[1:], 45.0], high=high, low=low) == 0.25
    # True range 20 in all but the last bar, whose range from the close before is 25.
    up = {"high": [*high, 75.0], "low": [*low, 65.0]}
    mean_range = (19 * 20 + 25) / 20
    assert value("donchian_breakout_20", [*close, 70.0], **up) == pytest.approx(10 / mean_range)
    assert value("open_position_5", [*close, 70.0], opened=[*close, 65.0], **up) == (
        pytest.approx(1.25)
    )
    assert value("gap_beyond_range_1", [*close, 70.0], opened=[*close, 65.0], **up) == (
        pytest.approx(5 / ((13 * 20 + 25) / 14))
    )
    assert value("pivot_distance_1", [*close, 70.0], **up) == pytest.approx(20 / 22.5)
    # Ranges 40 … 60 and 55 … 75 share 5 of 35.
    shifted = {"high": [60.0] * 20 + [75.0] * 20, "low": [40.0] * 20 + [55.0] * 20}
    assert value("range_overlap_20", [60.0] * 40, **shifted) == pytest.approx(5 / 35)
    # A peak of 70 twenty bars ago, seen from 56; on the way down no bar tops its neighbours.
    peak = [*[50.0] * 60, 70.0, *(60.0 - day / 4 for day in range(19)), 56.0]
    assert value("swing_high_distance_5_60", peak) == pytest.approx(math.log(56 / 70))
    assert value("bars_since_high_60", peak) == pytest.approx(20 / 59)
    assert value("leg_position_20", [*peak[:-1], 48.0]) == -1.0
    assert value("leg_position_20", peak) == pytest.approx((56 - 60) / (60 - 55.5))


def test_a_swing_counts_once_it_is_confirmed() -> None:
    # A rise to 70, then down by one a bar: the top is known five bars later, not before.
    close = [*(40.0 + day / 4 for day in range(120)), 70.0]
    falling = [70.0 - step for step in range(1, 11)]
    for known in range(1, 5):
        # Until then the level is the highest high of the window, which is the same top …
        seen = [*close, *falling[:known]]
        assert value("swing_high_distance_5_60", seen) == pytest.approx(math.log(seen[-1] / 70))
    # … and once a lower swing is confirmed, the level is that one.
    after = [*close, *falling, 68.0, *(67.0 - step for step in range(5))]
    assert value("swing_high_distance_5_60", after) == pytest.approx(math.log(after[-1] / 68))
    assert value("swing_high_distance_5_60", after[:-1]) == (
        pytest.approx(math.log(after[-2] / 70))
    )

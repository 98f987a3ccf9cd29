from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from finscale.features import candle, candle_patterns
from finscale.features.registry import REGISTRY, Feature
from finscale.market.bars import OHLCV, FloatArray
from plain_features import (
    Plain,
    Tail,
    assert_agrees_at_the_end,
    assert_agrees_on_markets,
    corr,
    features_of,
    or_else,
    place_in_bar,
    variance,
)
from strategies import bars, make_bars


def total(values: FloatArray) -> float:
    return math.fsum(values)


def mean(values: FloatArray) -> float:
    return total(values) / len(values)


def body(tail: Tail) -> FloatArray:
    return tail.cl - tail.op


def width(tail: Tail) -> FloatArray:
    return tail.hi - tail.lo


def upper(tail: Tail) -> FloatArray:
    return np.array([h - max(o, c) for o, h, c in zip(tail.op, tail.hi, tail.cl, strict=True)])


def lower(tail: Tail) -> FloatArray:
    return np.array([min(o, c) - low for o, low, c in zip(tail.op, tail.lo, tail.cl, strict=True)])


def shares(tail: Tail) -> FloatArray:
    """Signed bodies over ranges."""
    pairs = zip(body(tail), width(tail), strict=True)
    return np.array([or_else(one, span, 0.0) for one, span in pairs])


def share(part: FloatArray, whole: FloatArray, n: int) -> float:
    return or_else(total(part[-n:]), total(whole[-n:]), 0.0)


def body_expansion(tail: Tail, n: int) -> float:
    size = abs(body(tail))
    return math.asinh(or_else(size[-1], mean(size[-n:]), 0.0))


def joined(tail: Tail, n: int) -> tuple[float, float, float]:
    return float(tail.op[-n]), max(tail.hi[-n:]), min(tail.lo[-n:])


def joined_body(tail: Tail, n: int) -> float:
    opened, high, low = joined(tail, n)
    return or_else(tail.cl[-1] - opened, high - low, 0.0)


def joined_upper(tail: Tail, n: int) -> float:
    opened, high, low = joined(tail, n)
    return or_else(high - max(opened, tail.cl[-1]), high - low, 0.0)


def joined_lower(tail: Tail, n: int) -> float:
    opened, high, low = joined(tail, n)
    return or_else(min(opened, tail.cl[-1]) - low, high - low, 0.0)


def middle_place(tail: Tail, n: int) -> float:
    _, high, low = joined(tail, n)
    return or_else((tail.hi[-1] + tail.lo[-1]) / 2 - low, high - low, 0.5)


def run(tail: Tail, n: int) -> float:
    colours = [math.copysign(1, one) if one else 0.0 for one in body(tail)[-n:]][::-1]
    length = next((k for k, one in enumerate(colours) if one != colours[0]), n)
    return colours[0] * length / n


def colour(tail: Tail) -> FloatArray:
    return (body(tail) > 0).astype(float) - (body(tail) < 0)


def body_persistence(tail: Tail, n: int) -> float:
    now, before = shares(tail)[-n:], shares(tail)[-n - 1 : -1]
    size = math.sqrt(total(now**2) * total(before**2))
    return or_else(total(now * before), size, 0.0)


def gaps(tail: Tail) -> FloatArray:
    return tail.op[1:] - tail.cl[:-1]


def gap_share(tail: Tail, n: int) -> float:
    size = total(abs(gaps(tail))[-n:])
    return or_else(size, size + total(abs(body(tail))[-n:]), 0.0)


def gap_fill(tail: Tail, n: int) -> float:
    filled = size = 0.0
    for back in range(1, n + 1):
        gap = gaps(tail)[-back]
        low, high = sorted((tail.cl[-back - 1], tail.op[-back]))
        if gap > 0:
            filled += high - max(low, tail.lo[-back])
        elif gap < 0:
            filled += min(high, tail.hi[-back]) - low
        size += abs(gap)
    return or_else(filled, size, 0.5)


def follow_through(tail: Tail, n: int) -> float:
    direction = (gaps(tail) > 0).astype(float) - (gaps(tail) < 0)
    return share(direction * body(tail)[1:], abs(body(tail)), n)


def pairs(tail: Tail, n: int) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Each of the last n bars with the one before it."""
    columns = zip(
        tail.op[-n - 1 :], tail.hi[-n - 1 :], tail.lo[-n - 1 :], tail.cl[-n - 1 :], strict=True
    )
    rows = [dict(zip("ohlc", row, strict=True)) for row in columns]
    return list(zip(rows[1:], rows[:-1], strict=True))


def overlap(tail: Tail, n: int) -> float:
    found = []
    for now, before in pairs(tail, n):
        low, high = sorted([now["l"], before["l"]]), sorted([now["h"], before["h"]])
        found.append(or_else(high[0] - low[1], high[1] - low[0], 1.0))
    return math.fsum(found) / n


def inside(tail: Tail, n: int) -> float:
    return sum(b["l"] <= a["l"] and a["h"] <= b["h"] for a, b in pairs(tail, n)) / n


def outside(tail: Tail, n: int) -> float:
    return sum(a["l"] < b["l"] and b["h"] < a["h"] for a, b in pairs(tail, n)) / n


def breakouts(tail: Tail, n: int) -> tuple[int, int]:
    found = pairs(tail, n)
    return sum(a["c"] > b["h"] for a, b in found), sum(a["c"] < b["l"] for a, b in found)


def failed(tail: Tail, n: int) -> float:
    found = pairs(tail, n)
    downs = sum(a["l"] < b["l"] < a["c"] for a, b in found)
    return (downs - sum(a["c"] < b["h"] < a["h"] for a, b in found)) / n


def engulfing(tail: Tail, n: int) -> float:
    count = 0
    for a, b in pairs(tail, n):
        now, before = a["c"] - a["o"], b["c"] - b["o"]
        if now > 0 > before and now > -before:
            count += 1
        if now < 0 < before and -now > before:
            count -= 1
    return count / n


def harami(tail: Tail, n: int) -> float:
    return (
        sum(
            max(a["o"], a["c"]) <= max(b["o"], b["c"])
            and min(a["o"], a["c"]) >= min(b["o"], b["c"])
            for a, b in pairs(tail, n)
        )
        / n
    )


def turn(tail: Tail, n: int) -> float:
    bend = (tail.cl[-1] - tail.cl[-2]) - (tail.cl[-2] - tail.cl[-3])
    return math.asinh(or_else(bend, mean(width(tail)[-n:]), 0.0))


def soldiers(tail: Tail, n: int) -> float:
    last = shares(tail)[-n:]
    if min(last) > 0:
        return min(last)
    return max(last) if max(last) < 0 else 0.0


def unevenness(values: FloatArray, tail: Tail, n: int) -> float:
    spread = math.sqrt(variance(values[-n:]))
    return or_else(spread, spread + mean(width(tail)[-n:]), 0.0)


def wide_closes(tail: Tail, n: int) -> float:
    push = 0.0
    for back in range(n):
        spans = width(tail.until(back))
        if spans[-1] > mean(spans[-n:]) * (1 + 1e-9):
            push += place_in_bar(tail)[-1 - back] * spans[-1]
    return or_else(push, total(width(tail)[-n:]), 0.0)


IDEAS: dict[str, Plain] = {
    "candle_body": lambda t: shares(t)[-1],
    "upper_shadow_share": lambda t: share(upper(t), width(t), 1),
    "lower_shadow_share": lambda t: share(lower(t), width(t), 1),
    "body_share": lambda t, n: share(abs(body(t)), width(t), n),
    "average_upper_shadow": lambda t, n: share(upper(t), width(t), n),
    "average_lower_shadow": lambda t, n: share(lower(t), width(t), n),
    "body_expansion": body_expansion,
    "close_location": lambda t, n: mean(place_in_bar(t)[-n:]),
    "close_location_dispersion": lambda t, n: math.sqrt(variance(place_in_bar(t)[-n:])),
    "close_location_autocorrelation": lambda t, n: corr(
        place_in_bar(t)[-n:], place_in_bar(t)[-n - 1 : -1]
    ),
    "close_location_lead": lambda t, n: corr(place_in_bar(t)[-n - 1 : -1], t.r[-n:]),
    "joined_candle_body": joined_body,
    "joined_upper_shadow": joined_upper,
    "joined_lower_shadow": joined_lower,
    "hammer": lambda t, n: share(lower(t), width(t), 1) * (1 - middle_place(t, n)),
    "shooting_star": lambda t, n: share(upper(t), width(t), 1) * middle_place(t, n),
    "doji_share": lambda t, n: mean(np.array([max(1 - 5 * abs(b), 0) for b in shares(t)[-n:]])),
    "marubozu_balance": lambda t, n: mean(
        np.array([math.copysign(max(5 * abs(b) - 4, 0), b) for b in shares(t)[-n:]])
    ),
    "candle_run": run,
    "colour_change_share": lambda t, n: (1 - mean(colour(t)[-n:] * colour(t)[-n - 1 : -1])) / 2,
    "body_persistence": body_persistence,
    "gap_to_range": lambda t, n: math.asinh(or_else(gaps(t)[-1], mean(width(t)[-n:]), 0.0)),
    "gap_share": gap_share,
    "gap_balance": lambda t, n: share(gaps(t), abs(gaps(t)), n),
    "gap_fill_share": gap_fill,
    "gap_follow_through": follow_through,
    "bar_overlap": overlap,
    "inside_bar_share": inside,
    "outside_bar_share": outside,
    "breakout_balance": lambda t, n: (breakouts(t, n)[0] - breakouts(t, n)[1]) / n,
    "breakout_share": lambda t, n: sum(breakouts(t, n)) / n,
    "failed_breakout_balance": failed,
    "engulfing_balance": engulfing,
    "harami_share": harami,
    "soldiers_and_crows": soldiers,
    "high_unevenness": lambda t, n: unevenness(t.hi, t, n),
    "low_unevenness": lambda t, n: unevenness(t.lo, t, n),
    "wide_bar_close_balance": wide_closes,
}

FEATURES = features_of(candle, candle_patterns)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda one: one.name)
def test_values_agree_with_a_window_at_a_time(
    feature: Feature, sp500: OHLCV, nasdaq: OHLCV
) -> None:
    assert_agrees_on_markets(IDEAS, feature, sp500, nasdaq)


@settings(max_examples=25)
@given(world=bars(255, 280))
def test_values_agree_on_any_bars(world: OHLCV) -> None:
    assert_agrees_at_the_end(IDEAS, FEATURES, world)


def make(*rows: tuple[float, float, float, float]) -> OHLCV:
    """Bars of (open, high, low, close)."""
    opened, high, low, close = np.array(rows, dtype=float).T
    return OHLCV(
        date=np.datetime64("2001-01-01") + np.arange(len(rows)),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=np.ones(len(rows)),
    )


def value(name: str, world: OHLCV) -> float:
    return float(REGISTRY[name].function(world)[-1])


# Literal values, worked out by hand.


def test_the_parts_of_a_candle() -> None:
    # Ten wide: opened 3 above the low, closed 5 above it.
    world = make((103.0, 110.0, 100.0, 105.0))
    assert value("candle_body", world) == pytest.approx(0.2)
    assert value("upper_shadow_share", world) == pytest.approx(0.5)
    assert value("lower_shadow_share", world) == pytest.approx(0.3)


def test_a_bar_without_a_range_has_no_parts() -> None:
    flat = make(*[(100.0, 100.0, 100.0, 100.0)] * 200)
    zero = {one.name for one in FEATURES} - {
        *("colour_change_share_10", "colour_change_share_120"),
        *("gap_fill_share_20", "doji_share_20", "inside_bar_share_10", "inside_bar_share_60"),
        *("harami_share_20", "bar_overlap_1", "bar_overlap_5"),
    }
    assert {name: value(name, flat) for name in zero} == dict.fromkeys(zero, 0.0)
    assert value("colour_change_share_10", flat) == 0.5
    assert value("gap_fill_share_20", flat) == 0.5
    assert value("doji_share_20", flat) == 1.0
    assert value("bar_overlap_5", flat) == 1.0


def test_doji_and_run() -> None:
    # A body of a tenth of the range is half a doji; three falls follow seventeen rises.
    rise, fall = (100.0, 110.0, 100.0, 101.0), (101.0, 110.0, 100.0, 100.0)
    world = make(*[rise] * 17, *[fall] * 3)
    assert value("doji_share_20", world) == pytest.approx(0.5)
    assert value("candle_run_8", world) == -3 / 8
    assert value("colour_change_share_10", world) == pytest.approx(0.1)
    assert value("body_share_20", world) == pytest.approx(0.1)
    assert value("soldiers_and_crows_3", world) == pytest.approx(-0.1)
    assert value("soldiers_and_crows_3", world.head(19)) == 0.0
    assert value("candle_run_8", make(*[rise] * 9)) == 1.0


def test_hammer_and_shooting_star() -> None:
    # Nine bars from 100 to 120, then one from 100 to 104 that opened and closed at 103.
    world = make(*[(110.0, 120.0, 100.0, 110.0)] * 9, (103.0, 104.0, 100.0, 103.0))
    assert value("hammer_10", world) == pytest.approx(0.75 * 0.9)
    assert value("shooting_star_10", world) == pytest.approx(0.25 * 0.1)
    assert value("joined_candle_body_10", world) == pytest.approx(-7 / 20)


def test_inside_outside_and_overlap() -> None:
    wide, narrow = (5.0, 10.0, 1.0, 5.0), (5.0, 7.0, 4.0, 5.0)
    world = make(*[wide, narrow] * 31)
    assert value("inside_bar_share_10", world) == pytest.approx(0.5)
    assert value("outside_bar_share_20", world) == pytest.approx(0.5)
    assert value("bar_overlap_5", world) == pytest.approx(3 / 9)
    # Apart by as much as either is wide.
    apart = make((1.0, 2.0, 1.0, 1.0), (3.0, 4.0, 3.0, 3.0))
    assert value("bar_overlap_1", apart) == pytest.approx(-1 / 3)


def test_gaps_are_filled_or_not() -> None:
    # Gaps of 2: down to 98 traded back by 1.5, up to 102 traded through; then a gap of 0.
    rows = [(100.0, 100.0, 100.0, 100.0)] * 19
    rows += [(98.0, 99.5, 97.0, 100.0 - 0.5), (101.5, 102.0, 99.0, 100.0)]
    world = make(*rows)
    assert value("gap_fill_share_20", world) == pytest.approx((1.5 + 2.0) / 4)
    assert value("gap_balance_20", world) == pytest.approx(0.0)
    # Bodies of 1.5 up and 1.5 down, each against its gap.
    assert value("gap_follow_through_10", world) == pytest.approx(-1.0)


def test_engulfing_and_breakouts() -> None:
    # A small fall, then a larger rise that closes above the high before.
    world = make(*[(10.0, 10.5, 9.5, 10.0)] * 19, (10.0, 10.5, 9.0, 9.5), (9.4, 11.0, 9.4, 11.0))
    assert value("engulfing_balance_10", world) == pytest.approx(0.1)
    assert value("breakout_balance_20", world) == pytest.approx(1 / 20)
    # The small fall broke the low and closed back at it, not above.
    assert value("failed_breakout_balance_40", make(*[(1.0, 1.0, 1.0, 1.0)] * 41)) == 0.0
    down = make(*[(10.0, 10.5, 9.5, 10.0)] * 40, (10.0, 10.2, 9.0, 9.8))
    assert value("failed_breakout_balance_40", down) == pytest.approx(1 / 40)


def test_upside_down_the_signs_turn() -> None:
    world = make_bars(300, seed=11)
    down = OHLCV(
        date=world.date,
        open=1e3 - world.open,
        high=1e3 - world.low,
        low=1e3 - world.high,
        close=1e3 - world.close,
        volume=world.volume,
    )
    signed = {"candle_body", "close_location_10", "joined_candle_body_10"}
    signed |= {"gap_balance_20", "breakout_balance_20", "engulfing_balance_10"}
    signed |= {"failed_breakout_balance_40", "candle_run_8"}
    signed |= {"soldiers_and_crows_3", "wide_bar_close_balance_40"}
    signed |= {"marubozu_balance_40", "gap_to_range_20"}
    mirrored = {
        "upper_shadow_share": "lower_shadow_share",
        "joined_upper_shadow_3": "joined_lower_shadow_3",
        "joined_upper_shadow_60": "joined_lower_shadow_60",
        "shooting_star_10": "hammer_10",
    }
    for name in signed:
        one, two = REGISTRY[name].function(world), REGISTRY[name].function(down)
        np.testing.assert_allclose(two, -one, atol=1e-9, err_msg=name)
    for name, other in mirrored.items():
        one, two = REGISTRY[name].function(world), REGISTRY[other].function(down)
        np.testing.assert_allclose(two, one, atol=1e-9, err_msg=name)

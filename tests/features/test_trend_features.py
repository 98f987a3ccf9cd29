from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from finscale.features import trend, trend_crossings, trend_regression, trend_strength
from finscale.features.averages import hull_average, log_price, wilder_average, wma
from finscale.features.registry import REGISTRY, Feature
from finscale.features.runs import bars_since_max, bars_since_min, gap, run_length, side, signed_run
from finscale.market.bars import OHLCV, FloatArray
from plain_series import (
    Plain,
    PlainFeature,
    assert_agrees,
    average,
    correlation,
    ema,
    line,
    mean,
    new_features,
    plain_value,
    ratio,
    run,
    sign,
    since_best,
    sma,
    to_plain,
)
from plain_series import gap as plain_gap
from plain_series import signed_run as plain_signed_run
from plain_series import wma as plain_wma
from strategies import bars, make_bars

FEATURES = new_features(trend, trend_crossings, trend_regression, trend_strength)
RECURSIVE = {
    "directional_balance_14",
    "directional_movement_down_14",
    "directional_movement_up_14",
    "heikin_ashi_body",
    "trend_strength_7",
    "trend_strength_change_7_10",
}


def hull(p: Plain, n: int) -> float:
    smooth = math.isqrt(n)
    raw = [2 * plain_wma(one.close, n // 2) - plain_wma(one.close, n) for one in p.tail(smooth)]
    return plain_wma(raw, smooth)


def double(values: list[float], n: int) -> float:
    once = ema(values, n)
    return 2 * once[-1] - ema(once, n)[-1]


def curvature(p: Plain, n: int, step: int) -> float:
    now, before, first = (math.log(sma(p.back(k * step), n)) for k in range(3))
    return now - 2 * before + first


def ribbon(p: Plain, fast: int, slow: int) -> list[float]:
    return [sma(p, n) for n in range(fast, slow + 1, (slow - fast) // 5)]


def ribbon_order(p: Plain, fast: int, slow: int) -> float:
    return mean(sign(plain_gap(one, other)) for one, other in pairwise(ribbon(p, fast, slow)))


def share_above(p: Plain) -> float:
    return mean((1 + side_of(p, n)) / 2 for n in (5, 10, 20, 50, 100, 200))


def midpoint(p: Plain, n: int) -> float:
    return sum(p.range(n)) / 2


def spans(p: Plain, fast: int, base: int, slow: int) -> tuple[float, float]:
    past = p.back(base)
    return (midpoint(past, fast) + midpoint(past, base)) / 2, midpoint(past, slow)


def cloud_distance(p: Plain, fast: int, base: int, slow: int) -> float:
    low, high = sorted(spans(p, fast, base, slow))
    return (max(p.last - high, 0.0) - max(low - p.last, 0.0)) / p.last


def cloud_thickness(p: Plain, fast: int, base: int, slow: int) -> float:
    one, other = spans(p, fast, base, slow)
    return (one - other) / p.last


def rainbow(p: Plain, n: int) -> float:
    values, lines = p.close[-n - 1 :], []
    while len(values) > 1:
        values = [(one + other) / 2 for one, other in pairwise(values)]
        lines.append(values[-1])
    closes = p.close[-n - 1 :]
    return ratio(p.last - mean(lines), max(closes) - min(closes), 0.0)


def heikin_ashi(p: Plain) -> float:
    closes = [mean(bar) for bar in zip(p.open, p.high, p.low, p.close, strict=True)]
    opened = closes[0]
    for close in closes[:-1]:
        opened = (opened + close) / 2
    return (closes[-1] - opened) / p.last


def qstick(p: Plain, n: int) -> float:
    spans_ = [h - one for h, one in zip(p.high[-n:], p.low[-n:], strict=True)]
    bodies = [c - o for o, c in zip(p.open[-n:], p.close[-n:], strict=True)]
    return ratio(mean(bodies), mean(spans_), 0.0)


def movements(p: Plain, n: int) -> tuple[list[float], list[float]]:
    up, down = [], []
    for (h0, h1), (l0, l1) in zip(pairwise(p.high), pairwise(p.low), strict=True):
        rise, fall = h1 - h0, l0 - l1
        tied = math.isclose(rise, fall, rel_tol=0, abs_tol=1e-11 * h1)
        up.append(rise if rise > fall and rise > 0 and not tied else 0.0)
        down.append(fall if fall > rise and fall > 0 and not tied else 0.0)
    ranges = average(p.true_ranges, 1 / n)
    return (
        [u / r for u, r in zip(average(up, 1 / n), ranges, strict=True)],
        [d / r for d, r in zip(average(down, 1 / n), ranges, strict=True)],
    )


def balances(p: Plain, n: int) -> list[float]:
    return [ratio(u - d, u + d, 0.0) for u, d in zip(*movements(p, n), strict=True)]


def strengths(p: Plain, n: int) -> list[float]:
    return average([abs(one) for one in balances(p, n)], 1 / n)


def vortex(p: Plain, n: int) -> float:
    up = [abs(h - one) for h, one in zip(p.high[1:], p.low[:-1], strict=True)]
    down = [abs(one - h) for h, one in zip(p.high[:-1], p.low[1:], strict=True)]
    return ratio(sum(up[-n:]) - sum(down[-n:]), sum(p.true_ranges[-n:]), 0.0)


def low_to_high(p: Plain, n: int) -> float:
    low = since_best([-one for one in p.low[-n - 1 :]])
    return (low - since_best(p.high[-n - 1 :])) / n


def path(p: Plain, n: int) -> float:
    return math.fsum(abs(move) for move in p.moves[-n:])


def white(p: Plain, n: int) -> float:
    closes = p.close[-n - 1 :]
    return ratio(max(closes) - min(closes), path(p, n), 0.0)


def choppiness(p: Plain, n: int) -> float:
    # A window's true highs and lows take in the close before it.
    high = max([*p.high[-n:], p.close[-n - 1]])
    low = min([*p.low[-n:], p.close[-n - 1]])
    return math.log(ratio(sum(p.true_ranges[-n:]), high - low, n)) / math.log(n)


def fractal_dimension(p: Plain, n: int) -> float:
    widths = [
        one.range(k)[1] - one.range(k)[0]
        for one, k in ((p, n // 2), (p.back(n // 2), n // 2), (p, n))
    ]
    halves = ratio((widths[0] + widths[1]) / (n / 2), widths[2] / n, 2.0)
    return math.log2(min(max(halves, 1.0), 4.0))


def random_walk(p: Plain, n: int) -> float:
    up, down = [], []
    for i in range(2, n + 1):
        scale = mean(p.true_ranges[-i:]) * math.sqrt(i)
        up.append(ratio(p.high[-1] - p.low[-1 - i], scale, 0.0))
        down.append(ratio(p.high[-1 - i] - p.low[-1], scale, 0.0))
    return max(up) - max(down)


def intensity(p: Plain, n: int) -> float:
    distances = [plain_gap(one.last, sma(one, n)) for one in p.tail(n // 2)]
    above = sum(max(one, 0.0) for one in distances)
    return ratio(above, sum(abs(one) for one in distances), 0.5)


def trigger(p: Plain, n: int) -> float:
    (low, high), (old_low, old_high) = p.range(n), p.back(n).range(n)
    buying, selling = high - old_low, old_high - low
    return ratio(buying - selling, abs(buying) + abs(selling), 0.0)


def logs(p: Plain, n: int) -> list[float]:
    return [math.log(one) for one in p.close[-n:]]


def slope(p: Plain, n: int) -> float:
    return n * line(logs(p, n))[0]


def kendall(p: Plain, n: int) -> float:
    pairs = list(combinations(p.close[-n:], 2))
    return mean(sign(later - earlier) for earlier, later in pairs)


def bend(p: Plain, n: int) -> float:
    return float(np.polyfit(np.linspace(-1, 1, n), logs(p, n), 2)[0])


def forecast(p: Plain, n: int) -> float:
    return (p.last - line(p.close[-n:])[1]) / p.last


def side_of(p: Plain, n: int) -> int:
    return sign(plain_gap(p.last, sma(p, n)))


def sides(p: Plain, n: int, count: int) -> list[int]:
    return [side_of(one, n) for one in p.tail(count)]


def cross(p: Plain, fast: int, slow: int, cap: int) -> float:
    states = [sign(plain_gap(sma(one, fast), sma(one, slow))) for one in p.tail(cap)]
    return plain_signed_run(states, cap)


def return_since_cross(p: Plain, n: int, cap: int) -> float:
    return math.log(p.last / p.close[-1 - run(sides(p, n, cap), cap)])


def crossings(p: Plain, n: int, window: int) -> float:
    return mean(one != other for one, other in pairwise(sides(p, n, window + 1)))


def rising_run(p: Plain, n: int, cap: int) -> float:
    return plain_signed_run([sign(one.last - one.close[-1 - n]) for one in p.tail(cap)], cap)


def higher_bars(p: Plain, n: int) -> float:
    score = 0
    for (h0, h1), (l0, l1) in zip(
        pairwise(p.high[-n - 1 :]), pairwise(p.low[-n - 1 :]), strict=True
    ):
        score += (h1 > h0 and l1 > l0) - (h1 < h0 and l1 < l0)
    return score / n


METHODS: dict[str, PlainFeature] = {
    "sma_distance": lambda p, n: p.last / sma(p, n) - 1,
    "hull_distance": lambda p, n: 1 - hull(p, n) / p.last,
    "hull_slope": lambda p, n: (hull(p, n) - hull(p.back(1), n)) / p.last,
    "sma_ratio": lambda p, fast, slow: sma(p, fast) / sma(p, slow) - 1,
    "sma_slope": lambda p, n, step: math.log(sma(p, n) / sma(p.back(step), n)),
    "sma_curvature": curvature,
    "ribbon_order": ribbon_order,
    "ribbon_width": lambda p, fast, slow: (
        (max(ribbon(p, fast, slow)) - min(ribbon(p, fast, slow))) / p.last
    ),
    "averages_below_close_5_200": share_above,
    "ichimoku_conversion_base": lambda p, fast, slow: (
        (midpoint(p, fast) - midpoint(p, slow)) / p.last
    ),
    "ichimoku_cloud_distance": cloud_distance,
    "ichimoku_cloud_thickness": cloud_thickness,
    "rainbow_oscillator": rainbow,
    "heikin_ashi_body": heikin_ashi,
    "qstick": qstick,
    "directional_movement_up": lambda p, n: movements(p, n)[0][-1],
    "directional_movement_down": lambda p, n: movements(p, n)[1][-1],
    "directional_balance": lambda p, n: balances(p, n)[-1],
    "trend_strength": lambda p, n: strengths(p, n)[-1],
    "trend_strength_change": lambda p, n, step: strengths(p, n)[-1] - strengths(p, n)[-1 - step],
    "low_to_high_time": low_to_high,
    "vortex_difference": vortex,
    "efficiency_ratio": lambda p, n: ratio(abs(p.last - p.close[-1 - n]), path(p, n), 0.0),
    "vertical_horizontal_filter": white,
    "choppiness": choppiness,
    "fractal_dimension": fractal_dimension,
    "random_walk_index": random_walk,
    "trend_intensity": intensity,
    "trend_trigger": trigger,
    "regression_slope": slope,
    "regression_slope_change": lambda p, n: slope(p, n) - slope(p.back(n), n),
    "regression_r_squared": lambda p, n: correlation(logs(p, n)) ** 2,
    "time_correlation": lambda p, n: correlation(logs(p, n)),
    "kendall_trend": kendall,
    "quadratic_bend": bend,
    "bars_since_sma_cross": lambda p, n, cap: plain_signed_run(sides(p, n, cap), cap),
    "bars_since_averages_cross": cross,
    "return_since_sma_cross": return_since_cross,
    "close_above_sma_share": lambda p, n: mean((1 + one) / 2 for one in sides(p, n, n)),
    "sma_cross_share": crossings,
    "sma_rising_run": rising_run,
    "higher_bar_balance": higher_bars,
}


@pytest.mark.parametrize("one", FEATURES, ids=lambda one: one.name)
def test_a_trend_feature_is_its_plain_self_on_a_real_market(one: Feature, sp500: OHLCV) -> None:
    assert_agrees(METHODS, one, sp500, recursive=one.name in RECURSIVE)


@settings(max_examples=15)
@given(world=bars(255, 270))
def test_trend_features_are_their_plain_selves_on_any_bars(world: OHLCV) -> None:
    p = to_plain(world)
    for one in FEATURES:
        if one.name not in RECURSIVE:
            expected = plain_value(METHODS, one, p)
            found = one.function(world)[-1]
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), one.name


def value(name: str, close: list[float], *, spread: float = 0.0) -> float:
    prices = np.array(close, dtype=float)
    world = OHLCV(
        date=np.datetime64("2001-01-01") + np.arange(len(close)),
        open=prices,
        high=prices * (1 + spread),
        low=prices / (1 + spread),
        close=prices,
        volume=np.ones(len(close)),
    )
    return float(REGISTRY[name].function(world)[-1])


def test_a_market_that_never_moves_has_no_trend() -> None:
    neutral = {
        "averages_below_close_5_200": 0.5,
        "close_above_sma_share_60": 0.5,
        "trend_intensity_30": 0.5,
        "choppiness_14": 1.0,
        "choppiness_50": 1.0,
        "fractal_dimension_20": 1.0,
        "fractal_dimension_60": 1.0,
        "fractal_dimension_120": 1.0,
    }
    for one in FEATURES:
        expected = neutral.get(one.name, 0.0)
        assert value(one.name, [1.1] * 300) == pytest.approx(expected, abs=1e-12), one.name


def test_a_steady_rise_is_all_trend() -> None:
    rise = [math.exp(0.01 * day) for day in range(300)]
    full = [
        *("efficiency_ratio_20", "regression_r_squared_60", "time_correlation_40"),
        *("kendall_trend_15", "ribbon_order_10_60", "averages_below_close_5_200"),
        *("bars_since_sma_cross_50_50", "bars_since_averages_cross_50_200_50"),
        *("sma_rising_run_50_50", "low_to_high_time_120", "trend_intensity_30"),
        *("directional_balance_14", "trend_strength_7", "close_above_sma_share_60"),
        *("higher_bar_balance_20", "vertical_horizontal_filter_90"),
    ]
    for name in full:
        assert value(name, rise, spread=0.001) == pytest.approx(1.0), name
    assert value("regression_slope_60", rise) == pytest.approx(0.6)
    assert value("sma_slope_20_10", rise) == pytest.approx(0.1)
    nothing = ["sma_cross_share_20_60", "quadratic_bend_60", "sma_curvature_100_50"]
    for name in [*nothing, "choppiness_14", "regression_slope_change_60"]:
        assert value(name, rise) == pytest.approx(0.0, abs=1e-9), name


def test_literal_trends() -> None:
    zigzag = [100.0 + (day % 2) for day in range(200)]
    assert value("efficiency_ratio_10", zigzag) == 0.0
    # Nine steps of 1 up and down and one of 3, from 100 to 104.
    assert value("efficiency_ratio_10", [*zigzag, 104.0]) == pytest.approx(4 / 12)
    assert value("sma_cross_share_10_20", zigzag) == 1.0
    assert value("bars_since_sma_cross_20_20", [*[100.0] * 60, 101.0, 102.0]) == 0.1
    assert value("return_since_sma_cross_20_20", [*[100.0] * 60, 101.0, 102.0]) == (
        pytest.approx(math.log(1.02))
    )
    # A parabola x^2 over 60 bars, x from -1 to 1.
    parabola = np.exp(np.linspace(-1, 1, 60) ** 2).tolist()
    assert value("quadratic_bend_60", parabola) == pytest.approx(1.0)
    # High 5 bars ago, low 8 bars ago.
    close = [50.0] * 20
    close[-1 - 5], close[-1 - 8] = 60.0, 40.0
    assert value("low_to_high_time_10", close) == pytest.approx(0.3)


# Building blocks.


def test_signs_of_what_rounding_parted() -> None:
    values, level = np.array([1.0, 1.0, 2.0, 0.5]), np.array([1 + 1e-15, 1 - 1e-15, 1.0, 1.0])
    np.testing.assert_array_equal(side(values, level), [0, 0, 1, -1])
    np.testing.assert_array_equal(gap(values, level), [0, 0, 1, -0.5])


def test_runs_are_counted_up_to_their_cap() -> None:
    states = np.array([np.nan, 1, 1, -1, -1, -1, -1, 0])
    nan = np.nan
    np.testing.assert_array_equal(run_length(states, 3), [nan, nan, nan, 1, 2, 3, 3, 1])
    np.testing.assert_array_equal(signed_run(states, 2), [nan, nan, 1, -0.5, -1, -1, -1, 0])
    assert np.isnan(run_length(np.ones(2), 3)).all()


@pytest.mark.parametrize("n_bars", [1, 2, 3, 7, 16, 30])
def test_bars_since_an_extreme(n_bars: int) -> None:
    values = np.round(np.random.default_rng(n_bars).normal(size=100), 0)
    latest: list[int] = []
    earliest: list[int] = []
    for row in range(n_bars - 1, 100):
        window = values[row - n_bars + 1 : row + 1][::-1]
        latest.append(int(np.argmax(window)))
        earliest.append(int(np.argmin(window)))
    np.testing.assert_array_equal(bars_since_max(values, n_bars)[n_bars - 1 :], latest)
    np.testing.assert_array_equal(bars_since_min(values, n_bars)[n_bars - 1 :], earliest)
    assert np.isnan(bars_since_max(values, n_bars)[: n_bars - 1]).all()
    assert np.isnan(bars_since_max(values[: n_bars - 1], n_bars)).all()


def test_the_age_of_the_largest() -> None:
    values = np.array([5.0, 1.0, 3.0, 3.0, 2.0, np.nan, 1.0, 4.0, 4.0, 3.0])
    found = bars_since_max(values, 3)
    unknown = [np.nan] * 2
    np.testing.assert_array_equal(found, [*unknown, 2.0, 0.0, 1.0, *unknown, np.nan, 0.0, 1.0])


def test_averages_of_a_line_lie_on_it_or_behind() -> None:
    line_: FloatArray = np.arange(400.0)
    # The centre of gravity of weights 1 … n lies (n - 1) / 3 rows back.
    np.testing.assert_allclose(wma(line_, 10)[9:], line_[9:] - 3.0)
    # Hull's average of 16: 2 * 7/3 back less 15/3 back, less one more for the last smoothing.
    np.testing.assert_allclose(hull_average(line_, 16)[18:], line_[18:] - 2 * 7 / 3 + 5 - 1)
    # Wilder's average is n - 1 rows late.
    np.testing.assert_allclose(wilder_average(line_, 5)[300:], line_[300:] - 4, atol=1e-9)


def test_a_log_price_is_relative_to_the_first() -> None:
    world = make_bars(50, seed=1)
    np.testing.assert_allclose(np.diff(log_price(world.close)), world.log_return[1:], atol=1e-12)
    assert log_price(world.close)[0] == 0.0

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

from finscale.features import liquidity, money_flow, volume
from finscale.features.registry import REGISTRY, Feature
from finscale.features.volume import log_volume_ratio
from finscale.market.bars import OHLCV, FloatArray
from plain_features import (
    Plain,
    Tail,
    assert_agrees_at_the_end,
    assert_agrees_on_markets,
    constant,
    corr,
    ema,
    features_of,
    log_volume,
    or_else,
    place_in_bar,
    rank,
    since_max,
    variance,
)
from strategies import bars, make_bars


def mean(values: FloatArray) -> float:
    return float(np.mean(values))


def typical(tail: Tail) -> FloatArray:
    return (tail.hi + tail.lo + tail.cl) / 3


def sign(values: FloatArray) -> FloatArray:
    return (values > 0).astype(float) - (values < 0)


def relative(tail: Tail, n: int) -> FloatArray:
    """Log volume over its 20-bar mean on each of the last n bars."""
    ago = [tail.until(back).vo for back in range(n)]
    return np.array([log_volume(volume[-1], mean(volume[-20:])) for volume in ago][::-1])


def autocorrelation(tail: Tail, n: int) -> float:
    size = relative(tail, n + 1)
    return corr(size[1:], size[:-1])


def skewness(tail: Tail, n: int) -> float:
    size = relative(tail, n)
    return 0.0 if constant(size) else float(scipy.stats.skew(size))


def trend(tail: Tail, n: int) -> float:
    slope = float(np.polyfit(np.arange(n), tail.vo[-n:], 1)[0])
    return or_else(n * slope, mean(tail.vo[-n:]), 0.0)


def change(tail: Tail, n: int) -> float:
    return log_volume(mean(tail.vo[-n:]), mean(tail.vo[-2 * n : -n]))


def change_dispersion(tail: Tail, n: int) -> float:
    steps = [log_volume(tail.vo[-back], tail.vo[-back - 1]) for back in range(1, n + 1)]
    return math.sqrt(variance(np.array(steps)))


def oscillator(tail: Tail, n: int, m: int) -> float:
    return or_else(ema(tail.vo, n), ema(tail.vo, m), 1.0) - 1


def busy(tail: Tail, n: int, m: int) -> float:
    ago = [tail.until(back).vo for back in range(n)]
    return mean(np.array([v[-1] > mean(v[-m:]) * (1 + 1e-9) for v in ago], dtype=float))


def strength(tail: Tail, n: int) -> float:
    steps = np.diff(tail.vo)[-n:]
    return or_else(sum(steps[steps > 0]), sum(abs(steps)), 0.5)


def entropy(tail: Tail, n: int) -> float:
    traded = tail.vo[-n:]
    if not traded.sum():
        return 1.0
    return float(scipy.stats.entropy(traded, base=n))


def to_range(tail: Tail, n: int) -> float:
    if not tail.vo[-n:].any():
        return 0.0
    effort = log_volume(tail.vo[-1], mean(tail.vo[-n:]))
    return effort - log_volume(tail.span[-1], mean(tail.span[-n:]))


def money_flow_index(tail: Tail, n: int) -> float:
    price, rising, falling = typical(tail), 0.0, 0.0
    for back in range(1, n + 1):
        money = price[-back] * tail.vo[-back]
        rising += money * (price[-back] > price[-back - 1])
        falling += money * (price[-back] < price[-back - 1])
    return or_else(rising, rising + falling, 0.5)


def weighted(values: FloatArray, weights: FloatArray, otherwise: float) -> float:
    return float(np.average(values, weights=weights)) if weights.any() else otherwise


def up_down(tail: Tail, n: int) -> float:
    traded, r = tail.vo[-n:], tail.r[-n:]
    rise, fall = traded[r > 0], traded[r < 0]
    if not rise.sum():
        return 0.0
    return log_volume(mean(rise), mean(fall) if len(fall) else 0.0)


def force(tail: Tail, n: int) -> float:
    moves = (tail.r * tail.vo)[-n:]
    return or_else(sum(moves), sum(abs(moves)), 0.0)


def confirmation(tail: Tail, n: int) -> float:
    r, traded = tail.r[-n:], tail.vo[-n:]
    excess = weighted(r, traded, mean(r)) - mean(r)
    return or_else(excess, math.sqrt(variance(r)), 0.0)


def ease(tail: Tail, n: int) -> float:
    middle, eases = (tail.hi + tail.lo) / 2, []
    for back in range(n):
        seen = tail.until(back)
        usual, at = mean(seen.vo[-n:]), len(seen.vo) - 1
        if usual:
            move = math.log(middle[at] / middle[at - 1]) * seen.span[-1]
            eases.append(move / max(seen.vo[-1] / usual, 0.1))
    return or_else(math.fsum(eases), math.fsum(map(abs, eases)), 0.0)


def vwap(tail: Tail, n: int, otherwise: float) -> float:
    return weighted(typical(tail)[-n:], tail.vo[-n:], otherwise)


def vwap_to_average(tail: Tail, n: int) -> float:
    plain = mean(typical(tail)[-n:])
    return math.log(vwap(tail, n, plain) / plain)


def vwap_place(tail: Tail, n: int) -> float:
    low, high = min(tail.lo[-n:]), max(tail.hi[-n:])
    if low == high or not tail.vo[-n:].any():
        return 0.5
    return (vwap(tail, n, low) - low) / (high - low)


def below_to_above(tail: Tail, n: int) -> float:
    close, traded = tail.cl[-n:], tail.vo[-n:]
    below, above = traded[close < close[-1]], traded[close > close[-1]]
    return log_volume(mean(below), mean(above)) if len(below) and len(above) else 0.0


def return_where(tail: Tail, n: int, direction: int) -> float:
    chosen = direction * np.diff(tail.vo)[-n:] > 0
    return or_else(float(tail.r[-n:][chosen].sum()), float(sum(abs(tail.r[-n:]))), 0.0)


def bulk(tail: Tail, n: int) -> FloatArray:
    shares = []
    for back in range(n):
        r = tail.until(back).r
        score = or_else(r[-1], math.sqrt(variance(r[-20:])), 0.0)
        shares.append(2 * NormalDist().cdf(score) - 1)
    return np.array(shares[::-1])


def signed(tail: Tail, n: int) -> FloatArray:
    return (sign(tail.r) * tail.vo)[-n:]


def illiquidity(tail: Tail, n: int, m: int) -> float:
    size, money = abs(tail.r), tail.cl * tail.vo
    if not money[-m:].any():
        return 0.0
    return log_volume(mean(size[-n:]), mean(size[-m:])) - log_volume(
        mean(money[-n:]), mean(money[-m:])
    )


def kyle(tail: Tail, n: int) -> float:
    size, traded = abs(tail.r[-n:]), tail.vo[-n:]
    if not (size * traded).any():
        return 0.0
    slope = mean(size * traded) / mean(traded**2)
    return log_volume(slope * mean(traded) / mean(size), 1.0)


def weighted_volatility(tail: Tail, n: int) -> float:
    squares, traded = tail.r[-n:] ** 2, tail.vo[-n:]
    if not traded.any():
        return 0.0
    return log_volume(weighted(squares, traded, 0.0), mean(squares)) / 2


def roll(tail: Tail, n: int) -> float:
    r = tail.r[-n - 1 :]
    bounce = max(-float(np.cov(r[1:], r[:-1], ddof=0)[0, 1]), 0.0)
    return or_else(2 * math.sqrt(bounce), math.sqrt(variance(r)), 0.0)


def corwin_schultz(tail: Tail, n: int) -> float:
    spreads = []
    for back in range(n):
        seen = tail.until(back)
        high, low, close = seen.hi[-2:].copy(), seen.lo[-2:].copy(), seen.cl[-2]
        factor = close / low[1] if low[1] > close else close / high[1] if high[1] < close else 1.0
        high[1], low[1] = high[1] * factor, low[1] * factor
        beta = float(np.sum(seen.span[-2:] ** 2))
        gamma = math.log(max(high) / min(low)) ** 2
        k = 3 - 2 * math.sqrt(2)
        alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / k - math.sqrt(gamma / k)
        spreads.append(max(2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha)), 0.0))
    return or_else(mean(np.array(spreads)), mean(tail.span[-n:]), 0.0)


def abdi_ranaldo(tail: Tail, n: int) -> float:
    close, middle = np.log(tail.cl), np.log(np.sqrt(tail.hi * tail.lo))
    product = (close[:-1] - middle[:-1]) * (close[:-1] - middle[1:])
    spread = 2 * math.sqrt(max(mean(product[-n:]), 0.0))
    return or_else(spread, mean(tail.span[-n:]), 0.0)


IDEAS: dict[str, Plain] = {
    "average_volume_ratio": lambda t, n, m: log_volume(mean(t.vo[-n:]), mean(t.vo[-m:])),
    "volume_change": change,
    "volume_trend": trend,
    "volume_variation": lambda t, n: or_else(math.sqrt(variance(t.vo[-n:])), mean(t.vo[-n:]), 0.0),
    "volume_change_dispersion": change_dispersion,
    "volume_rank": lambda t, n: rank(t.vo[-n:]),
    "largest_volume_ratio": lambda t, n: log_volume(max(t.vo[-n:]), mean(t.vo[-n:])),
    "since_largest_volume": lambda t, n: since_max(t.vo[-n:]),
    "busy_share": busy,
    "volume_strength": strength,
    "volume_autocorrelation": autocorrelation,
    "volume_skewness": skewness,
    "volume_entropy": entropy,
    "volume_to_range": to_range,
    "volume_range_correlation": lambda t, n: corr(t.vo[-n:], t.span[-n:]),
    "money_flow_index": money_flow_index,
    "chaikin_money_flow": lambda t, n: weighted(place_in_bar(t)[-n:], t.vo[-n:], 0.0),
    "signed_volume": lambda t, n: weighted(sign(t.r)[-n:], t.vo[-n:], 0.0),
    "up_down_volume_ratio": up_down,
    "force_index": force,
    "volume_confirmation": confirmation,
    "ease_of_movement": ease,
    "vwap_distance": lambda t, n: math.log(t.cl[-1] / vwap(t, n, t.cl[-1])),
    "vwap_to_average": vwap_to_average,
    "volume_below_to_above": below_to_above,
    "vwap_place": vwap_place,
    "positive_volume_return": lambda t, n: return_where(t, n, 1),
    "negative_volume_return": lambda t, n: return_where(t, n, -1),
    "order_imbalance": lambda t, n: weighted(abs(bulk(t, n)), t.vo[-n:], 0.0),
    "signed_volume_autocorrelation": lambda t, n: corr(signed(t, n), signed(t.until(1), n)),
    "illiquidity_ratio": illiquidity,
    "money_volume_ratio": lambda t, n, m: log_volume(
        mean((t.cl * t.vo)[-n:]), mean((t.cl * t.vo)[-m:])
    ),
    "kyle_impact": kyle,
    "return_volume_correlation": lambda t, n: corr(t.r[-n:], t.vo[-n:]),
    "size_volume_correlation": lambda t, n: corr(abs(t.r[-n:]), t.vo[-n:]),
    "volume_lead_correlation": lambda t, n: corr(t.r[-n:], t.vo[-n - 1 : -1]),
    "volume_reversal": lambda t, n: corr(t.r[-n:], signed(t.until(1), n)),
    "volume_weighted_volatility_ratio": weighted_volatility,
    "roll_spread": roll,
    "corwin_schultz_spread": corwin_schultz,
    "abdi_ranaldo_spread": abdi_ranaldo,
}

FEATURES = features_of(volume, money_flow, liquidity)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda one: one.name)
def test_values_agree_with_a_window_at_a_time(
    feature: Feature, sp500: OHLCV, nasdaq: OHLCV
) -> None:
    assert_agrees_on_markets(IDEAS, feature, sp500, nasdaq)


@settings(max_examples=25)
@given(world=bars(255, 280))
def test_values_agree_on_any_bars(world: OHLCV) -> None:
    assert_agrees_at_the_end(IDEAS, FEATURES, world)


@settings(max_examples=15)
@given(world=bars(260, 300))
def test_a_market_without_volume_gives_constants(world: OHLCV) -> None:
    silent = OHLCV(
        date=world.date,
        open=world.open,
        high=world.high,
        low=world.low,
        close=world.close,
        volume=np.zeros(len(world)),
    )
    for feature in FEATURES:
        if "volume" in feature.inputs:
            values = feature.function(silent)[feature.lookback_bars :]
            assert np.isfinite(values).all()
            assert np.ptp(values) == 0, feature.name


def value(name: str, world: OHLCV) -> float:
    return float(REGISTRY[name].function(world)[-1])


def make(
    close: list[float],
    volume: list[float],
    *,
    high: list[float] | None = None,
    low: list[float] | None = None,
) -> OHLCV:
    highest, lowest = (np.array(one or close, dtype=float) for one in (high, low))
    return OHLCV(
        date=np.datetime64("2001-01-01") + np.arange(len(close)),
        open=np.array(close, dtype=float),
        high=highest,
        low=lowest,
        close=np.array(close, dtype=float),
        volume=np.array(volume, dtype=float),
    )


# Literal values, worked out by hand.


def test_relative_volume_is_bounded_and_zero_without_volume() -> None:
    one, other = np.array([2.0, 0.0, 0.0, 5.0, np.nan]), np.array([1.0, 3.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(
        log_volume_ratio(one, other), [math.log(2), -math.log(1000), 0.0, math.log(1000), np.nan]
    )


def test_volume_against_its_past() -> None:
    # 15 bars of 10, then 5 of 30: 30 against (150 + 150) / 20 = 15.
    world = make([1.0] * 20, [10.0] * 15 + [30.0] * 5)
    assert value("average_volume_ratio_5_20", world) == pytest.approx(math.log(2))
    # Variance 20^2 * 3/4 * 1/4 = 75 about the mean of 15.
    assert value("volume_variation_20", world) == pytest.approx(math.sqrt(75) / 15)
    assert value("since_largest_volume_20", world) == 0.0
    assert value("volume_strength_5", world) == 1.0
    # One bar of nine times the others' volume: entropy of shares 9/18 and nine of 1/18.
    world = make([1.0] * 30, [1.0] * 29 + [30.0])
    shares = np.array([30 / 59, *[1 / 59] * 29])
    assert value("volume_entropy_30", world) == pytest.approx(
        -float(np.sum(shares * np.log(shares))) / math.log(30)
    )


def test_flow_follows_the_sign_and_the_size_of_moves() -> None:
    # Rises of 1% on 300, falls of 2% on 100, by turns, in logs.
    close = np.exp(np.cumsum(np.append(0.0, np.tile([0.01, -0.02], 30)))).tolist()
    world = make(close, [0.0] + [300.0, 100.0] * 30)
    assert value("signed_volume_30", world) == pytest.approx(0.5)
    assert value("up_down_volume_ratio_60", world) == pytest.approx(math.log(3))
    # Twelve bars: six of 3 up and six of 2 down; the 13th back is a fall.
    assert value("force_index_13", world) == pytest.approx((18 - 14) / (18 + 14))
    assert value("return_volume_correlation_20", world) == pytest.approx(1.0)
    assert value("size_volume_correlation_60", world) == pytest.approx(-1.0)
    # Volume falls with every fall: -0.02 of each 0.03 moved.
    assert value("negative_volume_return_60", world) == pytest.approx(-2 / 3)
    # mean(|r| V) = 2.5, mean(V) = 200, mean(V^2) = 50000, mean(|r|) = 0.015.
    assert value("kyle_impact_60", world) == pytest.approx(math.log(2.5 * 200 / (5e4 * 0.015)))


def test_price_where_the_volume_was() -> None:
    # Half of the volume at 1, half at 3, three bars of four at 1: the mean is 1.5.
    world = make([1.0, 1.0, 1.0, 3.0] * 10, [1.0, 1.0, 1.0, 3.0] * 10)
    assert value("vwap_to_average_40", world) == pytest.approx(math.log(2 / 1.5))
    assert value("vwap_place_20", world) == pytest.approx(0.5)
    # Below the last close of 2 were 19 ... of 1 and above it of 4, half as much each time.
    world = make([1.0, 3.0] * 10 + [2.0], [8.0, 4.0] * 10 + [1.0])
    assert value("volume_below_to_above_20", world) == pytest.approx(math.log(2))


# What was planted is found.


def test_spreads_recover_a_bounce() -> None:
    # Closes at bid or ask, by chance, 0.6% about a middle that hardly moves within two days.
    rng = np.random.default_rng(7)
    n_bars, half = 4000, 0.003
    middle = np.exp(np.cumsum(rng.normal(0.0, 1e-4, n_bars)))
    close = middle * np.exp(half * rng.choice([-1.0, 1.0], n_bars))
    world = make(
        close.tolist(),
        [1.0] * n_bars,
        high=(middle * math.exp(half)).tolist(),
        low=(middle * math.exp(-half)).tolist(),
    )
    span, deviation = 2 * half, math.sqrt(2) * half
    for name, unit in (
        ("abdi_ranaldo_spread_40", span),
        ("corwin_schultz_spread_20", span),
        ("roll_spread_250", deviation),
    ):
        found = REGISTRY[name].function(world)[260:] * unit
        assert np.mean(found) == pytest.approx(2 * half, rel=0.05), name


def test_imbalance_of_one_sided_trade() -> None:
    rng = np.random.default_rng(8)
    returns = rng.normal(0.0, 0.01, 300)
    traded = np.where(returns > 0, 9.0, 1.0)
    world = make(np.exp(np.cumsum(returns)).tolist(), traded.tolist())
    # |2 Phi(z) - 1| is uniform, so one half.
    assert value("order_imbalance_50", world) == pytest.approx(0.5, abs=0.12)


def test_reversal_and_lead() -> None:
    rng = np.random.default_rng(9)
    pushes, traded = rng.normal(0.0, 0.01, 300), np.exp(rng.normal(size=300))
    returns = pushes.copy()
    returns[1:] -= 0.01 * np.sign(pushes[:-1]) * traded[:-1]
    world = make(np.exp(np.cumsum(returns)).tolist(), traded.tolist())
    assert value("volume_reversal_20", world) < -0.3
    led = np.append(0.0, 0.01 * traded[:-1])
    world = make(np.exp(np.cumsum(led)).tolist(), traded.tolist())
    assert value("volume_lead_correlation_250", world) == pytest.approx(1.0)


def test_units_do_not_matter() -> None:
    world = make_bars(300, seed=10)
    other = OHLCV(
        date=world.date,
        open=world.open / 7,
        high=world.high / 7,
        low=world.low / 7,
        close=world.close / 7,
        volume=world.volume * 3.3,
    )
    for feature in FEATURES:
        assert feature.function(other)[-1] == pytest.approx(feature.function(world)[-1], abs=1e-9)

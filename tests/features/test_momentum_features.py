from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from finscale.features import momentum, oscillators, smoothed_oscillators
from finscale.features.registry import REGISTRY, Feature
from finscale.market.bars import OHLCV
from plain_series import (
    Plain,
    PlainFeature,
    assert_agrees,
    average,
    ema,
    gap,
    mean,
    new_features,
    plain_value,
    rank,
    ratio,
    run,
    sign,
    signed_run,
    sma,
    to_plain,
)
from strategies import bars

FEATURES = new_features(momentum, oscillators, smoothed_oscillators)
RECURSIVE = {
    "connors_rsi_3_2_100",
    "percentage_price_oscillator_12_26",
    "relative_strength_2",
    "rsi_14_change_20",
    "true_strength_25_13",
    "true_strength_signal_gap_25_13_7",
}


def log_return(p: Plain, n: int, end: int = 0) -> float:
    return math.log(p.close[-1 - end] / p.close[-1 - n])


def root_mean_square(p: Plain, n: int) -> float:
    return math.sqrt(mean(one**2 for one in p.returns[-n:]))


def scaled(p: Plain, n: int, window: int) -> float:
    return ratio(log_return(p, n), math.sqrt(n) * root_mean_square(p, window), 0.0)


def direction(p: Plain, n: int) -> int:
    return sign(p.last - p.close[-1 - n])


def return_rank(p: Plain, n: int, window: int) -> float:
    return rank([log_return(one, n) for one in p.tail(window)])


def nights(p: Plain, n: int) -> list[float]:
    return [math.log(o / c) for o, c in zip(p.open[-n:], p.close[-n - 1 : -1], strict=True)]


def days(p: Plain, n: int) -> list[float]:
    return [math.log(c / o) for o, c in zip(p.open[-n:], p.close[-n:], strict=True)]


def signs(p: Plain, n: int) -> list[int]:
    return [sign(one) for one in p.returns[-n:]]


def discreteness(p: Plain, n: int) -> float:
    rises, falls = signs(p, n).count(1) / n, signs(p, n).count(-1) / n
    return direction(p, n) * (falls - rises)


def rising_share(p: Plain, n: int) -> float:
    return (signs(p, n).count(1) + signs(p, n).count(0) / 2) / n


def rising_blocks(p: Plain, n: int) -> float:
    closes = p.close[-12 * n - 1 :: n]
    return mean((1 + sign(later - earlier)) / 2 for earlier, later in pairwise(closes))


def gain_loss(p: Plain, n: int) -> float:
    gains = [one for one in p.returns[-n:] if one > 0] or [0.0]
    losses = [-one for one in p.returns[-n:] if one < 0] or [0.0]
    return ratio(mean(gains) - mean(losses), mean(gains) + mean(losses), 0.0)


def extremes(p: Plain, n: int) -> float:
    best, worst = max([0.0, *p.returns[-n:]]), -min([0.0, *p.returns[-n:]])
    return ratio(best - worst, best + worst, 0.0)


def streaks(p: Plain, n: int, cap: int) -> float:
    counts = [signed_run(signs(one, cap), cap) for one in p.tail(n)]
    return (max([0.0, *counts]) + min([0.0, *counts])) / 2


def reversals(p: Plain, n: int) -> float:
    return mean(one * other < 0 for one, other in pairwise(signs(p, n + 1)))


def setup(p: Plain) -> float:
    return signed_run([direction(one, 4) for one in p.tail(9)], 9)


def relative_strength(values: list[float], n: int, faded: float) -> float:
    moves = [now - before for before, now in pairwise(values)]
    rise = average([max(move, 0.0) for move in moves], 1 / n)[-1]
    both = average([abs(move) for move in moves], 1 / n)[-1]
    return rise / both if both > faded else 0.5


def connors(p: Plain) -> float:
    states = [sign(one) for one in p.returns]
    counts = [
        states[row] * float(run(states[: row + 1], min(20, row + 1)))
        for row in range(len(states) - 150, len(states))
    ]
    # Enough of the streak's history for an average of smoothing one half.
    streak = relative_strength(counts, 2, 0.0)
    return mean([relative_strength(p.close, 3, 0.0), streak, rank(p.returns[-100:])])


def chande(p: Plain, n: int, lag: int = 1) -> float:
    moves = [now - before for now, before in zip(p.close[lag:], p.close, strict=False)][-n:]
    up, down = sum(max(one, 0) for one in moves), sum(max(-one, 0) for one in moves)
    return ratio(up - down, up + down, 0.0)


def momentum_place(p: Plain, n: int) -> float:
    values = [chande(one, n) for one in p.tail(n)]
    low, high = min(values), max(values)
    return (values[-1] - low) / (high - low) if high - low > 1e-12 else 0.5


def divergence(p: Plain, n: int, window: int) -> float:
    values = [round(chande(one, n), 12) for one in p.tail(window)]
    return rank(p.close[-window:]) - rank(values)


def place(p: Plain, n: int) -> float:
    low, high = p.range(n)
    return ratio(p.last - low, high - low, 0.5)


def stochastic_d(p: Plain, n: int, smooth: int) -> float:
    return mean(place(one, n) for one in p.tail(smooth))


def commodity_channel(p: Plain, n: int) -> float:
    bars_ = list(zip(p.high[-n:], p.low[-n:], p.close[-n:], strict=True))
    prices = [(h + one + c) / 3 for h, one, c in bars_]
    middle = mean(prices)
    deviation = mean(abs(price - middle) for price in prices)
    return gap(prices[-1], middle) / (1.5 * deviation) if max(prices) > min(prices) else 0.0


def true_strengths(p: Plain, slow: int, fast: int) -> list[float]:
    net = ema(ema(p.moves, slow), fast)
    way = ema(ema([abs(move) for move in p.moves], slow), fast)
    return [one / other for one, other in zip(net, way, strict=True)]


def strength_gap(p: Plain, slow: int, fast: int, signal: int) -> float:
    values = true_strengths(p, slow, fast)
    return values[-1] - mean(values[-signal:])


def ultimate(p: Plain) -> float:
    lows = [min(low, c) for low, c in zip(p.low[1:], p.close[:-1], strict=True)]
    pressure = [c - low for c, low in zip(p.close[1:], lows, strict=True)]
    fast, middle, slow = (
        ratio(sum(pressure[-n:]), sum(p.true_ranges[-n:]), 0.5) for n in (7, 14, 28)
    )
    return (4 * fast + 2 * middle + slow) / 7


def fisher(p: Plain, n: int) -> float:
    places = []
    for one in p.tail(5):
        window = one.middle[-n:]
        low, high = min(window), max(window)
        places.append(2 * ratio(window[-1] - low, high - low, 0.5) - 1)
    x = min(max(mean(places), -0.999), 0.999)
    return math.log((1 + x) / (1 - x)) / 2


def know_sure_thing(p: Plain) -> float:
    def smoothed(n: int, smooth: int) -> float:
        return mean(one.last / one.close[-1 - n] - 1 for one in p.tail(smooth))

    return (
        smoothed(10, 10) + 2 * smoothed(15, 10) + 3 * smoothed(20, 10) + 4 * smoothed(30, 15)
    ) / 10


def power(p: Plain, n: int) -> float:
    bars_ = zip(p.open[-n:], p.high[-n:], p.low[-n:], p.close[-n:], strict=True)
    return mean(ratio(c - o, h - low, 0.0) for o, h, low, c in bars_)


def vigor(p: Plain, n: int) -> float:
    body = width = 0.0
    for one in p.tail(n):
        for age, weight in enumerate((1, 2, 2, 1), start=1):
            body += weight * (one.close[-age] - one.open[-age])
            width += weight * (one.high[-age] - one.low[-age])
    return ratio(body, width, 0.0)


def vigor_gap(p: Plain, n: int) -> float:
    weights = (1, 2, 2, 1)
    signal = sum(w * vigor(p.back(age), n) for age, w in enumerate(weights)) / 6
    return vigor(p, n) - signal


def intraday(p: Plain, n: int) -> float:
    bodies = [c - o for o, c in zip(p.open[-n:], p.close[-n:], strict=True)]
    return ratio(sum(max(one, 0) for one in bodies), sum(map(abs, bodies)), 0.5)


def demarker(p: Plain, n: int) -> float:
    up = sum(max(now - before, 0) for before, now in pairwise(p.high[-n - 1 :]))
    down = sum(max(before - now, 0) for before, now in pairwise(p.low[-n - 1 :]))
    return ratio(up, up + down, 0.5)


METHODS: dict[str, PlainFeature] = {
    **{f"return_{n}": (lambda p, n=n: log_return(p, n)) for n in (3, 5, 10, 20, 60, 120)},
    "skipped_return": log_return,
    "volatility_scaled_return": scaled,
    "return_acceleration": lambda p, n: log_return(p, n) - log_return(p.back(n), n),
    "momentum_agreement_5_250": lambda p: mean(direction(p, n) for n in (5, 10, 20, 60, 120, 250)),
    "return_rank": return_rank,
    "pullback": lambda p, fast, slow: direction(p, slow) * scaled(p, fast, slow),
    "overnight_return": lambda p, n: sum(nights(p, n)),
    "intraday_less_overnight_return": lambda p, n: sum(days(p, n)) - sum(nights(p, n)),
    "information_discreteness": discreteness,
    "rising_share": rising_share,
    "rising_block_share": rising_blocks,
    "gain_loss_size": gain_loss,
    "extreme_return_balance": extremes,
    "streak": lambda p, cap: signed_run(signs(p, cap), cap),
    "streak_return": lambda p, cap: log_return(p, run(signs(p, cap), cap)),
    "longest_streak_balance": streaks,
    "reversal_share": reversals,
    "demark_setup_9": setup,
    "relative_strength": lambda p, n: relative_strength(p.close, n, 1e-9 * p.last),
    "rsi_14_change": lambda p, n: (
        relative_strength(p.close, 14, 0.0) - relative_strength(p.back(n).close, 14, 0.0)
    ),
    "connors_rsi_3_2_100": connors,
    "chande_momentum": chande,
    "relative_momentum": chande,
    "stochastic_momentum_place": momentum_place,
    "momentum_divergence": divergence,
    "stochastic_d": stochastic_d,
    "stochastic_k_less_d": lambda p, n, smooth: place(p, n) - stochastic_d(p, n, smooth),
    "cci": commodity_channel,
    "percentage_price_oscillator": lambda p, fast, slow: (
        ema(p.close, fast)[-1] / ema(p.close, slow)[-1] - 1
    ),
    "true_strength": lambda p, slow, fast: true_strengths(p, slow, fast)[-1],
    "true_strength_signal_gap": strength_gap,
    "ultimate_oscillator_7_14_28": ultimate,
    "fisher_transform": fisher,
    "detrended_price": lambda p, n: p.close[-1 - (n // 2 + 1)] / sma(p, n) - 1,
    "know_sure_thing_signal_gap_9": lambda p: (
        know_sure_thing(p) - mean(know_sure_thing(one) for one in p.tail(9))
    ),
    "balance_of_power": power,
    "relative_vigor_signal_gap": vigor_gap,
    "demarker": demarker,
}


@pytest.mark.parametrize("one", FEATURES, ids=lambda one: one.name)
def test_a_momentum_feature_is_its_plain_self_on_a_real_market(one: Feature, sp500: OHLCV) -> None:
    assert_agrees(METHODS, one, sp500, recursive=one.name in RECURSIVE)


@settings(max_examples=15)
@given(world=bars(255, 270))
def test_momentum_features_are_their_plain_selves_on_any_bars(world: OHLCV) -> None:
    p = to_plain(world)
    for one in FEATURES:
        if one.name not in RECURSIVE:
            expected = plain_value(METHODS, one, p)
            found = one.function(world)[-1]
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), one.name


def value(name: str, close: list[float], *, opened: list[float] | None = None) -> float:
    prices = np.array(close, dtype=float)
    opens = prices if opened is None else np.array(opened, dtype=float)
    world = OHLCV(
        date=np.datetime64("2001-01-01") + np.arange(len(close)),
        open=opens,
        high=np.maximum(prices, opens),
        low=np.minimum(prices, opens),
        close=prices,
        volume=np.ones(len(close)),
    )
    return float(REGISTRY[name].function(world)[-1])


def test_a_market_that_never_moves_has_no_momentum() -> None:
    half = {
        *("connors_rsi_3_2_100", "demarker_14", "relative_strength_2"),
        *("return_rank_1_100", "return_rank_20_120", "return_rank_60_180", "rising_share_10"),
        *("rising_share_60", "rising_block_share_10", "rising_block_share_21"),
        *("stochastic_d_14_3", "stochastic_momentum_place_40", "ultimate_oscillator_7_14_28"),
    }
    for one in FEATURES:
        expected = 0.5 if one.name in half else 0.0
        assert value(one.name, [1.1] * 300) == pytest.approx(expected, abs=1e-12), one.name


def test_a_steady_rise_is_all_momentum() -> None:
    rise = [math.exp(0.01 * day) for day in range(300)]
    full = [
        *("relative_strength_2", "chande_momentum_120", "rising_share_60", "streak_8"),
        *("rising_block_share_21", "momentum_agreement_5_250", "demark_setup_9"),
        *("gain_loss_size_60", "extreme_return_balance_20", "true_strength_25_13"),
        *("relative_momentum_20_5", "demarker_14", "stochastic_d_14_3"),
    ]
    for name in full:
        assert value(name, rise) == pytest.approx(1.0), name
    assert value("longest_streak_balance_20_8", rise) == 0.5
    assert value("information_discreteness_60", rise) == -1.0
    assert value("skipped_return_252_21", rise) == pytest.approx(2.31)
    # 5% in units of 1% a bar times the root of 5.
    assert value("volatility_scaled_return_5_60", rise) == pytest.approx(math.sqrt(5))
    assert value("pullback_5_60", [*rise, *rise[:-6:-1]]) < 0
    assert value("return_acceleration_20", rise) == pytest.approx(0.0, abs=1e-9)
    assert value("reversal_share_60", rise) == 0.0


def test_literal_momentum() -> None:
    # Two rises in a row after a fall: 2 of 8, and their return.
    close = [*[100.0] * 20, 90.0, 95.0, 99.0]
    assert value("streak_8", close) == 0.25
    assert value("streak_return_8", close) == pytest.approx(math.log(99 / 90))
    # Gains of 5 and 4, a loss of 10.
    assert value("chande_momentum_9", close) == pytest.approx(-1 / 19)
    # Up 2, down 1 by turns: gains twice the losses in size, every bar a reversal.
    zigzag = np.exp(0.01 * np.cumsum(np.tile([2.0, -1.0], 150))).tolist()
    assert value("gain_loss_size_60", zigzag) == pytest.approx(1 / 3)
    assert value("reversal_share_60", zigzag) == 1.0
    assert value("rising_share_60", zigzag) == 0.5
    # All is earned overnight: the session opens 1% higher and goes nowhere.
    rise = [math.exp(0.01 * day) for day in range(130)]
    assert value("overnight_return_20", rise) == pytest.approx(0.2)
    assert value("intraday_less_overnight_return_120", rise) == pytest.approx(-1.2)
    # All is earned in the session: it opens at the last close.
    opened = [rise[0], *rise[:-1]]
    assert value("overnight_return_20", rise, opened=opened) == pytest.approx(0.0)
    assert value("intraday_less_overnight_return_120", rise, opened=opened) == pytest.approx(1.2)
    assert value("balance_of_power_14", rise, opened=opened) == 1.0


def test_moves_that_have_faded_are_none() -> None:
    # Wilder's average of 2 bars halves at each step: after 40 still bars nothing is left of 1%.
    assert value("relative_strength_2", [*[100.0] * 50, 101.0, *[101.0] * 10]) == 1.0
    assert value("relative_strength_2", [*[100.0] * 50, 101.0, *[101.0] * 40]) == 0.5

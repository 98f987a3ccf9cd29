from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean, pstdev

import numpy as np
import pytest
import scipy.stats

from finscale.features import regime, regime_durations
from finscale.features.registry import REGISTRY
from finscale.market.bars import OHLCV, FloatArray
from strategies import make_bars

MODULES = (regime, regime_durations)
NAMES = [name for name, one in REGISTRY.items() if one.family == "regime"]


def of_closes(close: Sequence[float]) -> OHLCV:
    prices = np.array(close, dtype=np.float64)
    return OHLCV(
        date=np.datetime64("2001-01-01") + np.arange(len(prices)),
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=np.ones(len(prices)),
    )


def of_returns(steps: Sequence[float]) -> OHLCV:
    return of_closes((100 * np.exp(np.cumsum([0.0, *steps]))).tolist())


def last(name: str, world: OHLCV) -> float:
    return float(REGISTRY[name].function(world)[-1])


# Each idea once more, plainly and row by row: from the bars of the look-back alone to one value.


def returns(world: OHLCV) -> FloatArray:
    return np.diff(np.log(world.close))


def square(r: FloatArray, row: int, n: int) -> float:
    return fmean(r[row - n + 1 : row + 1] ** 2)


def is_high(r: FloatArray, row: int) -> bool:
    return square(r, row, 10) > square(r, row, 120)


def volatile(world: OHLCV, n: int) -> list[bool]:
    r = returns(world)
    return [is_high(r, row) for row in range(len(r) - n, len(r))]


def rising(world: OHLCV, n: int) -> list[bool]:
    rows = range(len(world) - n, len(world))
    return [world.close[row] > fmean(world.close[row - 49 : row + 1]) for row in rows]


def scaled(world: OHLCV, n: int) -> list[float]:
    r = returns(world)
    return [r[row] / math.sqrt(square(r, row, 120)) for row in range(len(r) - n, len(r))]


def since(events: Sequence[bool], most: int) -> float:
    """Return the bars since the last True of the last ``most`` over their number."""
    assert len(events) >= most
    recent = list(events)[::-1][:most]
    return (recent.index(True) if True in recent else most) / most


def signed_run(signs: Sequence[float], most: int) -> float:
    length = 0
    for sign in reversed(list(signs)):
        if sign != signs[-1] or length == most:
            break
        length += 1
    return float(np.sign(signs[-1])) * length / most


def pullback(world: OHLCV, n: int, m: int) -> float:
    rows = range(len(world) - n, len(world))
    return fmean(world.close[row] < 0.95 * max(world.high[row - m + 1 : row + 1]) for row in rows)


def rally(world: OHLCV, n: int, m: int) -> float:
    rows = range(len(world) - n, len(world))
    return fmean(world.close[row] > 1.1 * min(world.low[row - m + 1 : row + 1]) for row in rows)


def regime_changes(world: OHLCV, n: int) -> float:
    states = volatile(world, n + 1)
    return fmean(one != other for one, other in pairwise(states))


def ladder(world: OHLCV) -> float:
    r = returns(world)
    means = [square(r, len(r) - 1, n) for n in (5, 10, 20, 40, 80, 160)]
    return fmean(float(np.sign(a - b)) for a, b in pairwise(means))


def states_together(world: OHLCV, n: int) -> list[tuple[bool, bool]]:
    return list(zip(rising(world, n), volatile(world, n), strict=True))


def calm_rise(world: OHLCV, n: int) -> float:
    return fmean(up and not wild for up, wild in states_together(world, n))


def stressed_fall(world: OHLCV, n: int) -> float:
    return fmean(wild and not up for up, wild in states_together(world, n))


def break_of_variance(world: OHLCV, n: int) -> tuple[float, float]:
    squares = returns(world) ** 2
    early = np.cumsum(squares)[:-1] / squares.sum()
    deviation = np.arange(1, n) / n - early
    place = int(np.argmax(np.abs(deviation)))
    return math.sqrt(n / 2) * deviation[place], (n - 1 - place) / n


def trend_following(world: OHLCV, n: int, m: int) -> float:
    c = world.close
    rows = range(len(c) - n, len(c))
    return fmean((c[row] - c[row - 1]) * (c[row - 1] - c[row - 1 - m]) > 0 for row in rows)


def sign_persistence(world: OHLCV, n: int, m: int) -> float:
    c = world.close
    rows = range(len(c) - n, len(c))
    return fmean(
        float(np.sign(c[row] - c[row - m]) * np.sign(c[row - m] - c[row - 2 * m])) for row in rows
    )


def forward(densities: Sequence[tuple[float, float]], switch: float) -> float:
    """Return the probability of the first of two states by the forward algorithm."""
    belief = np.array([0.5, 0.5])
    transition = np.array([[1 - switch, switch], [switch, 1 - switch]])
    for one in densities:
        belief = transition @ belief * np.array(one)
        belief /= belief.sum()
    return float(belief[0])


def turbulence(world: OHLCV, n: int) -> float:
    pdf = scipy.stats.norm.pdf
    return forward([(pdf(z, 0, 1.6), pdf(z, 0, 0.6)) for z in scaled(world, n)], 0.05)


def bull(world: OHLCV, n: int) -> float:
    pdf = scipy.stats.norm.pdf
    return forward([(pdf(z, 0.15), pdf(z, -0.15)) for z in scaled(world, n)], 0.02)


def wide_range(world: OHLCV, n: int) -> float:
    level = np.log(np.log(world.high / world.low)).tolist()
    windows = [level[row - 119 : row + 1] for row in range(len(level) - n, len(level))]
    z = [(one[-1] - fmean(one)) / pstdev(one) for one in windows]
    pdf = scipy.stats.norm.pdf
    return forward([(pdf(one, 0.5), pdf(one, -0.5)) for one in z], 0.05)


def cusum(world: OHLCV, n: int, sign: float) -> float:
    total = 0.0
    for z in scaled(world, n):
        total = max(0.0, total + sign * z - 0.25)
    return total / math.sqrt(n)


def change(world: OHLCV, lag: int = 1) -> FloatArray:
    return world.close[lag:] / world.close[:-lag] - 1


def extreme(world: OHLCV, n: int, most: int) -> float:
    return since([abs(z) > 2 for z in scaled(world, most)], most)


def swing(world: OHLCV, n: int, most: int, size: float) -> float:
    rows = range(len(world) - most, len(world))
    window = [slice(row - n + 1, row + 1) for row in rows]
    pairs = list(zip(world.close[-most:], window, strict=True))
    falls = [close <= (1 - size) * max(world.high[one]) for close, one in pairs]
    rises = [close >= (1 + size) * min(world.low[one]) for close, one in pairs]
    return since(falls, most) - since(rises, most)


def momentum_age(world: OHLCV, n: int, most: int) -> float:
    return signed_run(np.sign(world.close[n:] - world.close[:-n]).tolist(), most)


def volatility_age(world: OHLCV, fast: int, slow: int, most: int) -> float:
    return signed_run([1.0 if one else -1.0 for one in volatile(world, most)], most)


PLAIN: dict[str, Callable[..., float]] = {
    "rally_share": rally,
    "volatility_regime_changes": regime_changes,
    "volatility_ladder": lambda world, _first, _last: ladder(world),
    "calm_rise_share": calm_rise,
    "stressed_fall_share": stressed_fall,
    "variance_break": lambda world, n: break_of_variance(world, n)[0],
    "variance_break_age": lambda world, n: break_of_variance(world, n)[1],
    "trend_following_share": trend_following,
    "trend_sign_persistence": sign_persistence,
    "turbulence_probability": turbulence,
    "wide_range_probability": wide_range,
    "cusum_rise": lambda world, n: cusum(world, n, 1.0),
    "cusum_fall": lambda world, n: cusum(world, n, -1.0),
    "bars_since_one_percent_rise": lambda world, most: since(
        (world.high[1:] / world.close[:-1] >= 1.01).tolist(), most
    ),
    "bars_since_one_percent_fall": lambda world, most: since(
        (world.low[1:] / world.close[:-1] <= 0.99).tolist(), most
    ),
    "bars_since_two_percent_move": lambda world, most: since(
        (np.abs(change(world)) >= 0.02).tolist(), most
    ),
    "bars_since_three_percent_rise": lambda world, most: since(
        (change(world) >= 0.03).tolist(), most
    ),
    "bars_since_three_percent_fall": lambda world, most: since(
        (change(world) <= -0.03).tolist(), most
    ),
    "bars_since_extreme_return": extreme,
    "swing_regime": lambda world, n, most: swing(world, n, most, 0.05),
    "market_phase": lambda world, n, most: swing(world, n, most, 0.1),
    "momentum_duration": momentum_age,
    "volatility_regime_duration": volatility_age,
}


def idea_and_periods(name: str) -> tuple[str, list[int]]:
    words = name.split("_")
    periods = [word for word in words if word.isdigit()]
    return "_".join(words[: len(words) - len(periods)]), [int(one) for one in periods]


def test_every_idea_is_checked() -> None:
    here = {module.__name__ for module in MODULES}
    of_these = {
        name
        for name in NAMES
        if getattr(REGISTRY[name].function, "func", REGISTRY[name].function).__module__ in here
    }
    assert {idea_and_periods(name)[0] for name in of_these} == set(PLAIN)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_plain_version(name: str) -> None:
    idea, periods = idea_and_periods(name)
    n_back = REGISTRY[name].lookback_bars
    for seed in (1, 2, 3):
        world = make_bars(320, seed=seed, volatility=0.006 * seed)
        values = REGISTRY[name].function(world)
        assert np.isnan(values[:n_back]).all()
        for row in (n_back, 255, 290, 319):
            expected = PLAIN[idea](world.slice(row - n_back, row + 1), *periods)
            assert values[row] == pytest.approx(expected, rel=1e-8, abs=1e-10)


STILL = {
    # Nothing tells rise from fall, or wide from narrow; a frozen market is a calm one.
    "wide_range_probability": 0.5,
    "turbulence_probability": forward([(0.6, 1.6)] * 60, 0.05),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_market_that_never_moves_has_the_stated_value(name: str) -> None:
    idea, _ = idea_and_periods(name)
    expected = STILL.get(idea, 1.0 if idea.startswith("bars_since") else 0.0)
    assert last(name, of_closes([7.0] * 300)) == pytest.approx(expected)


def test_bars_since_count_from_the_event() -> None:
    steps = [0.0] * 300
    steps[-1 - 3] = 0.0301
    steps[-1 - 7] = -0.0401
    world = of_returns(steps)
    assert last("bars_since_three_percent_rise_250", world) == 3 / 250
    assert last("bars_since_three_percent_fall_250", world) == 7 / 250
    assert last("bars_since_two_percent_move_60", world) == 3 / 60
    assert last("bars_since_one_percent_rise_20", world) == 3 / 20
    assert last("bars_since_one_percent_fall_20", world) == 7 / 20
    assert last("bars_since_three_percent_fall_250", of_returns([-0.04] * 300)) == 0.0


def test_states_of_volatility() -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], 300)
    size = np.full(300, 0.001)
    size[-40:] = 0.02
    world = of_returns((signs * size).tolist())
    # The variance rose 40 bars ago; then it was high in all of them.
    assert last("variance_break_age_120", world) == pytest.approx(40 / 120)
    share = 80 * 0.001**2 / (80 * 0.001**2 + 40 * 0.02**2)
    assert last("variance_break_120", world) == pytest.approx(math.sqrt(60) * (80 / 120 - share))
    assert last("volatility_regime_duration_10_120_60", world) == pytest.approx(40 / 60)
    assert last("turbulence_probability_60", world) > 0.5
    # A fall of the variance has the other sign.
    fallen = of_returns((signs * size)[::-1].tolist())
    assert REGISTRY["variance_break_120"].function(fallen)[121] < -3


def test_a_steady_rise_is_a_bull_market() -> None:
    world = of_returns([0.01] * 300)
    assert last("momentum_duration_120_130", world) == 1.0
    assert last("trend_sign_persistence_120_20", world) == 1.0
    assert last("trend_following_share_60_20", world) == 1.0
    assert last("rally_share_60_190", world) == 1.0
    # 60 steps of 1 - 1/4, over sqrt(60).
    assert last("cusum_rise_60", world) == pytest.approx(0.75 * math.sqrt(60))
    assert last("cusum_fall_60", world) == 0.0
    assert last("market_phase_60_190", world) == 1.0
    assert last("swing_regime_20_120", of_returns([-0.01] * 300)) == -1.0


def test_swings_go_by_the_last_of_them() -> None:
    # Up 30% at once, and down 6% after 20 bars. The 20-bar low is 100 for 19 bars from the rise
    # on, the last of them 5 bars ago; the 20-bar high is 130 since, 6% above the last 4 closes.
    close = [100.0] * 250 + [130.0] * 20 + [122.0] * 4
    assert last("swing_regime_20_120", of_closes(close)) == pytest.approx((0 - 5) / 120)

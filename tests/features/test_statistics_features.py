from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby, pairwise
from statistics import fmean

import numpy as np
import pytest
import scipy.stats
from arch.unitroot import VarianceRatio

from finscale.features import (
    return_complexity,
    return_dependence,
    return_performance,
    return_quantiles,
    statistics,
)
from finscale.features.registry import REGISTRY
from finscale.market.bars import OHLCV, FloatArray
from strategies import make_bars

MODULES = (
    statistics,
    return_quantiles,
    return_dependence,
    return_complexity,
    return_performance,
)
NAMES = [name for name, one in REGISTRY.items() if one.family == "statistics"]


def returns(world: OHLCV) -> FloatArray:
    return np.diff(np.log(world.close))


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


def of_returns(steps: Sequence[float] | FloatArray) -> OHLCV:
    return of_closes(100 * np.exp(np.cumsum([0.0, *steps])))


def last(name: str, world: OHLCV) -> float:
    return float(REGISTRY[name].function(world)[-1])


# Each idea once more, plainly: from the bars of the look-back alone to the value at the last one.


def entropy(words: Sequence[Hashable]) -> float:
    return float(scipy.stats.entropy(list(Counter(words).values())))


def corr(one: FloatArray, other: FloatArray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def skewness(world: OHLCV, n: int) -> float:
    return float(scipy.stats.skew(returns(world)))


def kurtosis(world: OHLCV, n: int) -> float:
    return math.log(scipy.stats.kurtosis(returns(world), fisher=False))


def zscore(world: OHLCV, n: int) -> float:
    return float(scipy.stats.zscore(returns(world))[-1])


def rise_share(world: OHLCV, n: int) -> float:
    return fmean(h / c >= 1.01 for c, h in zip(world.close, world.high[1:], strict=False))


def fall_share(world: OHLCV, n: int) -> float:
    return fmean(low / c <= 0.99 for c, low in zip(world.close, world.low[1:], strict=False))


def absolute_variation(world: OHLCV, n: int) -> float:
    return float(scipy.stats.variation(np.abs(returns(world))))


def extremes(world: OHLCV, n: int, m: int) -> list[float]:
    """Return the sign of each of the last n returns that is extreme, zero for the others."""
    r = returns(world)
    limits = [2 * math.sqrt(fmean(r[i - m + 1 : i + 1] ** 2)) for i in range(len(r) - n, len(r))]
    return [
        float(np.sign(one)) if abs(one) > limit else 0.0
        for one, limit in zip(r[-n:], limits, strict=True)
    ]


def extreme_share(world: OHLCV, n: int, m: int) -> float:
    return fmean(abs(one) for one in extremes(world, n, m))


def extreme_balance(world: OHLCV, n: int, m: int) -> float:
    return fmean(extremes(world, n, m))


def quantile_skewness(world: OHLCV, tail: float) -> float:
    low, middle, high = np.quantile(returns(world), [tail, 0.5, 1 - tail])
    return float((high + low - 2 * middle) / (high - low))


def tail_weight(world: OHLCV, n: int) -> float:
    q = np.quantile(returns(world), [0.05, 0.25, 0.75, 0.95])
    return float(1 - (q[2] - q[1]) / (q[3] - q[0]))


def mean_median_gap(world: OHLCV, n: int) -> float:
    r = returns(world)
    return float((r.mean() - np.median(r)) / r.std())


def value_at_risk(world: OHLCV, n: int) -> float:
    r = returns(world)
    return float(-np.quantile(r, 0.05) / math.sqrt(fmean(r**2)))


def autocorrelation(world: OHLCV, lag: int, n: int) -> float:
    r = returns(world)
    return corr(r[lag:], r[:-lag])


def squared_autocorrelation(world: OHLCV, lag: int, n: int) -> float:
    r = returns(world) ** 2
    return corr(r[lag:], r[:-lag])


def partial_autocorrelation(world: OHLCV, n: int) -> float:
    size = np.abs(returns(world))
    a1, a2 = corr(size[2:], size[1:-1]), corr(size[2:], size[:-2])
    # Cramer's rule for the two Yule-Walker equations.
    return float(
        np.linalg.det(np.array([[1, a1], [a1, a2]])) / np.linalg.det(np.array([[1, a1], [a1, 1]]))
    )


def variance_ratio(world: OHLCV, q: int, n: int) -> float:
    return float(VarianceRatio(np.log(world.close), lags=q, overlap=True, debiased=True).vr)


def long_returns(world: OHLCV, h: int) -> FloatArray:
    return np.log(world.close[h:] / world.close[:-h])


def horizon_autocorrelation(world: OHLCV, h: int, n: int) -> float:
    x = long_returns(world, h)
    return corr(x[h:], x[:-h])


def coarse_fine(world: OHLCV, h: int, n: int) -> float:
    size, coarse = np.abs(returns(world)), np.abs(long_returns(world, h))
    fine = np.array([fmean(size[i : i + h]) for i in range(len(size) - h + 1)])
    return corr(fine[h:], coarse[:-h])


def time_reversal(world: OHLCV, n: int) -> float:
    r = returns(world)
    pairs = list(pairwise(r))
    above = sum(b**2 * a - b * a**2 for a, b in pairs)
    return float(above / sum((abs(a) ** 3 + abs(b) ** 3) / 2 for a, b in pairs))


def dickey_fuller(world: OHLCV, n: int) -> float:
    fit = scipy.stats.linregress(world.close[:-1], np.diff(world.close))
    t = fit.slope / fit.stderr
    return float(t / math.sqrt(t**2 + n - 2))


def runs_test(world: OHLCV, n: int) -> float:
    rises = (returns(world) > 0).tolist()
    n_runs = sum(1 for _ in groupby(rises))
    up, down = rises.count(True), rises.count(False)
    mean = 2 * up * down / n + 1
    return float((n_runs - mean) / math.sqrt((mean - 1) * (mean - 2) / (n - 1)))


def hurst(world: OHLCV, n: int) -> float:
    lags = [1, 2, 4, 8, 16]
    spread = [math.sqrt(fmean(long_returns(world, q) ** 2)) for q in lags]
    return float(np.clip(np.polyfit(np.log(lags), np.log(spread), 1)[0], 0, 1))


def rescaled_range(world: OHLCV, n: int) -> float:
    r = returns(world)
    path = np.cumsum(np.append(0.0, r - r.mean()))
    return float(math.log((path.max() - path.min()) / r.std()) / math.log(n))


def permutation_entropy(world: OHLCV, n: int) -> float:
    windows = np.lib.stride_tricks.sliding_window_view(world.close, 3)
    orders = [tuple(np.argsort(one, kind="stable").tolist()) for one in windows]
    assert len(orders) == n
    return entropy(orders) / math.log(6)


def sign_entropy(world: OHLCV, n: int) -> float:
    rises = (returns(world) > 0).tolist()
    words = list(zip(rises, rises[1:], rises[2:], strict=False))
    assert len(words) == n
    return entropy(words) / math.log(8)


def scaled_entropy(world: OHLCV, n: int) -> float:
    r = returns(world)
    scaled = [r[i] / math.sqrt(fmean(r[i - 19 : i + 1] ** 2)) for i in range(19, len(r))]
    assert len(scaled) == n
    return entropy([sum(one > cut for cut in (-1.5, -0.5, 0.5, 1.5)) for one in scaled]) / (
        math.log(5)
    )


def katz(world: OHLCV, n: int) -> float:
    path = np.cumsum(returns(world))
    share = np.abs(path).max() / np.abs(returns(world)).sum()
    return math.log(n) / (math.log(n) + math.log(max(share, n**-0.5)))


def longest_run(world: OHLCV, sign: float) -> float:
    # Runs that began in the 19 bars before the window count with all their length.
    moves = np.sign(returns(world)).tolist()
    lengths = [0]
    for move in moves:
        lengths.append(min(lengths[-1] + 1, 20) if move == sign else 0)
    return max(lengths[20:]) / 20


def cycle_power(world: OHLCV, period: int, n: int) -> float:
    r = returns(world)
    return float(2 * np.abs(np.fft.rfft(r)[n // period]) ** 2 / (n**2 * r.var()))


def sharpe(world: OHLCV, n: int) -> float:
    return float(returns(world).mean() / returns(world).std())


def bounded(value: float) -> float:
    return value / (1 + abs(value))


def sortino(world: OHLCV, n: int) -> float:
    r = returns(world)
    return bounded(r.mean() / math.sqrt(sum(one**2 for one in r if one < 0) / n))


def worst_fall(close: FloatArray) -> float:
    return float(min(close[j] / close[i] for i in range(len(close)) for j in range(i, len(close))))


def calmar(world: OHLCV, n: int) -> float:
    return bounded(math.log(world.close[-1] / world.close[0]) / -math.log(worst_fall(world.close)))


def max_drawdown(world: OHLCV, n: int) -> float:
    return worst_fall(world.close) - 1


def rise_fall_balance(world: OHLCV, n: int) -> float:
    fall, rise = (-math.log(worst_fall(one)) for one in (world.close, 1 / world.close))
    return (rise - fall) / (rise + fall)


PLAIN: dict[str, Callable[..., float]] = {
    "return_skewness": skewness,
    "log_return_kurtosis": kurtosis,
    "return_zscore": zscore,
    "one_percent_rise_share": rise_share,
    "one_percent_fall_share": fall_share,
    "absolute_return_variation": absolute_variation,
    "extreme_return_share": extreme_share,
    "extreme_gain_share_balance": extreme_balance,
    "tail_asymmetry": lambda world, _n: quantile_skewness(world, 0.05),
    "tail_weight": tail_weight,
    "mean_median_gap": mean_median_gap,
    "scaled_value_at_risk": value_at_risk,
    "return_autocorrelation": autocorrelation,
    "squared_return_autocorrelation": squared_autocorrelation,
    "absolute_return_partial_autocorrelation": partial_autocorrelation,
    "variance_ratio": variance_ratio,
    "horizon_autocorrelation": horizon_autocorrelation,
    "coarse_fine_volatility_correlation": coarse_fine,
    "time_reversal_asymmetry": time_reversal,
    "dickey_fuller_correlation": dickey_fuller,
    "runs_test": runs_test,
    "hurst_exponent": hurst,
    "rescaled_range": rescaled_range,
    "permutation_entropy": permutation_entropy,
    "sign_entropy": sign_entropy,
    "scaled_return_entropy": scaled_entropy,
    "katz_dimension": katz,
    "longest_gain_run": lambda world, _n: longest_run(world, 1.0),
    "longest_loss_run": lambda world, _n: longest_run(world, -1.0),
    "cycle_power": cycle_power,
    "sharpe_ratio": sharpe,
    "sortino_ratio": sortino,
    "calmar_ratio": calmar,
    "max_drawdown": max_drawdown,
    "rise_fall_balance": rise_fall_balance,
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
    for seed, frozen in ((1, 0.0), (2, 0.15)):
        world = make_bars(300, seed=seed, frozen_share=frozen)
        values = REGISTRY[name].function(world)
        assert np.isnan(values[:n_back]).all()
        for row in (n_back, 270, 299):
            expected = PLAIN[idea](world.slice(row - n_back, row + 1), *periods)
            assert values[row] == pytest.approx(expected, rel=1e-8, abs=1e-10)


STILL = {
    "log_return_kurtosis": math.log(3),
    "permutation_entropy": 0.0,
    "variance_ratio": 1.0,
    "hurst_exponent": 0.5,
    "rescaled_range": 0.5,
    "katz_dimension": 1.0,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_market_that_never_moves_has_the_stated_value(name: str) -> None:
    expected = STILL.get(idea_and_periods(name)[0], 0.0)
    assert last(name, of_closes([7.0] * 300)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("max_drawdown_60", 0.0),
        ("calmar_ratio_60", 1.0),
        ("sortino_ratio_40", 1.0),
        ("rise_fall_balance_250", 1.0),
        ("permutation_entropy_60", 0.0),
        ("sign_entropy_60", 0.0),
        ("hurst_exponent_240", 1.0),
        ("katz_dimension_120", 1.0),
        ("runs_test_120", 0.0),
        ("longest_gain_run_60", 1.0),
        ("longest_loss_run_60", 0.0),
        # The deviation is 1e-6 at least.
        ("sharpe_ratio_20", 0.01 / 1e-6),
    ],
)
def test_a_steady_rise(name: str, expected: float) -> None:
    assert last(name, of_returns([0.01] * 300)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Up and down by turns comes back every other bar.
        ("hurst_exponent_120", 0.0),
        ("return_autocorrelation_1_60", -1.0),
        ("return_autocorrelation_2_60", 1.0),
        # 60 rises and 60 falls in 120 runs; 61 are expected, with variance 60 * 59 / 119.
        ("runs_test_120", (120 - 61) / math.sqrt(60 * 59 / 119)),
        # Two of the six orders, two of the eight words of three signs, each half of the time.
        ("permutation_entropy_60", math.log(2) / math.log(6)),
        ("sign_entropy_60", math.log(2) / math.log(8)),
        ("longest_gain_run_60", 1 / 20),
        ("max_drawdown_60", math.exp(-0.02) - 1),
    ],
)
def test_up_and_down_by_turns(name: str, expected: float) -> None:
    close = np.where(np.arange(300) % 2, 100 * math.exp(0.02), 100.0)
    assert last(name, of_closes(close.tolist())) == pytest.approx(expected, abs=1e-9)


def test_a_planted_cycle_has_all_the_power_of_its_period() -> None:
    bar = np.arange(300)
    for period, name in ((5, "cycle_power_5_60"), (20, "cycle_power_20_120")):
        world = of_returns(0.01 * np.sin(2 * math.pi * bar / period + 1) + 0.003)
        assert last(name, world) == pytest.approx(1.0)
        other = of_returns(0.01 * np.sin(2 * math.pi * bar / (period * 2) + 1))
        assert last(name, other) == pytest.approx(0.0, abs=1e-12)


def test_planted_dependence_is_recovered() -> None:
    rng = np.random.default_rng(4)
    noise = 0.01 * rng.standard_normal(5000)
    trending = np.array(noise)
    for row in range(1, len(noise)):
        trending[row] += 0.5 * trending[row - 1]
    found = {
        name: np.nanmean(REGISTRY[name].function(of_returns(trending)))
        for name in ("return_autocorrelation_1_240", "variance_ratio_20_240", "hurst_exponent_240")
    }
    # AR(1) with coefficient a: VR(q) = 1 + 2 sum (1 - k/q) a^k, 2.80 for a = 1/2 and q = 20.
    assert found["return_autocorrelation_1_240"] == pytest.approx(0.5, abs=0.03)
    assert found["variance_ratio_20_240"] == pytest.approx(2.8, abs=0.2)
    assert found["hurst_exponent_240"] > 0.6
    plain = REGISTRY["hurst_exponent_240"].function(of_returns(noise))
    assert np.nanmean(plain) == pytest.approx(0.5, abs=0.03)


def test_the_worst_drawdown_is_from_a_high_to_a_later_low() -> None:
    # 120 to 60 is the worst fall in a row of highs and lows; 50 came before the high.
    close = [100.0] * 50 + [50.0, 120.0, 90.0, 100.0, 60.0, 80.0]
    assert last("max_drawdown_60", of_closes([100.0] * 4 + close)) == -0.5
    assert last("max_drawdown_60", of_closes([*close[::-1], *[100.0] * 60])) == 0.0


def test_a_single_jump_moves_every_tail() -> None:
    steps = [0.001, -0.001] * 150
    steps[-5] = 0.05
    world = of_returns(steps)
    assert last("return_skewness_60", world) > 7
    assert last("time_reversal_asymmetry_60", world) == pytest.approx(0.0, abs=0.05)
    assert last("extreme_return_share_20_120", world) == pytest.approx(1 / 20)
    assert last("extreme_gain_share_balance_60_120", world) == pytest.approx(1 / 60)
    assert last("one_percent_rise_share_10", world) == pytest.approx(1 / 10)
    assert last("one_percent_fall_share_10", world) == 0.0

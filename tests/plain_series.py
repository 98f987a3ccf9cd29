"""The plain way to compute a feature: Python lists, one row at a time, from the definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest

from finscale.features.registry import REGISTRY, Feature
from finscale.features.tiers import TIERS
from finscale.market.bars import OHLCV


@dataclass(frozen=True)
class Plain:
    """Prices up to and including the row that is asked for."""

    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]

    def back(self, n: int) -> Plain:
        """The same n bars earlier."""
        stop = len(self.close) - n
        return Plain(self.open[:stop], self.high[:stop], self.low[:stop], self.close[:stop])

    def tail(self, n: int) -> list[Plain]:
        """The last n states of the market, oldest first."""
        return [self.back(age) for age in reversed(range(n))]

    @property
    def last(self) -> float:
        return self.close[-1]

    @property
    def middle(self) -> list[float]:
        return [(h + one) / 2 for h, one in zip(self.high, self.low, strict=True)]

    @property
    def moves(self) -> list[float]:
        return [now - before for before, now in pairwise(self.close)]

    @property
    def returns(self) -> list[float]:
        return [math.log(now / before) for before, now in pairwise(self.close)]

    @property
    def true_ranges(self) -> list[float]:
        bars = zip(self.high[1:], self.low[1:], self.close[:-1], strict=True)
        return [max(h, c) - min(one, c) for h, one, c in bars]

    def range(self, n: int) -> tuple[float, float]:
        return min(self.low[-n:]), max(self.high[-n:])


PlainFeature = Callable[..., float]


def to_plain(world: OHLCV) -> Plain:
    prices = (world.open, world.high, world.low, world.close)
    return Plain(*(price.tolist() for price in prices))


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known)


def sma(p: Plain, n: int) -> float:
    assert len(p.close) >= n
    return mean(p.close[-n:])


def gap(one: float, other: float) -> float:
    """The difference, without what rounding makes of equal numbers."""
    return 0.0 if math.isclose(one, other, rel_tol=1e-12) else one - other


def ratio(one: float, other: float, otherwise: float) -> float:
    return one / other if other else otherwise


def deviation(values: Sequence[float]) -> float:
    middle = mean(values)
    return math.sqrt(mean((value - middle) ** 2 for value in values))


def line(values: Sequence[float]) -> tuple[float, float]:
    """Slope per row, and value at the last row, of the least-squares line."""
    slope, start = np.polyfit(range(len(values)), values, 1)
    return float(slope), float(start + slope * (len(values) - 1))


def correlation(values: Sequence[float]) -> float:
    """With time; zero where nothing moves."""
    if max(values) == min(values):
        return 0.0
    return float(np.corrcoef(range(len(values)), values)[0, 1])


def rank(values: Sequence[float]) -> float:
    *others, last = values
    return mean((other < last) + (other == last) / 2 for other in others)


def average(values: Sequence[float], smoothing: float) -> list[float]:
    state, out = values[0], []
    for one in values:
        state += smoothing * (one - state)
        out.append(state)
    return out


def ema(values: Sequence[float], n: int) -> list[float]:
    return average(values, 2 / (n + 1))


def wma(values: Sequence[float], n: int) -> float:
    weights = range(1, n + 1)
    return sum(w * v for w, v in zip(weights, values[-n:], strict=True)) / sum(weights)


def run(states: Sequence[float], cap: int) -> int:
    """Length of the last run of equal states."""
    length = 0
    while length < cap and states[-1 - length] == states[-1]:
        length += 1
    return length


def signed_run(states: Sequence[float], cap: int) -> float:
    return sign(states[-1]) * run(states, cap) / cap


def since_best(values: Sequence[float]) -> int:
    """Rows since the maximum, the latest of equals."""
    return max(range(len(values)), key=lambda age: (values[-1 - age], -age))


def new_features(*modules: ModuleType) -> list[Feature]:
    """The features these modules register, but for those of a25, which have their own tests."""
    names = {module.__name__ for module in modules}
    return [
        one
        for one in REGISTRY.values()
        if _function(one).__module__ in names and one.name not in TIERS["a25"]
    ]


def _function(one: Feature) -> Callable[..., object]:
    return one.function.func if isinstance(one.function, partial) else one.function


def plain_value(methods: dict[str, PlainFeature], one: Feature, p: Plain) -> float:
    if one.name in methods:
        return methods[one.name](p)
    periods = one.function.keywords.values() if isinstance(one.function, partial) else []
    base = one.name.removesuffix("".join(f"_{period}" for period in periods))
    return methods[base](p, *periods)


def assert_agrees(
    methods: dict[str, PlainFeature], one: Feature, market: OHLCV, *, recursive: bool
) -> None:
    """On rows of a real market; the start of an exponential average is forgotten to 1e-6."""
    tolerance = 1e-6 if recursive else 1e-9
    values = one.function(market)
    for row in (one.lookback_bars + recursive * 700, 1234, 2777, 3456, len(market) - 1):
        p = to_plain(market.slice(max(row - 700, 0), row + 1))
        expected = plain_value(methods, one, p)
        assert values[row] == pytest.approx(expected, rel=tolerance, abs=tolerance), row

"""Features worked out a second time, slowly: one window at a time, by numpy's own statistics."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import ModuleType

import numpy as np
import pytest

from finscale.features.registry import REGISTRY, Feature
from finscale.market.bars import OHLCV, FloatArray

Plain = Callable[..., float]

# As many bars as the longest look-back may need.
N_BARS = 255


@dataclass(frozen=True)
class Tail:
    """The last bars of a market: open, high, low, close, volume."""

    op: FloatArray
    hi: FloatArray
    lo: FloatArray
    cl: FloatArray
    vo: FloatArray

    @cached_property
    def r(self) -> FloatArray:
        return np.append(np.nan, np.log(self.cl[1:] / self.cl[:-1]))

    @cached_property
    def gap(self) -> FloatArray:
        return np.append(np.nan, np.log(self.op[1:] / self.cl[:-1]))

    @cached_property
    def body(self) -> FloatArray:
        return np.log(self.cl / self.op)

    @cached_property
    def span(self) -> FloatArray:
        return np.log(self.hi / self.lo)

    @cached_property
    def log_range(self) -> FloatArray:
        return np.log(np.maximum(self.span, 1e-6))

    def until(self, back: int) -> Tail:
        """Return what was known ``back`` bars ago."""
        stop = len(self.cl) - back
        return Tail(*(values[:stop] for values in (self.op, self.hi, self.lo, self.cl, self.vo)))


def tail_of(bars: OHLCV, row: int) -> Tail:
    part = bars.slice(max(row + 1 - N_BARS, 0), row + 1)
    return Tail(part.open, part.high, part.low, part.close, part.volume)


def features_of(*modules: ModuleType) -> list[Feature]:
    names = {module.__name__ for module in modules}
    return [one for one in REGISTRY.values() if inspect.unwrap(_plain(one)).__module__ in names]


def _plain(feature: Feature) -> Callable[..., FloatArray]:
    function = feature.function
    return function.func if isinstance(function, partial) else function


def expected(ideas: Mapping[str, Plain], feature: Feature, tail: Tail) -> float:
    function = feature.function
    periods = function.keywords.values() if isinstance(function, partial) else ()
    return float(ideas[_plain(feature).__name__](tail, *periods))


def assert_agrees_on_markets(ideas: Mapping[str, Plain], feature: Feature, *markets: OHLCV) -> None:
    for market in markets:
        values = feature.function(market)
        for row in [N_BARS - 1, *range(700, len(market), 631)]:
            plain = expected(ideas, feature, tail_of(market, row))
            assert values[row] == pytest.approx(plain, rel=0, abs=1e-9), (row, feature.name)


def assert_agrees_at_the_end(
    ideas: Mapping[str, Plain], features: list[Feature], world: OHLCV
) -> None:
    tail = tail_of(world, len(world) - 1)
    for feature in features:
        found = feature.function(world)[-1]
        assert found == pytest.approx(expected(ideas, feature, tail), rel=0, abs=1e-6), feature.name


def constant(values: FloatArray) -> bool:
    return bool((values == values[0]).all())


def corr(one: FloatArray, other: FloatArray) -> float:
    if constant(one) or constant(other):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def or_else(numerator: float, denominator: float, otherwise: float) -> float:
    return numerator / denominator if denominator else otherwise


def log_sd(variance: float) -> float:
    return math.log(max(math.sqrt(max(variance, 0.0)), 1e-6))


def log_ratio(one: float, other: float) -> float:
    return math.log(max(one, 1e-6)) - math.log(max(other, 1e-6))


def log_volume(one: float, other: float) -> float:
    if one == other:
        return 0.0
    return math.log(1000) if other == 0 else math.log(min(max(one / other, 1e-3), 1e3))


def variance(values: FloatArray) -> float:
    return 0.0 if constant(values) else float(np.var(values))


def ema(values: FloatArray, n: int, n_bars: int = 128) -> float:
    weights = [(1 - 2 / (n + 1)) ** back for back in range(n_bars)]
    return float(np.average(values[-n_bars:][::-1], weights=weights))


def rank(values: FloatArray) -> float:
    others, last = values[:-1], values[-1]
    return float(np.mean((others < last) + 0.5 * (others == last)))


def since_max(values: FloatArray) -> float:
    return int(np.argmax(values[::-1])) / (len(values) - 1)


def place_in_bar(tail: Tail) -> FloatArray:
    pairs = zip(2 * tail.cl - tail.hi - tail.lo, tail.hi - tail.lo, strict=True)
    return np.array([or_else(one, width, 0.0) for one, width in pairs])

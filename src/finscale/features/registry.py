"""What a feature is, and the registry of all of them.

A feature is a causal function of bars: its value at row t uses rows up to and including t. A test
walks the registry and proves it for every entry; there are no exemptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finscale.errors import FeatureError
from finscale.market.bars import OHLCV, FloatArray

FeatureFunction = Callable[[OHLCV], FloatArray]


@dataclass(frozen=True)
class Feature:
    """One named feature.

    Attributes
    ----------
    name
        Unique, lower case with underscores; carries its period in bars.
    family
        ``price``, ``trend``, ``momentum``, ``volatility`` or ``volume``.
    meaning
        One line, with the formula in O, H, L, C, V.
    reference
        Where the definition comes from.
    lookback_bars
        Rows before t that the value at t depends on. For a recursive indicator, whose memory
        never ends, the number after which the forgotten start moves the value by less than 1e-6.
        Values are used from row ``lookback_bars`` on.
    function
        Bars of length T to T float64 values; anything may stand in the first ``lookback_bars``.
    """

    name: str
    family: str
    meaning: str
    reference: str
    lookback_bars: int
    function: FeatureFunction


REGISTRY: dict[str, Feature] = {}


def feature(
    *, family: str, meaning: str, reference: str, lookback_bars: int
) -> Callable[[FeatureFunction], FeatureFunction]:
    """Register the decorated function under its own name.

    Raises
    ------
    FeatureError
        If the name is taken.
    """

    def register(function: FeatureFunction) -> FeatureFunction:
        name = function.__name__
        if name in REGISTRY:
            raise FeatureError(f"feature {name!r} is registered twice; rename one")
        REGISTRY[name] = Feature(name, family, meaning, reference, lookback_bars, function)
        return function

    return register

"""What a feature is, and the registry of all of them.

A feature is a causal function of bars: its value at row t uses rows up to and including t. A test
walks the registry and proves it for every entry; there are no exemptions.
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from finscale.errors import FeatureError
from finscale.market.bars import OHLCV, FloatArray

FeatureFunction = Callable[[OHLCV], FloatArray]


@dataclass(frozen=True)
class Feature:
    """One named feature.

    Attributes
    ----------
    name
        Unique, lower case with underscores; carries its periods in bars.
    family
        ``price``, ``trend``, ``momentum``, ``volatility``, …: the module that defines it.
    meaning
        One line in words.
    formula
        The same in O, H, L, C, V and r (the log return), with its periods in place.
    reference
        Where the definition comes from.
    inputs
        What it reads of the bars: ``open``, ``high``, ``low``, ``close``, ``volume``, ``date``, or
        ``context`` followed by the series.
    lookback_bars
        Rows before t that the value at t depends on. For a recursive indicator, whose memory
        never ends, the number after which the forgotten start moves the value by less than 1e-6.
        Values are used from row ``lookback_bars`` on.
    function
        Bars of length T to T float64 values; anything may stand in the first ``lookback_bars``.
    context
        The context series that it reads, whose first value its look-back is counted from; None
        for a feature of the bars alone.
    """

    name: str
    family: str
    meaning: str
    formula: str
    reference: str
    inputs: tuple[str, ...]
    lookback_bars: int
    function: FeatureFunction
    context: str | None = None


REGISTRY: dict[str, Feature] = {}


def feature(
    *,
    family: str,
    meaning: str,
    formula: str,
    reference: str,
    inputs: Sequence[str],
    lookback_bars: int | Callable[..., int],
    over: Sequence[int | tuple[int, ...]] = (),
) -> Callable[[Callable[..., FloatArray]], Callable[..., FloatArray]]:
    """Register the decorated function: under its own name, or once for each of several periods.

    Parameters
    ----------
    family, meaning, formula, reference, inputs
        See :class:`Feature`. In ``meaning`` and ``formula``, ``{n}`` stands for the value of the
        function's parameter ``n``, and ``{{`` and ``}}`` for braces.
    lookback_bars
        A number, or a function of the same periods as the feature's.
    over
        The periods to register it for. A function ``sma_distance(bars, n)`` over ``(10, 20)``
        becomes ``sma_distance_10`` and ``sma_distance_20``; one of several periods takes a tuple
        of them.

    Raises
    ------
    FeatureError
        If a name is taken or has other letters, a look-back is no whole number from 0 on, or
        braces in ``meaning`` or ``formula`` name no parameter.

    Examples
    --------
    >>> @feature(
    ...     family="momentum",
    ...     meaning="log return over {n} bars",
    ...     formula="ln(C_t / C_{{t-{n}}})",
    ...     reference="Jegadeesh & Titman (1993), J. Finance 48(1)",
    ...     inputs=["close"],
    ...     lookback_bars=lambda n: n,
    ...     over=(7, 8),
    ... )
    ... def example_return(bars: OHLCV, n: int) -> FloatArray: ...
    """

    def register(function: Callable[..., FloatArray]) -> Callable[..., FloatArray]:
        name = function.__name__
        parameters = list(inspect.signature(function).parameters)[1:]
        for periods in [_as_tuple(one) for one in over] or [()]:
            named = dict(zip(parameters, periods, strict=True))
            add(
                Feature(
                    name="_".join([name, *map(str, periods)]),
                    family=family,
                    meaning=_filled("meaning", name, meaning, named),
                    formula=_filled("formula", name, formula, named),
                    reference=reference,
                    inputs=tuple(inputs),
                    lookback_bars=_whole(
                        name,
                        lookback_bars(*periods) if callable(lookback_bars) else lookback_bars,
                    ),
                    function=partial(function, **named) if named else function,
                )
            )
        return function

    return register


def add(one: Feature) -> None:
    """Put a feature into the registry.

    Raises
    ------
    FeatureError
        If its name is taken, or has letters that would be read as something else in a table.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", one.name):
        raise FeatureError(
            f"feature {one.name!r}: write its name in lower case letters, digits and '_', a "
            "letter first"
        )
    if one.name in REGISTRY:
        raise FeatureError(f"feature {one.name!r} is registered twice; rename one")
    REGISTRY[one.name] = one


def _whole(name: str, lookback_bars: object) -> int:
    """Return a look-back as a number of bars."""
    try:
        n_bars = operator.index(lookback_bars)  # type: ignore[arg-type]
    except TypeError:
        n_bars = -1
    if n_bars < 0:
        raise FeatureError(
            f"feature {name!r}, lookback_bars: got {lookback_bars!r}; give a whole number of "
            "bars, 0 or more"
        )
    return n_bars


def _filled(what: str, name: str, text: str, named: Mapping[str, int]) -> str:
    """Return a text with periods in the place of parameter names."""
    try:
        return text.format(**named)
    except (KeyError, IndexError) as error:
        braces = f"{{{error.args[0]}}}" if isinstance(error, KeyError) else "{}"
        raise FeatureError(
            f"feature {name!r}, {what}: {braces} names no parameter; write {{{braces}}}"
        ) from error
    except ValueError as error:
        raise FeatureError(f"feature {name!r}, {what}: {error}; write {{{{ and }}}}") from error


def _as_tuple(periods: int | tuple[int, ...]) -> tuple[int, ...]:
    return (periods,) if isinstance(periods, int) else periods

"""What context features are made of: features of any series, and their arithmetic."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finscale.features.rolling import (
    LEAST_MOVE,
    lagged_log_ratio,
    ratio_or,
    rolling_cov,
    rolling_mean,
    rolling_std,
    rolling_var,
)
from finscale.market.bars import FloatArray

TemplateFunction = Callable[..., FloatArray]


@dataclass(frozen=True)
class Template:
    """A feature of any series: what :class:`Feature` says, without the series' name.

    Attributes
    ----------
    name
        What follows the series' name, periods included.
    meaning
        ``{series}`` stands for the series' name.
    inputs
        What it reads of the bars beside the series.
    function
        Of the bars, the T values of the series without a gap, and the periods.
    periods
        Name of each period to its value.
    """

    name: str
    meaning: str
    formula: str
    reference: str
    inputs: tuple[str, ...]
    lookback_bars: int
    function: TemplateFunction
    periods: Mapping[str, int]


def collect(
    templates: list[Template],
    *,
    meaning: str,
    formula: str,
    reference: str,
    inputs: Sequence[str] = (),
    lookback_bars: int | Callable[..., int],
    over: Sequence[int | tuple[int, ...]] = (),
) -> Callable[[TemplateFunction], TemplateFunction]:
    """Append the decorated function of bars, series and periods, once for each of ``over``.

    The parameters are those of :func:`finscale.features.registry.feature`; ``{series}`` in
    ``meaning`` is the series' name.
    """

    def register(function: TemplateFunction) -> TemplateFunction:
        parameters = list(inspect.signature(function).parameters)[2:]
        for one in over or [()]:
            periods = (one,) if isinstance(one, int) else one
            named = dict(zip(parameters, periods, strict=True))
            templates.append(
                Template(
                    name="_".join([function.__name__, *map(str, periods)]),
                    meaning=meaning.format(series="{series}", **named),
                    formula=formula.format(**named),
                    reference=reference,
                    inputs=tuple(inputs),
                    lookback_bars=(
                        lookback_bars if isinstance(lookback_bars, int) else lookback_bars(*periods)
                    ),
                    function=function,
                    periods=named,
                )
            )
        return function

    return register


def log_change(values: FloatArray, n: int = 1) -> FloatArray:
    """Return the log change over n bars."""
    return lagged_log_ratio(values, values, n)


def mean_square(returns: FloatArray, n: int) -> FloatArray:
    """Return the variance per bar around zero, with a floor."""
    return np.maximum(rolling_mean(returns**2, n), LEAST_MOVE**2)


def standardized(values: FloatArray, n: int) -> FloatArray:
    """Return the distance from the mean in standard deviations; zero where nothing moved."""
    return ratio_or(values - rolling_mean(values, n), rolling_std(values, n), 0.0)


def slope_on(one: FloatArray, other: FloatArray, n: int) -> FloatArray:
    """Return the slope of ``one`` on ``other``; zero where the other did not move."""
    return ratio_or(rolling_cov(one, other, n), rolling_var(other, n), 0.0)

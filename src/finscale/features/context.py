"""Context: features of another market's series beside the bars, such as the VIX or an index.

They are made for a series by name rather than registered once: ``context_features("vix",
"volatility_index")`` are ``vix_log_level``, ``vix_change_1`` and so on. In the formulas X is the
series as of each bar's close and x its log change over one bar.

The series may begin later than the bars. A value depends on rows from its first one on and on none
before it, so that look-backs count from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from finscale.errors import FeatureError
from finscale.features import context_price, context_volatility
from finscale.features.context_template import Template, TemplateFunction
from finscale.features.registry import Feature
from finscale.market.bars import OHLCV, FloatArray

ContextKind = Literal["volatility_index", "price"]

_TEMPLATES: Mapping[str, Sequence[Template]] = {
    "volatility_index": context_volatility.TEMPLATES,
    "price": context_price.TEMPLATES,
}


def context_features(series: str, kind: ContextKind) -> tuple[Feature, ...]:
    """Return the features that a context series has.

    Parameters
    ----------
    series
        Its name in :attr:`OHLCV.context`, which the features' names begin with.
    kind
        ``"volatility_index"``: an implied volatility in percent per year, such as the VIX;
        ``"price"``: a price or index level, of which only relative changes count.

    Returns
    -------
    tuple of Feature
        Invariant to the units of the bars' prices, and for ``"price"`` to those of the series.

    Raises
    ------
    FeatureError
        If there is no such kind.
    """
    if kind not in _TEMPLATES:
        raise FeatureError(
            f"context {series}: unknown kind {kind!r}; choose one of {', '.join(_TEMPLATES)}"
        )
    return tuple(
        Feature(
            name=f"{series}_{one.name}",
            family="context",
            meaning=one.meaning.format(series=series),
            formula=one.formula,
            reference=one.reference,
            inputs=(*one.inputs, f"context {series}"),
            lookback_bars=one.lookback_bars,
            function=partial(
                _from_first_value, series=series, function=one.function, periods=one.periods
            ),
            context=series,
        )
        for one in _TEMPLATES[kind]
    )


def first_value_row(bars: OHLCV, series: str) -> int:
    """Return the row at which a context series begins; the number of bars if it does not.

    Raises
    ------
    FeatureError
        If the bars do not have the series.
    """
    if series not in bars.context:
        raise FeatureError(
            f"no context series {series!r} beside the bars (there are: "
            f"{', '.join(bars.context) or 'none'}); join it to them, or choose other features"
        )
    known = np.isfinite(bars.context[series])
    return int(np.argmax(known)) if known.any() else len(bars)


def _from_first_value(
    bars: OHLCV, *, series: str, function: TemplateFunction, periods: Mapping[str, int]
) -> FloatArray:
    """Compute on the rows that have the series; NaN before."""
    first = first_value_row(bars, series)
    values = np.full(len(bars), np.nan)
    if first < len(bars):
        part = bars.slice(first, len(bars))
        values[first:] = function(part, part.context[series], **periods)
    return values

"""Is a feature what it says it is? The checks of the test suite, for any feature on any bars.

They prove by trying: a look-ahead at a row that was not tried is not found. Every check at a row
compares all values up to it, so that a few rows find what is not rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from finscale.errors import FeatureError
from finscale.features.build import feature_values, first_usable_row
from finscale.features.causality import find_look_ahead
from finscale.features.registry import Feature
from finscale.market.bars import OHLCV, PRICES, FloatArray

# How far values may be from those of full history, the same as for the built-in features.
TOLERANCE = 1e-6

# A value is looked at with this many look-backs before it, and these rows at least.
_N_LOOKBACKS = 3
_PAST_BARS = 800
_FUTURE_BARS = 250
# A power of two changes no last bit: what differs is no tie that rounding broke.
_OTHER_UNIT = 8


def prove(
    feature: Feature, bars: OHLCV, rows: Sequence[int], rng: np.random.Generator
) -> list[str]:
    """Look for what a feature must not do.

    - Looking ahead: values up to a row change when the bars after it are cut off or replaced
      (:func:`finscale.features.causality.find_look_ahead`). The first of the rows is tried on the
      whole history; the others, to save time, on the bars around them: what lies before the
      look-back has no influence (the last check), and 250 bars of future are replaced.
    - Chance: the same bars give other values.
    - A value that is not finite where the look-back is there.
    - A value that the look-back does not suffice for: computed from ``lookback_bars + 1`` bars
      alone, it is not that of full history to ``TOLERANCE``, absolute below 1 and relative above.

    Parameters
    ----------
    bars
        T valid bars, with the context series that the feature reads.
    rows
        Where to try, in [0, T). Take the first, the last but one and some between, and one of
        these at the start.
    rng
        Draws other futures.

    Returns
    -------
    list of str
        One line per kind of problem, with sessions and values; empty if none was found.
    """
    checked = replace(feature, function=partial(feature_values, feature))
    try:
        first = first_usable_row(feature, bars)
        values = checked.function(bars)
        if first >= len(bars):
            needs = f"feature {feature.name} needs {first} bars before its first value"
            return [f"{needs}, and there are {len(bars)}; give a longer history"]
        found = (
            _find_chance(checked, bars, values),
            _find_look_ahead(checked, bars, rows, rng),
            _find_not_finite(feature, bars, values, first),
            _find_longer_memory(checked, bars, values, [row for row in rows if row >= first]),
        )
    except FeatureError as error:
        return [str(error)]
    return [one for one in found if one is not None]


def rows_to_try(n_bars: int, n_rows: int, rng: np.random.Generator) -> list[int]:
    """Return rows for :func:`prove`: one in the middle, the first, the last but one, and others."""
    fixed = list(dict.fromkeys([n_bars // 2, 0, max(n_bars - 2, 0)]))
    others = np.setdiff1d(np.arange(n_bars), fixed)
    n_others = min(max(n_rows - len(fixed), 0), len(others))
    return [*fixed, *map(int, rng.choice(others, n_others, replace=False))]


def find_price_unit(feature: Feature, bars: OHLCV) -> str | None:
    """Look for an influence of the unit in which prices are quoted.

    Not an error in itself, but a price level drifts out of the range that a model was trained on.
    """
    prices = {name: getattr(bars, name) * _OTHER_UNIT for name in PRICES}
    try:
        first = first_usable_row(feature, bars)
        one = feature_values(feature, bars)[first:]
        other = feature_values(feature, replace(bars, **prices))[first:]
    except FeatureError as error:
        return str(error)
    far = np.flatnonzero(_distance(one, other) > TOLERANCE)
    if not len(far):
        return None
    row = int(far[0])
    return (
        f"feature {feature.name} depends on the unit of the price: on {bars.date[first + row]} it "
        f"goes from {one[row]:.6g} to {other[row]:.6g} when all prices are multiplied by "
        f"{_OTHER_UNIT}; use ratios or log returns"
    )


def _find_chance(feature: Feature, bars: OHLCV, values: FloatArray) -> str | None:
    again = feature.function(bars)
    different = np.flatnonzero(~((values == again) | (np.isnan(values) & np.isnan(again))))
    if not len(different):
        return None
    row = int(different[0])
    return (
        f"feature {feature.name} is not the same twice: its value on {bars.date[row]} goes from "
        f"{values[row]:.6g} to {again[row]:.6g} on the same bars; leave the bars as they are, and "
        "nothing to chance"
    )


def _find_look_ahead(
    feature: Feature, bars: OHLCV, rows: Sequence[int], rng: np.random.Generator
) -> str | None:
    n_past = max(_N_LOOKBACKS * feature.lookback_bars, _PAST_BARS)
    for number, row in enumerate(rows):
        start = max(0, row + 1 - n_past) if number else 0
        stop = row + 1 + _FUTURE_BARS if number else len(bars)
        found = find_look_ahead(feature, bars.slice(start, stop), row - start, rng)
        if found is not None:
            return found
    return None


def _find_not_finite(feature: Feature, bars: OHLCV, values: FloatArray, first: int) -> str | None:
    bad = first + np.flatnonzero(~np.isfinite(values[first:]))
    if not len(bad):
        return None
    return (
        f"feature {feature.name} is {values[bad[0]]:.6g} on {bars.date[bad[0]]} ({len(bad)} rows "
        f"in all), with {bad[0]} bars before it and a look-back of {feature.lookback_bars}; give "
        "every division and logarithm an answer at zero, or state a longer look-back"
    )


def _find_longer_memory(
    feature: Feature, bars: OHLCV, values: FloatArray, rows: Sequence[int]
) -> str | None:
    for row in rows:
        part = bars.slice(row - feature.lookback_bars, row + 1)
        alone = feature.function(part)[-1:]
        # One that is not finite with all of history has been reported as such.
        if np.isfinite(values[row]) and not _distance(values[row : row + 1], alone)[0] <= TOLERANCE:
            return (
                f"feature {feature.name} remembers more than its look-back of "
                f"{feature.lookback_bars} bars: its value on {bars.date[row]} goes from "
                f"{values[row]:.6g} to {alone[0]:.6g} when the bars before {part.date[0]} are cut "
                "off; state a longer look-back"
            )
    return None


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the distance of values, relative for those above 1; NaN where either is not finite."""
    both = np.isfinite(one) & np.isfinite(other)
    result = np.full(len(one), np.nan)
    size = np.maximum(1, np.abs(one[both]))
    result[both] = np.abs(one[both] - other[both]) / size
    return result

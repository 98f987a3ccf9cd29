"""Is a feature what it says it is? The checks of the test suite, for any feature on any bars.

The value of every row is computed once more from its own look-back window alone: one that needs
more, of the future or of the past, is found wherever it stands. Changing the future at some rows
adds what that cannot see, a difference below its tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from finscale.errors import FeatureError
from finscale.features.build import feature_values, first_usable_row
from finscale.features.causality import find_look_ahead, same_bits
from finscale.features.modules import execute_anew
from finscale.features.registry import Feature
from finscale.features.tiers import TIERS
from finscale.market.bars import OHLCV, PRICES, FloatArray
from finscale.seeds import derive_seed

# How far values may be from those of full history, the same as for the built-in features.
TOLERANCE = 1e-6

# A value is looked at with this many look-backs before it, and these rows at least.
_N_LOOKBACKS = 3
# Rows at which the future of a study's own feature is changed; finscale features check tries more.
_N_ROWS_OF_A_STUDY = 10
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
    - Keeping what it has seen: a file of one's own that is executed anew, and sees the bars up to
      one of the rows and none after it, gives other values than on all bars. Its module may have
      kept a mean, or a table of what follows each date, from the first time it saw all bars, and
      then cutting them off changes nothing. Left out if it looks ahead as above.
    - Chance: the same bars give other values.
    - A value that is not finite where the look-back is there.
    - A value that needs more than its look-back: at any row of all, what is computed from
      ``lookback_bars + 1`` bars alone is not what full history gives, to ``TOLERANCE``, absolute
      below 1 and relative above. It looks ahead if the bars after the row are what it needs, and
      otherwise remembers too much. A feature takes some 0.1 s for it on 5,000 bars. Left out if
      it looks ahead as above.
    - Reading what it does not declare: values change where only fields that are not among its
      ``inputs`` do.

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
        ahead = _find_look_ahead(checked, bars, rows, rng)
        found = (
            _find_chance(checked, bars, values),
            ahead,
            None if ahead else _find_kept(feature, bars, values, rows),
            _find_not_finite(feature, bars, values, first),
            None if ahead else _find_wider_window(checked, bars, values, first),
            _find_undeclared(checked, bars, values, rng),
        )
    except FeatureError as error:
        return [str(error)]
    return [one for one in found if one is not None]


def require_causal(feature: Feature, bars: OHLCV, seed: int) -> None:
    """Refuse a feature of the user's own that :func:`prove` finds a problem with.

    Parameters
    ----------
    bars
        T valid bars, with the context series that the feature reads.
    seed
        Of the study; the rows whose future is changed, and the other futures, derive from it.

    Raises
    ------
    FeatureError
        What was found first.
    """
    rng = np.random.default_rng(derive_seed(seed, "proof", feature.name))
    problems = prove(feature, bars, rows_to_try(len(bars), _N_ROWS_OF_A_STUDY, rng), rng)
    if problems:
        raise FeatureError(problems[0])


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


def find_unused(feature: Feature, bars: OHLCV, rng: np.random.Generator) -> str | None:
    """Look for declared inputs that no value follows.

    Not an error in itself: what counts only now and then may not have happened on these bars. But
    a feature that follows none of the fields of its bars has its values from elsewhere.
    """
    others = _other_fields(bars, rng)
    try:
        values = feature_values(feature, bars)
        unused = [
            name
            for name in feature.inputs
            if name in others
            and np.array_equal(
                feature_values(feature, replace(bars, **{name: others[name]})),
                values,
                equal_nan=True,
            )
        ]
    except FeatureError as error:
        return str(error)
    if not unused:
        return None
    return (
        f"feature {feature.name} declares {', '.join(unused)}, and no value follows "
        f"{'it' if len(unused) == 1 else 'them'} on these bars; leave out what it does not read, "
        "and let it read nothing but its bars"
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


def _find_kept(
    feature: Feature, bars: OHLCV, values: FloatArray, rows: Sequence[int]
) -> str | None:
    anew = execute_anew(feature)
    if anew is None:
        return None
    # From short to long: what the module keeps on the way is then never of later bars.
    for row in sorted(rows):
        seen = feature_values(anew, bars.head(row + 1))
        different = np.flatnonzero(~same_bits(values[: row + 1], seen))
        if len(different):
            first = int(different[0])
            return (
                f"feature {feature.name} keeps what it has seen: its value on {bars.date[first]} "
                f"goes from {values[first]:.6g} to {seen[first]:.6g} when its file is executed "
                f"anew and sees no bar after {bars.date[row]}; compute it from the bars of each "
                "call alone"
            )
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


def _find_wider_window(feature: Feature, bars: OHLCV, values: FloatArray, first: int) -> str | None:
    """Compute every row from its look-back window alone; report the first that needs more."""
    for row in range(first, len(bars)):
        begin = row - feature.lookback_bars
        alone = feature.function(bars.slice(begin, row + 1))[-1]
        # One that is not finite with all of history has been reported as such.
        if _is_near(alone, values[row]) or not np.isfinite(values[row]):
            continue
        known = feature.function(bars.head(row + 1))[-1]
        if not _is_near(known, values[row]):
            return (
                f"feature {feature.name} looks ahead: its value on {bars.date[row]} goes from "
                f"{values[row]:.6g} to {known:.6g} when the bars after {bars.date[row]} are cut "
                "off; use rows up to t only"
            )
        return (
            f"feature {feature.name} remembers more than its look-back of {feature.lookback_bars} "
            f"bars: its value on {bars.date[row]} goes from {values[row]:.6g} to {alone:.6g} when "
            f"the bars before {bars.date[begin]} are cut off; {_longer_memory_fix(feature)}"
        )
    return None


def _longer_memory_fix(feature: Feature) -> str:
    """Say what can be done about a memory that is longer than the look-back."""
    if not any(feature.name in names for names in TIERS.values()):
        return "state a longer look-back"
    return (
        "on bars as volatile as these an average fades later than its look-back says: do without "
        "the feature, or take it as it is"
    )


def _find_undeclared(
    feature: Feature, bars: OHLCV, values: FloatArray, rng: np.random.Generator
) -> str | None:
    """Change all that is not declared at once; if a value follows, find which field it was."""
    others = {
        name: other
        for name, other in _other_fields(bars, rng).items()
        if name not in feature.inputs
    }

    def matters(*names: str) -> bool:
        other = replace(bars, **{name: others[name] for name in names})
        return not np.array_equal(feature.function(other), values, equal_nan=True)

    if not others or not matters(*others):
        return None
    read = [name for name in others if matters(name)] or list(others)
    return (
        f"feature {feature.name} reads {' and '.join(read)}, and its inputs are "
        f"{', '.join(feature.inputs) or 'none'}; name there all that it reads"
    )


def _other_fields(bars: OHLCV, rng: np.random.Generator) -> dict[str, Any]:
    """Return another series for every field; bars stay valid whichever of them are taken."""
    n_bars = len(bars)
    within = {name: rng.random(n_bars) for name in ("open", "close")}
    return {
        **{name: bars.low + share * (bars.high - bars.low) for name, share in within.items()},
        "high": bars.high * rng.uniform(1.0, 1.1, n_bars),
        "low": bars.low * rng.uniform(0.9, 1.0, n_bars),
        "volume": bars.volume * rng.uniform(0.5, 2.0, n_bars) + 1.0,
        "date": bars.date + np.cumsum(rng.integers(1, 4, n_bars)).astype("timedelta64[D]"),
    }


def _is_near(one: float, other: float) -> bool:
    if not (np.isfinite(one) and np.isfinite(other)):
        return False
    return bool(abs(one - other) <= TOLERANCE * max(1.0, abs(other)))


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the distance of values, relative for those above 1; NaN where either is not finite."""
    both = np.isfinite(one) & np.isfinite(other)
    result = np.full(len(one), np.nan)
    size = np.maximum(1, np.abs(one[both]))
    result[both] = np.abs(one[both] - other[both]) / size
    return result

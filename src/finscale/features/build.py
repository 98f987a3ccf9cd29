"""From bars to the feature matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finscale.errors import FeatureError
from finscale.features.context import first_value_row
from finscale.features.registry import Feature
from finscale.files import hash_bytes
from finscale.market.bars import OHLCV, FloatArray


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of one symbol, row by row.

    Attributes
    ----------
    values
        float32, T × F; rows before ``first_row`` are NaN and never used.
    names, families
        One of each per column.
    date
        Session of each row.
    first_row
        First row at which every feature has its full look-back.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    families: tuple[str, ...]
    date: NDArray[np.datetime64]
    first_row: int

    def content_hash(self) -> str:
        """Return a SHA-256 over names, dates and values."""
        parts = [
            ",".join(self.names).encode(),
            self.date.astype("<i8").tobytes(),
            np.ascontiguousarray(self.values, dtype="<f4").tobytes(),
        ]
        return hash_bytes(b"\0".join(parts))


def build_features(bars: OHLCV, features: tuple[Feature, ...]) -> FeatureMatrix:
    """Compute ``features`` on ``bars``.

    Raises
    ------
    FeatureError
        If there are too few bars for the longest look-back, a context series is not there, or a
        feature fails, or is not finite where it should be; the message names the feature and the
        session.
    """
    first_row = _first_row_of_all(bars, features)
    values = np.full((len(bars), len(features)), np.nan, dtype=np.float32)
    for column, one in enumerate(features):
        computed = feature_values(one, bars)
        bad = np.flatnonzero(~np.isfinite(computed[first_row:]))
        if len(bad):
            session = bars.date[first_row + bad[0]]
            raise FeatureError(
                f"feature {one.name} is not finite on {session} ({len(bad)} rows in all); "
                f"check the bars before that session ({one.meaning})"
            )
        values[first_row:, column] = computed[first_row:]
    return FeatureMatrix(
        values=values,
        names=tuple(one.name for one in features),
        families=tuple(one.family for one in features),
        date=bars.date,
        first_row=first_row,
    )


def first_usable_row(feature: Feature, bars: OHLCV) -> int:
    """Return the first row with the whole look-back: of bars and, if it reads one, of the series.

    It may lie beyond the last bar.

    Raises
    ------
    FeatureError
        If the feature reads a context series that the bars do not have.
    """
    if feature.context is None:
        return feature.lookback_bars
    try:
        return first_value_row(bars, feature.context) + feature.lookback_bars
    except FeatureError as error:
        raise FeatureError(f"feature {feature.name}: {error}") from error


def feature_values(feature: Feature, bars: OHLCV) -> FloatArray:
    """Compute one feature.

    Returns
    -------
    FloatArray
        One float64 value per bar.

    Raises
    ------
    FeatureError
        If the function raises, or gives anything else.
    """
    try:
        # What is not finite is refused where it counts, and before the look-back nothing does.
        with np.errstate(all="ignore"):
            values = np.asarray(feature.function(bars), dtype=np.float64)
    except FeatureError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        raise FeatureError(
            f"feature {feature.name} fails on {len(bars)} bars from {bars.date[0]}: {reason}; "
            "correct its function"
        ) from error
    if values.shape != (len(bars),):
        raise FeatureError(
            f"feature {feature.name} returns shape {values.shape} for {len(bars)} bars; "
            "return one value per bar"
        )
    return values


def _first_row_of_all(bars: OHLCV, features: tuple[Feature, ...]) -> int:
    """Return the first row at which every feature is usable."""
    slowest = max(features, key=lambda one: first_usable_row(one, bars))
    first_row = first_usable_row(slowest, bars)
    if len(bars) > first_row:
        return first_row
    needed = f"{slowest.name} needs {slowest.lookback_bars}"
    series = slowest.context
    if series is not None and first_row > slowest.lookback_bars:
        begin = first_row - slowest.lookback_bars
        since = f"on {bars.date[begin]}" if begin < len(bars) else f"after {bars.date[-1]}"
        raise FeatureError(
            f"{len(bars)} bars are too few: {needed} after {series} begins {since}; "
            "give a longer series, later bars, or choose other features"
        )
    raise FeatureError(
        f"{len(bars)} bars are too few: {needed} before the first usable row; give a longer history"
    )

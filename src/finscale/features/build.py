"""From bars to the feature matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finscale.errors import FeatureError
from finscale.features.registry import Feature
from finscale.files import hash_bytes
from finscale.market.bars import OHLCV


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
        If there are too few bars for the longest look-back, or a feature is not finite where it
        should be; the message names the feature and the session.
    """
    slowest = max(features, key=lambda one: one.lookback_bars)
    first_row = slowest.lookback_bars
    if len(bars) <= first_row:
        raise FeatureError(
            f"{len(bars)} bars are too few: {slowest.name} needs {first_row} before the first "
            "usable row; give a longer history"
        )
    values = np.full((len(bars), len(features)), np.nan, dtype=np.float32)
    for column, one in enumerate(features):
        computed = one.function(bars)
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

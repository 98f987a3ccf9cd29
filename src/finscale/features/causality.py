"""Does a feature look ahead? The one check, for the registry and for features of one's own.

A feature is causal when its values up to and including row t stay the same, to the bit, whatever
becomes of the rows after t: whether they are taken away or replaced by another future.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finscale.features.build import feature_values
from finscale.features.registry import Feature
from finscale.market.bars import OHLCV, FloatArray


def find_look_ahead(
    feature: Feature, bars: OHLCV, row: int, rng: np.random.Generator
) -> str | None:
    """Look for an influence of the rows after ``row`` on a feature's values up to it.

    One row proves nothing about the others: call it at several, and let the first and the last
    but one be among them.

    Parameters
    ----------
    bars
        T valid bars.
    row
        t, with 0 <= t < T. At t = T - 1 there is no future, and nothing can be found.
    rng
        Draws the other future.

    Returns
    -------
    str or None
        What was found, on one line naming the feature, both sessions and both values; None if
        nothing was.

    Raises
    ------
    FeatureError
        If the feature does not give one value per bar.
    """
    known = feature_values(feature, bars)[: row + 1]
    others = {"are cut off": bars.head(row + 1), "change": with_other_future(bars, row, rng)}
    for event, other in others.items():
        seen = feature_values(feature, other)[: row + 1]
        different = np.flatnonzero(~same_bits(known, seen))
        if len(different):
            first = int(different[0])
            return (
                f"feature {feature.name} looks ahead: its value on {bars.date[first]} goes from "
                f"{known[first]:.6g} to {seen[first]:.6g} when the bars after {bars.date[row]} "
                f"{event}; use rows up to t only"
            )
    return None


def with_other_future(bars: OHLCV, row: int, rng: np.random.Generator) -> OHLCV:
    """Return bars that are the same up to and including ``row`` and differ in every field after it.

    The other future is valid and lively: the price jumps by a factor between 2 and 5, up or down,
    then moves by some 10% a session; no volume and no date stays what it was.
    """
    kept = bars.head(row + 1)
    n_rows = len(bars) - row - 1
    jump = rng.choice([-1.0, 1.0]) * rng.uniform(np.log(2), np.log(5))
    close = bars.close[row] * np.exp(jump + np.cumsum(rng.normal(0.0, 0.1, n_rows)))
    opened = close * np.exp(rng.normal(0.0, 0.05, n_rows))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.05, n_rows)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.05, n_rows)))
    # Later than in the original by a growing number of days, so that the order is kept.
    date = bars.date[row + 1 :] + np.cumsum(rng.integers(1, 4, n_rows)).astype("timedelta64[D]")
    return OHLCV(
        date=np.concatenate([kept.date, date]),
        open=np.concatenate([kept.open, opened]),
        high=np.concatenate([kept.high, high]),
        low=np.concatenate([kept.low, low]),
        close=np.concatenate([kept.close, close]),
        volume=np.concatenate(
            [kept.volume, bars.volume[row + 1 :] * rng.uniform(2.0, 5.0, n_rows) + 1.0]
        ),
        context={
            name: np.concatenate([values[: row + 1], values[row + 1 :] * rng.uniform(2, 5, n_rows)])
            for name, values in bars.context.items()
        },
    )


def same_bits(one: FloatArray, other: FloatArray) -> NDArray[np.bool_]:
    """Compare bit by bit; NaN equals NaN whatever its payload, and 0.0 is not -0.0."""
    same: NDArray[np.bool_] = one.view(np.uint64) == other.view(np.uint64)
    return same | (np.isnan(one) & np.isnan(other))

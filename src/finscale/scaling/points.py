"""The points a law is fitted to: one per budget, its seeds averaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError

FloatArray = npt.NDArray[np.float64]

MIN_SPAN_FOR_A_LAW = 10.0
"""Ratio of largest to smallest size below which a trend is not called a law: one decade."""


@dataclass(frozen=True)
class Point:
    """The final runs of one budget: the independent unit of a scaling law.

    The runs of a budget share one searched recipe and differ in the seed alone, so they are
    averaged before anything is fitted.

    Attributes
    ----------
    budget : str
        Name of the budget, unique among the points.
    n_parameters : int
        Built parameter count of its model, not the budget's label.
    losses : tuple of float
        One loss per seed.
    """

    budget: str
    n_parameters: int
    losses: tuple[float, ...]

    @property
    def mean_loss(self) -> float:
        """Loss averaged over seeds."""
        return float(np.mean(self.losses))


def check_points(n: npt.ArrayLike, loss: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return sizes and losses as float64 arrays of shape (P,), refused unless they are such.

    Raises
    ------
    FitError
        If they are empty, of different lengths, or not positive and finite.
    """
    sizes_P, loss_P = np.asarray(n, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    if sizes_P.ndim != 1 or sizes_P.shape != loss_P.shape or sizes_P.size == 0:
        raise FitError(
            f"sizes and losses must be two non-empty lists of equal length, "
            f"got shapes {sizes_P.shape} and {loss_P.shape}"
        )
    for name, values_P in (("size", sizes_P), ("loss", loss_P)):
        bad = ~(np.isfinite(values_P) & (values_P > 0.0))
        if bad.any():
            point = int(np.argmax(bad))
            raise FitError(
                f"{name} {values_P[point]} of point {point} must be positive and finite; "
                f"leave that budget out or measure it again"
            )
    return sizes_P, loss_P


def sorted_points(points: Sequence[Point]) -> list[Point]:
    """Return the points by ascending size, refused unless all of them can be used.

    Raises
    ------
    FitError
        If there are none, a budget appears twice or has no loss, or a size or loss is not positive
        and finite.
    """
    if not points:
        raise FitError("no budget has a final run yet; nothing to judge")
    budget, copies = Counter(point.budget for point in points).most_common(1)[0]
    if copies > 1:
        raise FitError(
            f"budget {budget} appears {copies} times; give its seeds as the losses of one point"
        )
    for point in points:
        if not point.losses:
            raise FitError(f"budget {point.budget} has no loss; leave it out or train it")
        # Every seed is checked: the mean of a good and an impossible loss can look fine.
        bad = [x for x in (point.n_parameters, *point.losses) if not (isfinite(x) and x > 0)]
        if bad:
            raise FitError(
                f"budget {point.budget}: size and losses must be positive and finite, got "
                f"{bad[0]}; leave that run out or repeat it"
            )
    return sorted(points, key=lambda point: point.n_parameters)


def mean_by_size(size_P: FloatArray, value_P: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return distinct sizes, ascending, and the mean of the values of each.

    Measurements of one size share whatever is peculiar to it, and are no independent ones of what
    size does.
    """
    distinct_G, group_P = np.unique(size_P, return_inverse=True)
    return distinct_G, np.bincount(group_P, weights=value_P) / np.bincount(group_P)

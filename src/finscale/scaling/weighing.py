"""What points say of loss against any one axis: laws of it weighed against a constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.scaling.fit import Comparison, compare_laws
from finscale.scaling.laws import Constant, PowerLaw, PowerLawWithFloor
from finscale.scaling.line import Line, fit_line
from finscale.scaling.points import mean_by_size
from finscale.scaling.uncertainty import Interval, Kind, LawIntervals, bootstrap_law, direction


@dataclass(frozen=True)
class Weighed:
    """What points say of loss against any one axis; see `weigh`.

    Attributes
    ----------
    comparison : Comparison
        The fits and the AICc table.
    intervals : tuple of LawIntervals
        For the power laws; empty with too few points.
    line : Line or None
        The straight line in the logarithm of the axis; None with too few points.
    """

    comparison: Comparison
    intervals: tuple[LawIntervals, ...]
    line: Line | None

    @property
    def kind(self) -> Kind:
        """Which way the loss goes; "too_few_points" if that cannot be said."""
        if self.delta_aicc is None or self.change is None:
            return "too_few_points"
        return direction(self.delta_aicc, self.change)

    @property
    def delta_aicc(self) -> float | None:
        """AICc of the constant less that of the best of power laws and line."""
        if self.line is None:
            return None
        return self.line.delta_aicc if self.prefers_line else self._gain_of_power_laws()

    @property
    def prefers_line(self) -> bool:
        """Whether AICc prefers the straight line to both power laws."""
        gain = None if self.line is None else self.line.delta_aicc
        return gain is not None and gain > self._gain_of_power_laws()

    @property
    def change(self) -> Interval | None:
        """Loss at the largest size less that at the smallest, under what AICc prefers."""
        if self.line is None:
            return None
        return self.line.change if self.prefers_line else self.intervals[-1].loss_difference

    def _gain_of_power_laws(self) -> float:
        aicc_of = {fit.law: fit.aicc for fit in self.comparison.fits if fit.aicc is not None}
        return aicc_of[Constant] - min(aicc_of[PowerLaw], aicc_of[PowerLawWithFloor])


def weigh(
    sizes: npt.ArrayLike,
    losses: npt.ArrayLike,
    *,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Weighed:
    """Weigh power laws and a straight line against a constant.

    Measurements of one size are averaged first: they share whatever is peculiar to that size.

    Parameters
    ----------
    sizes, losses : array_like
        Values on the axis and losses, shape (P,), positive.
    n_bootstrap, confidence, seed
        See `finscale.scaling.verdict.judge`.

    Raises
    ------
    FitError
        If the points are not positive finite numbers.
    """
    size_P, loss_P = np.asarray(sizes, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if size_P.shape == loss_P.shape and size_P.ndim == 1:  # else it is for the fit to refuse
        size_P, loss_P = mean_by_size(size_P, loss_P)
    comparison = compare_laws(size_P, loss_P)
    if size_P.size < comparison.n_points_needed:
        return Weighed(comparison, (), None)
    intervals = tuple(
        bootstrap_law(
            comparison.fit_of(law),
            size_P,
            n_samples=n_bootstrap,
            confidence=confidence,
            seed=seed,
        )
        for law in (PowerLaw, PowerLawWithFloor)
    )
    return Weighed(comparison, intervals, fit_line(x=size_P, y=loss_P, confidence=confidence))

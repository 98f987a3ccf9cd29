"""Least-squares fits of the laws, and their comparison by AICc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from finscale.errors import FitError
from finscale.scaling.laws import Constant, Law, PowerLaw, PowerLawWithFloor
from finscale.scaling.points import check_points
from finscale.scaling.projection import (
    ALPHA_GRID_G,
    FloatArray,
    at_alpha_bound,
    best_on_grid,
    bracket,
    centred_log,
    project,
)

MIN_DELTA_AICC = 2.0
"""AICc by which a law must beat a simpler one (Burnham and Anderson 2002, section 2.6)."""

_LAWS = (Constant, PowerLaw, PowerLawWithFloor)


@dataclass(frozen=True)
class LawFit:
    """A law fitted by least squares.

    Attributes
    ----------
    law : Law
        What was fitted.
    parameters : dict
        Values of the law's parameters, for N in plain parameter counts.
    rss : float
        Residual sum of squares.
    sigma : float or None
        Residual standard deviation sqrt(rss / (n_points - free parameters of the mean)); None
        where no degree of freedom is left.
    n_points : int
        Points fitted.
    aicc : float or None
        See `aicc`; None where undefined.
    converged : bool
        Whether the optimum is a zero of the gradient or a bound that the gradient points out of.
        False also where the loss is exactly flat, because no exponent is then better than another.
    at_bound : tuple of str
        Parameters that lie on a bound: "alpha" at 0.01 or 3, "E" at 0.
    """

    law: Law
    parameters: dict[str, float]
    rss: float
    sigma: float | None
    n_points: int
    aicc: float | None
    converged: bool
    at_bound: tuple[str, ...]

    def predict(self, n: npt.ArrayLike) -> FloatArray:
        """Loss under the fitted law at parameter counts ``n``."""
        return self.law.predict(self.parameters, n)

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return {
            "law": self.law.name,
            "formula": self.law.formula,
            "parameters": dict(self.parameters),
            "rss": self.rss,
            "sigma": self.sigma,
            "n_points": self.n_points,
            "aicc": self.aicc,
            "converged": self.converged,
            "at_bound": list(self.at_bound),
        }


@dataclass(frozen=True)
class Comparison:
    """Laws fitted to the same points, compared by AICc.

    Attributes
    ----------
    fits : tuple of LawFit
        One per law that the points can determine, in the order given.
    unfitted : tuple of str
        Names of the laws with more parameters than there are distinct sizes.
    delta_aicc : dict
        AICc of each law above the lowest; None for every law while ``chosen`` is None.
    chosen : str or None
        Law with the lowest AICc. None while AICc is undefined for any of the laws: leaving that
        law out would decide the comparison before it is made.
    n_points, n_points_needed : int
        Points at hand, and points needed for AICc of every law.
    """

    fits: tuple[LawFit, ...]
    unfitted: tuple[str, ...]
    delta_aicc: dict[str, float | None]
    chosen: str | None
    n_points: int
    n_points_needed: int

    def fit_of(self, law: Law) -> LawFit:
        """Return the fit of one of the laws.

        Raises
        ------
        KeyError
            If the law was not compared, or could not be fitted.
        """
        for fit in self.fits:
            if fit.law == law:
                return fit
        raise KeyError(law.name)

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return {
            "fits": [fit.as_dict() for fit in self.fits],
            "unfitted": list(self.unfitted),
            "delta_aicc": dict(self.delta_aicc),
            "chosen": self.chosen,
            "n_points": self.n_points,
            "n_points_needed": self.n_points_needed,
        }


def aicc(rss: float, n_points: int, n_parameters: int) -> float | None:
    """Corrected Akaike criterion of a least-squares fit, lower is better.

    n ln(rss / n) + 2 k + 2 k (k + 1) / (n - k - 1), where k counts the noise variance too
    (Hurvich and Tsai 1989, "Regression and time series model selection in small samples",
    Biometrika 76(2)); the terms common to all Gaussian models of the same data are left out.

    Parameters
    ----------
    rss : float
        Residual sum of squares, positive.
    n_points : int
        Points n.
    n_parameters : int
        Free parameters of the mean, so that k = n_parameters + 1.

    Returns
    -------
    float or None
        None where n - k - 1 ≤ 0: the correction is then undefined.
    """
    k = n_parameters + 1
    if n_points - k - 1 <= 0:
        return None
    return float(n_points * np.log(rss / n_points) + 2 * k + 2 * k * (k + 1) / (n_points - k - 1))


def points_needed(law: Law) -> int:
    """Fewest points for which the AICc of the law is defined: k + 2, k with the noise variance."""
    return law.n_parameters + 3


def fit_law(n: npt.ArrayLike, loss: npt.ArrayLike, law: Law) -> LawFit:
    """Fit a law of loss against size by least squares.

    Every point weighs the same. The exponent is searched over a logarithmic grid from 0.01 to 3
    with E and A solved in closed form (see `finscale.scaling.projection`), and the best grid point
    is polished to a zero of the profile's analytic derivative, which is the joint optimum.

    E ≥ 0, since no loss here can be negative; without that bound a loss that is nearly straight in
    log N sends E to minus infinity. A may have either sign: A < 0 is a loss that rises with size
    towards E. Where the loss hardly depends on size A is near 0 and alpha is not identified; where
    alpha lies on a bound, or E on 0, ``at_bound`` says so and the value is a limit, not a
    measurement.

    Parameters
    ----------
    n : array_like
        Built parameter counts, shape (P,), positive.
    loss : array_like
        Losses, shape (P,), positive.
    law : Law
        One of the laws of `finscale.scaling.laws`.

    Returns
    -------
    LawFit

    Raises
    ------
    FitError
        If the points are not positive finite numbers, or the law has more parameters than there
        are distinct sizes.
    """
    sizes_P, loss_P = check_points(n, loss)
    n_distinct = np.unique(sizes_P).size
    if n_distinct < law.n_parameters:
        raise FitError(
            f"{law.formula} needs at least {law.n_parameters} distinct sizes, "
            f"got {n_distinct}; measure more budgets"
        )
    if not law.has_power:
        return _finish(law, {"E": float(loss_P.mean())}, sizes_P, loss_P, converged=True)
    log_x_P, log_centre = centred_log(sizes_P)
    alpha, converged = _polished_exponent(loss_P[None], log_x_P, has_floor=law.has_floor)
    solution = project(loss_P[None], log_x_P, np.array([alpha]), has_floor=law.has_floor)
    values = {
        "E": float(solution.floor_S[0]),
        "A": float(solution.amplitude_S[0] * np.exp(alpha * log_centre)),
        "alpha": alpha,
    }
    parameters = {name: values[name] for name in law.parameters}
    return _finish(law, parameters, sizes_P, loss_P, converged=converged)


def compare_laws(n: npt.ArrayLike, loss: npt.ArrayLike, laws: Sequence[Law] = _LAWS) -> Comparison:
    """Fit several laws to the same points and compare them by AICc.

    Parameters
    ----------
    n, loss : array_like
        Built parameter counts and losses, shape (P,), one point per budget.
    laws : sequence of Law
        Laws to compare.

    Returns
    -------
    Comparison

    Raises
    ------
    FitError
        If the points are not positive finite numbers.
    """
    sizes_P, loss_P = check_points(n, loss)
    n_distinct = np.unique(sizes_P).size
    fits = tuple(fit_law(sizes_P, loss_P, law) for law in laws if law.n_parameters <= n_distinct)
    defined = {fit.law.name: fit.aicc for fit in fits if fit.aicc is not None}
    chosen = min(defined, key=defined.__getitem__) if len(defined) == len(laws) else None
    return Comparison(
        fits=fits,
        unfitted=tuple(law.name for law in laws if law.n_parameters > n_distinct),
        delta_aicc={
            law.name: None if chosen is None else defined[law.name] - defined[chosen]
            for law in laws
        },
        chosen=chosen,
        n_points=sizes_P.size,
        n_points_needed=max(points_needed(law) for law in laws),
    )


def _polished_exponent(
    y_SP: FloatArray, log_x_P: FloatArray, *, has_floor: bool
) -> tuple[float, bool]:
    """Find the best exponent of one data set, and whether it is a proper optimum."""

    def slope(log_alpha: float) -> float:
        alpha_S = np.array([np.exp(log_alpha)])
        return float(project(y_SP, log_x_P, alpha_S, has_floor=has_floor).slope_S[0])

    index_S = best_on_grid(y_SP, log_x_P, has_floor=has_floor)
    low, high = (float(alpha_S[0]) for alpha_S in bracket(index_S))
    at_low, at_high = slope(np.log(low)), slope(np.log(high))
    if at_low < 0.0 < at_high:
        root = optimize.brentq(slope, np.log(low), np.log(high), xtol=1e-14, rtol=1e-14)
        return float(np.exp(root)), True
    index = int(index_S[0])
    on_bound = (index == 0 and at_low > 0.0) or (index == ALPHA_GRID_G.size - 1 and at_high < 0.0)
    return float(ALPHA_GRID_G[index]), on_bound


def _finish(
    law: Law,
    parameters: dict[str, float],
    sizes_P: FloatArray,
    loss_P: FloatArray,
    *,
    converged: bool,
) -> LawFit:
    residual_P = loss_P - law.predict(parameters, sizes_P)
    rss, n_points = float(residual_P @ residual_P), loss_P.size
    # A perfect fit has no finite likelihood; residuals below rounding are rounding.
    rounding = n_points * (np.finfo(np.float64).eps * float(loss_P.max())) ** 2
    df = n_points - law.n_parameters
    at_bound = []
    if law.has_floor and law.has_power and parameters["E"] == 0.0:
        at_bound.append("E")
    if law.has_power and at_alpha_bound(parameters["alpha"]):
        at_bound.append("alpha")
    return LawFit(
        law=law,
        parameters=parameters,
        rss=rss,
        sigma=float(np.sqrt(rss / df)) if df > 0 else None,
        n_points=n_points,
        aicc=aicc(max(rss, rounding), n_points, law.n_parameters),
        converged=converged,
        at_bound=tuple(at_bound),
    )

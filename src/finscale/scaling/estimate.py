"""One law fitted to points under any objective: starts by projection, polished to the optimum.

Hoffmann et al. (2022), section 3.3, and Besiroglu et al. (2024), "Chinchilla scaling: a replication
attempt", minimise the sum over points of the Huber loss of log L̂ - log L; so does this, from
several starts and with analytic derivatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError
from finscale.scaling.forms import Form, make_form
from finscale.scaling.laws import Constant, Law, short_name
from finscale.scaling.newton import minimise
from finscale.scaling.objective import FloatArray, Objective, Problem, jacobian
from finscale.scaling.starts import N_STARTS, N_STARTS_NONLINEAR, grid_candidates, spread

# Beyond these a power of the value is no number any more, and nothing that is measured lies there.
_SMALLEST, _LARGEST = 1e-50, 1e50

MAX_CONDITION = 1e5
"""Above this the points do not tell parameters apart, and an interval of one means nothing."""

# A power of one of several variables takes three values: its amplitude and exponent, and the floor.
_FEWEST_VALUES = 3

# Variables whose logarithms are this close to a line are one variable.
_ONE_VARIABLE = 1e-6

# Two optima this close, relatively, are the same.
_SAME = 1e-6


@dataclass(frozen=True)
class Branch:
    """One choice of the terms' signs, with its candidates and the best optimum found from them.

    Attributes
    ----------
    signs : tuple of float
    theta_K : ndarray
        The optimum.
    value, gradient : float
        Objective there, and its gradient norm; see `finscale.scaling.newton.Optimum`.
    candidate_GK : ndarray
        Where else to look: polished starts, then the grid of exponents, best first.
    n_starts, n_agreeing : int
        Starts polished, and those among them that reached the optimum.
    """

    signs: tuple[float, ...]
    theta_K: FloatArray
    value: float
    gradient: float
    converged: bool
    candidate_GK: FloatArray
    n_starts: int
    n_agreeing: int


@dataclass(frozen=True)
class Estimate:
    """A law fitted to points.

    Attributes
    ----------
    law : Law
    parameters : dict
        For variables in plain units.
    objective : Objective
        What was minimised.
    value : float
        Its minimum, summed over points.
    n_points : int
    converged : bool
        Whether the gradient vanishes there, but for directions in which a bound holds.
    gradient : float
        Its norm: the largest cosine between residuals and a free column of their Jacobian.
    at_bound : tuple of str
        Parameters that lie on a bound: their value is a limit, not a measurement.
    condition_number : float or None
        Of the residuals' Jacobian with columns of unit length, without the parameters on a bound.
        None if the Jacobian is singular, or all parameters lie on bounds.
    n_starts, n_agreeing : int
        Starts polished, and those that reached the optimum.
    """

    law: Law
    parameters: dict[str, float]
    objective: Objective
    value: float
    n_points: int
    converged: bool
    gradient: float
    at_bound: tuple[str, ...]
    condition_number: float | None
    n_starts: int
    n_agreeing: int
    form: Form
    branches: tuple[Branch, ...]

    @property
    def is_identified(self) -> bool:
        """Whether the points tell all parameters apart that are not on a bound."""
        return self.condition_number is not None and self.condition_number <= MAX_CONDITION

    @property
    def best(self) -> Branch:
        """The branch whose optimum the parameters are."""
        return min(self.branches, key=lambda branch: branch.value)

    def predict(self, *variables: npt.ArrayLike) -> FloatArray:
        """Loss under the fitted law, one array per variable of the law."""
        return self.law.predict(self.parameters, *variables)

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return {
            "law": short_name(self.law),
            "formula": self.law.formula,
            "parameters": dict(self.parameters),
            "objective": self.value,
            "n_points": self.n_points,
            "converged": self.converged,
            "gradient": self.gradient,
            "at_bound": list(self.at_bound),
            "condition_number": self.condition_number,
            "identified": self.is_identified,
            "n_starts": self.n_starts,
            "n_starts_agreeing": self.n_agreeing,
        }


def default_objective(law: Law) -> Objective:
    """Return the usual objective: least squares in one variable, Huber's 1e-3 otherwise."""
    if len(law.variables) == 1 and law.n_parameters <= 3:
        return Objective("least-squares")
    return Objective("huber", 1e-3)


def estimate_law(
    law: Law,
    variables: Sequence[npt.ArrayLike],
    loss: npt.ArrayLike,
    objective: Objective | None = None,
) -> Estimate:
    """Fit a law to points.

    Parameters
    ----------
    law : Law
        One of the laws of `finscale.scaling.laws`.
    variables : sequence of array_like
        One array of shape (P,) per variable of the law, positive. The constant law takes any one.
    loss : array_like
        Losses, shape (P,), positive.
    objective : Objective, optional
        What to minimise; see `default_objective`.

    Returns
    -------
    Estimate

    Raises
    ------
    FitError
        If the points are not positive finite numbers (within 1e-50 and 1e50), there are fewer
        distinct ones than the law has parameters, a variable never changes, or of several one takes
        fewer than three values or N and D go together.
    """
    objective = default_objective(law) if objective is None else objective
    x_VP, loss_P = check_table(law, variables, loss)
    form = make_form(law, x_VP, loss_P)
    branches = tuple(_branch(form, signs, loss_P, objective) for signs in form.signs)
    best = min(branches, key=lambda branch: branch.value)
    natural = form.natural(best.theta_K[None], best.signs)
    at_bound = form.at_bound(best.theta_K[None])[0]
    return Estimate(
        law=law,
        parameters={name: float(value_S[0]) for name, value_S in natural.items()},
        objective=objective,
        value=best.value,
        n_points=loss_P.size,
        converged=best.converged,
        gradient=best.gradient,
        at_bound=at_bound,
        condition_number=_condition(form, best, loss_P, objective, at_bound),
        n_starts=sum(branch.n_starts for branch in branches),
        n_agreeing=sum(
            branch.n_agreeing for branch in branches if branch.value <= _same(best.value)
        ),
        form=form,
        branches=branches,
    )


def check_table(
    law: Law, variables: Sequence[npt.ArrayLike], loss: npt.ArrayLike
) -> tuple[list[FloatArray], FloatArray]:
    """Return variables and losses as float64 arrays, refused unless the law can be fitted to them.

    Raises
    ------
    FitError
        See `estimate_law`.
    """
    loss_P = np.asarray(loss, dtype=np.float64)
    x_VP = [np.asarray(x, dtype=np.float64) for x in variables]
    if len(x_VP) != len(law.variables):
        raise FitError(
            f"{short_name(law)} is a law of {', '.join(law.variables)}, "
            f"got {len(x_VP)} variables; give each one"
        )
    names = (*law.variables, "loss")
    for name, values_P in zip(names, (*x_VP, loss_P), strict=True):
        if values_P.ndim != 1 or values_P.shape != loss_P.shape or not values_P.size:
            raise FitError(
                f"{name} must be a non-empty list as long as the losses, "
                f"got shapes {values_P.shape} and {loss_P.shape}"
            )
        bad = ~(np.isfinite(values_P) & (values_P > 0.0))
        if bad.any():
            point = int(np.argmax(bad))
            raise FitError(
                f"{name} {values_P[point]:g} of point {point} must be positive and finite; "
                f"leave that point out or measure it again"
            )
        if values_P.min() < _SMALLEST or values_P.max() > _LARGEST:
            raise FitError(
                f"{name} runs from {values_P.min():g} to {values_P.max():g}, and must lie within "
                f"{_SMALLEST:g} and {_LARGEST:g}; choose another unit"
            )
    n_distinct = count_distinct(law, x_VP)
    if n_distinct < law.n_parameters:
        raise FitError(
            f"{short_name(law)} has {law.n_parameters} parameters and needs at least as many "
            f"distinct points, got {n_distinct}; measure more, or fit a simpler law"
        )
    if law is not Constant:
        _check_spread(dict(zip(law.variables, x_VP, strict=True)))
    return x_VP, loss_P


def _check_spread(values: Mapping[str, FloatArray]) -> None:
    """Refuse variables that vary too little for a law to be told from another."""
    varied = {name: values_P for name, values_P in values.items() if name != "U_D"}
    for name, values_P in varied.items():
        n_values = np.unique(values_P).size
        if n_values == 1:
            raise FitError(
                f"{name} is {values_P[0]:g} at every point, so its exponent cannot be fitted; "
                f"vary it, or fit a law in the other variable alone"
            )
        if len(varied) > 1 and n_values < _FEWEST_VALUES:
            raise FitError(
                f"{name} takes {n_values} values, and fewer than {_FEWEST_VALUES} do not tell its "
                f"exponent from the floor; vary it more, or fit a law in the other variable alone"
            )
    if len(varied) > 1:
        correlation = np.corrcoef([np.log(values_P) for values_P in varied.values()])[0, 1]
        if 1.0 - abs(float(correlation)) < _ONE_VARIABLE:
            raise FitError(
                "D is in proportion to a power of N at every point, so that what the one does "
                "cannot be told from what the other does; vary one while the other stays, or fit "
                "a law in N alone"
            )


def count_distinct(law: Law, x_VP: Sequence[FloatArray]) -> int:
    """Count the points that tell a law's parameters apart; every point does for a constant."""
    table_PV = np.column_stack(x_VP)
    return len(table_PV) if law is Constant else len(np.unique(table_PV, axis=0))


def _branch(
    form: Form, signs: tuple[float, ...], loss_P: FloatArray, objective: Objective
) -> Branch:
    target_SP, weight_SP = objective.target(loss_P)[None], np.ones((1, loss_P.size))
    problem = Problem(form, signs, target_SP, weight_SP, objective)
    grid_GK, _ = grid_candidates(form, problem)
    starts_GK = spread(grid_GK, N_STARTS if form.is_linear else N_STARTS_NONLINEAR)
    ends = minimise(problem, starts_GK, form.lower_K, form.upper_K)
    best = int(np.argmin(ends.value_S))
    value = float(ends.value_S[best])
    return Branch(
        signs=signs,
        theta_K=ends.theta_SK[best],
        value=value,
        gradient=float(ends.gradient_S[best]),
        converged=bool(ends.converged[best]),
        candidate_GK=np.concatenate([ends.theta_SK, grid_GK]),
        n_starts=len(starts_GK),
        n_agreeing=int((ends.value_S <= _same(value)).sum()),
    )


def _same(value: float) -> float:
    return value * (1.0 + _SAME) + 1e-18


def _condition(
    form: Form,
    best: Branch,
    loss_P: FloatArray,
    objective: Objective,
    at_bound: tuple[str, ...],
) -> float | None:
    target_SP, weight_SP = objective.target(loss_P)[None], np.ones((1, loss_P.size))
    problem = Problem(form, best.signs, target_SP, weight_SP, objective)
    free = [k for k, name in enumerate(form.law.parameters) if name not in at_bound]
    if not free:
        return None
    column_KP = jacobian(problem, best.theta_K[None])[0, free]
    length_K = np.linalg.norm(column_KP, axis=1, keepdims=True)
    if not (length_K > 0.0).all():
        return None
    singular_K = np.linalg.svd(column_KP / length_K, compute_uv=False)
    if singular_K[-1] <= np.finfo(np.float64).eps * singular_K[0]:
        return None
    return float(singular_K[0] / singular_K[-1])

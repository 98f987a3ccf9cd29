"""What a fit minimises: a sum of Huber or squared residuals, for many data sets at once.

A law is a sum of terms, each the exponential of something: L̂ = Σ_k s_k exp(t_k(θ)), s_k = ±1. With
q_k = s_k exp(t_k), L̂ has the gradient Σ q_k ∇t_k; and log L̂, the log-sum-exp of Hoffmann et al.
(2022), equation 10, has Σ p_k ∇t_k with p_k = q_k / L̂. Where the t_k are linear in θ the Hessian
needs nothing more.

Shapes: S data sets, P points, K coordinates θ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError

FloatArray = npt.NDArray[np.float64]

Kind = Literal["huber", "log-least-squares", "least-squares"]

# Added to the pull, as a share of the data's scale: where a law passes through every point the
# residuals are rounding, some 1e-15, and no direction of them means anything.
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Objective:
    """What is summed over points.

    Attributes
    ----------
    kind : str
        "huber": r²/2 for |r| ≤ delta, delta (|r| - delta/2) beyond, of r = log L̂ - log L;
        "log-least-squares": r²/2 of the same; "least-squares": r²/2 of r = L̂ - L.
    delta : float
        Width of the quadratic part of the Huber loss, in log loss.

    Raises
    ------
    FitError
        If delta is not positive and finite.
    """

    kind: Kind = "huber"
    delta: float = 1e-3

    def __post_init__(self) -> None:
        if not (self.delta > 0.0 and math.isfinite(self.delta)):
            raise FitError(
                f"huber {self.delta}: the width must be positive and finite; 1e-3 is usual"
            )

    @property
    def on_log(self) -> bool:
        """Whether residuals are those of the logarithm of the loss."""
        return self.kind != "least-squares"

    def target(self, loss: npt.ArrayLike) -> FloatArray:
        """Return what residuals are measured from: the loss' logarithm, or the loss."""
        values = np.asarray(loss, dtype=np.float64)
        return np.log(values) if self.on_log else values

    def rho(self, residual: FloatArray) -> FloatArray:
        """Return the loss of each residual."""
        if self.kind != "huber":
            return 0.5 * residual * residual
        clipped = self.psi(residual)
        return clipped * (residual - 0.5 * clipped)

    def psi(self, residual: FloatArray) -> FloatArray:
        """Return its first derivative."""
        if self.kind != "huber":
            return residual
        return np.clip(residual, -self.delta, self.delta)

    def curvature(self, residual: FloatArray) -> FloatArray:
        """Return its second derivative."""
        if self.kind != "huber":
            return np.ones_like(residual)
        return (np.abs(residual) <= self.delta).astype(np.float64)


Slope = FloatArray | float


@dataclass(frozen=True)
class Term:
    """One term of a law, exp(log_value), at S coordinates and P points.

    Attributes
    ----------
    log_value : ndarray
        Shape (S, P) or (S, 1).
    slopes : tuple
        Pairs of a coordinate's index and the derivative of ``log_value`` with respect to it; what
        is not named is zero. Derivatives broadcast to (S, P).
    """

    log_value: FloatArray
    slopes: tuple[tuple[int, Slope], ...]


class TermsOf(Protocol):
    """A law at given points, as terms in coordinates θ."""

    @property
    def is_linear(self) -> bool:
        """Whether every log_value is linear in θ."""

    def terms(self, theta_SK: FloatArray) -> Sequence[Term]:
        """Return the terms of the law."""


@dataclass(frozen=True)
class Problem:
    """Data sets that share their points' variables, and a law to fit to them.

    Attributes
    ----------
    form : TermsOf
        The law at the points.
    signs : tuple of float
        Sign of each term.
    target_SP : ndarray
        What residuals are measured from, shape (S, P) or (1, P): see `Objective.target`.
    weight_SP : ndarray
        How often a point counts, shape (S, P) or (1, P).
    objective : Objective
    """

    form: TermsOf
    signs: tuple[float, ...]
    target_SP: FloatArray
    weight_SP: FloatArray
    objective: Objective

    def rows(self, index_S: npt.NDArray[np.intp]) -> Problem:
        """Return the problem of some of the data sets."""

        def pick(x_SP: FloatArray) -> FloatArray:
            return x_SP if len(x_SP) == 1 else x_SP[index_S]

        return Problem(
            self.form, self.signs, pick(self.target_SP), pick(self.weight_SP), self.objective
        )


@dataclass(frozen=True)
class Evaluation:
    """The objective at θ, with derivatives.

    Attributes
    ----------
    value_S : ndarray
        The objective; infinite where the law is not positive at some point.
    gradient_SK, hessian_SKK : ndarray
        Its exact derivatives.
    column_SK : ndarray
        Length of each column of the residuals' Jacobian, sqrt(Σ w (∂r/∂θ_k)²).
    pull_S : ndarray
        sqrt(Σ w ψ(r)²), never below rounding. ``|gradient| ≤ pull × column``, so their ratio is the
        cosine between residuals and a column: a gradient norm without units.
    """

    value_S: FloatArray
    gradient_SK: FloatArray
    hessian_SKK: FloatArray
    column_SK: FloatArray
    pull_S: FloatArray


def residuals(problem: Problem, theta_SK: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
    """Return residuals (S, P), and what each term has of log L̂, or of L̂.

    The residual is NaN where the law is not positive.
    """
    sizes = [
        sign * np.exp(term.log_value)
        for sign, term in zip(problem.signs, problem.form.terms(theta_SK), strict=True)
    ]
    total_SP = np.zeros((len(theta_SK), problem.target_SP.shape[1]))
    for size in sizes:
        total_SP += size
    if not problem.objective.on_log:
        return total_SP - problem.target_SP, sizes
    if min(problem.signs) < 0.0:
        total_SP = np.where(total_SP > 0.0, total_SP, np.nan)
    inverse_SP = 1.0 / total_SP
    return np.log(total_SP) - problem.target_SP, [size * inverse_SP for size in sizes]


def values(problem: Problem, theta_SK: FloatArray) -> FloatArray:
    """Return the objective alone, shape (S,); infinite where the law is not positive."""
    residual_SP, _ = residuals(problem, theta_SK)
    value_S = (problem.weight_SP * problem.objective.rho(residual_SP)).sum(axis=1)
    return np.where(np.isnan(value_S), np.inf, value_S)


def jacobian(problem: Problem, theta_SK: FloatArray) -> FloatArray:
    """Return the derivatives of the residuals, shape (S, K, P)."""
    _, shares = residuals(problem, theta_SK)
    return _columns(problem.form.terms(theta_SK), shares, theta_SK.shape, problem)


def evaluate(problem: Problem, theta_SK: FloatArray) -> Evaluation:
    """Return the objective with its gradient and Hessian.

    Where terms are not linear in θ the Hessian is the central difference of the gradient.
    """
    objective, weight_SP = problem.objective, problem.weight_SP
    terms = problem.form.terms(theta_SK)
    residual_SP, shares = residuals(problem, theta_SK)
    column_SKP = _columns(terms, shares, theta_SK.shape, problem)
    psi_SP = objective.psi(residual_SP)
    pull_SP = weight_SP * psi_SP
    value_S = (weight_SP * objective.rho(residual_SP)).sum(axis=1)
    gradient_SK = np.matmul(column_SKP, pull_SP[:, :, None])[:, :, 0]
    squared_SK = np.matmul(column_SKP**2, np.broadcast_to(weight_SP, pull_SP.shape)[:, :, None])
    if problem.form.is_linear:
        bend_SP = objective.curvature(residual_SP)
        bend_SP = weight_SP * (bend_SP - psi_SP if objective.on_log else bend_SP)
        hessian_SKK = np.matmul(column_SKP * bend_SP[:, None, :], column_SKP.transpose(0, 2, 1))
        for term, share in zip(terms, shares, strict=True):
            _add_curvature(hessian_SKK, term, share * pull_SP)
    else:
        hessian_SKK = _difference_hessian(problem, theta_SK)
    scale = 1.0 if objective.on_log else float(np.abs(problem.target_SP).max())
    rounding_S = _ROUNDING * scale * np.sqrt(weight_SP.sum(axis=1))
    return Evaluation(
        value_S=np.where(np.isnan(value_S), np.inf, value_S),
        gradient_SK=gradient_SK,
        hessian_SKK=hessian_SKK,
        column_SK=np.sqrt(squared_SK[:, :, 0]),
        pull_S=np.sqrt((pull_SP * psi_SP).sum(axis=1)) + rounding_S,
    )


def gradients(problem: Problem, theta_SK: FloatArray) -> FloatArray:
    """Return the gradient of the objective alone, shape (S, K)."""
    residual_SP, shares = residuals(problem, theta_SK)
    column_SKP = _columns(problem.form.terms(theta_SK), shares, theta_SK.shape, problem)
    pull_SP = problem.weight_SP * problem.objective.psi(residual_SP)
    return np.asarray(np.matmul(column_SKP, pull_SP[:, :, None])[:, :, 0])


def _columns(
    terms: Sequence[Term],
    shares: Sequence[FloatArray],
    shape_SK: tuple[int, ...],
    problem: Problem,
) -> FloatArray:
    column_SKP = np.zeros((*shape_SK, problem.target_SP.shape[1]))
    for term, share in zip(terms, shares, strict=True):
        for k, slope in term.slopes:
            column_SKP[:, k] += share * slope
    return column_SKP


def _add_curvature(hessian_SKK: FloatArray, term: Term, pull_SP: FloatArray) -> None:
    """Add Σ_p pull ∇t ∇tᵀ of one term."""
    for i, (j, slope_j) in enumerate(term.slopes):
        first_SP = pull_SP * slope_j
        for k, slope_k in term.slopes[i:]:
            entry_S = (first_SP * slope_k).sum(axis=1)
            hessian_SKK[:, j, k] += entry_S
            if j != k:
                hessian_SKK[:, k, j] += entry_S


def _difference_hessian(problem: Problem, theta_SK: FloatArray) -> FloatArray:
    # The gradient is smooth but for the Huber loss' corners; a step of 1e-6 in a logarithm is far
    # below its width and far above rounding.
    step = 1e-6
    n_coordinates = theta_SK.shape[1]
    hessian_SKK = np.empty((len(theta_SK), n_coordinates, n_coordinates))
    for k in range(n_coordinates):
        move_K = np.zeros(n_coordinates)
        move_K[k] = step
        up_SK, down_SK = (gradients(problem, theta_SK + sign * move_K) for sign in (1.0, -1.0))
        hessian_SKK[:, :, k] = (up_SK - down_SK) / (2.0 * step)
    return 0.5 * (hessian_SKK + hessian_SKK.transpose(0, 2, 1))

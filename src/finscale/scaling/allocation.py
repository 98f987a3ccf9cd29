"""Where a surface says that compute is best spent: on size, or on data.

Minimising E + A N^-alpha + B D^-beta at C = k N D gives N = G (C/k)^(beta/(alpha+beta)) and
D = (C/k)^(alpha/(alpha+beta)) / G, with G = (alpha A / (beta B))^(1/(alpha+beta)): Hoffmann et al.
(2022), equation 4, where k = 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError
from finscale.scaling.laws import Surface
from finscale.scaling.objective import FloatArray
from finscale.scaling.resampling import Resampled, percentile_interval
from finscale.scaling.uncertainty import Interval

FLOPS_COEFFICIENT = 6.0
"""FLOPs of training per parameter and sample (token): 2 forwards, 4 backwards."""


@dataclass(frozen=True)
class Allocation:
    """The best size and data for a compute budget, under a surface.

    Attributes
    ----------
    flops : float
        The budget C.
    n_optimal, d_optimal, loss : Interval
        Parameters, samples, and the loss they reach, each with a percentile interval.
    n_exponent : Interval
        The exponent of C in N: beta / (alpha + beta). One half means as much for data as for size.
    confidence : float
        Nominal coverage of the intervals.
    n_samples, n_without_optimum : int
        Bootstrap samples used, and those left out because one of their terms vanished, so that no
        compute at all should go to it.
    """

    flops: float
    n_optimal: Interval
    d_optimal: Interval
    loss: Interval
    n_exponent: Interval
    confidence: float
    n_samples: int
    n_without_optimum: int

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return asdict(self)


def optimal_sizes(
    parameters: Mapping[str, npt.ArrayLike],
    flops: npt.ArrayLike,
    *,
    coefficient: float = FLOPS_COEFFICIENT,
) -> tuple[FloatArray, FloatArray]:
    """Return the compute-optimal N and D of a surface.

    Parameters
    ----------
    parameters : mapping
        A, B, alpha and beta, positive; scalars or arrays of equal shape.
    flops : array_like
        Compute budgets C, broadcast with the parameters.
    coefficient : float
        FLOPs per parameter and sample, k of C = k N D.

    Returns
    -------
    n_optimal, d_optimal : ndarray
    """
    a, b, alpha, beta = (
        np.asarray(parameters[name], dtype=np.float64) for name in ("A", "B", "alpha", "beta")
    )
    log_product = np.log(np.asarray(flops, dtype=np.float64) / coefficient)
    log_n = (np.log(alpha * a / (beta * b)) + beta * log_product) / (alpha + beta)
    return np.exp(log_n), np.exp(log_product - log_n)


def allocate(
    parameters: Mapping[str, float],
    resampled: Resampled,
    flops: float,
    *,
    coefficient: float = FLOPS_COEFFICIENT,
    confidence: float = 0.95,
) -> Allocation:
    """Return the best size and data for a compute budget, with intervals from a bootstrap.

    Parameters
    ----------
    parameters : mapping
        E, A, B, alpha and beta of a fitted surface.
    resampled : Resampled
        Its refits.
    flops : float
        Compute budget C, positive.
    coefficient : float
        FLOPs per parameter and sample, k of C = k N D.
    confidence : float
        Nominal coverage of the intervals.

    Raises
    ------
    FitError
        If the law is no surface, a term of it vanished, or the budget is not positive.
    """
    if set(parameters) != set(Surface.parameters):
        raise FitError(
            f"compute is allocated under a surface with {', '.join(Surface.parameters)}, "
            f"got {', '.join(parameters)}; fit one"
        )
    if not (np.isfinite(flops) and flops > 0.0 and coefficient > 0.0):
        raise FitError(
            f"a budget of {flops:g} FLOPs at {coefficient:g} per parameter and sample allocates "
            f"nothing; both must be positive"
        )
    if min(parameters["A"], parameters["B"]) <= 0.0:
        raise FitError(
            "the surface has no optimum: one of its terms vanished; "
            "vary size and data over a wider range"
        )
    samples = {name: resampled.parameters[name] for name in Surface.parameters}
    usable_S = (samples["A"] > 0.0) & (samples["B"] > 0.0)
    samples = {name: value_S[usable_S] for name, value_S in samples.items()}
    if not usable_S.any():
        raise FitError("no bootstrap sample has both terms of the surface; measure more points")
    point = _measures({name: np.asarray(x) for name, x in parameters.items()}, flops, coefficient)
    spread = _measures(samples, flops, coefficient)
    intervals = {
        name: Interval(float(point[name]), *percentile_interval(spread[name], confidence))
        for name in point
    }
    return Allocation(
        flops=flops,
        confidence=confidence,
        n_samples=int(usable_S.sum()),
        n_without_optimum=int((~usable_S).sum()),
        **intervals,
    )


def _measures(
    parameters: Mapping[str, FloatArray], flops: float, coefficient: float
) -> dict[str, FloatArray]:
    n, d = optimal_sizes(parameters, flops, coefficient=coefficient)
    p = parameters
    return {
        "n_optimal": n,
        "d_optimal": d,
        "loss": p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"],
        "n_exponent": p["beta"] / (p["alpha"] + p["beta"]),
    }

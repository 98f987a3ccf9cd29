"""L2-penalised logistic regressions of many strengths, on inputs that are nearly uncorrelated.

On such inputs the curvature of the loss is nearly diagonal, so a change of scale makes it nearly
the identity, and L-BFGS needs some ten steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from finscale.baselines.folds import FloatArray

_TOLERANCE = 1e-4
_MAX_STEPS = 500


@dataclass(frozen=True)
class Line:
    """A fitted model: the logit is ``z_NK @ weights_K + intercept``."""

    weights_K: FloatArray
    intercept: float

    def probabilities(self, z_NK: FloatArray) -> FloatArray:
        """Return the probability of label 1."""
        return np.asarray(expit(z_NK @ self.weights_K + self.intercept))


def logistic_path(
    z_NK: FloatArray, y_N: NDArray[np.float32], strengths: Sequence[float]
) -> Iterator[Line]:
    """Fit one model per inverse strength C, each from where the one before it ended.

    The objective is scikit-learn's: Σ log-loss + |w|² / 2C, the intercept free.
    """
    rate = float(y_N.mean(dtype=np.float64))
    curvature_K = rate * (1 - rate) * (z_NK**2).sum(0)
    curvature_of_intercept = rate * (1 - rate) * len(y_N)
    sign_N = np.where(y_N > 0, 1.0, -1.0)
    solution = np.append(np.zeros(z_NK.shape[1]), np.log(rate / (1 - rate)))
    for strength in strengths:
        scale = 1 / np.sqrt(np.append(curvature_K + 1 / strength, curvature_of_intercept))
        found = minimize(
            _objective,
            solution / scale,
            args=(z_NK, sign_N, strength, scale),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_STEPS, "gtol": _TOLERANCE, "ftol": 0},
        )
        solution = found.x * scale
        yield Line(solution[:-1], float(solution[-1]))


def _objective(
    scaled: FloatArray, z_NK: FloatArray, sign_N: FloatArray, strength: float, scale: FloatArray
) -> tuple[float, FloatArray]:
    """Return the objective and its gradient at weights and intercept over their scales."""
    weights_K, intercept = (scaled * scale)[:-1], (scaled * scale)[-1]
    margin_N = sign_N * (z_NK @ weights_K + intercept)
    slope_N = -sign_N * expit(-margin_N)
    value = np.logaddexp(0, -margin_N).sum() + weights_K @ weights_K / (2 * strength)
    gradient = np.append(z_NK.T @ slope_N + weights_K / strength, slope_N.sum())
    return float(value), gradient * scale

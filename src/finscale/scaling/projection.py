"""Variable projection: at a fixed exponent the laws are linear, and solved in closed form.

Shapes: S data sets fitted at once, P points, G exponents of the grid. Sizes enter as
``log_x_P``, the logarithm of N over its geometric mean, which keeps x^-alpha near 1.

Golub and Pereyra (1973), "The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate", SIAM J. Numer. Anal. 10(2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.scaling.laws import ALPHA_MAX, ALPHA_MIN

FloatArray = npt.NDArray[np.float64]

ALPHA_GRID_G: FloatArray = np.geomspace(ALPHA_MIN, ALPHA_MAX, 256)

# Halvings of one bracket of two grid steps (0.045 in log alpha): below 1e-14.
_N_HALVINGS = 42


def centred_log(sizes_P: FloatArray) -> tuple[FloatArray, float]:
    """Return the logarithm of the sizes over their geometric mean, and that of the mean."""
    log_P = np.log(sizes_P)
    centre = float(log_P.mean())
    return log_P - centre, centre


@dataclass(frozen=True)
class Projection:
    """The best floor and amplitude at given exponents, one per data set.

    Attributes
    ----------
    floor_S, amplitude_S : ndarray
        E ≥ 0 and a of L = E + a x^-alpha, shape (S,).
    rss_S : ndarray
        Residual sum of squares, shape (S,).
    slope_S : ndarray
        Derivative of ``rss_S`` with respect to alpha, with E and a kept at their optimum.
    """

    floor_S: FloatArray
    amplitude_S: FloatArray
    rss_S: FloatArray
    slope_S: FloatArray


def project(
    y_SP: FloatArray, log_x_P: FloatArray, alpha_S: FloatArray, *, has_floor: bool
) -> Projection:
    """Solve L = E + a x^-alpha for E ≥ 0 and a of either sign, by linear least squares.

    Where the free solution has E < 0 the constrained one has E = 0, because the problem is convex.
    By the envelope theorem the slope is the partial derivative at fixed E and a, which is
    continuous in alpha also where that constraint starts to bind.
    """
    u_SP = np.exp(-alpha_S[:, None] * log_x_P)
    floor_S = np.zeros(len(y_SP))
    amplitude_S = (u_SP * y_SP).sum(axis=1) / (u_SP * u_SP).sum(axis=1)
    if has_floor:
        mean_u_S, mean_y_S = u_SP.mean(axis=1), y_SP.mean(axis=1)
        centred_SP = u_SP - mean_u_S[:, None]
        free_S = (centred_SP * (y_SP - mean_y_S[:, None])).sum(axis=1)
        free_S = free_S / (centred_SP * centred_SP).sum(axis=1)
        free_floor_S = mean_y_S - free_S * mean_u_S
        floor_S = np.maximum(free_floor_S, 0.0)
        amplitude_S = np.where(free_floor_S >= 0.0, free_S, amplitude_S)
    residual_SP = y_SP - floor_S[:, None] - amplitude_S[:, None] * u_SP
    return Projection(
        floor_S=floor_S,
        amplitude_S=amplitude_S,
        rss_S=(residual_SP * residual_SP).sum(axis=1),
        slope_S=2.0 * amplitude_S * (residual_SP * u_SP * log_x_P).sum(axis=1),
    )


def best_on_grid(y_SP: FloatArray, log_x_P: FloatArray, *, has_floor: bool) -> npt.NDArray[np.intp]:
    """Find the index into `ALPHA_GRID_G` of the best exponent of each data set, shape (S,).

    The whole grid is searched by matrix products, so a law with two valleys (one for a falling,
    one for a rising loss) is not left in the wrong one.
    """
    u_GP = np.exp(-ALPHA_GRID_G[:, None] * log_x_P)
    explained_SG = (y_SP @ u_GP.T) ** 2 / (u_GP * u_GP).sum(axis=1)
    if has_floor:
        mean_u_G, mean_y_S = u_GP.mean(axis=1), y_SP.mean(axis=1)
        centred_GP = u_GP - mean_u_G[:, None]
        covariance_SG = (y_SP - mean_y_S[:, None]) @ centred_GP.T
        free_SG = covariance_SG / (centred_GP * centred_GP).sum(axis=1)
        explained_SG = np.where(
            free_SG * mean_u_G <= mean_y_S[:, None],
            free_SG * covariance_SG,
            explained_SG - (log_x_P.size * mean_y_S**2)[:, None],
        )
    return np.asarray(np.argmax(explained_SG, axis=1), dtype=np.intp)


def bracket(index_S: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Return the grid exponents on either side of each index, within the bounds on alpha."""
    low_S = ALPHA_GRID_G[np.maximum(index_S - 1, 0)]
    high_S = ALPHA_GRID_G[np.minimum(index_S + 1, ALPHA_GRID_G.size - 1)]
    return low_S, high_S


def fit_exponents(y_SP: FloatArray, log_x_P: FloatArray, *, has_floor: bool) -> FloatArray:
    """Fit the exponent of many data sets, shape (S,): the grid, then bisection of the slope.

    A slope of one sign over the whole bracket ends at the bound on alpha, where it belongs.
    """
    low_S, high_S = bracket(best_on_grid(y_SP, log_x_P, has_floor=has_floor))
    for _ in range(_N_HALVINGS):
        middle_S = np.sqrt(low_S * high_S)
        falling_S = project(y_SP, log_x_P, middle_S, has_floor=has_floor).slope_S < 0.0
        low_S = np.where(falling_S, middle_S, low_S)
        high_S = np.where(falling_S, high_S, middle_S)
    return np.sqrt(low_S * high_S)


def at_alpha_bound(alpha: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which exponents lie on a bound of the allowed range, up to rounding."""
    alpha = np.asarray(alpha, dtype=np.float64)
    tolerance = 1e-9
    return (alpha <= ALPHA_MIN * (1.0 + tolerance)) | (alpha >= ALPHA_MAX * (1.0 - tolerance))

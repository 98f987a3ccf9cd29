"""Variable projection for starting values: at given exponents the amplitudes are linear.

They are solved by non-negative least squares on the relative residual, which is the residual of
the logarithm to first order, and reweighted towards the objective (IRLS). The grid of exponents
is then ranked by the objective itself.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from finscale.scaling.forms import Form
from finscale.scaling.objective import FloatArray, Problem, residuals, values

N_STARTS = 8
"""Starts that are polished, per kind of law."""

N_STARTS_NONLINEAR = 24
"""The same for laws with parameters that are neither amplitudes nor exponents: more valleys."""

_N_REWEIGHTINGS = 4
_RIDGE = 1e-12


def grid_candidates(form: Form, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return coordinates on the grid of exponents with the best amplitudes, and their objective.

    Parameters
    ----------
    form : Form
    problem : Problem
        One data set, with target and weight of shape (1, P).

    Returns
    -------
    theta_GK, value_G : ndarray
        Best first.
    """
    theta_GK = form.shape_grid()
    target_P = problem.target_SP[0]
    loss_P = np.exp(target_P) if problem.objective.on_log else target_P
    # On the log the relative residual counts, else the plain one.
    unit_P = loss_P if problem.objective.on_log else np.ones_like(loss_P)
    grid = replace(problem, form=form)
    weight_GP = np.broadcast_to(problem.weight_SP, (len(theta_GK), loss_P.size))
    basis_GTP = _basis(form, problem.signs, theta_GK) / unit_P
    amplitude_GT = nonnegative(basis_GTP, loss_P / unit_P, weight_GP)
    theta_GK = _with_amplitudes(form, theta_GK, amplitude_GT, loss_P)
    # Least squares in terms that do not move are solved already.
    solved = form.is_linear and problem.objective.kind != "huber"
    for _ in range(0 if solved else _N_REWEIGHTINGS):
        if not form.is_linear:
            basis_GTP = _basis(form, problem.signs, theta_GK) / unit_P
        irls_GP = np.ones_like(weight_GP)
        if problem.objective.kind == "huber":
            residual_GP, _shares = residuals(grid, theta_GK)
            size_GP = np.nan_to_num(np.abs(residual_GP), nan=np.inf)
            irls_GP = problem.objective.delta / np.maximum(size_GP, problem.objective.delta)
        amplitude_GT = nonnegative(basis_GTP, loss_P / unit_P, weight_GP * irls_GP)
        theta_GK = _with_amplitudes(form, theta_GK, amplitude_GT, loss_P)
    value_G = values(grid, theta_GK)
    order_G = np.argsort(value_G, kind="stable")
    order_G = order_G[np.isfinite(value_G[order_G])]
    return theta_GK[order_G], value_G[order_G]


def _basis(form: Form, signs: tuple[float, ...], theta_GK: FloatArray) -> FloatArray:
    """Return the terms at amplitudes of 1, shape (G, T, P).

    The size that unique data deserve moves with the amplitudes, so that the terms of the
    data-constrained law are linear in them only as long as that size stays where it is.
    """
    shape_GP = (len(theta_GK), form.log_x_VP.shape[1])
    return np.stack(
        [
            sign * np.broadcast_to(np.exp(term.log_value - theta_GK[:, k, None]), shape_GP)
            for sign, term, k in zip(signs, form.terms(theta_GK), form.amplitudes, strict=True)
        ],
        axis=1,
    )


def spread(theta_GK: FloatArray, n_starts: int = N_STARTS) -> FloatArray:
    """Return the best candidates that are no neighbours of each other, best first.

    Neighbours lie within 0.3 of each other in every coordinate.
    """
    chosen: list[FloatArray] = []
    for theta_K in theta_GK:
        if all(np.abs(theta_K - other_K).max() > 0.3 for other_K in chosen):
            chosen.append(theta_K)
        if len(chosen) == n_starts:
            break
    return np.array(chosen).reshape(len(chosen), theta_GK.shape[1])


def nonnegative(basis_GTP: FloatArray, target_P: FloatArray, weight_GP: FloatArray) -> FloatArray:
    """Solve weighted non-negative least squares in a few unknowns, for G problems at once.

    Every set of unknowns that are not zero is solved in closed form, and the best one whose
    solution is not negative is the answer: with T unknowns there are 2^T - 1.

    Returns
    -------
    ndarray
        Shape (G, T).
    """
    n_problems, n_terms, _ = basis_GTP.shape
    weighted_GTP = basis_GTP * weight_GP[:, None, :]
    length_GT = np.sqrt(np.einsum("gtp,gtp->gt", weighted_GTP, basis_GTP))
    length_GT = np.where(length_GT > 0.0, length_GT, 1.0)
    gram_GTT = np.matmul(weighted_GTP, basis_GTP.transpose(0, 2, 1))
    gram_GTT = gram_GTT / (length_GT[:, :, None] * length_GT[:, None, :])
    moment_GT = np.matmul(weighted_GTP, target_P) / length_GT
    best_GT, explained_G = np.zeros((n_problems, n_terms)), np.full(n_problems, -np.inf)
    for size in range(1, n_terms + 1):
        for subset in combinations(range(n_terms), size):
            rows = np.array(subset)
            gram = gram_GTT[:, rows[:, None], rows] + _RIDGE * np.eye(size)
            solved = np.linalg.solve(gram, moment_GT[:, rows, None])[:, :, 0]
            gain_G = (solved * moment_GT[:, rows]).sum(axis=1)
            better_G = (solved >= 0.0).all(axis=1) & (gain_G > explained_G)
            full_GT = np.zeros((n_problems, n_terms))
            full_GT[:, rows] = solved
            best_GT = np.where(better_G[:, None], full_GT, best_GT)
            explained_G = np.where(better_G, gain_G, explained_G)
    return np.asarray(best_GT / length_GT)


def _with_amplitudes(
    form: Form, theta_GK: FloatArray, amplitude_GT: FloatArray, loss_P: FloatArray
) -> FloatArray:
    out_GK = theta_GK.copy()
    # A start at nothing would take many steps to leave: begin where the term is seen.
    least = 1e-3 * float(loss_P.min())
    for t, k in enumerate(form.amplitudes):
        out_GK[:, k] = np.log(np.maximum(amplitude_GT[:, t], least))
    return np.clip(out_GK, form.lower_K, form.upper_K)

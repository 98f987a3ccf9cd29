"""Damped Newton steps within a box, for many data sets at once.

The Hessian is scaled to unit columns of the Jacobian and its eigenvalues are taken by their
absolute values, so every step descends (Dauphin et al. 2014, "Identifying and attacking the saddle
point problem", section 5); damping as in Levenberg and Marquardt decides how far. A data set that
has reached its optimum leaves the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.scaling.objective import Evaluation, FloatArray, Problem, evaluate

N_STEPS_MAX = 300
"""Steps after which a data set counts as not converged."""

TOLERANCE = 1e-9
"""Cosine between residuals and Jacobian columns at which the search ends."""

CONVERGED = 1e-6
"""Cosine below which an end of the search counts as an optimum: where rounding stopped it early."""

# Data sets worked on together: their arrays fit the processor's cache.
_BLOCK_VALUES = 16_384

_DAMPING_START, _DAMPING_MIN, _DAMPING_MAX = 1e-2, 1e-12, 1e9
_LONGEST_STEP = 1.5

# A step that gains less than this share of the objective gains rounding; three of them end it.
_ROUNDING, _N_STALLS_MAX = 1e-14, 3


@dataclass(frozen=True)
class Optimum:
    """Where the search ended, one row per data set.

    Attributes
    ----------
    theta_SK : ndarray
        Coordinates.
    value_S : ndarray
        Objective.
    gradient_S : ndarray
        Largest cosine between residuals and a Jacobian column that is free to move: the gradient
        norm, without units, between 0 and 1.
    n_steps_S : ndarray
        Steps taken.
    """

    theta_SK: FloatArray
    value_S: FloatArray
    gradient_S: FloatArray
    n_steps_S: npt.NDArray[np.intp]

    @property
    def converged(self) -> npt.NDArray[np.bool_]:
        """Whether the gradient vanished, but for directions in which a bound holds; shape (S,)."""
        return self.gradient_S <= CONVERGED


def minimise(
    problem: Problem, start_SK: FloatArray, lower_K: FloatArray, upper_K: FloatArray
) -> Optimum:
    """Minimise the objective of each data set from its own start, within lower ≤ θ ≤ upper."""
    n_sets, n_points = len(start_SK), problem.target_SP.shape[1]
    block = max(1, _BLOCK_VALUES // n_points)
    theta_SK = np.clip(start_SK, lower_K, upper_K)
    value_S, gradient_S = np.empty(n_sets), np.empty(n_sets)
    n_steps_S = np.zeros(n_sets, dtype=np.intp)
    for first in range(0, n_sets, block):
        index_S = np.arange(first, min(first + block, n_sets))
        search = _Search(problem, index_S, theta_SK[index_S], lower_K, upper_K)
        theta_SK[index_S], value_S[index_S], gradient_S[index_S], n_steps_S[index_S] = search.run()
    return Optimum(theta_SK, value_S, gradient_S, n_steps_S)


class _Search:
    """One block of data sets on their way down."""

    def __init__(
        self,
        problem: Problem,
        index_S: npt.NDArray[np.intp],
        theta_SK: FloatArray,
        lower_K: FloatArray,
        upper_K: FloatArray,
    ) -> None:
        self._problem, self._index_S = problem, index_S
        self._theta_SK, self._lower_K, self._upper_K = theta_SK, lower_K, upper_K

    def run(self) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.intp]]:
        n_sets = len(self._theta_SK)
        value_S, gradient_S = np.empty(n_sets), np.empty(n_sets)
        n_steps_S = np.zeros(n_sets, dtype=np.intp)
        active_S = np.arange(n_sets)
        problem = self._problem.rows(self._index_S)
        theta_SK, damping_S = self._theta_SK.copy(), np.full(n_sets, _DAMPING_START)
        n_stalls_S = np.zeros(n_sets, dtype=np.intp)
        here = evaluate(problem, theta_SK)
        for step in range(N_STEPS_MAX + 1):
            free_SK = self._free(theta_SK, here)
            cosine_S = _cosine(here, free_SK)
            done_S = (cosine_S <= TOLERANCE) | (damping_S > _DAMPING_MAX) | (step == N_STEPS_MAX)
            done_S |= n_stalls_S >= _N_STALLS_MAX
            if done_S.any():
                out_S = active_S[done_S]
                self._theta_SK[out_S] = theta_SK[done_S]
                value_S[out_S], gradient_S[out_S] = here.value_S[done_S], cosine_S[done_S]
                n_steps_S[out_S] = step
                active_S, keep_S = active_S[~done_S], ~done_S
                if not active_S.size:
                    break
                theta_SK, damping_S, free_SK = theta_SK[keep_S], damping_S[keep_S], free_SK[keep_S]
                n_stalls_S = n_stalls_S[keep_S]
                here = _select(here, keep_S)
                problem = self._problem.rows(self._index_S[active_S])
            move_SK = _step(here, free_SK, damping_S)
            there_SK = np.clip(theta_SK + move_SK, self._lower_K, self._upper_K)
            there = evaluate(problem, there_SK)
            better_S = there.value_S <= here.value_S
            gained_S = there.value_S < here.value_S * (1.0 - _ROUNDING)
            n_stalls_S = np.where(gained_S, 0, n_stalls_S + better_S)
            damping_S = np.where(
                better_S,
                np.maximum(damping_S * 0.2, _DAMPING_MIN),
                np.maximum(damping_S, 1e-4) * 6.0,
            )
            theta_SK = np.where(better_S[:, None], there_SK, theta_SK)
            here = _merge(here, there, better_S)
        return self._theta_SK, value_S, gradient_S, n_steps_S

    def _free(self, theta_SK: FloatArray, here: Evaluation) -> npt.NDArray[np.bool_]:
        held_low = (theta_SK <= self._lower_K) & (here.gradient_SK > 0.0)
        held_high = (theta_SK >= self._upper_K) & (here.gradient_SK < 0.0)
        return ~(held_low | held_high)


def _cosine(here: Evaluation, free_SK: npt.NDArray[np.bool_]) -> FloatArray:
    reach_SK = here.pull_S[:, None] * here.column_SK
    cosine_SK = np.abs(here.gradient_SK) / np.where(reach_SK > 0.0, reach_SK, 1.0)
    return np.asarray(np.where(free_SK, cosine_SK, 0.0).max(axis=1))


def _step(here: Evaluation, free_SK: npt.NDArray[np.bool_], damping_S: FloatArray) -> FloatArray:
    scale_SK = np.where(here.column_SK > 0.0, here.column_SK, 1.0)
    gradient_SK = np.where(free_SK, here.gradient_SK / scale_SK, 0.0)
    hessian_SKK = here.hessian_SKK / (scale_SK[:, :, None] * scale_SK[:, None, :])
    # A coordinate that a bound holds takes no part: its row and column are those of the identity.
    hessian_SKK = np.where(free_SK[:, :, None] & free_SK[:, None, :], hessian_SKK, 0.0)
    diagonal = np.arange(hessian_SKK.shape[1])
    hessian_SKK[:, diagonal, diagonal] += ~free_SK
    bend_SK, axis_SKK = np.linalg.eigh(hessian_SKK)
    bend_SK = np.maximum(np.abs(bend_SK), 1e-14) + damping_S[:, None]
    along_SK = np.matmul(gradient_SK[:, None, :], axis_SKK)[:, 0] / bend_SK
    move_SK = -np.matmul(axis_SKK, along_SK[:, :, None])[:, :, 0] / scale_SK
    longest_S = np.abs(move_SK).max(axis=1, keepdims=True)
    return np.asarray(move_SK * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest_S, 1e-300)))


def _select(here: Evaluation, keep_S: npt.NDArray[np.bool_]) -> Evaluation:
    return Evaluation(
        here.value_S[keep_S],
        here.gradient_SK[keep_S],
        here.hessian_SKK[keep_S],
        here.column_SK[keep_S],
        here.pull_S[keep_S],
    )


def _merge(here: Evaluation, there: Evaluation, better_S: npt.NDArray[np.bool_]) -> Evaluation:
    b1, b2 = better_S[:, None], better_S[:, None, None]
    return Evaluation(
        np.where(better_S, there.value_S, here.value_S),
        np.where(b1, there.gradient_SK, here.gradient_SK),
        np.where(b2, there.hessian_SKK, here.hessian_SKK),
        np.where(b1, there.column_SK, here.column_SK),
        np.where(better_S, there.pull_S, here.pull_S),
    )

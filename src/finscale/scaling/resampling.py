"""Standard errors and intervals of a fitted law, from refits of resampled points.

Points are drawn with replacement (Efron 1979), as Besiroglu et al. (2024) did 4,000 times; or, for
few points whose sizes were chosen, losses are drawn from the fitted law (see
`finscale.scaling.uncertainty`). All samples are fitted at once, from the optimum of the points
themselves; a sample for which another sample's optimum, or a candidate of the grid, would be better
is fitted again from there, so that none stays in a valley of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError
from finscale.scaling.estimate import Branch, Estimate
from finscale.scaling.forms import Form
from finscale.scaling.laws import short_name
from finscale.scaling.newton import Optimum, minimise
from finscale.scaling.objective import FloatArray, Problem, residuals

N_SAMPLES = 4000
"""Samples drawn by default (Besiroglu et al. 2024)."""

# A candidate has to be better by this share of the objective to be worth another search.
_WORTH = 1e-6
_N_CANDIDATES, _N_CANDIDATES_APART = 1000, 64
_ONE = np.ones((1, 1))

# Samples × points held in memory at a time.
_MEMORY_VALUES = 4_000_000

_N_ROUNDS = 4


@dataclass(frozen=True)
class Resampled:
    """Refits of resampled points.

    Attributes
    ----------
    parameters : dict
        Parameters of each sample, shape (S,).
    value_S : ndarray
        Objective of each sample.
    converged_S : ndarray of bool
        Whether its search ended in an optimum.
    n_restarted : int
        Samples for which a better optimum was found than the one nearest to the points'.
    seed : int
    """

    parameters: dict[str, FloatArray]
    value_S: FloatArray
    converged_S: npt.NDArray[np.bool_]
    n_restarted: int
    seed: int

    def standard_errors(self) -> dict[str, float | None]:
        """Return the standard deviation of each parameter; None for a single sample."""
        n = self.value_S.size
        return {
            name: float(np.std(value_S, ddof=1)) if n > 1 else None
            for name, value_S in self.parameters.items()
        }

    def intervals(self, confidence: float) -> dict[str, tuple[float, float]]:
        """Return the percentile interval of each parameter."""
        return {
            name: percentile_interval(value_S, confidence)
            for name, value_S in self.parameters.items()
        }

    def as_dict(self, confidence: float) -> dict[str, Any]:
        """Fields ready for JSON."""
        return {
            "standard_errors": self.standard_errors(),
            "intervals": {name: list(ends) for name, ends in self.intervals(confidence).items()},
            "confidence": confidence,
            "n_bootstrap": int(self.value_S.size),
            "n_bootstrap_converged": int(self.converged_S.sum()),
            "n_bootstrap_restarted": self.n_restarted,
            "seed": self.seed,
        }


def percentile_interval(value_S: FloatArray, confidence: float) -> tuple[float, float]:
    """Return the two quantiles that leave equal shares of the samples out."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(value_S, [tail, 1.0 - tail])
    return float(low), float(high)


def group_points(x_VP: FloatArray) -> npt.NDArray[np.intp]:
    """Return the group of each point, shape (P,): those that share all variables, as they come.

    Points of which nothing is known apart, those of a constant without a size, are each their own.
    """
    _, first_G, inverse_P = np.unique(x_VP, axis=1, return_index=True, return_inverse=True)
    if first_G.size == 1:
        return np.arange(x_VP.shape[1])
    return np.asarray(np.argsort(np.argsort(first_G))[inverse_P.reshape(-1)])


def draw_counts(
    rng: np.random.Generator, group_P: npt.NDArray[np.intp], n_samples: int, n_needed: int
) -> FloatArray:
    """Draw how often each point is in each sample, shape (S, P).

    Groups (distinct points) are drawn, and all points of a group go with it: measurements of one
    size share what is peculiar to that size, its architecture and recipe, and are no independent
    measurements of what size does. A sample with fewer than ``n_needed`` groups determines no law
    and is drawn again: the bootstrap is that of samples from which the law can be fitted.

    Parameters
    ----------
    group_P
        Group of each point, numbered from 0.
    """
    n_groups = int(group_P.max()) + 1
    share_G = np.full(n_groups, 1.0 / n_groups)
    counts_SG = rng.multinomial(n_groups, share_G, size=n_samples)
    while True:
        poor_S = (counts_SG > 0).sum(axis=1) < n_needed
        if not poor_S.any():
            return np.asarray(counts_SG[:, group_P], dtype=np.float64)
        counts_SG[poor_S] = rng.multinomial(n_groups, share_G, size=int(poor_S.sum()))


def resample_points(
    estimate: Estimate,
    loss: npt.ArrayLike,
    *,
    n_samples: int = N_SAMPLES,
    seed: int = 0,
) -> Resampled:
    """Refit a law to points drawn with replacement, those of one size together.

    Parameters
    ----------
    estimate : Estimate
        The law fitted to the points.
    loss : array_like
        The losses it was fitted to, shape (P,).
    n_samples, seed : int
        Samples, and the seed they are drawn with.
    """
    target_SP = estimate.objective.target(loss)[None]
    group_P = group_points(estimate.form.log_x_VP)
    n_needed = estimate.law.n_parameters if estimate.law.has_power else 1
    rng = np.random.default_rng(seed)
    return _resample(
        estimate,
        (
            (target_SP, draw_counts(rng, group_P, size, n_needed))
            for size in _blocks(n_samples, estimate.n_points)
        ),
        seed,
    )


def resample_noise(estimate: Estimate, *, n_samples: int = N_SAMPLES, seed: int = 0) -> Resampled:
    """Refit a law fitted by least squares to losses drawn from it.

    A sample is the fitted law plus Gaussian noise on what residuals are measured from; its standard
    deviation is that of the residuals, corrected for degrees of freedom and drawn from its own
    distribution, as in `finscale.scaling.uncertainty.bootstrap_law`.

    Raises
    ------
    FitError
        If the objective is not least squares, or no degree of freedom is left.
    """
    df = estimate.n_points - estimate.law.n_parameters
    if estimate.objective.kind == "huber":
        raise FitError(
            "noise is drawn for a law fitted by least squares; resample the points of a Huber fit"
        )
    if df < 1:
        raise FitError(
            f"{short_name(estimate.law)} passes through all {estimate.n_points} points and leaves "
            f"no residual to draw intervals from; measure more, or ask for no bootstrap"
        )
    sigma = np.sqrt(2.0 * estimate.value / df)
    fitted_P = fitted_target(estimate)
    weight_SP = np.ones((1, estimate.n_points))
    rng = np.random.default_rng(seed)

    def draw(size: int) -> FloatArray:
        sigma_S = sigma * np.sqrt(df / rng.chisquare(df, size=size))
        noise_SP = rng.standard_normal((size, estimate.n_points))
        return np.asarray(fitted_P + sigma_S[:, None] * noise_SP)

    blocks = _blocks(n_samples, estimate.n_points)
    return _resample(estimate, ((draw(size), weight_SP) for size in blocks), seed)


def fitted_target(estimate: Estimate) -> FloatArray:
    """Return the fitted law at the points, on the scale of the residuals, shape (P,)."""
    branch = estimate.best
    zero_SP = np.zeros((1, estimate.n_points))
    problem = Problem(estimate.form, branch.signs, zero_SP, zero_SP + 1.0, estimate.objective)
    residual_SP, _ = residuals(problem, branch.theta_K[None])
    return np.asarray(residual_SP[0])


def _blocks(n_samples: int, n_points: int) -> list[int]:
    """Cut samples into parts whose arrays stay in memory."""
    size = max(1, _MEMORY_VALUES // n_points)
    return [min(size, n_samples - first) for first in range(0, n_samples, size)]


def _resample(
    estimate: Estimate, blocks: Iterable[tuple[FloatArray, FloatArray]], seed: int
) -> Resampled:
    parts = []
    for target_SP, weight_SP in blocks:
        fits = [
            _refit(
                Problem(estimate.form, branch.signs, target_SP, weight_SP, estimate.objective),
                estimate.form,
                branch,
            )
            for branch in estimate.branches
        ]
        parts.append(_collect(estimate, fits, seed))
    return Resampled(
        parameters={
            name: np.concatenate([part.parameters[name] for part in parts])
            for name in estimate.law.parameters
        },
        value_S=np.concatenate([part.value_S for part in parts]),
        converged_S=np.concatenate([part.converged_S for part in parts]),
        n_restarted=sum(part.n_restarted for part in parts),
        seed=seed,
    )


def _refit(problem: Problem, form: Form, branch: Branch) -> tuple[Optimum, int]:
    n_samples = max(len(problem.weight_SP), len(problem.target_SP))
    start_SK = np.tile(branch.theta_K, (n_samples, 1))
    found = minimise(problem, start_SK, form.lower_K, form.upper_K)
    restarted_S = np.zeros(n_samples, dtype=np.bool_)
    for _ in range(_N_ROUNDS):
        candidate_GK = np.concatenate([branch.candidate_GK, found.theta_SK])
        best_S, value_S = _best_candidates(problem, candidate_GK)
        again_S = np.flatnonzero(value_S < found.value_S * (1.0 - _WORTH))
        if not again_S.size:
            break
        restarted_S[again_S] = True
        retry = minimise(
            problem.rows(again_S), candidate_GK[best_S[again_S]], form.lower_K, form.upper_K
        )
        found = _replace_rows(found, again_S, retry)
    return found, int(restarted_S.sum())


def _best_candidates(
    problem: Problem, candidate_GK: FloatArray
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Find the best candidate of each sample, and the objective there."""
    if len(problem.target_SP) == 1:
        # The points are shared, so that one product gives every sample at every candidate.
        candidate_GK = candidate_GK[:_N_CANDIDATES]
        rho_GP = _losses(replace(problem, weight_SP=_ONE), candidate_GK)
        value_SG = problem.weight_SP @ rho_GP.T
    else:
        # Losses differ between samples: candidates are tried one by one, and they are few.
        candidate_GK = candidate_GK[:_N_CANDIDATES_APART]
        weight_SP = problem.weight_SP
        value_SG = np.column_stack(
            [(weight_SP * _losses(problem, theta_K[None])).sum(axis=1) for theta_K in candidate_GK]
        )
    best_S = np.argmin(value_SG, axis=1)
    return best_S, value_SG[np.arange(len(best_S)), best_S]


def _losses(problem: Problem, theta_SK: FloatArray) -> FloatArray:
    residual_SP, _ = residuals(problem, theta_SK)
    # A large number instead of infinity, which times a weight of zero is no number.
    return np.where(np.isnan(residual_SP), 1e100, problem.objective.rho(residual_SP))


def _replace_rows(found: Optimum, index_S: npt.NDArray[np.intp], retry: Optimum) -> Optimum:
    better_S = retry.value_S < found.value_S[index_S]
    rows_S = index_S[better_S]
    merged = Optimum(
        found.theta_SK.copy(), found.value_S.copy(), found.gradient_S.copy(), found.n_steps_S.copy()
    )
    merged.theta_SK[rows_S] = retry.theta_SK[better_S]
    merged.value_S[rows_S] = retry.value_S[better_S]
    merged.gradient_S[rows_S] = retry.gradient_S[better_S]
    merged.n_steps_S[rows_S] = retry.n_steps_S[better_S]
    return merged


def _collect(estimate: Estimate, fits: list[tuple[Optimum, int]], seed: int) -> Resampled:
    value_BS = np.array([found.value_S for found, _ in fits])
    best_S = np.argmin(value_BS, axis=0)
    rows_S = np.arange(best_S.size)
    natural = [
        estimate.form.natural(found.theta_SK, branch.signs)
        for (found, _), branch in zip(fits, estimate.branches, strict=True)
    ]
    return Resampled(
        parameters={
            name: np.array([one[name] for one in natural])[best_S, rows_S]
            for name in estimate.law.parameters
        },
        value_S=value_BS[best_S, rows_S],
        converged_S=np.array([found.converged for found, _ in fits])[best_S, rows_S],
        n_restarted=sum(n for _, n in fits),
        seed=seed,
    )

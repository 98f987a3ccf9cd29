"""Intervals for a fitted law by parametric bootstrap, and the noise between seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError
from finscale.scaling.fit import MIN_DELTA_AICC, LawFit
from finscale.scaling.projection import (
    FloatArray,
    at_alpha_bound,
    centred_log,
    fit_exponents,
    project,
)


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile interval [low, high]."""

    estimate: float
    low: float
    high: float


Kind = Literal["falls", "rises", "no_evidence", "too_few_points"]


def direction(delta_aicc: float, change: Interval) -> Kind:
    """Say which way a measure goes with size: the one rule of every verdict.

    It rises or falls only if a law beats the constant by `MIN_DELTA_AICC` or more *and* the
    interval of its change from the smallest to the largest size leaves 0 out.
    """
    if delta_aicc < MIN_DELTA_AICC:
        return "no_evidence"
    if change.high < 0.0:
        return "falls"
    return "rises" if change.low > 0.0 else "no_evidence"


def check_confidence(confidence: float) -> None:
    """Refuse what is no share of intervals that may hold the truth.

    Raises
    ------
    FitError
        If it is not within (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise FitError(f"confidence {confidence:g}: give a share between 0 and 1, such as 0.95")


@dataclass(frozen=True)
class LawIntervals:
    """Uncertainty of one fitted law.

    Attributes
    ----------
    law : str
        Name of the law.
    confidence : float
        Nominal coverage of the intervals, such as 0.95.
    n_samples, seed : int
        Bootstrap samples drawn, and the seed they were drawn with.
    alpha : Interval or None
        Exponent; None for a law without one.
    alpha_at_bound_frac : float or None
        Share of samples whose exponent lies on a bound. Where it is not small, so does an end of
        the interval, and the data do not limit alpha on that side.
    loss_smallest, loss_largest : Interval
        Loss under the law at the smallest and the largest size measured.
    loss_difference : Interval
        Loss at the largest size less that at the smallest: negative if the loss falls.
    """

    law: str
    confidence: float
    n_samples: int
    seed: int
    alpha: Interval | None
    alpha_at_bound_frac: float | None
    loss_smallest: Interval
    loss_largest: Interval
    loss_difference: Interval

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SeedNoise:
    """Noise between training runs that differ in the seed alone.

    Attributes
    ----------
    sigma : float
        Pooled within-budget standard deviation of the loss of one run.
    df : int
        Degrees of freedom: runs less budgets, over the budgets with two seeds or more.
    """

    sigma: float
    df: int


def bootstrap_law(
    fit: LawFit,
    n: npt.ArrayLike,
    *,
    n_samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> LawIntervals:
    """Compute percentile intervals of a fitted law, by refitting data simulated from it.

    A sample is the fitted law plus Gaussian noise, independent and equal at all points. The noise
    is scaled by the residual standard deviation (corrected for degrees of freedom), itself drawn
    from its sampling distribution, sigma * sqrt(df / chi²_df): for a law that is linear in its
    parameters the intervals are then exactly Student's, whereas a fixed sigma would make them too
    narrow on few points (at 3 degrees of freedom a nominal 95% covers 85%).

    The intervals hold for the law and the sizes given; they know nothing of a wrong law, nor of
    sizes outside those measured.

    Parameters
    ----------
    fit : LawFit
        The law fitted to losses at ``n``.
    n : array_like
        Built parameter counts that were fitted, shape (P,).
    n_samples : int
        Bootstrap samples.
    confidence : float
        Nominal coverage, within (0, 1).
    seed : int
        Seed of the simulated noise.

    Returns
    -------
    LawIntervals

    Raises
    ------
    FitError
        If ``n`` does not match the fit, or the fit has no degree of freedom left.
    ValueError
        If ``n_samples`` or ``confidence`` is out of range.
    """
    if n_samples < 1 or not 0.0 < confidence < 1.0:
        raise ValueError(
            f"need n_samples of 1 or more and a confidence within (0, 1), "
            f"got {n_samples} and {confidence}"
        )
    samples_SP = simulate_losses(fit, n, n_samples=n_samples, seed=seed)
    sizes_P = np.asarray(n, dtype=np.float64)
    log_x_P, _ = centred_log(sizes_P)
    ends_2 = np.array([log_x_P.min(), log_x_P.max()])
    if fit.law.has_power:
        alpha_S = fit_exponents(samples_SP, log_x_P, has_floor=fit.law.has_floor)
        refit = project(samples_SP, log_x_P, alpha_S, has_floor=fit.law.has_floor)
        power_S2 = np.exp(-alpha_S[:, None] * ends_2)
        losses_S2 = refit.floor_S[:, None] + refit.amplitude_S[:, None] * power_S2
        alpha = _interval(fit.parameters["alpha"], alpha_S, confidence)
        at_bound_frac = float(at_alpha_bound(alpha_S).mean())
    else:
        losses_S2 = np.repeat(samples_SP.mean(axis=1, keepdims=True), 2, axis=1)
        alpha, at_bound_frac = None, None
    smallest, largest = (float(x) for x in fit.predict([sizes_P.min(), sizes_P.max()]))
    return LawIntervals(
        law=fit.law.name,
        confidence=confidence,
        n_samples=n_samples,
        seed=seed,
        alpha=alpha,
        alpha_at_bound_frac=at_bound_frac,
        loss_smallest=_interval(smallest, losses_S2[:, 0], confidence),
        loss_largest=_interval(largest, losses_S2[:, 1], confidence),
        loss_difference=_interval(
            largest - smallest, losses_S2[:, 1] - losses_S2[:, 0], confidence
        ),
    )


def simulate_losses(fit: LawFit, n: npt.ArrayLike, *, n_samples: int, seed: int) -> FloatArray:
    """Draw losses from a fitted law, shape (n_samples, P); see `bootstrap_law`.

    Raises
    ------
    FitError
        If ``n`` does not match the fit, or the fit has no degree of freedom left.
    """
    predicted_P = fit.predict(n)
    if predicted_P.shape != (fit.n_points,):
        raise FitError(
            f"the law was fitted to {fit.n_points} points, got sizes of shape {predicted_P.shape}; "
            f"pass the sizes that were fitted"
        )
    if fit.sigma is None:
        raise FitError(
            f"{fit.law.formula} passes through all {fit.n_points} points and leaves no residual "
            f"to draw intervals from; measure more budgets"
        )
    df = fit.n_points - fit.law.n_parameters
    rng = np.random.default_rng(seed)
    sigma_S = fit.sigma * np.sqrt(df / rng.chisquare(df, size=n_samples))
    noise_SP = rng.standard_normal((n_samples, fit.n_points))
    return np.asarray(predicted_P + sigma_S[:, None] * noise_SP, dtype=np.float64)


def pooled_seed_noise(losses_per_budget: Iterable[Sequence[float]]) -> SeedNoise | None:
    """Pool the standard deviation between seeds over budgets, by degrees of freedom.

    sqrt(Σ (m_b - 1) s_b² / Σ (m_b - 1)) over budgets b with m_b seeds and sample variance s_b².

    Returns
    -------
    SeedNoise or None
        None where no budget has two seeds: one run per budget says nothing about its noise.
    """
    squares, df = 0.0, 0
    for losses in losses_per_budget:
        loss_M = np.asarray(losses, dtype=np.float64)
        if loss_M.size >= 2:
            squares += float(((loss_M - loss_M.mean()) ** 2).sum())
            df += loss_M.size - 1
    return SeedNoise(sigma=float(np.sqrt(squares / df)), df=df) if df > 0 else None


def _interval(estimate: float, values_S: FloatArray, confidence: float) -> Interval:
    low, high = np.quantile(values_S, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(estimate=estimate, low=float(low), high=float(high))

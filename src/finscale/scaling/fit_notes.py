"""What a law fitted to anyone's points does not show, in words: a constant always competes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from finscale.scaling.estimate import Estimate, estimate_law
from finscale.scaling.fit import MIN_DELTA_AICC, aicc
from finscale.scaling.forms import exponent_bounds
from finscale.scaling.laws import Constant, short_name
from finscale.scaling.objective import FloatArray
from finscale.scaling.resampling import Resampled

# An exponent that so many samples leave at the end of its range has no interval of its own.
_MAX_AT_BOUND_FRAC = 0.05
_AT_BOUND = 1e-6


@dataclass(frozen=True)
class AgainstConstant:
    """A law beside a constant fitted to the same points under the same objective.

    Attributes
    ----------
    objective : float
        Of the constant.
    delta_aicc : float or None
        AICc of the constant less that of the law: positive favours the law. None for a Huber
        objective, which is no likelihood, and where points are too few.
    """

    objective: float
    delta_aicc: float | None


def against_constant(fit: Estimate, loss_P: FloatArray) -> AgainstConstant | None:
    """Fit a constant to the points of a law; None if the law is one."""
    if fit.law is Constant:
        return None
    flat = estimate_law(Constant, [np.ones_like(loss_P)], loss_P, fit.objective)
    flat_aicc, law_aicc = _aicc(flat), _aicc(fit)
    gain = None if flat_aicc is None or law_aicc is None else flat_aicc - law_aicc
    return AgainstConstant(flat.value, gain)


def _aicc(fit: Estimate) -> float | None:
    if fit.objective.kind == "huber":
        return None
    # Rounding leaves something of a perfect fit; 0 has no logarithm.
    rss = max(2.0 * fit.value, float(np.finfo(np.float64).tiny))
    return aicc(rss, fit.n_points, fit.law.n_parameters)


def notes_on(
    fit: Estimate, flat: AgainstConstant | None, resampled: Resampled | None, confidence: float
) -> tuple[str, ...]:
    """Say what the numbers of a fit do not show by themselves."""
    return (
        *_dependence(fit, flat),
        *_freedom(fit),
        *_bounds(fit, resampled),
        *_samples(resampled, confidence),
    )


def _dependence(fit: Estimate, flat: AgainstConstant | None) -> list[str]:
    if flat is None:
        return []
    on = " or ".join(fit.law.variables)
    if flat.objective <= fit.value:
        return [
            f"a constant fits better: no evidence that the loss falls with {on} as this law says"
        ]
    if flat.delta_aicc is None or flat.delta_aicc >= MIN_DELTA_AICC:
        return []
    how = (
        f"AICc prefers a constant by {-flat.delta_aicc:.1f}"
        if flat.delta_aicc <= 0.0
        else f"AICc prefers this law to a constant by only {flat.delta_aicc:.1f}"
    )
    return [f"{how}: no evidence that the loss depends on {on}"]


def _freedom(fit: Estimate) -> list[str]:
    if fit.n_points > fit.law.n_parameters:
        return []
    name = short_name(fit.law)
    return [f"{name} has as many parameters as there are points, and passes through any"]


def _bounds(fit: Estimate, resampled: Resampled | None) -> list[str]:
    said = [f"{name} is at a bound: a limit, not a measurement" for name in fit.at_bound]
    if resampled is None:
        return said
    for name, (low, high) in exponent_bounds(fit.law).items():
        value_S = resampled.parameters[name]
        at_bound_S = (value_S <= low + _AT_BOUND) | (value_S >= high - _AT_BOUND)
        share = float(at_bound_S.mean())
        if share > _MAX_AT_BOUND_FRAC:
            said.append(
                f"{name} is at an end of its range, {low:g} to {high:g}, in {share:.0%} of the "
                "bootstrap samples: the points limit it on one side at most"
            )
    return said


def _samples(resampled: Resampled | None, confidence: float) -> list[str]:
    needed = ceil(2.0 / (1.0 - confidence))
    if resampled is None or resampled.value_S.size >= needed:
        return []
    n = resampled.value_S.size
    return [f"{n} bootstrap samples are too few for a {confidence:.0%} interval; {needed} are not"]

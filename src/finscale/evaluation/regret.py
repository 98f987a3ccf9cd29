"""What a forecast loses against the best possible one, where the true probabilities are known.

With p the true probability of the event given the past and q a forecast of it, the expected
log-loss of q is the entropy of p, which no forecast can go below, plus the Kullback-Leibler
divergence of q from p, the *expected regret* (Cover and Thomas 2006, section 5.4). Neither depends
on how the labels fell, so they are free of the noise of a finite test part. The *realised regret*
is the difference of the two log-losses on the labels as they fell; it scatters around the expected
one, and can be negative by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.estimate import Estimate
from finscale.evaluation.metrics import EPS
from finscale.evaluation.outcomes import row_loss


@dataclass(frozen=True)
class Regret:
    """What forecasts lose against the true probabilities on some rows; nats.

    Attributes
    ----------
    expected_loss
        Mean log-loss that the forecast has to expect: best possible loss + expected regret.
    expected
        Mean Kullback-Leibler divergence; never below 0.
    realised
        Log-loss of the forecast less that of the true probabilities, on the same labels.
    """

    expected_loss: float
    expected: Estimate
    realised: Estimate


def best_possible_loss(true_B: npt.ArrayLike) -> float:
    """Return the mean entropy of the true probabilities, shape (B,), in nats."""
    p_B = np.asarray(true_B, dtype=np.float64)
    return float(np.mean(special.entr(p_B) + special.entr(1.0 - p_B)))


def row_regret(
    true_B: npt.ArrayLike, p_B: npt.ArrayLike, y_B: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return what a forecast loses against the true probabilities, row by row.

    Parameters
    ----------
    true_B, p_B, y_B : array_like
        True probabilities, forecasts and 0/1 labels of the same rows, shape (B,). Forecasts are
        clipped as in `finscale.evaluation.metrics.log_loss`.

    Returns
    -------
    tuple of ndarray
        Expected and realised regret, each of shape (B,).

    Raises
    ------
    ValueError
        If the shapes differ or a value is outside its range.
    """
    truth_B, forecast_B = np.asarray(true_B, dtype=np.float64), np.asarray(p_B, dtype=np.float64)
    if truth_B.shape != forecast_B.shape:
        raise ValueError(f"shapes differ: {truth_B.shape} and {forecast_B.shape}")
    realised_B = row_loss(forecast_B, y_B) - row_loss(truth_B, y_B)
    clipped_B = np.clip(forecast_B, EPS, 1.0 - EPS)
    divergence_B = special.rel_entr(truth_B, clipped_B) + special.rel_entr(
        1.0 - truth_B, 1.0 - clipped_B
    )
    return np.asarray(divergence_B), realised_B


def summarise_regret(
    true_B: npt.ArrayLike, expected_B: FloatArray, realised_B: FloatArray, resampling: Resampling
) -> Regret:
    """Return means of the regrets of rows, with intervals.

    Parameters
    ----------
    true_B, expected_B, realised_B
        True probabilities, and regrets as `row_regret` gives them, or their means over the seeds
        of a model; shape (B,).
    resampling
        Of the same rows.
    """
    drawn_SM = resampling.means(np.column_stack([expected_B, realised_B]))
    expected = float(expected_B.mean())
    return Regret(
        best_possible_loss(true_B) + expected,
        resampling.estimate(expected, drawn_SM[:, 0], bounds=(0.0, np.inf)),
        resampling.estimate(float(realised_B.mean()), drawn_SM[:, 1]),
    )

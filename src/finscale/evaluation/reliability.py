"""Calibration with intervals: the reliability curve, and what it says in single numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.calibration import equal_count_bins
from finscale.evaluation.estimate import Estimate
from finscale.evaluation.metrics import N_BINS


@dataclass(frozen=True)
class CurvePoint:
    """A bin of the reliability curve: mean forecast, rows, event frequency with its band."""

    mean_predicted: float
    count: int
    observed_frequency: Estimate


@dataclass(frozen=True)
class CalibrationScores:
    """Scores over at most ten equal-count bins; the bins stay those of the rows themselves.

    Attributes
    ----------
    calibration_error
        Σ n_k |p_k - o_k| / n. Noise alone makes it positive: compare it with the next one, not
        with 0.
    calibration_noise
        What noise alone would make of it on these rows: the mean over the samples of
        Σ n_k |gap*_k - gap_k| / n with gap_k = p_k - o_k.
    calibrated_p_value
        Share of the samples in which that is at least the calibration error found; small where
        the forecasts are not calibrated.
    reliability, resolution, uncertainty
        Murphy's parts of the Brier score; see `finscale.evaluation.metrics.evaluate`.
    curve
        One point per bin, ascending.
    """

    calibration_error: Estimate
    calibration_noise: float
    calibrated_p_value: float
    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    curve: tuple[CurvePoint, ...]


def score_calibration(
    p_B: FloatArray,
    y_B: FloatArray,
    resampling: Resampling,
    *,
    n_bins: int = N_BINS,
) -> CalibrationScores:
    """Calibration error, Murphy's parts and the reliability curve, with intervals and bands."""
    _, bin_B = np.unique(equal_count_bins(p_B, n_bins), return_inverse=True)
    member_BK = (bin_B[:, None] == np.arange(bin_B.max() + 1)).astype(np.float64)
    columns_BM = np.column_stack([member_BK, member_BK * p_B[:, None], member_BK * y_B[:, None]])
    here, drawn = (
        _bin_scores(columns_BM.sum(axis=0)[None]),
        _bin_scores(resampling.sums(columns_BM)),
    )

    noise_S = np.sum(drawn["weight"] * np.abs(drawn["gap"] - here["gap"]), axis=1)
    error = float(here["calibration_error"][0])

    def reflected(name: str, highest: float) -> Estimate:
        value, samples = float(here[name][0]), drawn[name]
        return resampling.estimate(value, samples, method="basic", bounds=(0.0, highest))

    return CalibrationScores(
        calibration_error=reflected("calibration_error", 1.0),
        calibration_noise=float(noise_S.mean()),
        calibrated_p_value=float((1 + np.sum(noise_S >= error)) / (1 + noise_S.size)),
        reliability=reflected("reliability", 1.0),
        resolution=reflected("resolution", 0.25),
        uncertainty=resampling.estimate(
            float(here["uncertainty"][0]), drawn["uncertainty"], bounds=(0.0, 0.25)
        ),
        curve=tuple(
            CurvePoint(
                mean_predicted=float(here["predicted"][0, k]),
                count=int(member_BK[:, k].sum()),
                observed_frequency=resampling.estimate_share(
                    float(y_B @ member_BK[:, k]),
                    float(member_BK[:, k].sum()),
                    drawn["observed"][:, k],
                ),
            )
            for k in range(member_BK.shape[1])
        ),
    )


def _bin_scores(sum_SM: FloatArray) -> dict[str, FloatArray]:
    count_SK, p_SK, y_SK = np.split(sum_SM, 3, axis=1)
    weight_SK = count_SK / count_SK.sum(axis=1, keepdims=True)
    # A bin that a sample left empty has no frequency, and no weight in the sums.
    with np.errstate(invalid="ignore"):
        predicted_SK, observed_SK = p_SK / count_SK, y_SK / count_SK
    gap_SK = np.nan_to_num(predicted_SK - observed_SK)
    rate_S1 = y_SK.sum(axis=1, keepdims=True) / count_SK.sum(axis=1, keepdims=True)
    above_SK = np.nan_to_num(observed_SK - rate_S1)
    return {
        "weight": weight_SK,
        "gap": gap_SK,
        "calibration_error": np.sum(weight_SK * np.abs(gap_SK), axis=1),
        "reliability": np.sum(weight_SK * gap_SK**2, axis=1),
        "resolution": np.sum(weight_SK * above_SK**2, axis=1),
        "uncertainty": (rate_S1 * (1.0 - rate_S1))[:, 0],
        "predicted": predicted_SK,
        "observed": observed_SK,
    }

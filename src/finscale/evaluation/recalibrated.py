"""Test scores of a model after its probabilities were calibrated on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.estimate import Estimate, plain
from finscale.evaluation.forecasts import Forecasts
from finscale.evaluation.metrics import row_log_loss
from finscale.evaluation.recalibration import Calibrator, fit_calibrators
from finscale.evaluation.reliability import CalibrationScores, score_calibration


@dataclass(frozen=True)
class Recalibrated:
    """A model's test scores after a map fitted on validation.

    Attributes
    ----------
    parameters
        The map.
    log_loss, skill, calibration
        As for the raw forecasts.
    gain
        Log-loss of the raw forecasts minus this one, on the same rows; above 0 the map helped.
    """

    parameters: dict[str, Any]
    log_loss: Estimate
    skill: Estimate
    calibration: CalibrationScores
    gain: Estimate


def score_recalibrated(
    validation: Forecasts,
    test: Forecasts,
    model: str,
    resampling: Resampling,
    *,
    base_rate: float,
) -> dict[str, Recalibrated | None]:
    """Fit every map on the validation rows and score it on the test rows.

    Returns
    -------
    dict
        By name of the map; None where validation has one class only.
    """
    y_B, p_B = test.y_B, test.of(model)
    maps = fit_calibrators(validation.of(model), validation.y_B)
    return {
        name: None
        if calibrator is None
        else _score(calibrator, p_B, y_B, resampling, base_rate=base_rate)
        for name, calibrator in maps.items()
    }


def _score(
    calibrator: Calibrator,
    p_B: FloatArray,
    y_B: FloatArray,
    resampling: Resampling,
    *,
    base_rate: float,
) -> Recalibrated:
    mapped_B = calibrator.apply(p_B)
    columns_BM = np.column_stack(
        [
            row_log_loss(mapped_B, y_B),
            row_log_loss(np.full_like(p_B, base_rate), y_B),
            row_log_loss(p_B, y_B),
        ]
    )
    (loss, base, raw), mean_SM = columns_BM.mean(axis=0), resampling.means(columns_BM)
    return Recalibrated(
        parameters=plain(calibrator),
        log_loss=resampling.estimate(float(loss), mean_SM[:, 0]),
        skill=resampling.estimate(float(1.0 - loss / base), 1.0 - mean_SM[:, 0] / mean_SM[:, 1]),
        calibration=score_calibration(mapped_B, y_B, resampling),
        gain=resampling.estimate(float(raw - loss), mean_SM[:, 2] - mean_SM[:, 0]),
    )

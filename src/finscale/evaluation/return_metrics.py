"""Scores of forecasts of a return that are distributions over bins."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from finscale.evaluation.metrics import COLLAPSE_P_VALUE, FloatArray, skill
from finscale.evaluation.outcomes import constant_forecast, row_loss
from finscale.evaluation.quantile_metrics import crps_from_quantiles, pinball_rows
from finscale.return_bins import ReturnBins

QUANTILE_LEVELS = tuple(number / 20 for number in range(1, 20))
"""Levels of the quantiles that are scored and kept: 0.05, 0.1 … 0.95."""

_AT = {level: place for place, level in enumerate(QUANTILE_LEVELS)}
# Class probabilities whose ratio to their mean stays within 1%; see NEARLY_EQUAL_LOGIT_RANGE.
_NEARLY_EQUAL_LOG_RANGE = 0.01


@dataclass(frozen=True)
class ReturnMetrics:
    """Scores of one set of forecasts; see `evaluate_returns`.

    Attributes
    ----------
    log_loss, base_log_loss, skill
        Of the bin that the return fell into, in nats, and 1 - log_loss / base_log_loss.
    crps, base_crps, crps_skill
        Mean CRPS from the quantiles at `QUANTILE_LEVELS`, in units of the log return; that of the
        training distribution; 1 - crps / base_crps.
    pinball_05, pinball_50, pinball_95
        Mean pinball loss of three quantiles.
    coverage_50, width_50, coverage_90, width_90
        Share of returns within the central 50% and 90% interval, and its mean width.
    r2
        1 - mean squared error of the forecast mean / that of the mean training return (Campbell
        and Thompson 2008); None where the returns are all that mean.
    collapsed, collapse_p_value
        Whether the forecasts show no resolution, and the p-value that says so.
    """

    n: int
    log_loss: float
    base_log_loss: float
    skill: float
    crps: float
    base_crps: float
    crps_skill: float
    pinball_05: float
    pinball_50: float
    pinball_95: float
    coverage_50: float
    width_50: float
    coverage_90: float
    width_90: float
    r2: float | None
    collapsed: bool
    collapse_p_value: float | None

    def as_dict(self) -> dict[str, int | float | bool | None]:
        """Fields by name, ready for JSON: finite numbers, booleans, and None where undefined."""
        return asdict(self)


def evaluate_returns(
    p_BK: npt.ArrayLike, returns_B: npt.ArrayLike, bins: ReturnBins
) -> ReturnMetrics:
    """Score distributions over bins against returns and against the training distribution.

    ``collapsed`` asks what the same flag asks of probabilities: whether the forecasts that differ
    say anything of the returns that differ. Two rank correlations are tested (Spearman), that of
    the forecast mean with the return, and that of the width of the 90% interval with the distance
    of the return from the training median; the flag is set if the smaller p-value, doubled for
    the two tests, is above `finscale.evaluation.metrics.COLLAPSE_P_VALUE`, or if the forecasts are
    nearly the same on every row. Neighbouring returns of several bars overlap, which makes the
    p-value too small, so that a collapsed model may go unflagged.

    Parameters
    ----------
    p_BK
        Probabilities of the bins.
    returns_B
        Log returns.
    bins
        Of the training rows.

    Raises
    ------
    ValueError
        If the inputs are empty, do not fit together, or are outside their ranges.
    """
    p_BK = np.asarray(p_BK, dtype=np.float64)
    returns_B = np.asarray(returns_B, dtype=np.float64)
    labels_B = bins.numbers(returns_B)
    base_BK = constant_forecast(tuple(bins.share_K.tolist()), len(returns_B))
    loss = float(row_loss(p_BK, labels_B).mean())
    base = float(row_loss(base_BK, labels_B).mean())
    q_BQ = bins.quantiles(p_BK, QUANTILE_LEVELS)
    base_q_BQ = np.tile(bins.quantiles(base_BK[:1], QUANTILE_LEVELS), (len(returns_B), 1))
    crps = float(crps_from_quantiles(q_BQ, returns_B, QUANTILE_LEVELS).mean())
    base_crps = float(crps_from_quantiles(base_q_BQ, returns_B, QUANTILE_LEVELS).mean())
    pinball_Q = pinball_rows(q_BQ, returns_B, QUANTILE_LEVELS).mean(axis=0)
    mean_B = bins.means(p_BK)
    p_value = _resolution_p_value(mean_B, q_BQ, returns_B, float(base_q_BQ[0, _AT[0.5]]))
    coverage_50, width_50 = _interval(q_BQ, returns_B, 0.25, 0.75)
    coverage_90, width_90 = _interval(q_BQ, returns_B, 0.05, 0.95)
    return ReturnMetrics(
        n=returns_B.size,
        log_loss=loss,
        base_log_loss=base,
        skill=skill(loss, base),
        crps=crps,
        base_crps=base_crps,
        crps_skill=1.0 - crps / base_crps,
        pinball_05=float(pinball_Q[_AT[0.05]]),
        pinball_50=float(pinball_Q[_AT[0.5]]),
        pinball_95=float(pinball_Q[_AT[0.95]]),
        coverage_50=coverage_50,
        width_50=width_50,
        coverage_90=coverage_90,
        width_90=width_90,
        r2=_r2(mean_B, returns_B, bins.historical_mean),
        collapsed=_nearly_equal(p_BK) or p_value is None or p_value > COLLAPSE_P_VALUE,
        collapse_p_value=p_value,
    )


def _interval(
    q_BQ: FloatArray, returns_B: FloatArray, low: float, high: float
) -> tuple[float, float]:
    low_B, high_B = q_BQ[:, _AT[low]], q_BQ[:, _AT[high]]
    inside_B = (low_B <= returns_B) & (returns_B <= high_B)
    return float(inside_B.mean()), float((high_B - low_B).mean())


def _r2(mean_B: FloatArray, returns_B: FloatArray, historical_mean: float) -> float | None:
    historical = float(np.mean((returns_B - historical_mean) ** 2))
    if historical == 0.0:
        return None
    return 1.0 - float(np.mean((returns_B - mean_B) ** 2)) / historical


def _resolution_p_value(
    mean_B: FloatArray, q_BQ: FloatArray, returns_B: FloatArray, median: float
) -> float | None:
    width_B = q_BQ[:, -1] - q_BQ[:, 0]
    found = [
        float(stats.spearmanr(forecast_B, outcome_B).pvalue)
        for forecast_B, outcome_B in ((mean_B, returns_B), (width_B, np.abs(returns_B - median)))
        if len(returns_B) > 2 and _varies(forecast_B) and _varies(outcome_B)
    ]
    return min(1.0, 2.0 * min(found)) if found else None


def _varies(x_B: FloatArray) -> bool:
    # Rounding alone gives a constant forecast a spread of its last digits.
    return float(np.ptp(x_B)) > 1e-9 * float(np.abs(x_B).max())


def _nearly_equal(p_BK: FloatArray) -> bool:
    log_BK = np.log(np.maximum(p_BK, 1e-300))
    return bool(np.ptp(log_BK, axis=0).max() < _NEARLY_EQUAL_LOG_RANGE)

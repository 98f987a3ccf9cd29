"""Every score of a probability forecast, each with its interval over resampled dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.calibration import check_forecasts
from finscale.evaluation.estimate import Estimate
from finscale.evaluation.metrics import row_log_loss
from finscale.evaluation.ranking import RankScores, rank_samples, rank_scores
from finscale.evaluation.reliability import CalibrationScores, score_calibration

RECALLS = (0.5, 0.8)

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

_RANGE_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class PrecisionAtRecall:
    """Precision at the highest threshold that finds at least this share of the events."""

    recall: float
    precision: Estimate


@dataclass(frozen=True)
class ThresholdRow:
    """What flagging every row whose probability is at least ``threshold`` would have found."""

    threshold: float
    precision: Estimate
    recall: Estimate
    flagged_frac: Estimate


@dataclass(frozen=True)
class PredictionRange:
    """Smallest and largest forecast, and quantiles; the extremes have no bootstrap interval."""

    p_min: float
    p_05: Estimate
    p_50: Estimate
    p_95: Estimate
    p_max: float


@dataclass(frozen=True)
class ModelScores:
    """Scores of one model on the rows of one cell; see `score_forecasts`.

    Attributes
    ----------
    n_rows, n_dates
        Rows and distinct dates scored.
    log_loss, brier
        Means over rows.
    skill
        1 - log-loss / log-loss of the training base rate.
    skill_vs_benchmark
        1 - log-loss / log-loss of the benchmark forecast; None without one.
    brier_skill
        1 - Brier / Brier of the training base rate.
    auc, average_precision, precision_at_recall, thresholds, prediction_range, calibration
        See the classes above.
    """

    n_rows: int
    n_dates: int
    event_rate: Estimate
    log_loss: Estimate
    skill: Estimate
    skill_vs_benchmark: Estimate | None
    brier: Estimate
    brier_skill: Estimate
    auc: Estimate
    average_precision: Estimate
    precision_at_recall: tuple[PrecisionAtRecall, ...]
    calibration: CalibrationScores
    thresholds: tuple[ThresholdRow, ...]
    prediction_range: PredictionRange


def score_forecasts(
    p_B: npt.ArrayLike,
    y_B: npt.ArrayLike,
    resampling: Resampling,
    *,
    base_rate: float,
    benchmark_B: npt.ArrayLike | None = None,
    recalls: tuple[float, ...] = RECALLS,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> ModelScores:
    """Score probabilities of 0/1 labels, each score with an interval.

    Intervals are percentiles of the resampled score, except where noise pushes a score up
    (calibration error, reliability, resolution): those are reflected; see
    `finscale.evaluation.estimate.estimate`.

    Parameters
    ----------
    p_B, y_B
        Probabilities within [0, 1] and 0/1 labels, shape (B,).
    resampling
        Of the same rows.
    base_rate
        Event rate of the training rows, within (0, 1).
    benchmark_B
        Probabilities of the benchmark (the volatility baseline) on the same rows.
    recalls, thresholds
        Recalls at which precision is given; probabilities of the threshold table.

    Raises
    ------
    ValueError
        If rows differ in number, or a value is out of its range.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    if p_B.size != resampling.date_of_row_B.size:
        raise ValueError(
            f"{p_B.size} forecasts against {resampling.date_of_row_B.size} resampled rows"
        )
    if not 0.0 < base_rate < 1.0:
        raise ValueError(f"the base rate must be within (0, 1), got {base_rate}")
    base_B = np.full_like(p_B, base_rate)
    benchmark = base_B if benchmark_B is None else np.asarray(benchmark_B, dtype=np.float64)
    columns_BM = np.column_stack(
        [
            row_log_loss(p_B, y_B),
            row_log_loss(base_B, y_B),
            row_log_loss(benchmark, y_B),
            (p_B - y_B) ** 2,
            (base_B - y_B) ** 2,
            y_B,
        ]
    )
    mean_M, mean_SM = columns_BM.mean(axis=0), resampling.means(columns_BM)
    here, drawn = _mean_scores(mean_M), _mean_scores(mean_SM)

    def percentile(name: str) -> Estimate:
        return resampling.estimate(float(here[name]), drawn[name])

    order, order_samples = (
        rank_scores(p_B, y_B, np.ones((p_B.size, 1)), recalls=recalls, quantiles=_RANGE_QUANTILES),
        rank_samples(p_B, y_B, resampling, recalls=recalls, quantiles=_RANGE_QUANTILES),
    )
    return ModelScores(
        n_rows=p_B.size,
        n_dates=resampling.n_dates,
        event_rate=percentile("event_rate"),
        log_loss=percentile("log_loss"),
        skill=percentile("skill"),
        skill_vs_benchmark=None if benchmark_B is None else percentile("skill_vs_benchmark"),
        brier=percentile("brier"),
        brier_skill=percentile("brier_skill"),
        auc=resampling.estimate(order.auc_S[0], order_samples.auc_S, bounds=(0.0, 1.0)),
        average_precision=resampling.estimate(
            order.average_precision_S[0], order_samples.average_precision_S, bounds=(0.0, 1.0)
        ),
        precision_at_recall=tuple(
            PrecisionAtRecall(recall, resampling.estimate(here_S[0], drawn_S, bounds=(0.0, 1.0)))
            for recall, here_S, drawn_S in zip(
                recalls, order.precision_RS, order_samples.precision_RS, strict=True
            )
        ),
        calibration=score_calibration(p_B, y_B, resampling),
        thresholds=_threshold_table(p_B, y_B, resampling, thresholds),
        prediction_range=_range(p_B, order, order_samples, resampling),
    )


def _mean_scores(mean_SM: FloatArray) -> dict[str, FloatArray]:
    loss, base, benchmark, brier, base_brier, rate = np.moveaxis(mean_SM, -1, 0)
    return {
        "log_loss": loss,
        "skill": 1.0 - loss / base,
        "skill_vs_benchmark": 1.0 - loss / benchmark,
        "brier": brier,
        "brier_skill": 1.0 - brier / base_brier,
        "event_rate": rate,
    }


def _threshold_table(
    p_B: FloatArray,
    y_B: FloatArray,
    resampling: Resampling,
    thresholds: tuple[float, ...],
) -> tuple[ThresholdRow, ...]:
    flag_BK = (p_B[:, None] >= np.array(thresholds)).astype(np.float64)
    columns_BM = np.column_stack([flag_BK, flag_BK * y_B[:, None], y_B, np.ones_like(y_B)])

    def triples(sum_SM: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        flagged_SK, hits_SK, events_S1, rows_S1 = np.split(
            sum_SM, [len(thresholds), 2 * len(thresholds), 2 * len(thresholds) + 1], axis=1
        )
        return [
            (hits_SK, flagged_SK),
            (hits_SK, np.broadcast_to(events_S1, hits_SK.shape)),
            (flagged_SK, np.broadcast_to(rows_S1, hits_SK.shape)),
        ]

    here, drawn = triples(columns_BM.sum(axis=0)[None]), triples(resampling.sums(columns_BM))

    def share(kind: int, k: int) -> Estimate:
        (hits, n), (hits_SK, n_SK) = here[kind], drawn[kind]
        with np.errstate(invalid="ignore"):
            samples_S = hits_SK[:, k] / n_SK[:, k]
        return resampling.estimate_share(float(hits[0, k]), float(n[0, k]), samples_S)

    return tuple(
        ThresholdRow(threshold, share(0, k), share(1, k), share(2, k))
        for k, threshold in enumerate(thresholds)
    )


def _range(
    p_B: FloatArray, here: RankScores, drawn: RankScores, resampling: Resampling
) -> PredictionRange:
    p_05, p_50, p_95 = (
        resampling.estimate(a[0], b, bounds=(0.0, 1.0))
        for a, b in zip(here.quantile_QS, drawn.quantile_QS, strict=True)
    )
    return PredictionRange(float(p_B.min()), p_05, p_50, p_95, float(p_B.max()))

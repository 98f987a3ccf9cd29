"""The evidence on quantile forecasts of a return: scores, and conformal intervals measured."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import Resampling, resample_dependent
from finscale.evaluation.conformal import (
    Coverage,
    Intervals,
    adaptive_intervals,
    conformity_scores,
    known_positions,
    measure_coverage,
    split_intervals,
)
from finscale.evaluation.estimate import Estimate, plain
from finscale.evaluation.quantile_metrics import (
    QuantileScores,
    crps_from_quantiles,
    score_quantiles,
)
from finscale.evaluation.return_forecasts import ReturnForecasts
from finscale.seeds import derive_seed


@dataclass(frozen=True)
class ReturnEvidence:
    """Scores of quantile forecasts on test, and coverage of the outermost interval.

    Attributes
    ----------
    n_rows, n_dates, mean_block, confidence
        Of the rows and the bootstrap.
    scores
        Of the quantiles as they are.
    r2
        1 - mean squared error of the forecast mean / that of the historical mean (Campbell and
        Thompson 2008); None where either is not given.
    raw, split, adaptive
        Coverage of the interval between the outermost quantiles as it is, after split conformal
        prediction on validation, and adapted as test labels become known.
    """

    n_rows: int
    n_dates: int
    mean_block: float
    confidence: float
    scores: QuantileScores
    r2: Estimate | None
    raw: Coverage
    split: Coverage
    adaptive: Coverage

    def as_dict(self) -> dict[str, Any]:
        """Return the evidence as JSON can hold it: finite numbers, or None."""
        return {one.name: plain(getattr(self, one.name)) for one in fields(self)}


def return_evidence(
    validation: ReturnForecasts,
    test: ReturnForecasts,
    levels: tuple[float, ...],
    *,
    horizon_bars: int,
    reference_Q: npt.ArrayLike | None = None,
    historical_mean: float | None = None,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ReturnEvidence:
    """Score quantile forecasts of a return and measure their conformal intervals.

    Parameters
    ----------
    validation, test
        Forecasts and outcomes; the validation labels are known when the test rows begin.
    levels
        Of the quantiles, rising, the outermost two as far from 0 as from 1.
    horizon_bars
        Bars that a return spans.
    reference_Q
        Constant quantiles to compare with, such as those of the training rows.
    historical_mean
        Mean of the training returns.
    n_bootstrap, confidence, seed
        Of the intervals.

    Raises
    ------
    ValueError
        If the outermost levels are not symmetric, or a part has no rows.
    """
    if not np.isclose(levels[0] + levels[-1], 1.0):
        raise ValueError(f"levels {levels[0]} and {levels[-1]} are not the ends of one interval")
    if validation.y_B.size == 0 or test.y_B.size == 0:
        raise ValueError("validation and test need rows whose return is known")
    # 0.95 - 0.05 is 0.8999999999999999 in binary.
    nominal = round(levels[-1] - levels[0], 9)
    crps_B = crps_from_quantiles(test.q_BQ, test.y_B, levels)
    resampling = resample_dependent(
        test.date_B,
        crps_B[:, None],
        horizon_bars=horizon_bars,
        n_samples=n_bootstrap,
        seed=derive_seed(seed, "return evidence"),
        confidence=confidence,
    )
    low_B, high_B = test.q_BQ[:, 0], test.q_BQ[:, -1]
    oldest_first = np.argsort(validation.date_B, kind="stable")
    past = conformity_scores(validation.q_BQ[:, 0], validation.q_BQ[:, -1], validation.y_B)
    past = past[oldest_first]
    intervals = {
        "raw": Intervals(low_B, high_B),
        "split": split_intervals(low_B, high_B, past, coverage=nominal),
        "adaptive": adaptive_intervals(
            low_B,
            high_B,
            test.y_B,
            past,
            date_B=resampling.date_of_row_B,
            known_B=known_positions(
                resampling.date_of_row_B, test.symbol_B, horizon_bars=horizon_bars
            ),
            coverage=nominal,
        ),
    }
    measured = {
        name: measure_coverage(one, test.y_B, resampling, nominal=nominal)
        for name, one in intervals.items()
    }
    return ReturnEvidence(
        n_rows=test.y_B.size,
        n_dates=resampling.n_dates,
        mean_block=resampling.mean_block,
        confidence=confidence,
        scores=score_quantiles(
            test.q_BQ,
            test.y_B,
            levels,
            resampling,
            reference_BQ=None
            if reference_Q is None
            else np.tile(np.asarray(reference_Q, dtype=np.float64), (test.y_B.size, 1)),
        ),
        r2=_r2(test, historical_mean, resampling),
        **measured,
    )


def _r2(
    test: ReturnForecasts, historical_mean: float | None, resampling: Resampling
) -> Estimate | None:
    if test.mean_B is None or historical_mean is None:
        return None
    errors_B2 = np.column_stack([test.y_B - test.mean_B, test.y_B - historical_mean]) ** 2
    (own, historical), mean_S2 = errors_B2.mean(axis=0), resampling.means(errors_B2)
    if not historical > 0.0:
        return Estimate(None)
    return resampling.estimate(1.0 - own / historical, 1.0 - mean_S2[:, 0] / mean_S2[:, 1])

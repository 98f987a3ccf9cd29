"""Scores of quantile forecasts of a return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.estimate import Estimate


def pinball_rows(q_BQ: npt.ArrayLike, y_B: npt.ArrayLike, levels_Q: npt.ArrayLike) -> FloatArray:
    """Pinball loss of each forecast quantile on each row, shape (B, Q).

    (y - q) a where y is above the a-quantile q, and (q - y) (1 - a) where it is below (Koenker
    and Bassett 1978).

    Raises
    ------
    ValueError
        If shapes do not fit, or levels are not rising within (0, 1).
    """
    q_BQ, y_B, levels_Q = _check(q_BQ, y_B, levels_Q)
    gap_BQ = y_B[:, None] - q_BQ
    return np.asarray(np.where(gap_BQ >= 0.0, levels_Q * gap_BQ, (levels_Q - 1.0) * gap_BQ))


def crps_from_quantiles(
    q_BQ: npt.ArrayLike, y_B: npt.ArrayLike, levels_Q: npt.ArrayLike
) -> FloatArray:
    """Approximate the CRPS of each row by twice the mean pinball loss, shape (B,).

    CRPS = 2 ∫ pinball_a da over a in (0, 1) (Laio and Tamea 2007). Each level stands for the
    levels nearer to it than to another, so that for (k - 1/2) / Q it is the plain mean. The tails
    beyond the outermost levels count with the outermost quantiles.

    Raises
    ------
    ValueError
        See `pinball_rows`.
    """
    levels = np.asarray(levels_Q, dtype=np.float64)
    loss_BQ = pinball_rows(q_BQ, y_B, levels)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2.0, [1.0]])
    return np.asarray(2.0 * loss_BQ @ np.diff(edges))


@dataclass(frozen=True)
class IntervalScores:
    """Coverage and mean width of one central interval; ``nominal`` is what it promises."""

    nominal: float
    coverage: Estimate
    width: Estimate


@dataclass(frozen=True)
class QuantileScores:
    """Scores of quantile forecasts; see `score_quantiles`.

    Attributes
    ----------
    pinball
        Mean pinball loss per level.
    crps, crps_skill
        Mean CRPS, and 1 - CRPS / CRPS of the reference (None without one).
    below
        Share of outcomes at or below each quantile; calibrated forecasts have the level itself.
    intervals
        Of every pair of levels a and 1 - a, widest first.
    """

    n_rows: int
    levels: tuple[float, ...]
    pinball: tuple[Estimate, ...]
    crps: Estimate
    crps_skill: Estimate | None
    below: tuple[Estimate, ...]
    intervals: tuple[IntervalScores, ...]


def score_quantiles(
    q_BQ: npt.ArrayLike,
    y_B: npt.ArrayLike,
    levels_Q: npt.ArrayLike,
    resampling: Resampling,
    *,
    reference_BQ: npt.ArrayLike | None = None,
) -> QuantileScores:
    """Score quantile forecasts of a return, each score with its interval.

    Parameters
    ----------
    q_BQ
        Forecast quantiles, in the units of the outcome.
    y_B
        Outcomes.
    levels_Q
        Levels of the quantiles, rising within (0, 1).
    resampling
        Of the same rows.
    reference_BQ
        Quantiles of a reference, such as those of the training rows, at the same levels.

    Raises
    ------
    ValueError
        See `pinball_rows`.
    """
    q_BQ, y_B, levels_Q = _check(q_BQ, y_B, levels_Q)
    n_levels = levels_Q.size
    crps_B = crps_from_quantiles(q_BQ, y_B, levels_Q)
    reference = q_BQ if reference_BQ is None else reference_BQ
    pairs = [
        (k, n_levels - 1 - k)
        for k in range(n_levels // 2)
        if np.isclose(levels_Q[k] + levels_Q[n_levels - 1 - k], 1.0)
    ]
    columns_BM = np.column_stack(
        [
            crps_B,
            crps_from_quantiles(reference, y_B, levels_Q),
            pinball_rows(q_BQ, y_B, levels_Q),
            y_B[:, None] <= q_BQ,
            *((q_BQ[:, low] <= y_B) & (y_B <= q_BQ[:, high]) for low, high in pairs),
            *(q_BQ[:, high] - q_BQ[:, low] for low, high in pairs),
        ]
    ).astype(np.float64)
    mean_M, mean_SM = columns_BM.mean(axis=0), resampling.means(columns_BM)

    def mean(column: int) -> Estimate:
        return resampling.estimate(float(mean_M[column]), mean_SM[:, column])

    def share(column: int) -> Estimate:
        hits = float(columns_BM[:, column].sum())
        return resampling.estimate_share(hits, float(y_B.size), mean_SM[:, column])

    first_pair = 2 + 2 * n_levels
    return QuantileScores(
        n_rows=y_B.size,
        levels=tuple(levels_Q.tolist()),
        pinball=tuple(mean(2 + k) for k in range(n_levels)),
        crps=mean(0),
        crps_skill=None
        if reference_BQ is None
        else resampling.estimate(
            float(1.0 - mean_M[0] / mean_M[1]), 1.0 - mean_SM[:, 0] / mean_SM[:, 1]
        ),
        below=tuple(share(2 + n_levels + k) for k in range(n_levels)),
        intervals=tuple(
            IntervalScores(
                nominal=round(float(levels_Q[high] - levels_Q[low]), 9),
                coverage=share(first_pair + k),
                width=mean(first_pair + len(pairs) + k),
            )
            for k, (low, high) in enumerate(pairs)
        ),
    )


def _check(
    q_BQ: npt.ArrayLike, y_B: npt.ArrayLike, levels_Q: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    q = np.asarray(q_BQ, dtype=np.float64)
    y = np.asarray(y_B, dtype=np.float64)
    levels = np.asarray(levels_Q, dtype=np.float64)
    if q.ndim != 2 or y.shape != q.shape[:1] or levels.shape != q.shape[1:] or q.size == 0:
        raise ValueError(
            f"quantiles {q.shape}, outcomes {y.shape} and levels {levels.shape} do not fit together"
        )
    if not ((levels > 0.0) & (levels < 1.0)).all() or not (np.diff(levels) > 0.0).all():
        raise ValueError(f"levels must rise within (0, 1), got {levels.tolist()}")
    if not (np.isfinite(q).all() and np.isfinite(y).all()):
        raise ValueError("quantiles and outcomes must be finite")
    return q, y, levels

"""Conformal intervals for a return, whose labels become known only after a delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import FloatArray, IntArray, Resampling
from finscale.evaluation.estimate import Estimate


@dataclass(frozen=True)
class Intervals:
    """Ends of an interval for every row; infinite where no finite one keeps the promise."""

    low_B: FloatArray
    high_B: FloatArray


@dataclass(frozen=True)
class Coverage:
    """What intervals did on rows whose outcome is known.

    Attributes
    ----------
    nominal
        Coverage promised.
    coverage
        Share of outcomes inside.
    width
        Mean width of the finite intervals; None where there are none.
    infinite_frac
        Share of infinite intervals, which cover and say nothing.
    """

    nominal: float
    coverage: Estimate
    width: Estimate
    infinite_frac: float


def conformity_scores(
    low_B: npt.ArrayLike, high_B: npt.ArrayLike, y_B: npt.ArrayLike
) -> FloatArray:
    """Return how far each outcome lies outside its interval, negative inside.

    Romano, Patterson and Candès (2019), eq. 6.
    """
    low, high, y = (np.asarray(one, dtype=np.float64) for one in (low_B, high_B, y_B))
    return np.maximum(low - y, y - high)


def split_intervals(
    low_B: npt.ArrayLike,
    high_B: npt.ArrayLike,
    calibration_scores: npt.ArrayLike,
    *,
    coverage: float,
) -> Intervals:
    """Widen (or narrow) quantile forecasts by split conformal prediction.

    Conformalised quantile regression (Romano, Patterson and Candès 2019, eq. 7 and 8): by the
    ceil((n + 1) coverage)-th smallest of the n calibration scores. Covers at the rate promised if
    calibration rows and later ones are exchangeable, which a market's are not: measure it.

    Parameters
    ----------
    low_B, high_B
        Forecast quantiles of the rows to cover, in the units of the return.
    calibration_scores
        `conformity_scores` of validation rows.
    coverage
        Promised, in (0, 1).
    """
    _check_coverage(coverage)
    reach = _conformal_quantile(np.sort(np.asarray(calibration_scores, np.float64)), coverage)
    return _widened(low_B, high_B, np.full(np.shape(low_B), reach))


def adaptive_intervals(
    low_B: npt.ArrayLike,
    high_B: npt.ArrayLike,
    y_B: npt.ArrayLike,
    calibration_scores: npt.ArrayLike,
    *,
    date_B: IntArray,
    known_B: IntArray,
    coverage: float,
    step: float = 0.01,
    memory: int | None = None,
) -> Intervals:
    """Adaptive conformal inference (Gibbs and Candès 2021), with labels that come late.

    The miscoverage aimed at, a_t, starts at 1 - coverage. Before the forecasts of date t are made,
    it moves by ``step * (1 - coverage - miss)`` for every earlier date whose labels have all become
    known by t and that has not been used yet (eq. 2 there), with ``miss`` the share of the date's
    rows that fell outside the intervals they were given. The scores of these dates join those of
    the calibration rows. An a_t of 0 or less gives infinite intervals, as there.

    Parameters
    ----------
    low_B, high_B, y_B
        Forecast quantiles and outcomes.
    calibration_scores
        `conformity_scores` of validation rows, oldest first.
    date_B
        Position of each row's date, rising in time; see `Resampling.date_of_row_B`.
    known_B
        Position of the date at whose close each row's label is known; see `known_positions`.
    coverage
        Promised, in (0, 1).
    step
        The learning rate: larger follows drift faster and is rougher.
    memory
        Most recent scores to keep, at least 1; None: as many as there are calibration scores.

    Raises
    ------
    ValueError
        If a label is said to be known before the close after its own date, ``coverage`` is not
        within (0, 1), or ``memory`` is below 1, as it is by default without calibration scores.
    """
    _check_coverage(coverage)
    if (known_B <= date_B).any():
        raise ValueError("a label reads rows after its own, and is known at their close at best")
    scores_B = conformity_scores(low_B, high_B, y_B)
    calibration = np.asarray(calibration_scores, dtype=np.float64)
    memory = calibration.size if memory is None else memory
    if memory < 1:
        raise ValueError(f"the memory must be at least 1 score, got {memory}")
    kept = calibration[-memory:]
    known_of_date = {int(t): int(known_B[date_B == t].max()) for t in np.unique(date_B)}
    rows_of_date = {t: np.flatnonzero(date_B == t) for t in known_of_date}
    reach_B = np.empty(scores_B.size)
    aim = 1.0 - coverage
    waiting: list[int] = []
    ordered = np.sort(kept)
    for t in sorted(known_of_date):
        arrived = [s for s in waiting if known_of_date[s] <= t]
        waiting = [s for s in waiting if known_of_date[s] > t]
        for s in arrived:
            rows = rows_of_date[s]
            aim += step * (1.0 - coverage - float(np.mean(scores_B[rows] > reach_B[rows])))
            kept = np.concatenate([kept, scores_B[rows]])[-memory:]
        if arrived:
            ordered = np.sort(kept)
        reach_B[rows_of_date[t]] = _conformal_quantile(ordered, 1.0 - aim)
        waiting.append(t)
    return _widened(low_B, high_B, reach_B)


def known_positions(date_B: IntArray, symbol_B: npt.ArrayLike, *, horizon_bars: int) -> IntArray:
    """Return the position of the date at whose close the label of each row is known.

    That of the symbol's own h-th next row. The last h rows of a symbol have none among these rows
    and get a position after the last, so that no forecast here uses them.

    Parameters
    ----------
    date_B, symbol_B
        Position of each row's date, and its symbol, in any order.
    horizon_bars
        h, at least 1.

    Raises
    ------
    ValueError
        If it is less.
    """
    if horizon_bars < 1:
        raise ValueError(f"a label reaches at least 1 bar ahead, got {horizon_bars}")
    known_B = np.full(date_B.size, int(date_B.max(initial=0)) + horizon_bars, dtype=np.int64)
    symbols = np.asarray(symbol_B)
    for symbol in np.unique(symbols):
        rows = np.flatnonzero(symbols == symbol)
        rows = rows[np.argsort(date_B[rows], kind="stable")]
        known_B[rows[:-horizon_bars]] = date_B[rows[horizon_bars:]]
    return known_B


def measure_coverage(
    intervals: Intervals, y_B: npt.ArrayLike, resampling: Resampling, *, nominal: float
) -> Coverage:
    """Measure coverage and width, with intervals over resampled dates."""
    y = np.asarray(y_B, dtype=np.float64)
    inside_B = ((intervals.low_B <= y) & (y <= intervals.high_B)).astype(np.float64)
    width_B = intervals.high_B - intervals.low_B
    finite_B = np.isfinite(width_B)
    columns_BM = np.column_stack([inside_B, np.where(finite_B, width_B, 0.0), finite_B])
    sum_SM = resampling.sums(columns_BM)
    samples_S = resampling.means(columns_BM)[:, 0]
    with np.errstate(invalid="ignore"):
        width_S = sum_SM[:, 1] / sum_SM[:, 2]
    return Coverage(
        nominal=nominal,
        coverage=resampling.estimate_share(float(inside_B.sum()), float(y.size), samples_S),
        width=resampling.estimate(
            float(width_B[finite_B].mean()) if finite_B.any() else None, width_S
        ),
        infinite_frac=float(1.0 - finite_B.mean()),
    )


def _conformal_quantile(ordered: FloatArray, coverage: float) -> float:
    """Return the ceil((n + 1) coverage)-th smallest score; infinite beyond the last."""
    # Rounded first: (99 + 1) × 0.9 is 90.00000000000001 in binary.
    rank = int(np.ceil(round((ordered.size + 1) * coverage, 9)))
    if rank > ordered.size:
        return float(np.inf)
    return float(ordered[rank - 1]) if rank >= 1 else float(-np.inf)


def _widened(low_B: npt.ArrayLike, high_B: npt.ArrayLike, reach_B: FloatArray) -> Intervals:
    low, high = np.asarray(low_B, np.float64) - reach_B, np.asarray(high_B, np.float64) + reach_B
    # Narrowed past its own middle, an interval is empty: its middle alone.
    middle = (np.asarray(low_B, np.float64) + np.asarray(high_B, np.float64)) / 2.0
    return Intervals(np.minimum(low, middle), np.maximum(high, middle))


def _check_coverage(coverage: float) -> None:
    if not 0.0 < coverage < 1.0:
        raise ValueError(f"the coverage must be within (0, 1), got {coverage}")

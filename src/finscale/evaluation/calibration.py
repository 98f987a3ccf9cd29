"""The one binning of probabilities: equal-count bins that never split ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability curve.

    Attributes
    ----------
    mean_predicted : float
        Mean of the predicted probabilities in the bin.
    observed_frequency : float
        Share of events among the bin's rows.
    count : int
        Rows in the bin, at least 1.
    """

    mean_predicted: float
    observed_frequency: float
    count: int


def reliability_curve(
    p_B: npt.ArrayLike, y_B: npt.ArrayLike, n_bins: int = 10
) -> list[ReliabilityBin]:
    """Observed event frequency against predicted probability, in bins of equal count.

    A value whose copies take the sorted positions i … j (counted from 0) goes to bin
    ``floor(n_bins * (i + j + 1) / (2 B))``: the bin that holds the middle of its positions. All
    copies share a bin, so a constant prediction gives one bin, and with distinct values the counts
    differ by at most one.

    Parameters
    ----------
    p_B : array_like
        Predicted probabilities, shape (B,), within [0, 1].
    y_B : array_like
        Labels, shape (B,), 0 or 1.
    n_bins : int
        Most bins to return; fewer come back where ties or few rows leave a bin empty.

    Returns
    -------
    list of ReliabilityBin
        Bins that hold at least one row, in ascending order of predicted probability.

    Raises
    ------
    ValueError
        If the inputs are empty, of different lengths, outside their ranges, or ``n_bins < 1``.
    """
    p_B, y_B = check_forecasts(p_B, y_B)
    bin_B = equal_count_bins(p_B, n_bins)
    count_K = np.bincount(bin_B, minlength=n_bins)
    sum_p_K = np.bincount(bin_B, weights=p_B, minlength=n_bins)
    sum_y_K = np.bincount(bin_B, weights=y_B, minlength=n_bins)
    return [
        ReliabilityBin(float(sum_p / count), float(sum_y / count), int(count))
        for sum_p, sum_y, count in zip(sum_p_K, sum_y_K, count_K, strict=True)
        if count > 0
    ]


def equal_count_bins(p_B: npt.NDArray[np.float64], n_bins: int) -> npt.NDArray[np.int64]:
    """Bin of every row, in 0 … n_bins - 1, by the rule of `reliability_curve`.

    Raises
    ------
    ValueError
        If ``n_bins < 1``.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}")
    _, value_of_row_B, copies_V = np.unique(p_B, return_inverse=True, return_counts=True)
    first_V = np.cumsum(copies_V) - copies_V
    # i + j + 1 = 2 i + copies; in integers, so that a rounding error never moves a row.
    bin_of_value_V = n_bins * (2 * first_V + copies_V) // (2 * p_B.size)
    return np.asarray(bin_of_value_V[value_of_row_B], dtype=np.int64)


def check_forecasts(
    p_B: npt.ArrayLike, y_B: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Probabilities and labels as float64 arrays of shape (B,), refused unless they are such.

    Raises
    ------
    ValueError
        If the inputs are empty, not one-dimensional, of different lengths, if a probability is
        missing or outside [0, 1], or if a label is neither 0 nor 1.
    """
    p = np.asarray(p_B, dtype=np.float64)
    y = np.asarray(y_B, dtype=np.float64)
    if p.ndim != 1 or p.shape != y.shape or p.size == 0:
        raise ValueError(
            f"probabilities and labels must be non-empty and one-dimensional of equal length, "
            f"got shapes {p.shape} and {y.shape}"
        )
    outside = ~((p >= 0.0) & (p <= 1.0))  # also true for NaN
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"probability {p[row]} at position {row} is not within [0, 1]")
    unknown = (y != 0.0) & (y != 1.0)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise ValueError(f"label {y[row]} at position {row} is neither 0 nor 1")
    return p, y

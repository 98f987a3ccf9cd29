"""The stationary bootstrap over dates: one resampling that every statistic of a cell shares."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from arch.bootstrap import optimal_block_length
from scipy import stats

from finscale.evaluation.estimate import Estimate, IntervalMethod, estimate, estimate_share

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# Below this many dates the automatic choice has nothing to estimate an autocorrelation from.
_FEWEST_DATES = 20

_LENGTHENED = 2.0

_FEWEST_BLOCKS = 4.0


@dataclass(frozen=True)
class Resampling:
    """How often each date of a set of rows was drawn, in each bootstrap sample.

    Dates are drawn, not rows: what happened on one date happened to all symbols at once, and the
    rows of a date stay together. All statistics of all models use the same draws, so that a
    difference between two models is resampled as a pair.

    Attributes
    ----------
    date_of_row_B : ndarray
        Position of each row's date among the distinct dates in ascending order.
    weight_TS : ndarray
        Times that date t was drawn in sample s, float64, shape (dates, samples); columns sum to T.
    mean_block : float
        Expected length of a block, in dates.
    confidence : float
        Of the intervals made from these samples, in (0, 1).
    """

    date_of_row_B: IntArray
    weight_TS: FloatArray
    mean_block: float
    confidence: float

    @property
    def n_dates(self) -> int:
        """Distinct dates T."""
        return int(self.weight_TS.shape[0])

    @property
    def n_samples(self) -> int:
        """Bootstrap samples S."""
        return int(self.weight_TS.shape[1])

    @cached_property
    def widening(self) -> float:
        """Factor by which deviations of the samples fall short where blocks are few, at least 1.

        Resampled means scatter about the mean of the rows, which took part in it: their variance
        is short by about 2 L / T for blocks of L dates. And it is itself known from some T / L
        blocks only, so that a t quantile belongs where a normal one stands: the ratio of the two
        at 97.5%.
        """
        blocks = max(self.n_dates / self.mean_block, _FEWEST_BLOCKS)
        ratio = stats.t.ppf(0.975, blocks) / stats.norm.ppf(0.975)
        return float(ratio / np.sqrt(1.0 - 2.0 / blocks))

    @property
    def rows_per_block(self) -> float:
        """Rows of an expected block, all symbols together: what counts as one observation."""
        return self.mean_block * self.date_of_row_B.size / self.n_dates

    def estimate(
        self,
        value: float | None,
        samples_S: FloatArray,
        *,
        method: IntervalMethod = "percentile",
        bounds: tuple[float, float] = (-np.inf, np.inf),
    ) -> Estimate:
        """Return a statistic with its interval; see `finscale.evaluation.estimate.estimate`."""
        return estimate(
            value,
            samples_S,
            self.confidence,
            widening=self.widening,
            method=method,
            bounds=bounds,
        )

    def estimate_share(self, hits: float, n: float, samples_S: FloatArray) -> Estimate:
        """Return a share with its interval; see `finscale.evaluation.estimate.estimate_share`."""
        return estimate_share(
            hits,
            n,
            samples_S,
            self.confidence,
            widening=self.widening,
            rows_per_block=self.rows_per_block,
        )

    @cached_property
    def _by_date(self) -> tuple[IntArray, IntArray]:
        """Rows in order of date, and where each date begins among them."""
        order_B = np.argsort(self.date_of_row_B, kind="stable")
        first_T = np.searchsorted(self.date_of_row_B[order_B], np.arange(self.n_dates))
        return order_B, first_T

    def date_sums(self, x_BM: FloatArray) -> FloatArray:
        """Return the sums over the rows of each date, shape (T, M)."""
        order_B, first_T = self._by_date
        return np.asarray(np.add.reduceat(x_BM[order_B], first_T, axis=0))

    def sums(self, x_BM: FloatArray) -> FloatArray:
        """Return the sums over the rows of each sample, shape (S, M): one matrix product."""
        return np.asarray(self.weight_TS.T @ self.date_sums(x_BM))

    def means(self, x_BM: FloatArray) -> FloatArray:
        """Return the means over the rows of each sample, shape (S, M).

        A panel's dates differ in rows, so that samples differ in size; each mean is divided by
        its own.
        """
        sums_SM = self.sums(np.column_stack([x_BM, np.ones(x_BM.shape[0])]))
        return np.asarray(sums_SM[:, :-1] / sums_SM[:, -1:])


def resample(
    dates_B: npt.ArrayLike,
    *,
    mean_block: float,
    n_samples: int,
    seed: int,
    confidence: float = 0.95,
) -> Resampling:
    """Draw dates by the stationary bootstrap of Politis and Romano (1994, section 2).

    A sample is a chain of T dates: each follows the one before it in time (the first follows the
    last) with probability 1 - 1 / mean_block, and is drawn anew with probability 1 / mean_block.

    Parameters
    ----------
    dates_B
        Date of every row, of any type that sorts, shape (B,); symbols may share dates.
    mean_block
        Expected block length in dates, at least 1 (1 is the ordinary bootstrap).
    n_samples
        Samples S.
    seed
        The draws are a function of it, of ``mean_block``, and of the numbers of dates and samples.
    confidence
        Of the intervals, in (0, 1).

    Raises
    ------
    ValueError
        If there are no rows, ``mean_block`` is below 1 or ``n_samples`` is, or the confidence is
        not within (0, 1).
    """
    dates, date_of_row_B = np.unique(np.asarray(dates_B), return_inverse=True)
    if dates.size == 0:
        raise ValueError("no rows to resample")
    if not mean_block >= 1.0 or n_samples < 1:
        raise ValueError(
            f"mean_block and n_samples must be at least 1, got {mean_block} and {n_samples}"
        )
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"the confidence must be within (0, 1), got {confidence}")
    index_ST = stationary_indices(dates.size, mean_block, n_samples, seed)
    weight_ST = _counts(index_ST, dates.size)
    return Resampling(
        date_of_row_B=date_of_row_B.astype(np.int64),
        weight_TS=np.ascontiguousarray(weight_ST.T),
        mean_block=float(mean_block),
        confidence=confidence,
    )


def resample_dependent(
    dates_B: npt.ArrayLike,
    series_BM: FloatArray,
    *,
    horizon_bars: int,
    n_samples: int,
    seed: int,
    confidence: float = 0.95,
) -> Resampling:
    """Draw dates in blocks as long as the series depend on their past.

    Parameters
    ----------
    dates_B, n_samples, seed, confidence
        See `resample`.
    series_BM
        Values by row, one column for each series: the losses, or differences of losses, to be
        averaged. Of a date the mean over its rows counts.
    horizon_bars
        See `block_length`.
    """
    _, date_B, n_T = np.unique(np.asarray(dates_B), return_inverse=True, return_counts=True)
    mean_TM = np.column_stack(
        [np.bincount(date_B, weights=series_B) / n_T for series_B in series_BM.T]
    )
    return resample(
        date_B,
        mean_block=block_length(mean_TM, horizon_bars=horizon_bars),
        n_samples=n_samples,
        seed=seed,
        confidence=confidence,
    )


def stationary_indices(n_dates: int, mean_block: float, n_samples: int, seed: int) -> IntArray:
    """Return the dates of every sample as positions in 0 … T-1, shape (S, T)."""
    rng = np.random.default_rng(seed)
    position_T = np.arange(n_dates)
    starts_ST = rng.random((n_samples, n_dates)) < 1.0 / mean_block
    starts_ST[:, 0] = True
    drawn_ST = rng.integers(n_dates, size=(n_samples, n_dates))
    block_start_ST = np.maximum.accumulate(np.where(starts_ST, position_T, 0), axis=1)
    first_ST = np.take_along_axis(drawn_ST, block_start_ST, axis=1)
    return np.asarray((first_ST + position_T - block_start_ST) % n_dates)


def block_length(series_TM: npt.ArrayLike, *, horizon_bars: int) -> float:
    """Choose the expected block length for dates whose labels overlap.

    Twice the automatic choice of Politis and White (2004), corrected by Patton, Politis and White
    (2009); the median of the columns. Their choice balances bias and noise of a variance. An
    interval suffers more from a variance that is too small than from a noisy one, and wants longer
    blocks (Sun, Phillips and Jin 2008, Econometrica 76): on 1,000 and on 250 dates of an
    autoregression of 0.5, twice the length brings tests at 5% closest to 5%.

    Labels of h bars share h - 1 of them with the next row's, so blocks are never shorter than h;
    where there are under 20 dates, or the columns are constant, they are h. They are never longer
    than a quarter of the dates, unless h is.

    Parameters
    ----------
    series_TM
        Series by date, one column each: the losses, or differences of losses, to be averaged.
    horizon_bars
        h.

    Raises
    ------
    ValueError
        If the series is not two-dimensional, or not finite.
    """
    x_TM = np.asarray(series_TM, dtype=np.float64)
    if x_TM.ndim != 2 or not np.isfinite(x_TM).all():
        raise ValueError("the series must be two-dimensional and finite")
    moving = np.ptp(x_TM, axis=0) > 1e-12 * np.abs(x_TM).max(axis=0, initial=0.0)
    if x_TM.shape[0] < _FEWEST_DATES or not moving.any():
        return float(horizon_bars)
    with warnings.catch_warnings():
        # Series that stand still at one end have an autocorrelation of 0 / 0 there.
        warnings.simplefilter("ignore", RuntimeWarning)
        lengths = optimal_block_length(x_TM[:, moving])["stationary"].to_numpy()
    lengths = lengths[np.isfinite(lengths)]
    automatic = float(np.median(lengths)) if lengths.size > 0 else 1.0
    longest = x_TM.shape[0] / _FEWEST_BLOCKS
    return float(max(horizon_bars, min(_LENGTHENED * automatic, longest), 1.0))


def _counts(index_ST: IntArray, n_dates: int) -> FloatArray:
    n_samples = index_ST.shape[0]
    flat = (index_ST + n_dates * np.arange(n_samples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=n_samples * n_dates)
    return counts.reshape(n_samples, n_dates).astype(np.float64)

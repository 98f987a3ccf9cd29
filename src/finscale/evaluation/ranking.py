"""Scores that depend on the order of the forecasts, for many weightings of the rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.calibration import equal_count_bins

# Values held at once in each of the few arrays of a chunk: 32 MB.
_CHUNK_VALUES = 4_000_000

# More rows than this are rounded to so many values in the samples.
_MOST_ROWS = 4_000
_N_BINS = 1_000

# Weights are counts, so a recall that is reached is reached exactly but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class RankScores:
    """Order statistics of each weighting; NaN where undefined.

    Attributes
    ----------
    auc_S : ndarray
        Probability that an event is ranked above a non-event, ties counting half.
    average_precision_S : ndarray
        Σ (recall_k - recall_{k-1}) precision_k over the distinct thresholds, descending.
    precision_RS : ndarray
        Precision at the highest threshold whose recall is at least r, for each recall asked for.
    quantile_QS : ndarray
        Quantiles of the forecasts: the lowest forecast at or below which a share q of them lies.
    """

    auc_S: FloatArray
    average_precision_S: FloatArray
    precision_RS: FloatArray
    quantile_QS: FloatArray


def rank_scores(
    p_B: FloatArray,
    y_B: FloatArray,
    weight_BS: FloatArray,
    *,
    recalls: tuple[float, ...] = (),
    quantiles: tuple[float, ...] = (),
) -> RankScores:
    """Score the order of forecasts under S weightings of their rows; rows are sorted once.

    Parameters
    ----------
    p_B, y_B
        Forecasts and 0/1 labels.
    weight_BS
        Weight of each row in each weighting, zero or more.
    recalls, quantiles
        Recalls at which precision is wanted, within (0, 1]; shares of the forecasts.
    """
    order_B = np.argsort(-p_B, kind="stable")
    first_of_tie_V = np.flatnonzero(np.diff(p_B[order_B], prepend=np.inf))
    weight_BS = weight_BS[order_B]
    return _score_values(
        p_B[order_B][first_of_tie_V],
        np.add.reduceat(weight_BS, first_of_tie_V, axis=0),
        np.add.reduceat(weight_BS * y_B[order_B, None], first_of_tie_V, axis=0),
        recalls,
        quantiles,
    )


def rank_samples(
    p_B: FloatArray,
    y_B: FloatArray,
    resampling: Resampling,
    *,
    recalls: tuple[float, ...] = (),
    quantiles: tuple[float, ...] = (),
) -> RankScores:
    """`rank_scores` on every bootstrap sample, in chunks that bound the memory.

    Of more than 4,000 rows the samples see forecasts rounded to the means of 1,000 equal-count
    bins, which changes an AUC by less than 0.001 and makes the work independent of the rows.
    """
    value_V, rows_VT, events_VT = _by_value_and_date(p_B, y_B, resampling)
    step = max(1, _CHUNK_VALUES // value_V.size)
    parts = []
    for first in range(0, resampling.n_samples, step):
        weight_TS = resampling.weight_TS[:, first : first + step]
        parts.append(
            _score_values(value_V, rows_VT @ weight_TS, events_VT @ weight_TS, recalls, quantiles)
        )
    return RankScores(
        auc_S=np.concatenate([part.auc_S for part in parts]),
        average_precision_S=np.concatenate([part.average_precision_S for part in parts]),
        precision_RS=np.concatenate([part.precision_RS for part in parts], axis=1),
        quantile_QS=np.concatenate([part.quantile_QS for part in parts], axis=1),
    )


def _score_values(
    value_V: FloatArray,
    new_VS: FloatArray,
    new_hits_VS: FloatArray,
    recalls: tuple[float, ...],
    quantiles: tuple[float, ...],
) -> RankScores:
    """Score distinct forecasts in descending order by the rows and the events that have each."""
    flagged_VS, hits_VS = np.cumsum(new_VS, axis=0), np.cumsum(new_hits_VS, axis=0)
    total_S, events_S = flagged_VS[-1], hits_VS[-1]
    sample_S = np.arange(total_S.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision_VS = hits_VS / flagged_VS
        pairs_S = np.einsum("vs,vs->s", new_VS - new_hits_VS, hits_VS - new_hits_VS / 2.0)
        return RankScores(
            auc_S=pairs_S / (events_S * (total_S - events_S)),
            average_precision_S=np.einsum(
                "vs,vs->s", new_hits_VS, np.where(flagged_VS > 0.0, precision_VS, 0.0)
            )
            / np.where((events_S > 0.0) & (events_S < total_S), events_S, np.nan),
            precision_RS=_stack(
                [
                    precision_VS[_first(hits_VS, recall * events_S), sample_S]
                    / np.where(events_S > 0.0, 1.0, np.nan)
                    for recall in recalls
                ],
                total_S.size,
            ),
            quantile_QS=_stack(
                [_lower_quantile(value_V, flagged_VS, share) for share in quantiles], total_S.size
            ),
        )


def _by_value_and_date(
    p_B: FloatArray, y_B: FloatArray, resampling: Resampling
) -> tuple[FloatArray, sparse.csr_array, sparse.csr_array]:
    """Return distinct forecasts, descending, and how many rows and events each has by date."""
    if p_B.size > _MOST_ROWS:
        bin_B = equal_count_bins(p_B, _N_BINS)
        count_K = np.maximum(np.bincount(bin_B, minlength=_N_BINS), 1)
        p_B = (np.bincount(bin_B, weights=p_B, minlength=_N_BINS) / count_K)[bin_B]
    minus_value_V, v_B = np.unique(-p_B, return_inverse=True)
    shape = (minus_value_V.size, resampling.n_dates)
    places = (v_B, resampling.date_of_row_B)
    # Entries of one place are added up.
    rows_VT = sparse.csr_array((np.ones(p_B.size), places), shape=shape)
    return -minus_value_V, rows_VT, sparse.csr_array((y_B, places), shape=shape)


def _first(rising_VS: FloatArray, wanted_S: FloatArray) -> FloatArray:
    """Return, for each column, the first row that reaches what is wanted."""
    return np.asarray(np.argmax(rising_VS >= wanted_S - _ROUNDING, axis=0))


def _lower_quantile(value_V: FloatArray, flagged_VS: FloatArray, share: float) -> FloatArray:
    """Return the lowest value at or below which a share of the weight lies."""
    total_S = flagged_VS[-1]
    # Values descend: at or below value v lies all but what was flagged before it.
    before_VS = np.concatenate([np.zeros((1, total_S.size)), flagged_VS[:-1]])
    at_or_below_VS = total_S - before_VS
    reaching_VS = at_or_below_VS >= share * total_S - _ROUNDING
    return np.asarray(value_V[reaching_VS.sum(axis=0) - 1])


def _stack(rows: list[FloatArray], n_samples: int) -> FloatArray:
    return np.stack(rows) if rows else np.empty((0, n_samples))

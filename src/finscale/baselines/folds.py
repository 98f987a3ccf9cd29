"""Ordered cross-validation inside the training rows, for what a baseline chooses of itself.

A fold validates on a block of days and trains on what lies before it. The blocks fill the later
half of the training days, so that a fold trains on at least half as much as the baseline will:
what is best on a sixth of the rows is more timid than what is best on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from finscale.splits import IntArray, purged

FloatArray = NDArray[np.float64]
Dates = NDArray[np.datetime64]

N_FOLDS = 5
MAX_ROWS = 50_000
"""A choice is made on about so many rows, drawn from all where there are more."""

# As in the scores that the baselines get: no row costs more than 16.1 nats.
_EPS = 1e-7

_CandidateT = TypeVar("_CandidateT")


@dataclass(frozen=True)
class Fold:
    """Places in the training rows, ascending: those to fit on, and those to validate on."""

    train: IntArray
    validation: IntArray


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS, OpenMP and torch to one thread: how they share out a sum changes its last digits.

    On a few thousand rows threads gain nothing either, and wait for each other on a busy machine.
    """
    n_threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)


def ordered_folds(
    dates_N: Dates, y_N: NDArray[np.float32], horizon_bars: int, *, max_rows: int = MAX_ROWS
) -> tuple[Fold, ...]:
    """Cut training rows into expanding folds at dates, the same for every symbol.

    Parameters
    ----------
    dates_N
        Session of each row. Symbols are stacked one after another, each with consecutive rows in
        ascending order.
    y_N
        Labels; a fold whose training rows have only one is left out, as there is nothing to fit.
    horizon_bars
        How far a label reaches. Of every symbol, the last so many rows before a block are not
        trained on (`finscale.splits.purged`): their labels read its days.
    max_rows
        Of more rows than this, about so many are kept, the same ones in every call.

    Returns
    -------
    tuple of Fold
        At most `N_FOLDS`, the oldest first; none where the rows are too few.
    """
    sessions = np.unique(dates_N)
    edges = np.linspace(len(sessions) // 2, len(sessions), N_FOLDS + 1).astype(int)
    is_kept_N = np.random.default_rng(0).random(len(dates_N)) < max_rows / max(len(dates_N), 1)
    folds = []
    for first, stop in pairwise(edges):
        if first == stop:
            continue
        begin, end = sessions[first], sessions[stop - 1]
        train = _before(dates_N, begin, horizon_bars)
        train = train[is_kept_N[train]]
        validation = np.flatnonzero((dates_N >= begin) & (dates_N <= end) & is_kept_N)
        if len(validation) and len(np.unique(y_N[train])) > 1:
            folds.append(Fold(train, validation))
    return tuple(folds)


def _before(dates_N: Dates, begin: np.datetime64, horizon_bars: int) -> IntArray:
    """Return the rows whose labels end before a day, symbol by symbol."""
    # A symbol that starts after the one above it ends continues its run; that purges no less.
    starts = np.flatnonzero(np.concatenate([[True], dates_N[1:] <= dates_N[:-1]]))
    stops = np.append(starts[1:], len(dates_N))
    return np.concatenate(
        [
            purged(start, start + int(np.searchsorted(dates_N[start:stop], begin)), horizon_bars)
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ]
    )


def least_loss(
    folds: Sequence[Fold],
    candidates: Sequence[_CandidateT],
    losses: Callable[[Fold], Sequence[float]],
) -> _CandidateT:
    """Return the candidate of the lowest log-loss over all validation rows together.

    It is the plain minimum. One standard error over a few blocks, of which one may be a crisis,
    spans half of a grid, and a baseline so held back is beaten too easily.

    Parameters
    ----------
    folds
        Without any, the first candidate is returned.
    candidates
        From the least flexible to the most; of equals the first is returned.
    losses
        From a fold to each candidate's sum of losses over its validation rows.
    """
    totals = np.zeros(len(candidates))
    for fold in folds:
        totals += losses(fold)
    return candidates[int(totals.argmin())]


def total_nats(p_N: FloatArray, y_N: NDArray[np.float32]) -> float:
    """Return the sum of the log-losses of probabilities of label 1."""
    p_N = np.clip(p_N, _EPS, 1.0 - _EPS)
    return float(-np.where(y_N > 0, np.log(p_N), np.log1p(-p_N)).sum())

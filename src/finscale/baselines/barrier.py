"""From a forecast of volatility to the probability that a price is reached.

The distribution of moves in units of their forecast volatility is taken from the training rows as
it is (filtered historical simulation: Barone-Adesi, Giannopoulos & Vosper 1999, "VaR without
correlations for portfolios of derivative securities", Journal of Futures Markets 19). The
standardised *highs* are taken themselves, so no law of the path inside a bar is assumed.
"""

from __future__ import annotations

import numpy as np

from finscale.baselines.folds import FloatArray
from finscale.tasks import Task


def needed_log_return(task: Task) -> float:
    """Return the log-return from the close of a row that makes its label 1."""
    return 0.0 if task.threshold_frac is None else float(np.log1p(task.threshold_frac))


def shares_between(known_N: FloatArray, edges_MJ: FloatArray) -> FloatArray:
    """Return how probable it is that a draw from a known sample falls into each bin, M × (J + 1).

    It is (k + 1/2) / (N + (J + 1) / 2) where k of N values lie in the bin, never 0; see
    `share_reaching`.
    """
    n_below = np.searchsorted(np.sort(known_N), edges_MJ, side="left")
    count = np.diff(n_below, axis=1, prepend=0, append=len(known_N))
    return np.asarray((count + 0.5) / (len(known_N) + count.shape[1] / 2))


def share_reaching(known_N: FloatArray, needed_M: FloatArray) -> FloatArray:
    """Return how probable it is that a draw from a known sample is at least what is needed.

    It is (k + 1/2) / (N + 1) where k of N values are: never 0 or 1, which one surprise would make
    infinitely costly (Krichevsky & Trofimov 1981).
    """
    n_below = np.searchsorted(np.sort(known_N), needed_M, side="left")
    return np.asarray((len(known_N) - n_below + 0.5) / (len(known_N) + 1))

"""The return as one of K outcomes: bins that are equally likely among the training returns.

A distribution over the bins says how the forecast differs from the training distribution, F. It is
read as the distribution with cumulative function G(F(x)), G linear between the bins' edges: inside
a bin a forecast has the shape that the training returns have there, and it ends where they end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from finscale.errors import SplitError
from finscale.tasks import N_RETURN_BINS

FloatArray = NDArray[np.float64]

KNOTS_PER_BIN = 10
"""Training quantiles kept per bin; between two of them a distribution is uniform."""


@dataclass(frozen=True)
class ReturnBins:
    """K bins of log returns, from training rows only.

    Bin k holds the returns from its lower edge, that included, to its upper one; the outermost two
    hold everything beyond as well.

    Attributes
    ----------
    knots
        The training quantiles at the levels j / (K KNOTS_PER_BIN), from the lowest return to the
        highest; every `KNOTS_PER_BIN`-th is an edge.
    mean_K
        Mean training return of each bin.
    share_K
        Share of the training returns in each bin: 1 / K, but for ties and whole numbers of rows.
    """

    knots: FloatArray
    mean_K: FloatArray
    share_K: FloatArray

    @staticmethod
    def fit(returns_N: npt.ArrayLike, *, place: str, n_bins: int = N_RETURN_BINS) -> ReturnBins:
        """Cut training returns into bins; ``place`` names them in errors.

        Raises
        ------
        SplitError
            If they are too few, or take so few values that a bin would be empty.
        """
        returns = np.asarray(returns_N, dtype=np.float64)
        knots = np.quantile(returns, np.linspace(0.0, 1.0, n_bins * KNOTS_PER_BIN + 1))
        number_N = np.searchsorted(knots[KNOTS_PER_BIN:-1:KNOTS_PER_BIN], returns, side="right")
        count_K = np.bincount(number_N, minlength=n_bins)
        if not count_K.all():
            raise SplitError(
                f"{place}: {len(returns)} training returns of {len(np.unique(returns))} different "
                f"values do not fill {n_bins} bins; take more history, another horizon, or a "
                "threshold task"
            )
        mean_K = np.bincount(number_N, weights=returns, minlength=n_bins) / count_K
        return ReturnBins(knots, mean_K, count_K / len(returns))

    @property
    def n_bins(self) -> int:
        """K."""
        return len(self.share_K)

    @property
    def inner_edges(self) -> FloatArray:
        """The K - 1 edges between two bins, rising."""
        return np.asarray(self.knots[KNOTS_PER_BIN:-1:KNOTS_PER_BIN])

    def numbers(self, returns_T: npt.ArrayLike) -> NDArray[np.float32]:
        """Return the number of each return's bin, from 0; NaN where there is no return."""
        returns = np.asarray(returns_T, dtype=np.float64)
        numbers = np.searchsorted(self.inner_edges, returns, side="right").astype(np.float32)
        return np.where(np.isfinite(returns), numbers, np.float32(np.nan))

    def quantiles(self, p_BK: npt.ArrayLike, levels: npt.ArrayLike) -> FloatArray:
        """Return the quantiles of distributions over the bins, shape (B, Q), rising along Q.

        Parameters
        ----------
        p_BK
            Probabilities; every row adds up to 1.
        levels
            Q levels within (0, 1).
        """
        p = np.asarray(p_BK, dtype=np.float64)
        above_BK = np.cumsum(p, axis=1)
        quantiles = []
        for level in np.atleast_1d(np.asarray(levels, dtype=np.float64)):
            # The first bin at whose upper edge the level is reached.
            bin_B = np.minimum((above_BK < level).sum(axis=1), self.n_bins - 1)[:, None]
            own_B = np.take_along_axis(p, bin_B, axis=1)[:, 0]
            below_B = np.take_along_axis(above_BK, bin_B, axis=1)[:, 0] - own_B
            inside_B = np.clip((level - below_B) / np.maximum(own_B, 1e-300), 0.0, 1.0)
            place_B = (bin_B[:, 0] + inside_B) * KNOTS_PER_BIN
            quantiles.append(np.interp(place_B, np.arange(len(self.knots)), self.knots))
        return np.column_stack(quantiles)

    def means(self, p_BK: npt.ArrayLike) -> FloatArray:
        """Return the means of distributions over the bins, from the bins' training means."""
        return np.asarray(np.asarray(p_BK, dtype=np.float64) @ self.mean_K)

    @property
    def historical_mean(self) -> float:
        """The mean of the training returns."""
        return float(self.share_K @ self.mean_K)

    def as_dict(self) -> dict[str, Any]:
        """Return what someone needs to read a model's outputs, JSON-ready."""
        return {
            "knots": self.knots.tolist(),
            "knots_per_bin": KNOTS_PER_BIN,
            "mean": self.mean_K.tolist(),
            "share": self.share_K.tolist(),
        }

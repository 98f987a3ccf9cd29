"""The CRPS of a normal forecast in closed form: a second way to what quantiles approximate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats


def crps_gaussian(
    mean_B: npt.ArrayLike, sd_B: npt.ArrayLike, y_B: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """sd (z (2 Φ(z) - 1) + 2 φ(z) - 1 / √π): Gneiting and Raftery (2007), eq. 20 ff."""
    sd = np.asarray(sd_B, dtype=np.float64)
    z = (np.asarray(y_B, dtype=np.float64) - np.asarray(mean_B, dtype=np.float64)) / sd
    bracket = z * (2.0 * stats.norm.cdf(z) - 1.0) + 2.0 * stats.norm.pdf(z) - 1.0 / np.sqrt(np.pi)
    return np.asarray(sd * bracket)

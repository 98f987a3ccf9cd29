"""Points planted with known laws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.scaling.laws import Surface

FloatArray = npt.NDArray[np.float64]

# The re-estimate of Besiroglu et al. (2024), table 1, and its standard errors.
CHINCHILLA = {"E": 1.817, "A": 482.0, "B": 2085.4, "alpha": 0.3478, "beta": 0.3658}
CHINCHILLA_ERRORS = {"E": 0.026, "A": 124.5, "B": 1293.0, "alpha": 0.015, "beta": 0.021}

# Budgets of the IsoFLOP design of Hoffmann et al. (2022), section 3.2.
FLOPS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])


@dataclass(frozen=True)
class Planted:
    n: FloatArray
    d: FloatArray
    loss: FloatArray


def isoflop_design(n_points: int = 240) -> tuple[FloatArray, FloatArray]:
    """Sizes from 40M to 16B around the best of each budget, and the samples that C = 6ND leaves."""
    budget = np.resize(FLOPS, n_points)
    place = np.linspace(-1.0, 1.0, -(-n_points // FLOPS.size)).repeat(FLOPS.size)[:n_points]
    n = np.clip(np.sqrt(budget / (6.0 * 20.0)) * np.exp(1.6 * place), 4e7, 1.6e10)
    return n, budget / (6.0 * n)


def planted_surface(
    seed: int, *, noise: float = 0.01, n_points: int = 240, law: dict[str, float] = CHINCHILLA
) -> Planted:
    """The published law at the IsoFLOP design, with Gaussian noise on the logarithm."""
    n, d = isoflop_design(n_points)
    rng = np.random.default_rng(seed)
    return Planted(n, d, Surface.predict(law, n, d) * np.exp(noise * rng.standard_normal(n_points)))

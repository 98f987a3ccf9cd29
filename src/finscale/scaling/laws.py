"""Laws of loss against size, data or any other axis, behind one contract.

Every law has a name, a formula, parameters, variables, and predicts; how its parameters are
estimated is another matter (`finscale.scaling.fit`, `finscale.scaling.estimate`).

Hoffmann et al. (2022), "Training compute-optimal large language models", section 3.3: the surface.
Muennighoff et al. (2023), "Scaling data-constrained language models", section 3: repeated data.
Caballero et al. (2022), "Broken neural scaling laws", equation 1: a smooth break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError

FloatArray = npt.NDArray[np.float64]
Curve = Callable[..., FloatArray]

ALPHA_MIN = 0.01
"""Below this a power law is a straight line in log N, and E and A lose their meaning."""

ALPHA_MAX = 3.0
"""Above this the law is a step: the smallest size against all the others."""


@dataclass(frozen=True)
class Law:
    """One law of loss against one or more variables.

    Attributes
    ----------
    name : str
        Name in tables and files.
    formula : str
        The law as text.
    parameters : tuple of str
        Its free parameters, such as "E" (nats), "A" (nats × variable^alpha) and "alpha". The
        variance of the noise around the law is not among them.
    curve : callable
        The law itself: parameters by name, then one array per variable, to losses.
    variables : tuple of str
        What it is a law of, in the order `predict` takes them. "N" of a law in one variable stands
        for whatever the points give: parameters, samples, compute, features.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    curve: Curve
    variables: tuple[str, ...] = ("N",)

    @property
    def n_parameters(self) -> int:
        """Free parameters of the mean, without the noise variance."""
        return len(self.parameters)

    @property
    def has_floor(self) -> bool:
        """Whether the law has a constant term E."""
        return "E" in self.parameters

    @property
    def has_power(self) -> bool:
        """Whether the law depends on its variables."""
        return "alpha" in self.parameters

    def predict(self, params: Mapping[str, float], *variables: npt.ArrayLike) -> FloatArray:
        """Loss at the given variables, one array (any shape, broadcast) per variable.

        Raises
        ------
        KeyError
            If ``params`` lacks one of the law's parameters.
        TypeError
            If there are more or fewer arrays than the law has variables.
        """
        if len(variables) != len(self.variables):
            raise TypeError(
                f"{self.formula} takes {', '.join(self.variables)}, got {len(variables)} arrays"
            )
        values = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in variables))
        return np.asarray(self.curve(params, *values), dtype=np.float64)


def _constant(p: Mapping[str, float], n: FloatArray) -> FloatArray:
    return np.full_like(n, p["E"])


def _power(p: Mapping[str, float], n: FloatArray) -> FloatArray:
    return np.asarray(p["A"] * n ** -p["alpha"], dtype=np.float64)


def _power_with_floor(p: Mapping[str, float], n: FloatArray) -> FloatArray:
    return p["E"] + _power(p, n)


def _surface(p: Mapping[str, float], n: FloatArray, d: FloatArray) -> FloatArray:
    return np.asarray(
        p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"], dtype=np.float64
    )


def _broken(p: Mapping[str, float], n: FloatArray) -> FloatArray:
    # (1 + (N/N_b)^(1/f))^-(f c) through logarithms: (N/N_b)^(1/f) overflows for a sharp break.
    log_turn = p["f"] * np.logaddexp(0.0, np.log(n / p["N_b"]) / p["f"])
    return np.asarray(
        p["E"] + p["A"] * np.exp(-p["alpha"] * np.log(n) - p["c"] * log_turn), dtype=np.float64
    )


def unique_size(p: Mapping[str, float], n: FloatArray, unique_d: FloatArray) -> FloatArray:
    """U_N: the size that is compute-optimal for the unique data, or N itself if that is smaller.

    At the optimum alpha A N^-alpha = beta B D^-beta (Hoffmann et al. 2022, equation 4), solved for
    N at D = U_D (Muennighoff et al. 2023, section 3.1). Without one of the terms it is N.
    """
    if p["A"] <= 0.0 or p["B"] <= 0.0:
        return n
    ratio = p["alpha"] * p["A"] / (p["beta"] * p["B"])
    log_optimal = (np.log(ratio) + p["beta"] * np.log(unique_d)) / p["alpha"]
    return np.asarray(np.exp(np.minimum(np.log(n), log_optimal)), dtype=np.float64)


def effective(total: FloatArray, unique: FloatArray, half_life: float) -> FloatArray:
    """U + U R* (1 - exp(-R / R*)), R = total / U - 1: what repeated data, or size, is worth.

    With total ≤ U nothing is repeated, and the total counts in full.
    """
    repeats = np.maximum(total / unique - 1.0, 0.0)
    worth = unique * (1.0 - half_life * np.expm1(-repeats / half_life))
    return np.asarray(np.where(total <= unique, total, worth), dtype=np.float64)


def _data_constrained(
    p: Mapping[str, float], n: FloatArray, d: FloatArray, unique_d: FloatArray
) -> FloatArray:
    size = effective(n, unique_size(p, n, unique_d), p["R_N"])
    return _surface(p, size, effective(d, unique_d, p["R_D"]))


Constant = Law("constant", "L = E", ("E",), _constant)
PowerLaw = Law("power_law", "L = A N^-alpha", ("A", "alpha"), _power)
PowerLawWithFloor = Law(
    "power_law_with_floor", "L = E + A N^-alpha", ("E", "A", "alpha"), _power_with_floor
)
Surface = Law(
    "surface",
    "L = E + A N^-alpha + B D^-beta",
    ("E", "A", "B", "alpha", "beta"),
    _surface,
    ("N", "D"),
)
DataConstrained = Law(
    "data_constrained",
    "L = E + A N'^-alpha + B D'^-beta, D' = U_D + U_D R_D (1 - exp(-(D/U_D - 1)/R_D)), N' likewise",
    ("E", "A", "B", "alpha", "beta", "R_D", "R_N"),
    _data_constrained,
    ("N", "D", "U_D"),
)
"""R_D and R_N are the paper's R*_D and R*_N: repetitions after which 1/e of the worth is left."""

BrokenPowerLaw = Law(
    "broken_power_law",
    "L = E + A N^-alpha (1 + (N/N_b)^(1/f))^(-c f)",
    ("E", "A", "alpha", "c", "N_b", "f"),
    _broken,
)
"""The slope is -alpha well below N_b and -(alpha + c) well above; f is the width of the turn."""

LAW_OF: dict[str, Law] = {
    "constant": Constant,
    "power": PowerLaw,
    "power-floor": PowerLawWithFloor,
    "surface": Surface,
    "data-constrained": DataConstrained,
    "broken": BrokenPowerLaw,
}
"""The laws by the short names that the command line and `finscale.fit_law` take."""


def find_law(name: str) -> Law:
    """Return a law by its short name or its full one.

    Raises
    ------
    FitError
        If there is no law of that name.
    """
    by_name = LAW_OF | {law.name: law for law in LAW_OF.values()}
    if name not in by_name:
        raise FitError(f"law {name}: no such law; choose one of {', '.join(LAW_OF)}")
    return by_name[name]


def short_name(law: Law) -> str:
    """Return the name by which the command line takes a law."""
    return next(name for name, known in LAW_OF.items() if known is law)

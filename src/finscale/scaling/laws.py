"""Laws of loss L against model size N, all of them special cases of L = E + A N^-alpha."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ALPHA_MIN = 0.01
"""Below this a power law is a straight line in log N, and E and A lose their meaning."""

ALPHA_MAX = 3.0
"""Above this the law is a step: the smallest size against all the others."""


@dataclass(frozen=True)
class Law:
    """One law of loss against size.

    Attributes
    ----------
    name : str
        Name in tables and files.
    formula : str
        The law as text.
    parameters : tuple of str
        Its free parameters, out of "E" (nats), "A" (nats × parameters^alpha) and "alpha". The
        variance of the noise around the law is not among them.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]

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
        """Whether the law depends on N."""
        return "alpha" in self.parameters

    def predict(self, params: Mapping[str, float], n: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Loss at sizes ``n`` (parameter counts, any shape).

        Raises
        ------
        KeyError
            If ``params`` lacks one of the law's parameters.
        """
        sizes = np.asarray(n, dtype=np.float64)
        loss = np.full_like(sizes, params["E"] if self.has_floor else 0.0)
        if self.has_power:
            loss = loss + params["A"] * sizes ** -params["alpha"]
        return loss


Constant = Law("constant", "L = E", ("E",))
PowerLaw = Law("power_law", "L = A N^-alpha", ("A", "alpha"))
PowerLawWithFloor = Law("power_law_with_floor", "L = E + A N^-alpha", ("E", "A", "alpha"))

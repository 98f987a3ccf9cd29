"""Budgets: the target parameter counts of the ladder."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from finscale.errors import LadderError

_UNITS = {"B": 10**9, "M": 10**6, "K": 10**3}
_TEXT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMB]?)", re.IGNORECASE)
_LABEL_STEPS_PER_UNIT = 1000


@dataclass(frozen=True)
class Budget:
    """A target parameter count and the name it has in experiments and reports.

    ``parse_budget`` makes one with the canonical label.
    """

    label: str
    n_parameters: int

    def bounds(self, tolerance_frac: float) -> tuple[int, int]:
        """Smallest and largest parameter count that meet the budget, both included.

        Parameters
        ----------
        tolerance_frac
            Allowed distance from the target as a share of it, 0 <= tolerance_frac < 1.

        Raises
        ------
        LadderError
            If the tolerance is outside [0, 1).
        """
        if not 0.0 <= tolerance_frac < 1.0:
            raise LadderError(
                f"budget {self.label}: tolerance_frac is {tolerance_frac}; "
                "give a share of at least 0 and below 1, for example 0.25"
            )
        # Exact on the decimal as written: in binary 0.1 would move a bound by one parameter.
        tolerance = Fraction(str(tolerance_frac))
        return (
            math.ceil(self.n_parameters * (1 - tolerance)),
            math.floor(self.n_parameters * (1 + tolerance)),
        )


def parse_budget(text: str | int) -> Budget:
    """Read a budget such as ``"2M"``, ``"1.5m"``, ``"2000000"`` or ``2000000``.

    Equal counts give equal budgets, whichever way they are written.

    Raises
    ------
    LadderError
        If the text is not a positive whole number of parameters.
    """
    match = _TEXT.fullmatch(str(text).strip())
    if match is None or isinstance(text, bool):
        raise _unreadable(text)
    number, unit = match.groups()
    n_parameters = Fraction(number) * _UNITS.get(unit.upper(), 1)
    if n_parameters < 1 or n_parameters.denominator != 1:
        raise _unreadable(text)
    return Budget(_canonical_label(int(n_parameters)), int(n_parameters))


def _unreadable(text: object) -> LadderError:
    return LadderError(
        f"budget {text!r}: give a positive whole number of parameters, plain or in units of "
        "K, M or B, for example 20K, 1.5M, 2B or 2000000"
    )


def _canonical_label(n_parameters: int) -> str:
    """Name the count in its largest unit if three decimals are enough, else in plain digits."""
    for unit, size in _UNITS.items():
        if n_parameters >= size:
            step = size // _LABEL_STEPS_PER_UNIT
            if n_parameters % step:
                break
            whole, decimals = divmod(n_parameters // step, _LABEL_STEPS_PER_UNIT)
            return f"{whole}.{decimals:03d}".rstrip("0").rstrip(".") + unit
    return str(n_parameters)

"""What is left of p-values when many experiments were tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

_ROUNDING = 1e-12


@dataclass(frozen=True)
class CorrectedP:
    """A p-value as found, and corrected by Holm and by Benjamini and Hochberg."""

    p_value: float
    holm: float
    benjamini_hochberg: float


@dataclass(frozen=True)
class Correction:
    """P-values corrected for the number of experiments tried.

    Attributes
    ----------
    n_tried
        Experiments tried, whether or not their p-value is among these.
    p_values
        By name.
    statement
        The same in a sentence.
    """

    n_tried: int
    p_values: dict[str, CorrectedP]
    statement: str


def rejects(p_value: float, level: float) -> bool:
    """Return whether a p-value rejects at a level: where it is at most that.

    The one rule of every statement and set here. A bootstrap p-value is a multiple of one over the
    number of samples, so that it often equals the level, which as 1 - 0.9 is a little below 0.1 in
    binary: differences of rounding do not count.
    """
    return p_value <= level + _ROUNDING


def correct_for_tries(
    p_values: Mapping[str, float], *, n_tried: int | None = None, level: float = 0.05
) -> Correction:
    """Correct p-values for the number of experiments tried.

    Holm (1979) bounds the probability of a single false claim whatever the dependence between the
    experiments; Benjamini and Hochberg (1995) bound the expected share of false claims, for
    independent or positively dependent ones. Experiments whose p-value is not given count as
    having found nothing (a p-value of 1).

    Parameters
    ----------
    p_values
        By experiment.
    n_tried
        Experiments tried, at least as many as there are p-values; None: as many.
    level
        At which the statement counts what remains.

    Raises
    ------
    ValueError
        If fewer were tried than p-values are given, or a p-value is outside [0, 1].
    """
    n = len(p_values) if n_tried is None else n_tried
    if n < len(p_values):
        raise ValueError(f"{len(p_values)} p-values from {n} experiments")
    for name, p in p_values.items():
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"the p-value of {name}, {p}, is not within [0, 1]")
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    holm = accumulate((min(1.0, (n - rank) * p) for rank, (_, p) in enumerate(ordered)), max)
    # From the largest down; the experiments not given stand above with p-values of 1.
    rising = [min(1.0, n * p / (rank + 1)) for rank, (_, p) in enumerate(ordered)]
    discovery = list(accumulate(reversed(rising), min))[::-1]
    corrected = {
        name: CorrectedP(p, by_holm, by_discovery)
        for (name, p), by_holm, by_discovery in zip(ordered, holm, discovery, strict=True)
    }
    return Correction(
        n_tried=n,
        p_values={name: corrected[name] for name in p_values},
        statement=_statement(list(corrected.values()), n, level),
    )


def _statement(corrected: list[CorrectedP], n: int, level: float) -> str:
    plain = sum(rejects(one.p_value, level) for one in corrected)
    left = sum(rejects(one.holm, level) for one in corrected)
    experiments = "1 experiment was tried" if n == 1 else f"{n} experiments were tried"
    return (
        f"{experiments}; {plain} {'has' if plain == 1 else 'have'} a p-value of at most {level:g}, "
        f"and {left} still {'does' if left == 1 else 'do'} after Holm's correction for all of them."
    )

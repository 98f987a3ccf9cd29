"""The extremes of a budget: the architectures a search tries first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from finscale.errors import LadderError
from finscale.ladder.budgets import Budget
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters

# Exact ratios: with floats two equal ratios could differ in the last bit and break a tie.
_MEASURES: dict[str, Callable[[Architecture], Fraction]] = {
    "d_model": lambda cell: Fraction(cell.d_model),
    "n_layers": lambda cell: Fraction(cell.n_layers),
    "n_heads": lambda cell: Fraction(cell.n_heads),
    "ff_ratio": lambda cell: Fraction(cell.d_ff, cell.d_model),
}


def _depth_to_width(cell: Architecture) -> Fraction:
    return Fraction(cell.n_layers, cell.d_model)


@dataclass(frozen=True)
class Extreme:
    """An architecture at an edge of the grid, and every edge it stands for."""

    architecture: Architecture
    reasons: tuple[str, ...]


def extremes(
    architectures: Sequence[Architecture], *, budget: Budget, shape: InputShape
) -> tuple[Extreme, ...]:
    """Choose the architectures that span a grid.

    They are the smallest and the largest d_model, n_layers, n_heads and feed-forward ratio, and the
    deepest-narrowest and shallowest-widest cell (n_layers over d_model). Of the cells that share an
    extreme value, the one whose parameter count is closest to the budget stands for them; of those
    equally close, which differ in heads as a rule, the middle one in sorted order. A dimension with
    one value has no extremes.

    Parameters
    ----------
    architectures
        The cells of one budget's grid; their order does not matter.
    budget, shape
        What decides ties: the target, and the input on which counts depend.

    Returns
    -------
    tuple of Extreme
        Without repetition, in the order of their first reason.

    Raises
    ------
    LadderError
        If ``architectures`` is empty.
    """
    if not architectures:
        raise LadderError(f"budget {budget.label}: no architectures to take extremes of; add some")
    cells = sorted(set(architectures))
    distance = {cell: abs(count_parameters(cell, shape) - budget.n_parameters) for cell in cells}
    reasons: dict[Architecture, list[str]] = {}

    def add(reason: str, measure: Callable[[Architecture], Fraction], extreme: Fraction) -> None:
        tied = [cell for cell in cells if measure(cell) == extreme]
        nearest = min(distance[cell] for cell in tied)
        closest = [cell for cell in tied if distance[cell] == nearest]
        reasons.setdefault(closest[(len(closest) - 1) // 2], []).append(reason)

    for name, measure in _MEASURES.items():
        values = {measure(cell) for cell in cells}
        if len(values) > 1:
            add(f"smallest {name}", measure, min(values))
            add(f"largest {name}", measure, max(values))
    aspects = [_depth_to_width(cell) for cell in cells]
    add("deepest and narrowest", _depth_to_width, max(aspects))
    add("shallowest and widest", _depth_to_width, min(aspects))
    return tuple(Extreme(cell, tuple(why)) for cell, why in reasons.items())

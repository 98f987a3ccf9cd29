"""Imported architectures counted by the one cost model, and what that says of their labels."""

from __future__ import annotations

from dataclasses import dataclass

from finscale.errors import LadderError, ModelError
from finscale.ladder.budgets import parse_budget
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters
from finscale.units import count_text

# Another embedding or position code moves a count by less; a wrong label by far more.
_COUNT_TOLERANCE_FRAC = 0.05
_BUDGET_TOLERANCE_FRAC = 0.25
_FF_RATIOS = (2, 4)


@dataclass(frozen=True)
class Counted:
    """An architecture as far as it is known, its count, and what is odd about it."""

    d_ff: int | None
    n_parameters: int | None
    remarks: tuple[str, ...]


def count_imported(
    dimensions: tuple[int | None, int | None, int | None, int | None],
    stated: int | None,
    budget: str | None,
    shape: InputShape,
) -> Counted:
    """Count an architecture as a patch transformer on a given input.

    Trial files of the reference layout leave ``d_ff`` out. The grid they are from has 2 or 4 times
    ``d_model``; the one whose count is nearer to the stated count is taken.

    Parameters
    ----------
    dimensions
        d_model, n_layers, n_heads, d_ff.
    stated
        The count that the file gives.
    budget
        The label that the file gives.
    """
    d_model, n_layers, n_heads, d_ff = dimensions
    if d_model is None or n_layers is None or n_heads is None:
        return Counted(d_ff, None, ("no architecture",))
    try:
        if d_ff is not None:
            cell, remarks = Architecture(d_model, n_layers, n_heads, d_ff), []
        elif stated is None:
            return Counted(None, None, ("no d_ff, and no param_count to infer it from",))
        else:
            cells = [Architecture(d_model, n_layers, n_heads, r * d_model) for r in _FF_RATIOS]
            cell = min(cells, key=lambda one: abs(count_parameters(one, shape) - stated))
            remarks = [f"d_ff inferred from param_count: {cell.d_ff // d_model} times d_model"]
    except ModelError as error:
        return Counted(d_ff, None, (str(error),))
    n_parameters = count_parameters(cell, shape)
    remarks += _against_stated(n_parameters, stated) + _against_budget(n_parameters, budget)
    return Counted(cell.d_ff, n_parameters, tuple(remarks))


def _against_stated(n_parameters: int, stated: int | None) -> list[str]:
    if stated is None or abs(n_parameters - stated) <= _COUNT_TOLERANCE_FRAC * n_parameters:
        return []
    return [f"param_count {stated:,}, but {n_parameters:,} when counted"]


def _against_budget(n_parameters: int, budget: str | None) -> list[str]:
    if budget is None:
        return []
    try:
        target = parse_budget(budget)
    except LadderError:
        return [f"budget {budget!r} is a label, not a count"]
    low, high = target.bounds(_BUDGET_TOLERANCE_FRAC)
    if low <= n_parameters <= high:
        return []
    return [f"labelled {target.label}, but {count_text(n_parameters)} when counted"]

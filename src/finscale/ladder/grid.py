"""Grids: the choices of width, depth, heads and feed-forward ratio, and what of them fits a budget.

What decides an architecture for a size is here; batch and schedule are decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product

from finscale.errors import LadderError
from finscale.files import hash_json
from finscale.ladder.budgets import Budget
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters

_REFERENCE_GRID_FROM_PARAMETERS = 1_500_000
_HASH_LENGTH = 16


@dataclass(frozen=True)
class Grid:
    """Choices per dimension; the grid's cells are their product.

    A cell is an architecture if ``n_heads`` divides ``d_model`` and a head is at least
    ``min_head_dim`` wide. ``d_ff`` is ``ff_ratio * d_model``.

    Raises
    ------
    LadderError
        If a dimension has no choice, a choice twice, or one that is not a positive whole number.
    """

    d_model: tuple[int, ...]
    n_layers: tuple[int, ...]
    n_heads: tuple[int, ...]
    ff_ratio: tuple[int, ...]
    min_head_dim: int = 1

    def __post_init__(self) -> None:
        dimensions = asdict(self) | {"min_head_dim": (self.min_head_dim,)}
        for name, choices in dimensions.items():
            valid = all(type(choice) is int and choice >= 1 for choice in choices)
            if not choices or not valid or len(set(choices)) < len(choices):
                raise LadderError(
                    f"grid: {name} is {list(choices)}; give different positive whole numbers"
                )

    def architectures(self) -> tuple[Architecture, ...]:
        """List every architecture of the grid, sorted."""
        cells = product(self.d_model, self.n_layers, self.n_heads, self.ff_ratio)
        return tuple(
            sorted(
                Architecture(d_model, n_layers, n_heads, ratio * d_model)
                for d_model, n_layers, n_heads, ratio in cells
                if d_model % n_heads == 0 and d_model // n_heads >= self.min_head_dim
            )
        )


# The grid of the study that finscale's results are compared with, 2M to 2B parameters.
REFERENCE_GRID = Grid(
    d_model=(64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
    n_layers=(2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 180, 192, 256),
    n_heads=(2, 4, 8, 16, 32),
    ff_ratio=(2, 4),
)

# For 1.5K to 1.5M parameters. Widths are dense because the embedding alone has about 260 weights
# per unit of width (25 features, patches of 10 rows); heads narrower than 4 cannot tell 11 patches
# apart.
SMALL_GRID = Grid(
    d_model=(4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384),
    n_layers=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
    n_heads=(1, 2, 4, 8),
    ff_ratio=(2, 4),
    min_head_dim=4,
)


def default_grid(budget: Budget) -> Grid:
    """Choose the small grid below 1.5M parameters and the reference grid from there."""
    small = budget.n_parameters < _REFERENCE_GRID_FROM_PARAMETERS
    return SMALL_GRID if small else REFERENCE_GRID


def architectures_within(
    budget: Budget, grid: Grid, shape: InputShape, tolerance_frac: float
) -> tuple[Architecture, ...]:
    """List the grid's architectures whose built parameter count meets the budget, sorted.

    Parameters
    ----------
    budget, tolerance_frac
        The target and the allowed distance from it, as a share; both bounds are included.
    grid
        The architectures to choose from.
    shape
        The input, on which the parameter count depends.

    Raises
    ------
    LadderError
        If there is none; the message names the nearest below and above.
    """
    low, high = budget.bounds(tolerance_frac)
    counted = [(count_parameters(cell, shape), cell) for cell in grid.architectures()]
    within = tuple(cell for count, cell in counted if low <= count <= high)
    if not within:
        raise LadderError(_none_within(budget, low, high, counted))
    return within


def _none_within(
    budget: Budget, low: int, high: int, counted: list[tuple[int, Architecture]]
) -> str:
    place = f"budget {budget.label}: no architecture of the grid has {low} to {high} parameters"
    if not counted:
        return f"{place}, for no n_heads of the grid divides a d_model; change n_heads or d_model"
    nearest = {
        "below": max((pair for pair in counted if pair[0] < low), default=None),
        "above": min((pair for pair in counted if pair[0] > high), default=None),
    }
    found = {side: pair for side, pair in nearest.items() if pair is not None}
    names = " and ".join(f"{n} {side} ({cell.label})" for side, (n, cell) in found.items())
    closest, _ = min(found.values(), key=lambda pair: abs(pair[0] - budget.n_parameters))
    return (
        f"{place}; the nearest have {names}: take a budget of {closest}, "
        "a wider tolerance, or a grid with choices between"
    )


def grid_hash(architectures: Iterable[Architecture], shape: InputShape) -> str:
    """Hash a set of architectures and their input; 16 hexadecimal digits of SHA-256.

    The order of the architectures does not matter. Records with different hashes were searched
    over different grids and are not comparable.
    """
    content = {
        "architectures": [cell.as_dict() for cell in sorted(set(architectures))],
        "shape": shape.as_dict(),
    }
    return hash_json(content)[:_HASH_LENGTH]

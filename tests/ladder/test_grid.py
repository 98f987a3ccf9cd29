from __future__ import annotations

import pytest

from finscale.errors import LadderError
from finscale.ladder.budgets import parse_budget
from finscale.ladder.grid import (
    REFERENCE_GRID,
    SMALL_GRID,
    Grid,
    architectures_within,
    default_grid,
    grid_hash,
)
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)


def test_a_grid_lists_its_valid_cells_sorted() -> None:
    grid = Grid(d_model=(12, 6), n_layers=(2, 1), n_heads=(4, 2), ff_ratio=(2,), min_head_dim=3)
    assert [cell.label for cell in grid.architectures()] == [
        "6x1x2x12",
        "6x2x2x12",
        "12x1x2x24",
        "12x1x4x24",
        "12x2x2x24",
        "12x2x4x24",
    ]


@pytest.mark.parametrize("choices", [(), (0,), (-1, 2), (2, 2), (2.0,), (True,)])
@pytest.mark.parametrize("name", ["d_model", "n_layers", "n_heads", "ff_ratio"])
def test_bad_choices_are_refused_by_name(name: str, choices: tuple[int, ...]) -> None:
    dimensions = {"d_model": (8,), "n_layers": (1,), "n_heads": (2,), "ff_ratio": (2,)}
    with pytest.raises(LadderError, match=f"grid: {name} is"):
        Grid(**(dimensions | {name: choices}))


def test_the_reference_grid_at_2m() -> None:
    cells = architectures_within(parse_budget("2M"), REFERENCE_GRID, SHAPE, 0.25)
    assert sorted({(cell.d_model, cell.n_layers, cell.d_ff // cell.d_model) for cell in cells}) == [
        (64, 32, 4),
        (64, 48, 2),
        (64, 48, 4),
        (64, 64, 2),
        (128, 8, 4),
        (128, 12, 2),
        (128, 12, 4),
        (128, 16, 2),
        (192, 4, 4),
        (192, 6, 2),
        (192, 8, 2),
        (256, 2, 4),
        (256, 3, 2),
        (256, 3, 4),
        (256, 4, 2),
        (384, 2, 2),
    ]
    assert len(cells) == 16 * 5


@pytest.mark.parametrize(("budget", "n_cells"), [("20M", 75), ("200M", 125), ("2B", 75)])
def test_the_reference_grid_at_larger_budgets(budget: str, n_cells: int) -> None:
    cells = architectures_within(parse_budget(budget), REFERENCE_GRID, SHAPE, 0.25)
    assert len(cells) == n_cells


def test_what_is_within_is_every_cell_between_the_bounds() -> None:
    budget = parse_budget("20K")
    within = architectures_within(budget, SMALL_GRID, SHAPE, 0.25)
    assert list(within) == sorted(within)
    for cell in SMALL_GRID.architectures():
        assert (cell in within) == (15_000 <= count_parameters(cell, SHAPE) <= 25_000)


@pytest.mark.parametrize(
    "budget", ["2.5K", "5K", "10K", "20K", "40K", "80K", "160K", "320K", "640K", "1M", "1.49M"]
)
def test_every_laptop_budget_has_a_choice_of_widths_and_depths(budget: str) -> None:
    target = parse_budget(budget)
    cells = architectures_within(target, default_grid(target), SHAPE, 0.25)
    assert len(cells) >= 15
    assert len({cell.d_model for cell in cells}) >= 3
    assert len({cell.n_layers for cell in cells}) >= 5
    assert min(cell.head_dim for cell in cells) >= 4


def test_the_default_grid_changes_at_one_and_a_half_million() -> None:
    assert default_grid(parse_budget(1_499_999)) is SMALL_GRID
    assert default_grid(parse_budget("1.5M")) is REFERENCE_GRID


def test_none_within_names_the_nearest_and_the_fix() -> None:
    gap = Grid(d_model=(64,), n_layers=(2, 256), n_heads=(2,), ff_ratio=(2,))
    with pytest.raises(LadderError) as error:
        architectures_within(parse_budget("2M"), gap, SHAPE, 0.25)
    assert str(error.value) == (
        "budget 2M: no architecture of the grid has 1500000 to 2500000 parameters; the nearest "
        "have 83905 below (64x2x2x128) and 8585793 above (64x256x2x128): take a budget of 83905, "
        "a wider tolerance, or a grid with choices between"
    )


def test_none_within_at_the_end_of_a_grid() -> None:
    with pytest.raises(LadderError, match=r"the nearest have 1233 above .4x1x1x8.: take a budget"):
        architectures_within(parse_budget("500"), SMALL_GRID, SHAPE, 0.25)
    with pytest.raises(LadderError, match="no n_heads of the grid divides"):
        architectures_within(parse_budget("2M"), Grid((64,), (2,), (3,), (2,)), SHAPE, 0.25)


def test_the_hash_names_a_set_of_architectures_and_an_input() -> None:
    cells = list(architectures_within(parse_budget("20K"), SMALL_GRID, SHAPE, 0.25))
    digest = grid_hash(cells, SHAPE)
    assert len(digest) == 16
    assert set(digest) <= set("0123456789abcdef")
    assert grid_hash(reversed(cells), SHAPE) == digest
    assert grid_hash(cells[1:], SHAPE) != digest
    assert grid_hash(cells, InputShape(26, 60, 10, 5)) != digest


def test_the_hash_does_not_change_between_versions() -> None:
    # sha256 of {"architectures":[{"d_ff":16,"d_model":8,"n_heads":2,"n_layers":1}],
    # "shape":{"context_length":8,"n_features":3,"patch_length":4,"patch_stride":2}}, no spaces
    assert grid_hash([Architecture(8, 1, 2, 16)], InputShape(3, 8, 4, 2)) == "c2d4c0db7e7401a4"

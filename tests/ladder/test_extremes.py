from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import LadderError
from finscale.ladder.budgets import parse_budget
from finscale.ladder.extremes import Extreme, extremes
from finscale.ladder.grid import REFERENCE_GRID, SMALL_GRID, architectures_within
from finscale.models.architecture import Architecture, InputShape

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
CELLS_20K = architectures_within(parse_budget("20K"), SMALL_GRID, SHAPE, 0.25)


def test_extremes_of_the_reference_grid_at_2m() -> None:
    budget = parse_budget("2M")
    cells = architectures_within(budget, REFERENCE_GRID, SHAPE, 0.25)
    # Widths of 64 have 1.60M (twice), 2.16M and 2.41M parameters; depths of 2 have 1.65M and
    # 2.47M; the closest of all to 2M, at either ratio, are 2.15M and 1.83M.
    assert extremes(cells, budget=budget, shape=SHAPE) == (
        Extreme(
            Architecture(64, 64, 8, 128),
            ("smallest d_model", "largest n_layers", "deepest and narrowest"),
        ),
        Extreme(Architecture(384, 2, 8, 768), ("largest d_model", "shallowest and widest")),
        Extreme(Architecture(256, 2, 8, 1024), ("smallest n_layers",)),
        Extreme(Architecture(128, 16, 2, 256), ("smallest n_heads",)),
        Extreme(Architecture(128, 16, 32, 256), ("largest n_heads",)),
        Extreme(Architecture(128, 16, 8, 256), ("smallest ff_ratio",)),
        Extreme(Architecture(192, 4, 8, 768), ("largest ff_ratio",)),
    )


def test_one_architecture_is_both_deepest_and_shallowest() -> None:
    only = Architecture(8, 2, 2, 16)
    assert extremes([only], budget=parse_budget("5K"), shape=SHAPE) == (
        Extreme(only, ("deepest and narrowest", "shallowest and widest")),
    )


@pytest.mark.parametrize(
    ("reason", "value", "choose"),
    [
        ("d_model", lambda cell: cell.d_model, (min, max)),
        ("n_layers", lambda cell: cell.n_layers, (min, max)),
        ("n_heads", lambda cell: cell.n_heads, (min, max)),
        ("ff_ratio", lambda cell: cell.ff_ratio, (min, max)),
    ],
)
@pytest.mark.parametrize("text", ["20K", "80K", "320K"])
def test_every_reason_holds(
    text: str,
    reason: str,
    value: Callable[[Architecture], float],
    choose: tuple[Callable[..., float], Callable[..., float]],
) -> None:
    budget = parse_budget(text)
    cells = architectures_within(budget, SMALL_GRID, SHAPE, 0.25)
    chosen = extremes(cells, budget=budget, shape=SHAPE)
    for word, pick in zip(("smallest", "largest"), choose, strict=True):
        (found,) = [e.architecture for e in chosen if f"{word} {reason}" in e.reasons]
        assert value(found) == pick(map(value, cells))


@pytest.mark.parametrize("text", ["10K", "20K", "40K", "80K", "160K", "320K", "640K"])
def test_extremes_are_few_and_distinct(text: str) -> None:
    budget = parse_budget(text)
    cells = architectures_within(budget, SMALL_GRID, SHAPE, 0.25)
    chosen = extremes(cells, budget=budget, shape=SHAPE)
    assert 5 <= len(chosen) <= 10
    assert len({e.architecture for e in chosen}) == len(chosen)
    assert sum(len(e.reasons) for e in chosen) == 10


@given(st.permutations(CELLS_20K))
def test_the_order_of_the_architectures_does_not_matter(cells: list[Architecture]) -> None:
    budget = parse_budget("20K")
    expected = extremes(CELLS_20K, budget=budget, shape=SHAPE)
    assert extremes(cells, budget=budget, shape=SHAPE) == expected


def test_nothing_has_no_extremes() -> None:
    with pytest.raises(LadderError, match="budget 2M: no architectures"):
        extremes([], budget=parse_budget("2M"), shape=SHAPE)

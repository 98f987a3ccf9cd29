from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import LadderError
from finscale.ladder.budgets import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "label", "n_parameters"),
    [
        ("2M", "2M", 2_000_000),
        ("2m", "2M", 2_000_000),
        (" 20K ", "20K", 20_000),
        ("2B", "2B", 2_000_000_000),
        ("1.5M", "1.5M", 1_500_000),
        ("1500K", "1.5M", 1_500_000),
        ("0.5M", "500K", 500_000),
        ("2000000", "2M", 2_000_000),
        (2_000_000, "2M", 2_000_000),
        (2500, "2.5K", 2500),
        ("2.50K", "2.5K", 2500),
        (1_234_000, "1.234M", 1_234_000),
        (1_234_567, "1234567", 1_234_567),
        (1001, "1.001K", 1001),
        (999, "999", 999),
        (10_000_000_000, "10B", 10_000_000_000),
    ],
)
def test_budgets_are_read_and_named(text: str | int, label: str, n_parameters: int) -> None:
    assert parse_budget(text) == Budget(label, n_parameters)


@given(st.integers(1, 10**12))
def test_every_budget_is_read_back_from_its_label(n_parameters: int) -> None:
    budget = parse_budget(n_parameters)
    assert budget.n_parameters == n_parameters
    assert parse_budget(budget.label) == budget
    assert parse_budget(budget.label.lower()) == budget


@pytest.mark.parametrize(
    "text", ["", "M", "2X", "2 M", "-2M", "0", "0K", "1.2345K", "0.5", "2e6", "2,000", True, None]
)
def test_other_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(LadderError, match=r"for example 20K, 1.5M, 2B or 2000000"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("n_parameters", "tolerance_frac", "bounds"),
    [
        (2_000_000, 0.25, (1_500_000, 2_500_000)),
        (3, 0.25, (3, 3)),
        (10, 0.1, (9, 11)),
        (1_000_000, 0.3, (700_000, 1_300_000)),
        (7, 0.0, (7, 7)),
    ],
)
def test_bounds_are_inclusive_and_exact(
    n_parameters: int, tolerance_frac: float, bounds: tuple[int, int]
) -> None:
    assert parse_budget(n_parameters).bounds(tolerance_frac) == bounds


@pytest.mark.parametrize("tolerance_frac", [-0.1, 1.0, 25.0, math.nan])
def test_impossible_tolerances_are_refused(tolerance_frac: float) -> None:
    with pytest.raises(LadderError, match=r"budget 2M: tolerance_frac .* for example 0.25"):
        parse_budget("2M").bounds(tolerance_frac)

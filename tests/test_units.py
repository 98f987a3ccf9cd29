from __future__ import annotations

import pytest

from finscale.units import bytes_text, count_text, duration_text, flops_text, true_minus


@pytest.mark.parametrize(
    ("count", "text"),
    [(950, "950"), (5_282, "5.28K"), (170_400, "170K"), (2_410_000, "2.41M"), (2e9, "2B")],
)
def test_counts_are_in_the_units_of_budgets(count: float, text: str) -> None:
    assert count_text(count) == text


def test_flops_and_bytes() -> None:
    assert flops_text(1.594e9) == "1.59G"
    assert flops_text(2.5e18) == "2.5E"
    assert bytes_text(512) == "512 B"
    assert bytes_text(2.54 * 2**30) == "2.54 GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m"), (2700, "45m"), (23_640, "6h34m"), (233_280, "2.7d")],
)
def test_durations_have_one_or_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("changes by -0.198 (-0.216 to -0.180)", "changes by −0.198 (−0.216 to −0.180)"),
        ("b = -3e-05, c = 2e-7, N^-0.5, -.5", "b = −3e−05, c = 2e−7, N^−0.5, −.5"),
        ("from 2001-01-04 to 2010-12-31, runs/a-1", "from 2001-01-04 to 2010-12-31, runs/a-1"),
        ("log-loss, A N^-alpha, --stage", "log-loss, A N^−alpha, --stage"),
    ],
)
def test_numbers_have_minus_signs_and_all_else_keeps_its_hyphens(text: str, said: str) -> None:
    assert true_minus(text) == said

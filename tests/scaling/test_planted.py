"""The verdict by the true probabilities, and how it stands to the verdict by the labels."""

from __future__ import annotations

from typing import Any

import pytest

from finscale.scaling.planted import compare_with_truth
from finscale.scaling.points import Point

SIZES = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
FALLING = tuple(0.60 + 0.2 * (size / 500) ** -0.5 for size in SIZES)
FLAT = (0.651, 0.650, 0.652, 0.650, 0.651, 0.6505)


def compared(
    losses: tuple[float, ...], found: str, sizes: tuple[int, ...] = SIZES
) -> dict[str, Any]:
    points = [
        Point(str(size), size, (loss - 1e-4, loss + 1e-4))
        for size, loss in zip(SIZES, losses, strict=False)
    ]
    return compare_with_truth(
        points,
        {"kind": found},
        best_possible=0.6,
        rivals={"base_rate": 0.69, "logistic_all": 0.64},
        n_bootstrap=200,
        confidence=0.95,
        seed=0,
    )


@pytest.mark.parametrize(
    ("losses", "found", "kind", "agreement"),
    [
        (FALLING, "falls", "falls", "agrees"),
        (FALLING, "no_evidence", "falls", "missed"),
        (FALLING, "rises", "falls", "false"),
        (FLAT, "no_evidence", "no_evidence", "agrees"),
        (FLAT, "falls", "no_evidence", "false"),
    ],
)
def test_the_verdict_is_held_against_the_truth(
    losses: tuple[float, ...], found: str, kind: str, agreement: str
) -> None:
    result = compared(losses, found)
    assert (result["kind"], result["agreement"]) == (kind, agreement)


def test_the_sentence_names_the_best_possible_and_who_is_nearest() -> None:
    text = compared(FALLING, "falls")["sentence"]
    # 0.6 + 0.2 / sqrt(32) = 0.6354.
    assert text.startswith("Judged by the true probabilities, the loss falls with model size (")
    assert ", which is what the labels say. The best possible loss" in text
    assert "The best possible loss is 0.6000" in text
    assert "that of 16000, is 0.0354 above it" in text
    assert "that of the best baseline, logistic_all, 0.0400." in text


def test_below_six_sizes_nothing_is_decided() -> None:
    assert compared(FALLING[:4], "too_few_points")["agreement"] == "undecided"

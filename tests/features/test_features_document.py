from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from finscale.features.context import context_features
from finscale.features.describe import (
    GENERATING_COMMAND,
    MEASURING_COMMAND,
    features_markdown,
    tier_names_hash,
)
from finscale.features.registry import Feature
from finscale.features.tiers import TIERS, tier_features
from finscale.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = read_json(ROOT / "docs" / "measured" / "feature_tiers.json")
    return found


@pytest.fixture(scope="module")
def document() -> str:
    return (ROOT / "docs" / "features.md").read_text(encoding="utf-8")


def cells(row: str) -> list[str]:
    """Split a row of a table as GitHub does: at pipes that are not escaped."""
    return [one.strip().replace("\\|", "|") for one in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_the_document_is_current(document: str, measured: dict[str, Any]) -> None:
    assert document == features_markdown(measured), f"run: {GENERATING_COMMAND}"


def test_the_measured_tiers_are_those_of_today(measured: dict[str, Any]) -> None:
    known = {tier: tier_names_hash(tier) for tier in TIERS}
    found = {one["tier"]: one["names_hash"] for one in measured["tiers"]}
    assert found == known, f"run: {MEASURING_COMMAND}, then {GENERATING_COMMAND}"


def test_tiers_are_not_padded(measured: dict[str, Any]) -> None:
    for one in measured["tiers"]:
        assert one["near_copy_frac"] < 0.1
        assert len(one["near_copies"]) == round(one["near_copy_frac"] * one["n_features"])


def test_every_feature_has_one_row_with_all_that_is_known(document: str) -> None:
    rows = [cells(line) for line in document.splitlines() if line.startswith("| `")]
    listed = {row[0]: row for row in rows if len(row) == 6}
    known: list[Feature] = [
        *tier_features(list(TIERS)[-1]),
        *context_features("vix", "volatility_index"),
        *context_features("index", "price"),
    ]
    assert len(listed) == len(known)
    for one in known:
        row = listed[f"`{one.name}`"]
        plain = [re.sub(r"\\([\\|*<`])", r"\1", cell) for cell in row]
        assert plain[1:] == [
            one.meaning,
            f"`{one.formula}`",
            ", ".join(one.inputs),
            str(one.lookback_bars),
            one.reference,
        ]


def test_every_row_of_a_table_has_as_many_cells_as_its_header(document: str) -> None:
    widths: list[int] = []
    for line in document.splitlines():
        if not line.startswith("|"):
            widths = []
            continue
        widths.append(len(cells(line)))
        assert widths[-1] == widths[0], line


def test_tiers_and_families_are_its_chapters(document: str) -> None:
    below = 0
    for tier, names in TIERS.items():
        new = f", {len(names) - below} of them new" if below else ""
        assert f"\n## {tier}: {len(names)} features{new}\n" in document
        below = len(names)
    assert "\n### volatility (5)\n" in document

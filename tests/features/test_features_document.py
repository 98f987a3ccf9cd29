from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from finscale.features.build import build_features
from finscale.features.context import context_features
from finscale.features.describe import GENERATING_COMMAND, features_markdown
from finscale.features.describe_measured import (
    MEASURING_COMMAND,
    fingerprint_sizes,
    fingerprints,
    tier_names_hash,
)
from finscale.features.registry import Feature
from finscale.features.tiers import TIERS, tier_features
from finscale.files import read_json
from finscale.market.bars import OHLCV
from strategies import make_bars

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


def test_the_measured_values_are_those_of_today(measured: dict[str, Any], sp500: OHLCV) -> None:
    matrix = build_features(sp500, tier_features("a500"))
    known, sizes = fingerprints(matrix), fingerprint_sizes(matrix)
    assert list(known) == list(measured["fingerprints"]) == list(TIERS["a500"])
    other = {
        name
        for name, value in known.items()
        if abs(value - measured["fingerprints"][name]) > 1e-5 * sizes[name]
    }
    assert other == set(), f"run: {MEASURING_COMMAND}, then {GENERATING_COMMAND}"


def test_another_value_anywhere_is_another_fingerprint() -> None:
    matrix = build_features(make_bars(300), tier_features("a25"))
    known, sizes = fingerprints(matrix), fingerprint_sizes(matrix)
    for row in (254, 270, 299):
        values = matrix.values.copy()
        values[row, 3] *= 1.1
        other = fingerprints(dataclasses.replace(matrix, values=values))
        name = matrix.names[3]
        assert abs(other.pop(name) - known[name]) > 1e-5 * sizes[name]
        assert other == {key: value for key, value in known.items() if key != name}


def test_tiers_are_not_padded(measured: dict[str, Any]) -> None:
    for one in measured["tiers"]:
        assert one["near_copy_frac"] < 0.05
        assert len(one["near_copies"]) == round(one["near_copy_frac"] * one["n_features"])
        assert one["explained_frac"] < 0.07
        assert len(one["explained"]) == round(one["explained_frac"] * one["n_features"])
        # No feature is a sum of others.
        assert all(each["r_squared"] < 0.999 for each in one["explained"])


def test_what_the_source_changed_is_said(document: str, measured: dict[str, Any]) -> None:
    stale = measured["stale_open_frac"]
    assert stale["2003"] > 0.9
    assert stale["2017"] < 0.1
    assert f"| {stale['2003']:.0%} |" in document
    [*_, last] = measured["tiers"]
    for one in last["often_clipped"]:
        shares = " | ".join(f"{one[part]:.0%}" for part in ("train", "validation", "test"))
        assert f"| `{one['feature']}` | {shares} |\n" in document
    # Of the smallest tier, none; a scale of quartiles alone clipped the gap in 97% of test.
    assert measured["tiers"][0]["often_clipped"] == []


def test_larger_tiers_have_an_interval_against_the_smallest(
    document: str, measured: dict[str, Any]
) -> None:
    for one in measured["tiers"]:
        for horizon in ("h1", "h3", "h5"):
            for part in ("validation", "test"):
                low, high = one["skill"][horizon]["less_a25"][part]
                gain = (
                    one["skill"][horizon]["chosen"][f"{part}_skill"]
                    - measured["tiers"][0]["skill"][horizon]["chosen"][f"{part}_skill"]
                )
                assert low <= gain <= high
                assert one["tier"] == "a25" or f"{low:+.3f} … {high:+.3f}" in document


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

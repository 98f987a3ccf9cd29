"""What changed between two identities, in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from finscale.pipeline.changes import (
    Change,
    code_changes,
    data_changes,
    describe_change,
    grid_changes,
    named,
    settings_changes,
)


def test_settings_are_named_with_their_old_and_new_value() -> None:
    old = {"seed": 0, "training": {"patience": 4, "optimizer": "adamw"}, "split": {"a": [1, 2]}}
    new = {"seed": 0, "training": {"patience": 8, "optimizer": "lion"}, "split": {"b": None}}
    assert settings_changes(old, new) == [
        "training.patience 4 → 8",
        "training.optimizer adamw → lion",
        "split.a [1, 2] → (not set)",
        "split.b (not set) → null",
    ]
    assert settings_changes(old, old) == []


def test_code_is_named_by_its_files() -> None:
    old = {"tasks.py": "1", "splits.py": "1", "training/loop.py": "1"}
    new = {"tasks.py": "1", "splits.py": "2", "training/run.py": "1"}
    assert code_changes(old, new) == [
        "splits.py",
        "training/run.py added",
        "training/loop.py removed",
    ]


GRID: dict[str, Any] = {
    "shape": {"n_features": 25, "context_length": 60},
    "architectures": ["8x1x1x16", "8x2x1x16", "16x1x1x32"],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        (
            {"architectures": ["8x1x1x16", "8x2x1x16", "16x1x1x32", "16x4x1x32"]},
            ["n_layers with 4", "1 architecture more"],
        ),
        (
            {"architectures": ["8x1x1x16", "8x2x1x16", "24x1x1x48", "32x1x1x64"]},
            [
                "d_model without 16",
                "d_model with 24, 32",
                "2 architectures more",
                "1 architecture fewer",
            ],
        ),
        (
            {"architectures": ["8x1x1x32", "8x2x1x16", "16x1x1x32"]},
            ["1 architecture more", "1 architecture fewer"],
        ),
        (
            {"architectures": ["8x1x1x24", "8x2x1x16", "16x1x1x32"]},
            ["d_ff with 24", "1 architecture more", "1 architecture fewer"],
        ),
        ({"shape": {"n_features": 50, "context_length": 60}}, ["n_features 25 → 50"]),
    ],
)
def test_grids_are_told_apart_by_their_dimensions(change: dict[str, Any], words: list[str]) -> None:
    assert grid_changes(GRID, {**GRID, **change}) == words


BARS = {"n_bars": 5031, "first_date": "1999-01-04", "last_date": "2018-12-31"}
DATA: dict[str, Any] = {
    "source": "prices.csv",
    "time_scale": "daily",
    "symbols": {"SPY": {**BARS, "bars_hash": "a", "version": None}},
    "context": {"vix": {**BARS, "bars_hash": "c", "version": 1, "lag_sessions": 0}},
    "features": {"return_1": "1", "rsi_14": "2", "adx_14": "3"},
    "labels_hash": "x",
    "parts": {"test": {"n": 900, "first_date": "2015-01-02", "last_date": "2018-12-31"}},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"source": "other.csv"}, ["source prices.csv → other.csv"]),
        ({"time_scale": "weekly"}, ["time scale daily → weekly"]),
        # What the bars decide goes without saying.
        (
            {
                "symbols.SPY.bars_hash": "b",
                "symbols.SPY.n_bars": 5040,
                "symbols.SPY.last_date": "2019-01-14",
                "features.rsi_14": "9",
                "labels_hash": "y",
                "parts.test.n": 909,
            },
            ["SPY bars changed (5,031 to 2018-12-31 → 5,040 to 2019-01-14)"],
        ),
        (
            {"context.vix.version": 2, "context.vix.bars_hash": "d"},
            ["context vix version 1 → 2"],
        ),
        ({"context.vix.lag_sessions": 1}, ["context vix lag_sessions 0 → 1"]),
        ({"symbols.QQQ": {}}, ["symbol QQQ added"]),
        ({"context": {}}, ["context vix removed"]),
        ({"features.rsi_14": "9"}, ["other values of feature rsi_14"]),
        (
            {"features.rsi_14": "9", "features.adx_14": "9", "labels_hash": "y"},
            ["other values of features rsi_14, adx_14", "other labels"],
        ),
        (
            {"features": {"return_1": "1", "rsi_14": "2", "atr_14": "4"}},
            ["feature adx_14 removed", "feature atr_14 added"],
        ),
        (
            {"features": {"rsi_14": "2", "return_1": "1", "adx_14": "3"}},
            ["other order of features"],
        ),
        (
            {"parts.test.n": 800, "parts.test.first_date": "2015-06-01"},
            [
                (
                    "test 900 rows from 2015-01-02 to 2018-12-31 → "
                    "800 rows from 2015-06-01 to 2018-12-31"
                )
            ],
        ),
    ],
)
def test_data_are_told_apart_by_what_was_put_in(changes: dict[str, Any], words: list[str]) -> None:
    new = copy.deepcopy(DATA)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = new
        for parent in parents:
            place = place[parent]
        place[last] = value
    assert data_changes(DATA, new) == words


def test_what_nobody_wrote_down_is_named_by_its_part() -> None:
    assert describe_change("grid", None, GRID) == Change("grid")
    assert Change("grid").text == "grid"
    change = describe_change("code", {"tasks.py": "1"}, {"tasks.py": "2"})
    assert change == Change("code", ("tasks.py",))
    assert change.text == "code (tasks.py)"
    assert change.as_dict() == {"part": "code", "details": ("tasks.py",)}


def test_the_end_of_a_long_list_is_a_number() -> None:
    assert named("abcdef") == "a, b, c, d, e, f"
    assert named("abcdefgh", separator="; ") == "a; b; c; d; e; f; and 2 more"

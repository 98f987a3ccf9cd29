from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from finscale.features import code
from finscale.features.code import feature_code_hash, feature_libraries, source_files

PACKAGE = Path(code.__file__).parents[1]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one's own to edit."""
    for folder in ("features", "market"):
        shutil.copytree(
            PACKAGE / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    monkeypatch.setattr(code, "_PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        ("features/momentum.py", True),
        ("features/rolling.py", True),
        ("features/tiers.py", True),
        ("features/processed.py", True),
        ("market/bars.py", True),
        ("market/context.py", True),
        ("market/timescale.py", True),
        ("features/brand_new.py", True),
        ("features/causality.py", False),
        ("features/describe.py", False),
        ("features/modules.py", False),
        ("features/panel.py", False),
        ("features/proof.py", False),
        ("features/select.py", False),
        ("market/catalog.py", False),
        ("market/sources/retry.py", False),
    ],
)
def test_only_an_edit_of_what_makes_values_changes_the_hash(
    part: str, counts: bool, copied: Path
) -> None:
    before = feature_code_hash()
    with (copied / part).open("a") as stream:
        stream.write("# a comment\n")
    assert (feature_code_hash() != before) == counts


def test_the_hash_is_a_sha256_of_the_same_code() -> None:
    assert len(feature_code_hash()) == 64
    assert feature_code_hash() == feature_code_hash()


def test_files_of_parts() -> None:
    found = source_files(("market/sources", "market/bars.py"), {"market/sources/retry.py"})
    assert {"market/bars.py", "market/sources/yahoo.py", "market/sources/__init__.py"} <= set(found)
    assert "market/sources/retry.py" not in found
    assert list(found) == sorted(set(found))
    assert all((PACKAGE / one).is_file() for one in found)


def test_the_libraries_that_values_come_from() -> None:
    assert set(feature_libraries()) == {"numpy", "ta-lib"}

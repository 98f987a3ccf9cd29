from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from finscale.errors import DataError
from finscale.files import hash_bytes
from finscale.market.catalog import Catalog
from finscale.market.manifest import Problem
from strategies import make_bars, to_frame

NAME, OTHER, TIER = "SPY.OHLCV.daily", "DIA.OHLCV.daily", "SPY.features.a25"
AGAIN = (
    "restore it from a backup, or import or download the data again (as the next version) and "
    "delete v0001.*"
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Two versions of one symbol, one of another, and features of the first's latest version."""
    catalog = Catalog(tmp_path / "data")
    for seed in (1, 2):
        frame = to_frame(make_bars(30, seed=seed), "SPY")
        catalog.register(NAME, frame, source="t", provenance={}, snapshot=b"Date,Open\n%d" % seed)
    catalog.register(OTHER, to_frame(make_bars(30), "DIA"), source="t", provenance={})
    features = pl.DataFrame({"date": frame["date"], "x": np.zeros(30, dtype=np.float32)})
    catalog.register(
        *(TIER, features),
        source="t",
        provenance={},
        lineage=[catalog.entry(NAME)],
        code_hash="c0de",
        tier="a25",
    )
    return catalog


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(file.relative_to(root)): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def the_problem(catalog: Catalog, **options: Any) -> Problem:
    """Return the one problem there is, found without changing anything."""
    before = tree(catalog.root)
    [problem] = catalog.verify(**options)
    assert tree(catalog.root) == before
    return problem


def labels(catalog: Catalog) -> list[str]:
    return [entry.label for entry in catalog.entries()]


ALL = [
    "DIA.OHLCV.daily version 1",
    "SPY.OHLCV.daily version 1",
    "SPY.OHLCV.daily version 2",
    "SPY.features.a25 version 1",
]


def test_what_is_in_order_has_no_problems(catalog: Catalog) -> None:
    assert catalog.verify(code_hash="c0de") == []
    assert labels(catalog) == ALL


def test_numbers_may_have_holes(catalog: Catalog) -> None:
    for suffix in ("parquet", "json", "snapshot.csv"):
        (catalog.root / "raw" / NAME / f"v0001.{suffix}").unlink()
    assert catalog.verify() == []
    assert catalog.entry(NAME).version == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"format": 1, "name": "SPY', "cannot be read as JSON (Unterminated string"),
        (b"\xff\xfe", "cannot be read as JSON ('utf-8' codec"),
        (b"[" * 100_000, "cannot be read as JSON (maximum recursion depth exceeded"),
        (b"[]", "not a manifest of format 1"),
        (b"{}", "not a manifest of format 1"),
        (b'{"format": 2}', "not a manifest of format 1"),
        (b'{"format": 1}', "name: field required"),
    ],
)
def test_a_damaged_manifest(catalog: Catalog, content: bytes, message: str) -> None:
    path = catalog.root / "raw" / NAME / "v0001.json"
    path.write_bytes(content)
    problem = the_problem(catalog)
    assert (problem.name, problem.version, problem.kind) == (NAME, 1, "manifest")
    assert problem.message.startswith(f"{path}: {message}")
    assert problem.fix.endswith(
        "import or download the data again (as the next version) and delete v0001.*"
    )
    # The others are none the worse for it.
    assert labels(catalog) == [ALL[0], *ALL[2:]]
    assert catalog.load_bars(NAME)[1].version == 2
    with pytest.raises(DataError, match=r"v0001\.json: "):
        catalog.entry(NAME, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "tells of SPY.OHLCV.daily version 2 (raw/SPY.OHLCV.daily/v0001.parquet)"),
        ({"name": OTHER}, "tells of DIA.OHLCV.daily version 1"),
        ({"kind": "processed"}, "tells of SPY.OHLCV.daily version 1"),
        ({"kind": "cooked"}, "kind: input should be 'raw' or 'processed'"),
        ({"file": "../x.parquet"}, "tells of SPY.OHLCV.daily version 1 (../x.parquet)"),
        ({"n_rows": "30"}, "n_rows: input should be a valid integer"),
        ({"checksum": None}, "checksum: input should be a valid string"),
        ({"lineage": [{"name": "X"}]}, "lineage.0: value error, should have name, version and"),
        ({"warnings": [{}]}, "warnings.0.kind: field required"),
        ({"surprise": 1}, "surprise: unexpected keyword argument"),
    ],
)
def test_a_manifest_of_unknown_shape(
    catalog: Catalog, change: dict[str, Any], message: str
) -> None:
    path = catalog.root / "raw" / NAME / "v0001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    problem = the_problem(catalog)
    assert (problem.name, problem.version, problem.kind) == (NAME, 1, "manifest")
    assert problem.message.startswith(f"{path}: {message}")
    assert problem.fix == AGAIN
    assert labels(catalog) == [ALL[0], *ALL[2:]]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"n_rows": 23}, "n_rows is 23 (of the data 30)"),
        ({"n_columns": 6}, "n_columns is 6 (of the data 7)"),
        ({"content_hash": 64 * "0"}, f"content_hash is {64 * '0'} (of the data {{2}})"),
        ({"symbol": "DIA"}, "symbol is DIA (of the data SPY)"),
        (
            {"first_date": "1900-01-01", "last_date": None},
            "first_date is 1900-01-01 (of the data {0}), last_date is None (of the data {1})",
        ),
    ],
)
def test_a_manifest_that_was_edited(catalog: Catalog, change: dict[str, Any], fault: str) -> None:
    entry = catalog.entry(NAME, 1)
    path = catalog.root / "raw" / NAME / "v0001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    fault = fault.format(entry.first_date, entry.last_date, entry.content_hash)
    message = f"{path}: does not fit its data: {fault}"
    assert the_problem(catalog) == Problem(NAME, 1, "manifest", message, AGAIN)


def test_a_manifest_that_was_edited_for_data_that_are_none(catalog: Catalog) -> None:
    path = catalog.root / "raw" / NAME / "v0001.json"
    path.with_suffix(".parquet").write_bytes(b"x")
    manifest = {**json.loads(path.read_text()), "checksum": hash_bytes(b"x")}
    path.write_text(json.dumps(manifest))
    problem = the_problem(catalog)
    assert problem.kind == "checksum"
    assert problem.message.startswith(f"{path.with_suffix('.parquet')}: is no Parquet file (")


def test_a_damaged_latest_version_is_not_passed_over_in_silence(catalog: Catalog) -> None:
    (catalog.root / "raw" / NAME / "v0002.json").write_text("{")
    with pytest.raises(DataError, match=r"v0002\.json: .*, or name an older version \(1\)$"):
        catalog.entry(NAME)
    assert catalog.entry(NAME, 1).version == 1
    # What was computed from it says so.
    assert {(one.name, one.kind) for one in catalog.verify()} == {
        (NAME, "manifest"),
        (TIER, "lineage"),
    }


def test_a_missing_file(catalog: Catalog) -> None:
    path = catalog.root / "raw" / NAME / "v0001.parquet"
    path.unlink()
    problem = the_problem(catalog)
    message = f"{path}: cannot be read (No such file or directory)"
    assert problem == Problem(NAME, 1, "missing_file", message, AGAIN)
    assert labels(catalog) == ALL
    with pytest.raises(DataError) as caught:
        catalog.load_bars(NAME, 1)
    assert str(caught.value) == (
        f"{path}: SPY.OHLCV.daily version 1 cannot be read (No such file or directory); {AGAIN}"
    )


@pytest.mark.parametrize("suffix", ["parquet", "snapshot.csv"])
@pytest.mark.parametrize("damage", ["truncated", "one bit", "other"])
def test_a_wrong_checksum(catalog: Catalog, suffix: str, damage: str) -> None:
    path = catalog.root / "raw" / NAME / f"v0001.{suffix}"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(
        {"truncated": path.read_bytes()[:-1], "one bit": bytes(content), "other": b"x"}[damage]
    )
    problem = the_problem(catalog)
    message = f"{path}: has another checksum than registered"
    assert problem == Problem(NAME, 1, "checksum", message, AGAIN)
    assert catalog.load_bars(NAME)[1].version == 2
    if suffix == "parquet":
        with pytest.raises(DataError) as caught:
            catalog.load_bars(NAME, 1)
        assert str(caught.value) == (
            f"{path}: SPY.OHLCV.daily version 1 has another checksum than registered; {AGAIN}"
        )


def test_a_missing_snapshot(catalog: Catalog) -> None:
    (catalog.root / "raw" / NAME / "v0001.snapshot.csv").unlink()
    assert the_problem(catalog).kind == "missing_file"


def test_lineage_to_a_version_that_is_gone(catalog: Catalog) -> None:
    for suffix in ("parquet", "json", "snapshot.csv"):
        (catalog.root / "raw" / NAME / f"v0002.{suffix}").unlink()
    assert the_problem(catalog) == Problem(
        TIER,
        1,
        "lineage",
        f"processed/{TIER}/v0001.parquet: was computed from {NAME} version 2, which is not there "
        "or is damaged",
        "restore that version from a backup, or build the data again (as the next version) and "
        "delete v0001.*",
    )


@pytest.mark.parametrize("damage", ["missing", "checksum", "manifest"])
@pytest.mark.parametrize("lost", [NAME, TIER])
def test_what_verify_says_to_do_mends_it(catalog: Catalog, lost: str, damage: str) -> None:
    # As people follow it: what is computed from what was lost is built again after it.
    bars, features = (catalog.read(catalog.entry(name)) for name in (NAME, TIER))
    path = catalog.root / catalog.entry(lost).file
    if damage == "missing":
        path.unlink()
    else:
        path.with_suffix(".json" if damage == "manifest" else ".parquet").write_text("{")
    catalog.register(NAME, bars, source="t", provenance={})
    raw = catalog.entry(NAME)
    catalog.register(
        *(TIER, features),
        source="t",
        provenance={},
        lineage=[raw],
        code_hash="c0de",
        tier="a25",
    )
    for _ in range(2):
        for problem in catalog.verify():
            number = f"v{problem.version:04d}.*"
            assert problem.fix.endswith(f" again (as the next version) and delete {number}")
            kind = "raw" if problem.name == NAME else "processed"
            for file in (catalog.root / kind / problem.name).glob(number):
                file.unlink()
    assert catalog.verify() == []
    assert catalog.read(catalog.entry(NAME)).equals(bars)
    assert catalog.read(catalog.entry(TIER)).equals(features)


def test_lineage_to_a_version_that_is_another_now(catalog: Catalog) -> None:
    # As after someone removed the raw data and imported others under the same number.
    for suffix in ("parquet", "json", "snapshot.csv"):
        (catalog.root / "raw" / NAME / f"v0002.{suffix}").unlink()
    other = to_frame(make_bars(30, seed=9), "SPY")
    assert catalog.register(NAME, other, source="t", provenance={})[0].version == 2
    problem = the_problem(catalog)
    assert (problem.name, problem.kind) == (TIER, "lineage")
    assert problem.message.endswith(f"computed from a {NAME} version 2 that had another checksum")


def test_features_of_other_code_are_noted_as_stale(catalog: Catalog) -> None:
    problem = the_problem(catalog, code_hash="newer")
    assert (problem.name, problem.version, problem.kind) == (TIER, 1, "stale")
    assert problem.severity == "note"
    # Once they are built again, older versions may be of older code.
    raw = catalog.entry(NAME)
    catalog.register(
        *(TIER, catalog.read(catalog.entry(TIER))),
        source="t",
        provenance={},
        lineage=[raw],
        code_hash="newer",
    )
    assert catalog.verify(code_hash="newer") == []


@pytest.mark.parametrize(
    ("file", "name", "version", "message"),
    [
        (f"raw/{NAME}/v0003.parquet", NAME, 3, "present and not registered (the registration was"),
        (f"raw/{NAME}/v0003.snapshot.csv", NAME, 3, "present and not registered (the registratio"),
        (f"processed/{TIER}/v0002.parquet", TIER, 2, "present and not registered (the registrati"),
        (f"raw/{NAME}/.v0003.parquet.ab12.tmp", NAME, None, "left behind by a write that was int"),
        (f"raw/{NAME}/notes.txt", NAME, None, "present and not registered"),
        (f"raw/{NAME}/v0000.parquet", NAME, None, "present and not registered"),
        ("raw/QQQ.csv", "QQQ.csv", None, "present and not registered"),
        ("raw/QQQ.OHLCV.daily/v0001.parquet", "QQQ.OHLCV.daily", 1, "present and not registered"),
    ],
)
def test_files_that_are_not_registered(
    catalog: Catalog, file: str, name: str, version: int | None, message: str
) -> None:
    path = catalog.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    problem = the_problem(catalog)
    assert (problem.name, problem.version, problem.kind) == (name, version, "pending")
    assert problem.message.startswith(f"{path}: {message}")
    assert problem.fix
    assert labels(catalog) == ALL


def test_what_to_do_about_files_that_are_not_registered(catalog: Catalog) -> None:
    (catalog.root / "raw" / "QQQ.csv").write_bytes(b"x")
    assert the_problem(catalog).fix == (
        f"register the data (finscale data import {catalog.root}/raw/QQQ.csv --catalog "
        f"{catalog.root}), and move the file out of the catalogue"
    )
    (catalog.root / "raw" / "QQQ.csv").unlink()
    (catalog.root / "processed" / TIER / "v0002.parquet").write_bytes(b"x")
    assert the_problem(catalog).fix == (
        "build the data again (as the next version), then delete it"
    )


@pytest.mark.parametrize("directory", ["raw/thesis", f"raw/{TIER}", f"processed/{NAME}"])
def test_a_directory_that_is_no_data_set(catalog: Catalog, directory: str) -> None:
    (catalog.root / directory).mkdir()
    problem = the_problem(catalog)
    assert (problem.kind, problem.fix) == ("name", "move it out of the catalogue")
    assert problem.message.startswith(f"{catalog.root / directory}: ")
    assert labels(catalog) == ALL


def test_what_the_operating_system_leaves_is_nothing(catalog: Catalog) -> None:
    for place in ("", "raw", f"raw/{NAME}"):
        (catalog.root / place / ".DS_Store").write_bytes(b"x")
    (catalog.root / "README.md").write_text("mine")
    assert catalog.verify() == []


def test_a_catalogue_that_may_only_be_read_is_verified(catalog: Catalog) -> None:
    (catalog.root / ".lock").unlink()
    before = tree(catalog.root)
    assert catalog.verify() == []
    assert tree(catalog.root) == before


def test_several_problems_are_listed_by_name_and_version(catalog: Catalog) -> None:
    for name in (OTHER, NAME):
        (catalog.root / "raw" / name / "v0001.parquet").write_bytes(b"x")
    (catalog.root / "raw" / NAME / "v0007.parquet").write_bytes(b"x")
    assert [(one.name, one.version, one.kind) for one in catalog.verify()] == [
        (OTHER, 1, "checksum"),
        (NAME, 1, "checksum"),
        (NAME, 7, "pending"),
    ]
    assert catalog.verify()[0].as_dict() == {
        "name": OTHER,
        "version": 1,
        "kind": "checksum",
        "message": f"{catalog.root}/raw/{OTHER}/v0001.parquet: has another checksum than "
        "registered",
        "fix": AGAIN,
        "severity": "error",
    }

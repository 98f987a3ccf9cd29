from __future__ import annotations

import io
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import DataError
from finscale.files import hash_bytes, waiting_lock
from finscale.market import catalog as catalog_module
from finscale.market.catalog import Catalog
from finscale.market.manifest import Entry, content_hash
from finscale.market.symbol_bars import Finding
from processes import killed_after
from strategies import make_bars, to_frame

SPY, NAME = to_frame(make_bars(30), "SPY"), "SPY.OHLCV.daily"
FEATURES = pl.DataFrame({"date": SPY["date"][5:], "x": np.arange(25, dtype=np.float32)})
AS_GIVEN = {"prices": "as_given"}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "data")


def add(catalog: Catalog, frame: pl.DataFrame = SPY, **given: Any) -> tuple[Entry, bool]:
    return catalog.register(NAME, frame, **{"source": "test", "provenance": AS_GIVEN, **given})


def changed(frame: pl.DataFrame, row: int) -> pl.DataFrame:
    volume = frame["volume"].to_list()
    volume[row] += 1.0
    return frame.with_columns(volume=pl.Series(volume))


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


# --- Registering and reading --------------------------------------------------------------------


def test_what_is_registered_is_read(catalog: Catalog) -> None:
    finding = Finding("zero_volume", "warning", "volume is zero", "fix", (1, 2), ("2000-01-03",))
    entry, is_new = add(
        catalog, source="SPY.csv", provenance={"n": 1, "both": (1, 2)}, warnings=[finding]
    )
    assert is_new
    assert catalog.entry(NAME) == entry == catalog.entry(NAME, 1)
    assert catalog.entries() == [entry]
    assert catalog.read(entry).equals(SPY)
    bars, same = catalog.load_bars(NAME)
    assert same == entry
    assert (bars.symbol, bars.warnings, bars.provenance) == (
        "SPY",
        (finding,),
        {"n": 1, "both": [1, 2]},
    )
    assert bars.bars.equals(SPY)
    assert catalog.verify() == []


def test_an_entry_tells_all_that_is_known(catalog: Catalog, monkeypatch: Any) -> None:
    monkeypatch.setattr(catalog_module, "utc_now", lambda: "2026-01-02T03:04:05+00:00")
    raw, _ = add(catalog, snapshot=b"as it came")
    entry, _ = catalog.register(
        *("SPY.features.a25", FEATURES),
        source="finscale",
        provenance={},
        lineage=[raw],
        code_hash="c0de",
        tier="a25",
    )
    data = (catalog.root / "processed" / "SPY.features.a25" / "v0001.parquet").read_bytes()
    assert entry == Entry(
        name="SPY.features.a25",
        version=1,
        kind="processed",
        file="processed/SPY.features.a25/v0001.parquet",
        checksum=hash_bytes(data),
        content_hash=content_hash(FEATURES),
        source="finscale",
        created_at="2026-01-02T03:04:05+00:00",
        symbol="SPY",
        tier="a25",
        n_rows=25,
        n_columns=2,
        first_date=str(SPY["date"][5]),
        last_date=str(SPY["date"][29]),
        lineage=({"name": NAME, "version": 1, "checksum": raw.checksum},),
        code_hash="c0de",
        provenance={},
        warnings=(),
        snapshot=None,
        snapshot_checksum=None,
    )
    assert (raw.kind, raw.n_columns, raw.tier) == ("raw", 7, None)
    assert raw.snapshot == "raw/SPY.OHLCV.daily/v0001.snapshot.csv"
    assert (catalog.root / raw.snapshot).read_bytes() == b"as it came"
    assert raw.snapshot_checksum == hash_bytes(b"as it came")
    assert json.loads(json.dumps(entry.as_dict()))["lineage"][0]["version"] == 1
    assert set(tree(catalog.root)) == {
        ".lock",
        "processed/SPY.features.a25/v0001.json",
        "processed/SPY.features.a25/v0001.parquet",
        "raw/SPY.OHLCV.daily/v0001.json",
        "raw/SPY.OHLCV.daily/v0001.parquet",
        "raw/SPY.OHLCV.daily/v0001.snapshot.csv",
    }


def test_versions_count_up_and_the_latest_is_meant(catalog: Catalog) -> None:
    frames = [changed(SPY, row) for row in range(3)]
    entries = [add(catalog, frame)[0] for frame in frames]
    assert [entry.version for entry in entries] == [1, 2, 3]
    assert catalog.entry(NAME) == entries[2]
    for entry, frame in zip(entries, frames, strict=True):
        assert catalog.read(catalog.entry(NAME, entry.version)).equals(frame)
    assert catalog.versions(NAME) == entries


def test_entries_are_sorted_by_kind_name_and_version(catalog: Catalog) -> None:
    for symbol in ("SPY", "^DJI", "BRK.B"):
        add_named = to_frame(make_bars(3), symbol)
        catalog.register(f"{symbol}.OHLCV.daily", add_named, source="t", provenance={})
    add(catalog)
    catalog.register("A.features.a25", FEATURES, source="t", provenance={})
    assert [entry.label for entry in catalog.entries()] == [
        "BRK.B.OHLCV.daily version 1",
        "SPY.OHLCV.daily version 1",
        "SPY.OHLCV.daily version 2",
        "^DJI.OHLCV.daily version 1",
        "A.features.a25 version 1",
    ]


def test_an_empty_catalogue_holds_nothing(catalog: Catalog) -> None:
    assert catalog.entries() == []
    assert catalog.verify() == []
    with pytest.raises(DataError) as caught:
        catalog.entry(NAME)
    assert str(caught.value) == f"{catalog.root}: no data set {NAME}; it holds nothing yet"
    assert not catalog.root.exists()


def test_what_is_not_there_is_named_with_what_is(catalog: Catalog) -> None:
    add(catalog)
    with pytest.raises(DataError, match=r"no data set DIA\.OHLCV\.daily; it holds SPY\.OHLCV\.da"):
        catalog.entry("DIA.OHLCV.daily")
    with pytest.raises(DataError, match=r"SPY\.OHLCV\.daily has no version 7; there are 1$"):
        catalog.entry(NAME, 7)
    with pytest.raises(DataError, match=r"holds no bars; name one like SPY\.OHLCV\.daily"):
        catalog.load_bars("SPY.features.a25")


@pytest.mark.parametrize(
    ("name", "frame", "message"),
    [
        ("a/b.OHLCV.daily", SPY, "data set 'a/b.OHLCV.daily': holds '/'; names are like"),
        (NAME, SPY.head(0), f"data set {NAME}: no rows; there is nothing to register"),
        (NAME, SPY.drop("open"), f"data set {NAME}: its columns are symbol, date, high, low, "),
        (
            "DIA.OHLCV.daily",
            SPY,
            "data set DIA.OHLCV.daily: the bars are of SPY; name the data set after their symbol",
        ),
        (
            "SPY.features.a25",
            FEATURES.with_columns(y=pl.lit([1])),
            "column 'y' holds List(Int64); the catalogue keeps numbers, text and times",
        ),
    ],
)
def test_what_cannot_be_registered_leaves_nothing(
    catalog: Catalog, name: str, frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        catalog.register(name, frame, source="t", provenance={})
    assert str(caught.value).startswith(message)
    assert not catalog.root.exists()


def test_a_file_in_the_way_is_named(catalog: Catalog) -> None:
    catalog.root.write_text("")
    with pytest.raises(DataError, match="data: is a file, not a directory; choose another --cata"):
        add(catalog)


def test_a_file_in_the_place_of_a_data_set_is_named(catalog: Catalog) -> None:
    path = catalog.root / "raw" / "SPY.OHLCV.daily"
    path.parent.mkdir(parents=True)
    path.write_text("")
    with pytest.raises(DataError) as caught:
        add(catalog)
    assert str(caught.value) == (
        f"{path}: is a file, where the data set has its directory; move it out of the catalogue"
    )


def test_names_that_differ_in_case_only_are_refused(catalog: Catalog) -> None:
    add(catalog)
    with pytest.raises(DataError, match=r"spy\.OHLCV\.daily is there as SPY\.OHLCV\.daily; write"):
        catalog.register("spy.OHLCV.daily", to_frame(make_bars(3), "spy"), source="", provenance={})


# --- Rebuilds -----------------------------------------------------------------------------------


def test_a_name_taken_in_another_case_while_waiting_is_refused(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower = SPY.with_columns(symbol=pl.lit("spy"))
    real = catalog_module.waiting_lock

    def late(path: Path) -> Any:
        # Another process is faster by a hair.
        monkeypatch.setattr(catalog_module, "waiting_lock", real)
        catalog.register("spy.OHLCV.daily", lower, source="other", provenance={})
        return real(path)

    monkeypatch.setattr(catalog_module, "waiting_lock", late)
    with pytest.raises(DataError, match=r"SPY\.OHLCV\.daily is there as spy\.OHLCV\.daily"):
        add(catalog)
    assert [one.name for one in catalog.entries()] == ["spy.OHLCV.daily"]


def test_invalid_bars_are_refused_and_rounded_ones_widened(catalog: Catalog) -> None:
    high = SPY["high"].to_list()
    body = max(SPY["open"][3], SPY["close"][3])
    high[3] = body * 0.9
    wrong = SPY.with_columns(high=pl.Series(high))
    with pytest.raises(DataError) as caught:
        add(catalog, wrong)
    assert str(caught.value).startswith(f"data set {NAME}: row 4 ({SPY['date'][3]}): high is below")
    with pytest.raises(DataError, match=r"date is before the row above"):
        add(catalog, SPY.reverse())
    assert catalog.entries() == []
    high[3] = body * (1 - 5e-7)
    entry, _ = add(catalog, SPY.with_columns(high=pl.Series(high)))
    assert catalog.read(entry)["high"][3] == body


@pytest.mark.parametrize("scale", ["weekly", "intraday"])
def test_bars_are_daily(catalog: Catalog, scale: str) -> None:
    with pytest.raises(DataError) as caught:
        catalog.register(f"SPY.OHLCV.{scale}", SPY, source="test", provenance={})
    assert str(caught.value) == (
        f"data set SPY.OHLCV.{scale}: bars are kept as daily ones, and coarser ones made from "
        "them; name it SPY.OHLCV.daily"
    )
    assert not catalog.root.exists()


def test_a_rebuild_is_recognised(catalog: Catalog) -> None:
    first, _ = add(catalog)
    before = tree(catalog.root)
    assert add(catalog) == (first, False)
    # Fetched again, from elsewhere, kept in other chunks.
    chunked = pl.concat([SPY[:10], SPY[10:]], rechunk=False)
    fetched = {"downloaded_at": "2026-02-02", "n_attempts": 3}
    again = add(catalog, chunked, source="other.csv", provenance={**AS_GIVEN, **fetched})
    assert again == (first, False)
    assert tree(catalog.root) == before


@pytest.mark.parametrize(
    "given",
    [
        {"frame": changed(SPY, 7)},
        {"provenance": {"prices": "adjusted"}},
        {"provenance": {**AS_GIVEN, "repairs": ["drop_weekends"]}},
        {"code_hash": "another"},
        {"tier": "a50"},
    ],
)
def test_what_differs_in_values_or_treatment_is_another_version(
    catalog: Catalog, given: dict[str, Any]
) -> None:
    add(catalog)
    entry, is_new = add(catalog, **given)
    assert (entry.version, is_new) == (2, True)


def test_another_lineage_is_another_version(catalog: Catalog) -> None:
    one, _ = add(catalog)
    other, _ = add(catalog, changed(SPY, 3))

    def build(origin: Entry) -> tuple[int, bool]:
        entry, is_new = catalog.register(
            "SPY.features.a25", FEATURES, source="t", provenance={}, lineage=[origin]
        )
        return entry.version, is_new

    assert [build(one), build(other), build(one), build(other)] == [
        *((1, True), (2, True)),
        *((1, False), (2, False)),
    ]


def test_the_latest_of_several_equal_versions_is_found(catalog: Catalog) -> None:
    first, _ = add(catalog)
    add(catalog, changed(SPY, 1))
    assert add(catalog) == (first, False)


@pytest.mark.parametrize("damage", ["truncated data", "no data", "truncated manifest"])
def test_a_damaged_version_is_replaced_by_registering_again(catalog: Catalog, damage: str) -> None:
    entry, _ = add(catalog)
    data, manifest = catalog.root / entry.file, catalog.root / entry.file.replace("parquet", "json")
    if damage == "no data":
        data.unlink()
    else:
        victim = data if damage == "truncated data" else manifest
        victim.write_bytes(victim.read_bytes()[:-40])
    before = tree(catalog.root)
    again, is_new = add(catalog)
    assert (again.version, is_new) == (2, True)
    assert catalog.read(again).equals(SPY)
    # What was there is left as it was.
    assert {**tree(catalog.root), **before} == tree(catalog.root)


# --- The content hash ---------------------------------------------------------------------------

COLUMNS = st.sampled_from(
    [
        pl.Series("x", [1.0, float("nan"), None]),
        pl.Series("x", [1.0, None, float("nan")]),
        pl.Series("x", [1.0, 0.0, None]),
        pl.Series("x", [1.0, None, 0.0]),
        pl.Series("x", [1.0, 2.0, 3.0]),
        pl.Series("x", [1.0, 2.0, 3.0], dtype=pl.Float32),
        pl.Series("x", [1, 2, 3]),
        pl.Series("y", [1, 2, 3]),
        pl.Series("x", ["1", "2", "3"]),
        pl.Series("x", ["1", "2,3", ""]),
        pl.Series("x", ["1,2", "3", ""]),
        pl.Series("x", ["a\0b", None, ""]),
        pl.Series("x", [True, False, None]),
        pl.Series("x", [True, False, False]),
        pl.Series("x", [1, 2, 3]).cast(pl.Date),
        pl.Series("x", [1, 2, 3]).cast(pl.Datetime("us")),
        pl.Series("x", [1, 2, 3]).cast(pl.Datetime("us", "UTC")),
        pl.Series("x", ["1", "2", "3"], dtype=pl.Categorical),
    ]
)


@given(COLUMNS, COLUMNS)
def test_the_content_hash_is_of_names_types_and_values(one: pl.Series, other: pl.Series) -> None:
    same = one.name == other.name and one.dtype == other.dtype and one.equals(other)
    assert (content_hash(one.to_frame()) == content_hash(other.to_frame())) == same


def test_the_content_hash_does_not_know_the_encoding() -> None:
    frame = SPY.with_columns(
        pl.Series("nan", np.where(np.arange(30) % 3, np.nan, 1.0)), text=pl.lit("é")
    )
    expected = content_hash(frame)
    # Another NaN, the same to everyone who reads it.
    bits = frame["nan"].to_numpy().copy().view(np.uint64)
    bits[np.isnan(frame["nan"].to_numpy())] = 0xFFF8000000000123
    assert content_hash(frame.with_columns(nan=pl.Series(bits.view(np.float64)))) == expected
    for options in ({"compression": "zstd"}, {"compression": "lz4", "row_group_size": 7}):
        buffer = io.BytesIO()
        frame.write_parquet(buffer, **options)
        assert content_hash(pl.read_parquet(io.BytesIO(buffer.getvalue()))) == expected
    assert content_hash(pl.concat([frame[:4], frame[4:]], rechunk=False)) == expected
    assert content_hash(frame.reverse()) != expected
    assert content_hash(frame.select(reversed(frame.columns))) != expected


def test_the_content_hash_stays_what_it_is() -> None:
    # A hash that changed would make every data set in the world look new.
    frame = pl.DataFrame({"a": [1.5, None], "b": ["x", "é"]})
    head = b'[2,["a","Float64"],["b","String"]]'
    numbers = b"\x40" + np.array([1.5, 0.0]).tobytes()
    text = b'\x00["x","\\u00e9"]'
    assert content_hash(frame) == hash_bytes(b"\0".join([head, numbers, text]))


# --- Several processes --------------------------------------------------------------------------


def register_many(root: Path, worker: int, barrier: Barrier) -> None:
    catalog = Catalog(root)
    for number in range(8):
        barrier.wait()
        # One that all want to register, and one of each worker's own.
        add(catalog, changed(SPY, number))
        add(catalog, changed(SPY, number), provenance={"scale": f"worker {worker}"})


def test_processes_register_at_once(catalog: Catalog) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [
        context.Process(target=register_many, args=(catalog.root, i, barrier)) for i in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    entries = catalog.versions(NAME)
    assert [entry.version for entry in entries] == list(range(1, 8 * 4 + 1))
    keys = [(entry.content_hash, entry.provenance.get("scale")) for entry in entries]
    assert len(set(keys)) == 8 * 4
    assert catalog.verify() == []


def test_registering_waits_for_its_turn_and_reading_does_not(catalog: Catalog) -> None:
    first, _ = add(catalog)
    with ThreadPoolExecutor(2) as pool:
        with waiting_lock(catalog.root / ".lock"):
            waiting = pool.submit(add, catalog, changed(SPY, 1))
            verifying = pool.submit(catalog.verify)
            time.sleep(0.1)
            assert not waiting.done()
            assert not verifying.done()
            assert catalog.entries() == [first]
            assert catalog.read(catalog.entry(NAME)).equals(SPY)
        assert waiting.result(timeout=10)[0].version == 2
        # Never half of a registration, before or after.
        assert verifying.result(timeout=10) == []


def test_a_registration_that_is_interrupted_is_as_if_it_had_not_been(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = add(catalog)
    with monkeypatch.context() as patched:
        patched.setattr(catalog_module, "write_text_atomic", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            add(catalog, changed(SPY, 1), snapshot=b"as it came")
    assert catalog.entries() == [first]
    assert catalog.entry(NAME) == first
    assert {(one.kind, one.version) for one in catalog.verify()} == {("pending", 2)}
    # Its number and its files are not touched.
    before = tree(catalog.root)
    entry, is_new = add(catalog, changed(SPY, 1))
    assert (entry.version, is_new) == (3, True)
    assert {**tree(catalog.root), **before} == tree(catalog.root)


REGISTERING = """
import sys
from pathlib import Path
import polars as pl
from finscale.market.catalog import Catalog
frame = pl.DataFrame({"date": [1], "x": [0.0]})
print("ready", flush=True)
for number in range(10**6):
    Catalog(Path(sys.argv[1])).register(
        "SPY.features.a25",
        frame.with_columns(x=pl.lit(float(number))),
        source="test",
        provenance={"scale": sys.argv[2]},
        snapshot=b"as it came",
    )
"""


def test_kill_leaves_whole_versions_and_says_what_is_not(catalog: Catalog) -> None:
    for number, wait_s in enumerate([0.0, 0.003, 0.01]):
        n_before = len(catalog.entries())
        command = [sys.executable, "-c", REGISTERING, str(catalog.root), str(number)]
        with killed_after(subprocess.Popen(command, stdout=subprocess.PIPE)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while len(catalog.entries()) < n_before + 3:
                assert process.poll() is None
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
        assert {one.kind for one in catalog.verify()} <= {"pending"}
        for entry in catalog.entries():
            assert catalog.read(entry).height == 1
    # The next one is neither stopped nor led astray by what was left.
    entry, _ = catalog.register("SPY.features.a25", FEATURES, source="test", provenance={})
    assert catalog.entry("SPY.features.a25") == entry
    assert entry.version > 9


def test_the_manifest_is_read_by_people_too(catalog: Catalog) -> None:
    entry, _ = add(catalog)
    lines = (catalog.root / entry.file.replace("parquet", "json")).read_text().splitlines()
    assert lines[:5] == [
        "{",
        '  "format": 1,',
        '  "name": "SPY.OHLCV.daily",',
        '  "version": 1,',
        '  "kind": "raw",',
    ]
    assert '  "provenance": {"prices": "as_given"},' in lines


def test_an_entry_made_by_hand_is_no_way_out_of_the_catalogue(catalog: Catalog) -> None:
    entry, _ = add(catalog)
    manifest = catalog.root / "raw" / NAME / "v0001.json"
    outside = {**json.loads(manifest.read_text()), "file": "../../outside.parquet"}
    manifest.write_text(json.dumps(outside))
    with pytest.raises(
        DataError, match=r"v0001\.json: tells of SPY\.OHLCV\.daily version 1 \(\.\."
    ):
        catalog.entry(NAME)
    assert replace(entry, version=2).label == "SPY.OHLCV.daily version 2"

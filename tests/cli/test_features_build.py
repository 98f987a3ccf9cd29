from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import CommandLine, fault_of

from finscale.features import processed
from finscale.features.build import build_features
from finscale.features.code import feature_code_hash
from finscale.features.context import context_features
from finscale.features.frame import matrix_to_frame
from finscale.features.tiers import tier_features
from finscale.market.bars import to_arrays
from finscale.market.catalog import Catalog
from finscale.market.context import join_context
from finscale.market.sources.bundled import load_bundled
from finscale.market.timescale import resample
from finscale.study_data import MAX_STALENESS_DAYS, ContextSeries
from strategies import make_bars, to_frame


def register(catalog: Catalog, symbol: str, n_bars: int = 300, seed: int = 0) -> None:
    bars = make_bars(n_bars, seed=seed)
    weekdays = np.busday_offset("2001-01-01", np.arange(n_bars), roll="forward")
    frame = to_frame(dataclasses.replace(bars, date=weekdays), symbol)
    catalog.register(f"{symbol}.OHLCV.daily", frame, source="made for the test", provenance={})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("catalog")
    catalog = Catalog(root)
    register(catalog, "SPY", 600)
    register(catalog, "BRK.B", seed=1)
    register(catalog, "NEW", 20)
    register(catalog, "VIX", 600, seed=2)
    register(catalog, "SPY", 400)
    return root


@pytest.fixture
def catalog(prepared: Path, tmp_path: Path) -> Catalog:
    """A catalogue in the place where the command looks for it."""
    shutil.copytree(prepared, tmp_path / "data")
    return Catalog(tmp_path / "data")


def test_a_table_is_registered_with_what_it_was_made_from(
    finscale: CommandLine, catalog: Catalog
) -> None:
    finished = finscale("features", "build", "SPY")
    assert (finished.code, finished.err) == (0, "")
    bars = to_arrays(catalog.load_bars("SPY.OHLCV.daily")[0].bars)
    assert finished.out == (
        "SPY.features.a25 version 1: registered, 25 features × 146 rows, "
        f"{bars.date[254]} to {bars.date[-1]}\n"
    )
    entry, raw = catalog.entry("SPY.features.a25"), catalog.entry("SPY.OHLCV.daily")
    assert (raw.version, entry.tier, entry.kind) == (2, "a25", "processed")
    assert entry.lineage == ({"name": raw.name, "version": 2, "checksum": raw.checksum},)
    assert entry.code_hash == feature_code_hash()
    assert entry.source == "built from SPY.OHLCV.daily version 2"
    assert set(entry.provenance["libraries"]) == {"numpy", "ta-lib"}
    features = tier_features("a25")
    assert catalog.read(entry).equals(matrix_to_frame(build_features(bars, features)))
    assert catalog.verify() == []


def test_an_identical_rebuild_is_recognised(finscale: CommandLine, catalog: Catalog) -> None:
    finscale("features", "build", "SPY")
    finished = finscale("features", "build", "SPY")
    assert finished.out.startswith("SPY.features.a25 version 1: unchanged, 25 features × 146 rows")
    finished = finscale("features", "build", "SPY", "--version", "1")
    assert finished.out.startswith("SPY.features.a25 version 2: registered, 25 features × 346 rows")
    assert len(catalog.versions("SPY.features.a25")) == 2


def test_other_code_makes_another_version(
    finscale: CommandLine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    finscale("features", "build", "SPY")
    monkeypatch.setattr(processed, "feature_code_hash", lambda: "0" * 64)
    assert "version 2: registered" in finscale("features", "build", "SPY").out


def test_all_symbols_on_two_workers_as_json(finscale: CommandLine, catalog: Catalog) -> None:
    finished = finscale("features", "build", "--all", "--workers", "2", "--json")
    assert finished.code == 2
    found = {one["name"]: one for one in json.loads(finished.out)}
    assert set(found) == {f"{one}.features.a25" for one in ("SPY", "BRK.B", "NEW", "VIX")}
    new = found.pop("NEW.features.a25")
    assert new["status"] == "failed"
    assert new["error"].startswith("20 bars are too few: adx_14 needs 254")
    for name, one in found.items():
        entry = catalog.entry(name)
        assert (one["status"], one["version"], one["n_features"]) == ("registered", 1, 25)
        assert (one["checksum"], one["n_rows"]) == (entry.checksum, entry.n_rows)
    failed, last = finished.err.splitlines()
    assert failed.startswith("NEW.features.a25: FAILED: 20 bars are too few: adx_14")
    assert last == (
        "finscale: 1 of 4 data sets were not built (NEW.features.a25); the reasons are above, and "
        "the others are kept"
    )


def test_coarser_bars_have_a_name_of_their_own(finscale: CommandLine, catalog: Catalog) -> None:
    finished = finscale("features", "build", "SPY", "--scale", "2d", "--version", "1")
    assert finished.code == 0
    entry = catalog.entry("SPY.features.a25_2d")
    raw = catalog.read(catalog.entry("SPY.OHLCV.daily", 1))
    expected = build_features(to_arrays(resample(raw, "2d")), tier_features("a25"))
    assert (entry.n_rows, entry.tier) == (300 - 254, "a25")
    np.testing.assert_array_equal(
        catalog.read(entry).drop("date").to_numpy(), expected.values[254:]
    )
    unknown = finscale("features", "build", "SPY", "--scale", "hourly")
    assert "unknown time scale 'hourly'" in unknown.err


def test_a_context_series_that_is_no_volatility_by_its_size_is_warned_of(
    finscale: CommandLine, catalog: Catalog
) -> None:
    bars = to_frame(make_bars(400), "DJI")
    prices = ("open", "high", "low", "close")
    bars = bars.with_columns(pl.col(one) * 1000 / bars["close"].max() for one in prices)
    catalog.register("DJI.OHLCV.daily", bars, source="a test", provenance={})
    finished = finscale("features", "build", "SPY", "--context", "dji=DJI.OHLCV.daily")
    assert finished.code == 0
    assert finished.err == (
        "warning: --context dji=DJI.OHLCV.daily: read as a volatility index in percent a year, and "
        "closes at up to 1,000; if it is a price write dji=DJI.OHLCV.daily:price\n"
    )
    again = finscale("features", "build", "SPY", "--context", "dji=DJI.OHLCV.daily:price")
    assert (again.code, again.err) == (0, "")


def test_features_of_a_context_series_are_added(finscale: CommandLine, catalog: Catalog) -> None:
    finished = finscale("features", "build", "SPY", "--context", "VIX=VIX.OHLCV.daily")
    assert finished.code == 0, finished
    entry, vix = catalog.entry("SPY.features.a25+vix"), catalog.entry("VIX.OHLCV.daily")
    assert [one["name"] for one in entry.lineage] == ["SPY.OHLCV.daily", "VIX.OHLCV.daily"]
    bars = to_arrays(catalog.load_bars("SPY.OHLCV.daily")[0].bars)
    series = catalog.read(vix)
    joined = join_context(
        bars,
        "vix",
        series["date"].to_numpy(),
        series["close"].to_numpy(),
        max_staleness_days=MAX_STALENESS_DAYS,
        source="VIX",
    )
    features = (*tier_features("a25"), *context_features("vix", "volatility_index"))
    assert catalog.read(entry).equals(matrix_to_frame(build_features(joined, features)))
    price = finscale("features", "build", "SPY", "--context", "brk=BRK.B.OHLCV.daily:price")
    assert "brk: on" in price.err
    assert "max_staleness_days is 7" in price.err
    assert price.code == 2


def test_a_series_may_be_as_old_as_in_a_study(finscale: CommandLine, catalog: Catalog) -> None:
    finscale("features", "build", "SPY", "--context", "vix=VIX.OHLCV.daily")
    [context] = catalog.entry("SPY.features.a25+vix").provenance["context"]
    study = ContextSeries(name="vix", kind="volatility_index", source="catalog", symbol="VIX")
    assert context["max_staleness_days"] == study.max_staleness_days == MAX_STALENESS_DAYS


def test_a_scale_that_leaves_too_few_bars_is_refused_with_the_way_out(
    finscale: CommandLine, catalog: Catalog
) -> None:
    finished = finscale("features", "build", "SPY", "--scale", "monthly", "--version", "1")
    assert finished.code == 2
    # 600 weekdays from 1 January 2001 on end on 18 April 2003.
    assert finished.err.splitlines()[0] == (
        "SPY.features.a25_monthly: FAILED: 600 daily bars make 27 monthly ones, and adx_14 looks "
        "back over 254; choose a finer time scale, or give many more than 5,355 daily bars"
    )


def test_features_that_never_change_are_named(finscale: CommandLine, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "data")
    frame = load_bundled("SP500").bars
    catalog.register("SP500.OHLCV.daily", frame, source="made for the test", provenance={})
    still = frame.with_columns(open="close", high="close", low="close", volume=0.0)
    still = still.with_columns(symbol=pl.lit("STILL"))
    catalog.register("STILL.OHLCV.daily", still, source="made for the test", provenance={})
    assert "warning" not in finscale("features", "build", "SP500").out
    printed, warning = finscale("features", "build", "STILL").out.splitlines()
    assert "registered" in printed
    assert warning.startswith("  warning: ")
    [finding] = catalog.entry("STILL.features.a25").warnings
    assert finding.kind == "constant_feature"
    [built] = json.loads(finscale("features", "build", "STILL", "--json").out)
    assert [one["kind"] for one in built["warnings"]] == ["constant_feature"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "features build: name symbols (SPY), or give --all, and not both"),
        (["SPY", "--all"], "features build: name symbols (SPY), or give --all, and not both"),
        (["QQQ"], "data: no data set QQQ.OHLCV.daily; it holds BRK.B.OHLCV.daily, NEW.OHLCV"),
        (["SPY", "--tier", "a26"], "unknown tier 'a26'; choose one of a25"),
        (["SPY", "--version", "7"], "data: SPY.OHLCV.daily has no version 7; there are 1, 2"),
        (["../SPY"], "data set '../SPY.OHLCV.daily': holds '/'"),
        (["SPY", "--context", "vix"], "--context: got 'vix'; write NAME=DATASET or NAME=DATA"),
        (["SPY", "--context", "v=VIX.OHLCV.daily:x"], "--context: got 'v=VIX.OHLCV.daily:x'"),
        (
            ["SPY", "--context", "v=VIX.features.a25"],
            "--context: got 'v=VIX.features.a25'; a series is daily bars: VIX.OHLCV.daily",
        ),
        (
            ["SPY", "--context", "v-x=VIX.OHLCV.daily"],
            "--context: got 'v-x=VIX.OHLCV.daily'; use lower case letters, digits and '_'",
        ),
        (["SPY", "--context", "v=V.OHLCV.daily"], "data: no data set V.OHLCV.daily"),
        (["SPY", "--catalog", "none", "--all"], "features build: name symbols (SPY), or give"),
        (["--catalog", "none", "--all"], "none: holds no daily bars; import some with: finscale"),
    ],
)
def test_bad_input_builds_nothing(
    finscale: CommandLine, catalog: Catalog, arguments: list[str], fault: str
) -> None:
    assert fault_of(finscale("features", "build", *arguments)).startswith(fault)
    assert [one.kind for one in catalog.entries()] == ["raw"] * 5


def test_a_damaged_file_spoils_its_own_symbol_only(finscale: CommandLine, catalog: Catalog) -> None:
    path = catalog.root / catalog.entry("BRK.B.OHLCV.daily").file
    path.write_bytes(path.read_bytes()[:-1])
    finished = finscale("features", "build", "BRK.B", "SPY")
    assert finished.code == 2
    assert finished.out.startswith("SPY.features.a25 version 1: registered")
    assert "BRK.B.features.a25: FAILED: data/raw/BRK.B.OHLCV.daily/v0001.parquet: " in finished.err
    assert not pl.read_parquet(catalog.root / catalog.entry("SPY.features.a25").file).is_empty()


def test_a_bug_is_not_taken_for_bad_input(
    finscale: CommandLine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr(processed, "_load", broken)
    with pytest.raises(ZeroDivisionError, match="by hand"):
        finscale("features", "build", "SPY")

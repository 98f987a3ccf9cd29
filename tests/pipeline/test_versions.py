"""A run pins the catalogue versions that it began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finscale.dataset.sources import keep_pins, pin_versions
from finscale.errors import DataError, StudyError
from finscale.files import read_json
from finscale.market.catalog import Catalog
from finscale.market.sources.bundled import load_bundled
from finscale.progress import Progress
from finscale.study_file import load_study
from tiny import run_tiny, tiny_study


def register(root: Path, bars: pl.DataFrame) -> int:
    entry, _ = Catalog(root).register(
        "SP500.OHLCV.daily", bars, source="a test", provenance={"prices": "as_given"}
    )
    return entry.version


def changes(root: Path, **data: Any) -> dict[str, Any]:
    return {
        "data": {"source": "catalog", "catalog": str(root), "symbol": "SP500", **data},
        "ladder.budgets": ["1.5K"],
        "search.n_trials": 1,
        "search.extremes_first": False,
    }


class Messages(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def last_date(out: Path) -> str:
    [symbol] = read_json(out / "data.json")["symbols"]
    return str(symbol["last_date"])


def test_a_run_goes_on_with_the_data_it_began_with(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "run"
    bars = load_bundled("SP500").bars
    assert register(root, bars[:-100]) == 1
    first = run_tiny(out, changes(root))
    assert load_study(out / "study.yaml").data.model_dump()["versions"] == {"SP500": 1}
    began = last_date(out)
    n_records = len(first.directory.ledger.read().records)

    assert register(root, bars) == 2
    progress = Messages()
    run_tiny(out, changes(root), progress=progress)
    assert last_date(out) == began
    assert len(first.directory.ledger.read().records) == n_records
    [text] = [text for text in progress.texts if "catalogue" in text]
    assert text == (
        "the catalogue has newer data than this run began with; it goes on with its own "
        "(name versions in the study file, or choose another --out, for the new ones)"
    )

    other = tmp_path / "other"
    run_tiny(other, changes(root))
    assert last_date(other) == "2018-12-31"
    # Named in the study file, the new version is taken, and the old records are stale.
    named = Messages()
    run_tiny(out, changes(root, versions={"SP500": 2}), progress=named)
    assert last_date(out) == "2018-12-31"
    assert any("earlier records were made with other data" in text for text in named.texts)


def test_versions_are_pinned_for_context_series_too(tmp_path: Path) -> None:
    assert register(tmp_path, load_bundled("SP500").bars) == 1
    series = {
        "name": "own",
        "kind": "price",
        "source": "catalog",
        "catalog": str(tmp_path),
        "symbol": "SP500",
    }
    study = pin_versions(tiny_study({"data": {"symbol": "NASDAQ", "context": [series]}}))
    assert study.data.context[0].version == 1


def test_a_data_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"SPY\.OHLCV\.daily"):
        pin_versions(tiny_study(changes(tmp_path) | {"data.symbol": "SPY"}))


def test_a_version_of_a_symbol_that_the_study_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data.versions: QQQ is not among data.symbols"):
        pin_versions(tiny_study(changes(tmp_path, versions={"QQQ": 1})))


def test_a_newer_version_that_is_damaged_does_not_stop_a_run(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "run"
    bars = load_bundled("SP500").bars
    register(root, bars[:-100])
    run_tiny(out, changes(root))
    register(root, bars)
    [manifest] = root.rglob("v0002.json")
    manifest.write_text("{")
    run_tiny(out, changes(root))
    assert load_study(out / "study.yaml").data.model_dump()["versions"] == {"SP500": 1}


def test_pins_of_another_catalogue_mean_nothing(tmp_path: Path) -> None:
    bars = load_bundled("SP500").bars
    register(tmp_path / "one", bars[:-100])
    for stop in (-50, -1):
        register(tmp_path / "other", bars[:stop])
    earlier = pin_versions(tiny_study(changes(tmp_path / "one")))
    moved = keep_pins(tiny_study(changes(tmp_path / "other")), earlier)
    assert pin_versions(moved).data.model_dump()["versions"] == {"SP500": 2}

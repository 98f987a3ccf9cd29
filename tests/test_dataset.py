from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finscale.dataset import (
    Cell,
    CellData,
    Market,
    check_schedule,
    load_bars,
    load_market,
    prepare_cell,
    study_cells,
)
from finscale.errors import DataError, SplitError, StudyError
from finscale.features.build import build_features
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV
from finscale.study import BundledData, FileData, Study
from finscale.study_file import parse_study
from finscale.tasks import get_task, label_rows
from tiny import tiny_settings, tiny_study

STUDY = tiny_study()
CELL = Cell(1, "threshold_1pct")


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market(STUDY)


@pytest.fixture(scope="module")
def data(market: Market) -> CellData:
    return prepare_cell(STUDY, market, CELL)


def changed(market: Market, change: Callable[[OHLCV], OHLCV]) -> Market:
    bars = change(market.bars)
    return replace(market, bars=bars, features=build_features(bars, tier_features("a25")))


def scaled_prices(bars: OHLCV, start: int, factor: float) -> OHLCV:
    """Return bars whose prices from row ``start`` on are spread out around their close."""
    high, low = bars.high.copy(), bars.low.copy()
    high[start:] *= factor
    low[start:] /= factor
    return replace(bars, high=high, low=low)


def test_cells_are_every_task_with_every_horizon() -> None:
    study = tiny_study({"tasks": ["threshold_1pct", "direction"], "horizons": [1, 5]})
    assert [cell.name for cell in study_cells(study)] == [
        "h1_threshold_1pct",
        "h5_threshold_1pct",
        "h1_direction",
        "h5_direction",
    ]


def test_the_market_is_described(market: Market) -> None:
    described = market.describe()
    assert described["name"] == "bundled SP500"
    assert (described["n_bars"], described["first_date"]) == (5031, "1999-01-04")
    assert described["last_date"] == "2018-12-31"
    assert len(described["feature_names"]) == 25
    assert described["first_usable_row"] == market.features.first_row


def test_labels_and_base_rate(market: Market, data: CellData) -> None:
    labels_T = label_rows(market.bars, get_task("threshold_1pct"), 1)
    assert np.array_equal(data.labels_T, labels_T, equal_nan=True)
    assert data.base_rate == pytest.approx(float(np.mean(labels_T[data.split.train])), abs=1e-6)
    assert data.base_rate != pytest.approx(float(np.nanmean(labels_T)), abs=1e-3)


def test_the_first_anchor_has_a_whole_window_of_features(market: Market, data: CellData) -> None:
    first = int(data.split.train[0])
    assert first == market.features.first_row + 60 - 1
    x_BLF = data.windows(60, torch.device("cpu")).inputs(torch.tensor([first]))
    assert torch.isfinite(x_BLF).all()
    assert np.isnan(data.scaled_TF[market.features.first_row - 1]).any()


def test_scaling_is_by_the_rows_that_training_sees(market: Market, data: CellData) -> None:
    seen_TF = market.features.values[market.features.first_row : data.split.train[-1] + 1]
    median_F = np.median(seen_TF, axis=0)
    iqr_F = np.subtract(*np.percentile(seen_TF, [75, 25], axis=0))
    assert data.scaler.median_F == pytest.approx(median_F, rel=1e-5, abs=1e-9)
    assert data.scaler.iqr_F == pytest.approx(np.where(iqr_F > 0, iqr_F, 1), rel=1e-5)
    expected_TF = np.clip((market.features.values - median_F) / data.scaler.iqr_F, -5, 5)
    assert np.allclose(data.scaled_TF, expected_TF, atol=1e-4, equal_nan=True)


def test_nothing_of_training_depends_on_later_rows(market: Market, data: CellData) -> None:
    later = changed(market, lambda bars: scaled_prices(bars, data.split.train_stop, 1.003))
    other = prepare_cell(STUDY, later, CELL)
    assert other.base_rate == data.base_rate
    assert np.array_equal(other.scaler.median_F, data.scaler.median_F)
    assert np.array_equal(other.scaler.iqr_F, data.scaler.iqr_F)
    stop = data.split.train_stop
    assert np.array_equal(other.scaled_TF[:stop], data.scaled_TF[:stop], equal_nan=True)
    assert np.array_equal(other.labels_T[data.split.train], data.labels_T[data.split.train])
    # And the change was one that shows.
    assert not np.array_equal(other.labels_T[data.split.test], data.labels_T[data.split.test])
    assert other.data_hash != data.data_hash


def test_a_change_of_the_training_rows_shows(market: Market, data: CellData) -> None:
    earlier = changed(market, lambda bars: scaled_prices(bars, data.split.train_stop - 300, 1.003))
    other = prepare_cell(STUDY, earlier, CELL)
    assert other.base_rate != data.base_rate
    assert not np.array_equal(other.scaler.median_F, data.scaler.median_F)


def test_the_hash_tells_horizons_apart_and_nothing_else(market: Market, data: CellData) -> None:
    assert prepare_cell(STUDY, market, CELL).data_hash == data.data_hash
    assert prepare_cell(STUDY, market, Cell(3, "threshold_1pct")).data_hash != data.data_hash
    assert prepare_cell(STUDY, market, Cell(1, "direction")).data_hash != data.data_hash


def test_parts_are_described(data: CellData) -> None:
    described = data.describe()
    assert described["question"].startswith("does the highest high of the next bar reach")
    train = described["parts"]["train"]
    assert train["n"] == len(data.split.train)
    assert train["event_rate"] == pytest.approx(data.base_rate)
    assert described["parts"]["test"]["last_date"] == "2018-12-28"


def test_labels_that_are_all_the_same_are_refused(market: Market) -> None:
    def flat(bars: OHLCV) -> OHLCV:
        return replace(bars, high=np.maximum(bars.open, bars.close))

    with pytest.raises(SplitError) as refusal:
        prepare_cell(
            tiny_study({"split.train_frac": 0.02}),
            changed(market, flat),
            Cell(1, "threshold_5pct"),
        )
    assert str(refusal.value) == (
        "h1_threshold_5pct: every train label is 0, so there is nothing to learn or score; "
        "choose another task or horizon, or move the split"
    )


def test_a_part_without_an_event_is_refused(market: Market) -> None:
    calm = {"by": "date", "train_end": "2011-12-31", "validation_end": "2014-12-31"}
    study = parse_study(tiny_settings() | {"split": calm})
    with pytest.raises(SplitError, match=r"h1_threshold_5pct: every validation label is 0"):
        prepare_cell(study, market, Cell(1, "threshold_5pct"))


def test_bars_come_from_where_the_study_says(tmp_path: Path) -> None:
    name, bars = load_bars(BundledData(symbol="NASDAQ"))
    assert (name, bars["symbol"][0], len(bars)) == ("bundled NASDAQ", "NASDAQ", 5031)
    path = tmp_path / "mine.parquet"
    bars.write_parquet(path)
    name, again = load_bars(FileData(source="file", path=path))
    assert name == "mine.parquet"
    assert again.equals(bars)
    with pytest.raises(DataError, match=r"no symbol 'SPY'; it holds NASDAQ"):
        load_bars(FileData(source="file", path=path, symbol="SPY"))


def schedule(**changes: list[int]) -> Study:
    return tiny_study({f"search.space.{name}": value for name, value in changes.items()})


def test_a_warm_up_has_to_end_before_the_shortest_run_does() -> None:
    # 1025 samples in batches of 512 are 3 steps an epoch.
    check_schedule(schedule(warmup_steps=[5], epochs=[9, 2]), 1025)
    with pytest.raises(StudyError) as refusal:
        check_schedule(schedule(warmup_steps=[1, 6], epochs=[9, 2]), 1025)
    assert str(refusal.value) == (
        "search.space.warmup_steps: got 6; the shortest run has 6 steps (2 epochs of 1025 samples "
        "in batches of 512); give fewer warm-up steps or more epochs"
    )

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch

from finscale.dataset import market as market_module
from finscale.dataset.cell import (
    Cell,
    CellData,
    check_schedule,
    prepare_cell,
    prepare_folds,
    study_cells,
)
from finscale.dataset.market import Market, load_market
from finscale.dataset.sources import load_bars, load_series
from finscale.errors import DataError, FeatureError, SplitError, StudyError
from finscale.features.build import build_features
from finscale.features.tiers import tier_features
from finscale.market.bars import OHLCV, bars_hash
from finscale.market.catalog import Catalog
from finscale.market.layouts import LAYOUTS
from finscale.market.names import bars_name
from finscale.market.repair import REPAIRS
from finscale.market.sources.bundled import load_bundled
from finscale.splits import PARTS
from finscale.study import Study
from finscale.study_data import BundledData, CatalogData, FileData, Layout, RepairName
from finscale.study_file import parse_study
from finscale.study_rows import DataSize
from finscale.tasks import get_task, label_rows
from strategies import make_bars, to_frame
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
    bars = change(market.symbols[0].bars)
    features = build_features(bars, tier_features("a25"))
    return replace(market, symbols=(replace(market.symbols[0], bars=bars, features=features),))


def scaled_prices(bars: OHLCV, start: int, factor: float) -> OHLCV:
    """Return bars whose prices from row ``start`` on are spread out around their close."""
    high, low = bars.high.copy(), bars.low.copy()
    high[start:] *= factor
    low[start:] /= factor
    return replace(bars, high=high, low=low)


def train_stop(data: CellData) -> int:
    """Return the first row after the training part."""
    return int(np.searchsorted(data.date, data.split.validation_start))


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
    assert len(described["feature_names"]) == 25
    [symbol] = described["symbols"]
    assert (symbol["n_bars"], symbol["first_date"]) == (5031, "1999-01-04")
    assert (symbol["symbol"], symbol["last_date"]) == ("SP500", "2018-12-31")
    assert symbol["first_usable_row"] == market.symbols[0].features.first_row


def test_labels_and_base_rate(market: Market, data: CellData) -> None:
    labels_T = label_rows(market.symbols[0].bars, get_task("threshold_1pct"), 1)
    assert np.array_equal(data.labels_T, labels_T, equal_nan=True)
    assert data.base_rate == pytest.approx(float(np.mean(labels_T[data.split.train])), abs=1e-6)
    assert data.base_rate != pytest.approx(float(np.nanmean(labels_T)), abs=1e-3)


def test_the_first_anchor_has_a_whole_window_of_features(market: Market, data: CellData) -> None:
    first = int(data.split.train[0])
    assert first == market.symbols[0].features.first_row + 60 - 1
    x_BLF = data.windows(60, torch.device("cpu")).inputs(torch.tensor([first]))
    assert torch.isfinite(x_BLF).all()
    assert np.isnan(data.scaled_TF[market.symbols[0].features.first_row - 1]).any()


def test_scaling_is_by_the_rows_that_training_sees(market: Market, data: CellData) -> None:
    seen_TF = market.symbols[0].features.values[
        market.symbols[0].features.first_row : data.split.train[-1] + 1
    ]
    median_F = np.median(seen_TF, axis=0)
    quartiles_F = np.subtract(*np.percentile(seen_TF, [75, 25], axis=0))
    wide_F = np.subtract(*np.percentile(seen_TF, [95, 5], axis=0)) * 1.349 / 3.2897
    scale_F = np.maximum(quartiles_F, wide_F)
    scale_F = np.where(scale_F > 0, scale_F, 1)
    assert data.scalers["SP500"].median_F == pytest.approx(median_F, rel=1e-5, abs=1e-9)
    assert data.scalers["SP500"].scale_F == pytest.approx(scale_F, rel=1e-4)
    expected_TF = np.clip(
        (market.symbols[0].features.values - median_F) / data.scalers["SP500"].scale_F, -5, 5
    )
    assert np.allclose(data.scaled_TF, expected_TF, atol=1e-4, equal_nan=True)


def test_nothing_of_training_depends_on_later_rows(market: Market, data: CellData) -> None:
    later = changed(market, lambda bars: scaled_prices(bars, train_stop(data), 1.003))
    other = prepare_cell(STUDY, later, CELL)
    assert other.base_rate == data.base_rate
    assert np.array_equal(other.scalers["SP500"].median_F, data.scalers["SP500"].median_F)
    assert np.array_equal(other.scalers["SP500"].scale_F, data.scalers["SP500"].scale_F)
    stop = train_stop(data)
    assert np.array_equal(other.scaled_TF[:stop], data.scaled_TF[:stop], equal_nan=True)
    assert np.array_equal(other.labels_T[data.split.train], data.labels_T[data.split.train])
    # And the change was one that shows.
    assert not np.array_equal(other.labels_T[data.split.test], data.labels_T[data.split.test])
    assert other.data_hash != data.data_hash


def test_a_change_of_the_training_rows_shows(market: Market, data: CellData) -> None:
    earlier = changed(market, lambda bars: scaled_prices(bars, train_stop(data) - 300, 1.003))
    other = prepare_cell(STUDY, earlier, CELL)
    assert other.base_rate != data.base_rate
    assert not np.array_equal(other.scalers["SP500"].median_F, data.scalers["SP500"].median_F)


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
    [nasdaq, sp500] = load_bars(BundledData(symbols=("NASDAQ", "SP500")))
    assert (nasdaq.symbol, len(nasdaq.bars), sp500.symbol) == ("NASDAQ", 5031, "SP500")
    path = tmp_path / "mine.parquet"
    nasdaq.bars.write_parquet(path)
    [again] = load_bars(FileData(source="file", path=path))
    assert again.bars.equals(nasdaq.bars)
    with pytest.raises(DataError, match=r"no symbol 'SPY'; it holds NASDAQ"):
        load_bars(FileData(source="file", path=path, symbols=("SPY",)))


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


# Folds.

FOLDED = tiny_study(
    {"split.train_frac": 0.4, "split.validation_frac": 0.1, "split.n_folds": 3, "horizons": [5]}
)
IN_FIVE = Cell(5, "threshold_1pct")


@pytest.fixture(scope="module")
def folds(market: Market) -> tuple[CellData, ...]:
    return prepare_folds(FOLDED, market, IN_FIVE)


def test_each_fold_is_scaled_by_its_own_training_rows(
    market: Market, folds: tuple[CellData, ...]
) -> None:
    [symbol] = market.symbols
    for fold in folds:
        rows = fold.split.train
        seen_TF = symbol.features.values[rows[0] - 59 : rows[-1] + 1]
        assert fold.scalers["SP500"].median_F == pytest.approx(
            np.median(seen_TF, axis=0), rel=1e-5, abs=1e-9
        )
        assert fold.base_rate == pytest.approx(float(np.mean(fold.labels_T[rows])), abs=1e-6)
    assert len({fold.base_rate for fold in folds}) == 3
    assert [len(fold.split.test) for fold in folds] == [0, 0, 0]
    assert len({fold.data_hash for fold in folds}) == 3


def test_the_last_fold_has_the_rows_of_the_cell(
    market: Market, folds: tuple[CellData, ...]
) -> None:
    whole, last = prepare_cell(FOLDED, market, IN_FIVE), folds[-1]
    assert np.array_equal(last.split.train, whole.split.train)
    assert np.array_equal(last.split.validation, whole.split.validation)
    assert np.array_equal(last.scaled_TF, whole.scaled_TF, equal_nan=True)
    assert last.base_rate == whole.base_rate


def test_folds_change_nothing_of_the_cell(market: Market) -> None:
    alone = prepare_cell(tiny_study({"split.n_folds": 3}), market, CELL)
    assert alone.data_hash == prepare_cell(STUDY, market, CELL).data_hash


def test_nothing_of_a_fold_depends_on_later_rows(
    market: Market, folds: tuple[CellData, ...]
) -> None:
    stop = int(np.searchsorted(folds[0].date, folds[0].split.test_start))
    later = changed(market, lambda bars: scaled_prices(bars, stop, 1.003))
    other = prepare_folds(FOLDED, later, IN_FIVE)
    assert other[0].base_rate == folds[0].base_rate
    assert np.array_equal(other[0].scaled_TF[:stop], folds[0].scaled_TF[:stop], equal_nan=True)
    for rows in (folds[0].split.train, folds[0].split.validation):
        assert np.array_equal(other[0].labels_T[rows], folds[0].labels_T[rows])
    assert other[2].base_rate != folds[2].base_rate


def test_a_fold_is_described_without_a_test_part(folds: tuple[CellData, ...]) -> None:
    assert set(folds[0].describe()["parts"]) == {"train", "validation"}


def test_a_fold_with_nothing_to_learn_is_named(market: Market) -> None:
    study = tiny_study({"split.validation_frac": 0.02, "split.n_folds": 4})
    with pytest.raises(SplitError, match=r"^h1_threshold_3pct, fold \d of 4: every \w+ label is 0"):
        prepare_folds(study, market, Cell(1, "threshold_3pct"))


# Panels.

PANEL = tiny_study(
    {
        "data": {"source": "bundled", "symbols": ["SP500", "NASDAQ"]},
        "data_sizes": {"history_frac": [0.5, 1.0], "n_symbols": [1, 2]},
    }
)
BOTH = DataSize(n_symbols=2)


@pytest.fixture(scope="module")
def panel() -> Market:
    return load_market(PANEL)


OWN = """
import numpy as np
from finscale import feature

@feature(family="f", meaning="m", formula="f", reference="r", inputs=["close", "volume"],
         lookback_bars=0)
def own(bars):
    {body}
"""


def own_study(tmp_path: Path, body: str, data: dict[str, object]) -> Study:
    path = tmp_path / "own.py"
    path.write_text(OWN.format(body=body))
    return tiny_study({"data": data, "features": {"modules": [str(path)], "extra": ["own"]}})


def test_a_feature_of_ones_own_is_proved_on_every_symbol(tmp_path: Path) -> None:
    # It looks ahead where a symbol has volume, and the first may have none.
    frames = [to_frame(make_bars(600, seed=n), symbol) for n, symbol in enumerate("ABC")]
    frames[0] = frames[0].with_columns(volume=pl.lit(0.0))
    frames[2] = frames[2].with_columns(volume=pl.lit(0.0))
    pl.concat(frames).write_csv(tmp_path / "abc.csv")
    body = "return np.append(bars.close[1:], 1) / bars.close * (bars.volume > 0)"
    data = {"source": "file", "path": str(tmp_path / "abc.csv")}
    with pytest.raises(FeatureError, match=r"^B: feature own looks ahead: its value on "):
        load_market(own_study(tmp_path, body, data))
    load_market(own_study(tmp_path, "return bars.close / bars.close * (bars.volume > 0)", data))


def test_a_feature_of_ones_own_is_proved_on_a_sample_of_a_large_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"source": "simulated", "market": "random_walk", "n_bars": 400, "n_symbols": 25}
    study = own_study(tmp_path, "return bars.volume / bars.close", data)
    first_closes: list[float] = []
    monkeypatch.setattr(
        market_module,
        "require_causal",
        lambda _feature, bars, _seed: first_closes.append(bars.close[0]),
    )
    symbols = load_market(study).symbols
    proved = [n for n, one in enumerate(symbols) if one.bars.close[0] in first_closes]
    assert len(proved) == 20
    assert (proved[0], proved[-1]) == (0, 24)
    once = list(first_closes)
    load_market(study)
    assert first_closes == once * 2


def panel_cell(panel: Market, size: DataSize = BOTH, **windows: str) -> CellData:
    study = PANEL.model_copy(update={"windows": PANEL.windows.model_copy(update=windows)})
    return prepare_cell(study, panel, Cell(1, "threshold_1pct", size))


def test_every_data_size_is_a_cell() -> None:
    assert [cell.name for cell in study_cells(PANEL)] == [
        "h1_threshold_1pct_history0.5_symbols1",
        "h1_threshold_1pct_symbols1",
        "h1_threshold_1pct_history0.5_symbols2",
        "h1_threshold_1pct_symbols2",
    ]


def test_each_symbol_has_its_own_rows_labels_and_windows(panel: Market) -> None:
    data = panel_cell(panel)
    assert data.offsets.tolist() == [0, 5031, 10062]
    for one, offset in zip(panel.symbols, data.offsets, strict=False):
        labels_T = label_rows(one.bars, get_task("threshold_1pct"), 1)
        own = slice(offset, offset + 5031)
        assert np.array_equal(data.labels_T[own], labels_T, equal_nan=True)
        expected = data.scalers[one.symbol].transform(one.features.values)
        assert np.array_equal(data.scaled_TF[own], expected, equal_nan=True)
        # The first anchor's window begins at the symbol's own first usable row.
        first = data.split.train[data.split.train >= offset][0]
        assert first == offset + one.features.first_row + 59
    assert data.symbol_of(np.array([0, 5030, 5031, 10061])).tolist() == [
        *("SP500", "SP500", "NASDAQ", "NASDAQ")
    ]


def test_no_window_of_a_panel_has_a_row_without_features(panel: Market) -> None:
    data = panel_cell(panel)
    windows = data.windows(60, torch.device("cpu"))
    for part in PARTS:
        rows = torch.from_numpy(data.split.part(part))
        assert torch.isfinite(windows.inputs(rows)).all()
        assert torch.isfinite(windows.labels(rows)).all()


def test_pooled_and_per_symbol_scaling(panel: Market) -> None:
    pooled, own = panel_cell(panel), panel_cell(panel, scaling="per_symbol")
    assert pooled.scalers["SP500"] is pooled.scalers["NASDAQ"]
    stop = train_stop(replace(pooled, date=pooled.date[:5031]))
    seen = [one.features.values[one.features.first_row : stop - 1] for one in panel.symbols]
    assert pooled.scalers["SP500"].median_F == pytest.approx(
        np.median(np.concatenate(seen), axis=0), rel=1e-5, abs=1e-9
    )
    for one, rows in zip(panel.symbols, seen, strict=True):
        median_F = np.median(rows, axis=0)
        assert own.scalers[one.symbol].median_F == pytest.approx(median_F, rel=1e-5, abs=1e-9)


def test_every_data_size_is_scored_on_the_same_rows(panel: Market) -> None:
    cells = [panel_cell(panel, cell.size) for cell in study_cells(PANEL)]
    for cell in cells[1:]:
        assert np.array_equal(cell.split.validation, cells[0].split.validation)
        assert np.array_equal(cell.split.test, cells[0].split.test)
    half_one, one, half_two, two = (len(cell.split.train) for cell in cells)
    assert two == 2 * one
    assert abs(half_one - one / 2) <= 1
    assert abs(half_two - one) <= 2
    assert len({cell.data_hash for cell in cells}) == 4
    assert set(cells[0].symbol_of(cells[0].split.test)) == {"SP500"}


def test_more_symbols_than_there_are_is_refused() -> None:
    study = tiny_study({"data_sizes": {"n_symbols": [1, 3]}})
    with pytest.raises(StudyError, match=r"data_sizes.n_symbols: got 3; the data hold 1 symbol$"):
        load_market(study)


def test_per_symbol_scaling_needs_training_rows(panel: Market) -> None:
    late = panel.symbols[1].bars.slice(2000, 5031)
    features = build_features(late, tier_features("a25"))
    market = replace(
        panel, symbols=(panel.symbols[0], replace(panel.symbols[1], bars=late, features=features))
    )
    study = parse_study(
        tiny_settings({"data": {"symbols": ["SP500", "NASDAQ"]}})
        | {"split": {"by": "date", "train_end": "2005-12-31", "validation_end": "2010-12-31"}}
    )
    # A symbol that is listed later is scored where it is there, and scaled with the others.
    data = prepare_cell(study, market, CELL)
    assert set(data.symbol_of(data.split.train)) == {"SP500"}
    assert set(data.symbol_of(data.split.test)) == {"SP500", "NASDAQ"}
    own = study.windows.model_copy(update={"scaling": "per_symbol"})
    with pytest.raises(SplitError, match=r"and NASDAQ has none; use pooled, or leave"):
        prepare_cell(study.model_copy(update={"windows": own}), market, CELL)


def test_another_time_scale_has_its_own_bars() -> None:
    weekly = load_market(tiny_study({"data": {"symbol": "SP500", "time_scale": "weekly"}}))
    assert 1000 < len(weekly.symbols[0].bars) < 1050
    assert weekly.describe()["time_scale"] == "weekly"
    assert len(weekly.symbols[0].loaded.bars) == 5031


def test_a_context_series_adds_its_features() -> None:
    series = {"name": "nasdaq", "kind": "price", "source": "bundled", "symbol": "NASDAQ"}
    study = tiny_study({"data": {"symbol": "SP500", "context": [series]}})
    market = load_market(study)
    assert market.feature_names[:25] == tuple(one.name for one in tier_features("a25"))
    more = market.feature_names[25:]
    assert len(more) > 5
    assert all(name.startswith("nasdaq_") for name in more)
    assert np.array_equal(
        market.symbols[0].bars.context["nasdaq"],
        load_market(tiny_study({"data": {"symbol": "NASDAQ"}})).symbols[0].bars.close,
    )


def test_a_context_series_is_described_as_symbols_are() -> None:
    series = {"name": "nasdaq", "kind": "price", "source": "bundled", "symbol": "NASDAQ"}
    described = load_market(tiny_study({"data": {"context": [series]}})).describe()
    assert described["context"] == ["nasdaq"]
    [one] = described["context_series"]
    assert (one["name"], one["kind"], one["symbol"]) == ("nasdaq", "price", "NASDAQ")
    assert (one["n_bars"], one["first_date"], one["last_date"]) == (
        5031,
        "1999-01-04",
        "2018-12-31",
    )
    assert [finding["kind"] for finding in one["warnings"]] == ["zero_volume"]
    assert one["provenance"]["series"] == "arch.data.nasdaq"
    assert one["bars_hash"] == bars_hash(load_bundled("NASDAQ").bars)


def test_what_is_odd_about_bundled_bars_is_described(market: Market) -> None:
    [symbol] = market.describe()["symbols"]
    assert [one["kind"] for one in symbol["warnings"]] == ["stale_open"]


@pytest.mark.parametrize("kind", ["price", "volatility_index"])
def test_context_of_other_prices_is_named(tmp_path: Path, kind: str) -> None:
    catalog = Catalog(tmp_path)
    [bars] = load_bars(BundledData())
    provenance = {"prices": "adjusted"}
    catalog.register(bars_name("SP500"), bars.bars, source="a test", provenance=provenance)
    series = {"name": "nasdaq", "kind": kind, "source": "bundled", "symbol": "NASDAQ"}
    data = {"source": "catalog", "catalog": tmp_path, "symbols": ["SP500"], "context": [series]}
    found = load_series(CatalogData.model_validate(data))
    [(sp500, joined)], [nasdaq] = found.symbols, found.context
    # A volatility index has no dividends.
    expected = ["prices are adjusted, and those of NASDAQ are not"] if kind == "price" else []
    assert [one.message for one in sp500.warnings] == expected
    assert [one.kind for one in nasdaq.loaded.warnings] == ["zero_volume"]
    assert list(joined.context) == ["nasdaq"]


def test_a_scale_with_too_few_bars_is_refused_with_the_way_out() -> None:
    with pytest.raises(FeatureError) as refusal:
        load_market(tiny_study({"data": {"symbol": "SP500", "time_scale": "monthly"}}))
    assert str(refusal.value) == (
        "SP500: 5,031 daily bars make 240 monthly ones, and adx_14 looks back over 254; choose a "
        "finer time scale, or give many more than 5,355 daily bars"
    )


def test_features_that_never_change_are_named() -> None:
    study = tiny_study(
        {"data": {"time_scale": "weekly"}, "features": {"extra": ["weekday_cosine"]}}
    )
    [symbol] = load_market(study).describe()["symbols"]
    [finding] = [one for one in symbol["warnings"] if one["kind"] == "constant_feature"]
    assert finding["message"] == "1 feature never changes on these bars: weekday_cosine"


def daily_file(directory: Path, form: str) -> Path:
    """Write bars with dates of a form, the first of them with a hole in its volume."""
    bars = load_bundled("SP500").bars.tail(600).with_columns(pl.col("date").dt.strftime(form))
    volume = pl.when(pl.int_range(pl.len()) > 0).then("volume")
    bars.with_columns(volume=volume).write_csv(directory / "mine.csv")
    return directory / "mine.csv"


def test_a_file_is_read_as_the_study_says(tmp_path: Path) -> None:
    path = daily_file(tmp_path, "%d/%m/%y")
    settings = {"source": "file", "path": path}
    reading = {"date_format": "%d/%m/%y", "repairs": ["fill_volume"], "calendar": "none"}
    [loaded] = load_bars(FileData.model_validate(settings | reading))
    assert str(loaded.bars["date"][0]) == str(load_bundled("SP500").bars["date"][-600])
    assert loaded.bars["volume"][0] == 0.0
    assert loaded.provenance["date_form"] == "%d/%m/%y"
    assert loaded.provenance["calendar"] is None
    # And a context series likewise.
    series = {"name": "mine", "kind": "price", **settings, **reading}
    [joined] = load_series(BundledData.model_validate({"context": [series]})).context
    assert joined.loaded.bars.equals(loaded.bars)


def test_what_can_be_done_about_a_file_is_named_as_the_study_writes_it(tmp_path: Path) -> None:
    path = daily_file(tmp_path, "%d/%m/%y")
    with pytest.raises(DataError, match=r"how they are written \(data\.date_format %d/%m/%y\)$"):
        load_bars(FileData(source="file", path=path))
    with pytest.raises(DataError, match=r"or set it to 0 \(data\.repairs fill_volume\)$"):
        load_bars(FileData(source="file", path=path, date_format="%d/%m/%y"))
    series = {"name": "mine", "kind": "price", "source": "file", "path": path}
    with pytest.raises(DataError, match=r"\(data\.context mine\.date_format %d/%m/%y\)$"):
        load_series(BundledData.model_validate({"context": [series]}))
    settings = {"date_format": "%d/%m/%y", "repairs": ["fill_volume"], "calendar": "XNYS"}
    data = FileData.model_validate({"source": "file", "path": path} | settings)
    [zero] = [one for one in load_bars(data)[0].warnings if one.kind == "zero_volume"]
    assert zero.fix.endswith("drop the rows (data.repairs drop_zero_volume)")


def test_a_series_of_a_file_that_ends_too_early_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    load_bundled("SP500").bars.head(300).write_csv(path)
    series = {"name": "mine", "kind": "price", "source": "file", "path": path}
    with pytest.raises(DataError) as caught:
        load_series(BundledData.model_validate({"context": [series]}))
    assert str(caught.value).startswith(
        f"{path} for SP500: context mine: on 2000-03-20 its newest value is that of 2000-03-10, "
    )


def test_a_version_of_a_symbol_that_is_not_read_is_refused(tmp_path: Path) -> None:
    data = CatalogData(source="catalog", catalog=tmp_path, symbols=("A",), versions={"B": 1})
    with pytest.raises(StudyError, match=r"^data\.versions: B is not among data\.symbols$"):
        load_bars(data)


def test_settings_of_files_are_those_that_files_can_have() -> None:
    assert set(get_args(Layout)) == {"auto", *LAYOUTS}
    assert get_args(RepairName) == tuple(REPAIRS)


def test_a_series_that_is_no_file_is_not_read_as_one() -> None:
    series = {"name": "x", "kind": "price", "source": "bundled", "symbol": "NASDAQ"}
    with pytest.raises(StudyError, match=r"layout, repairs: of a file only; remove it"):
        tiny_study({"data": {"context": [series | {"layout": "plain", "repairs": ["sort"]}]}})


def test_a_panel_of_raw_and_adjusted_prices_is_named(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for one, prices in zip(
        load_bars(BundledData(symbols=("SP500", "NASDAQ"))), ("adjusted", "as_given"), strict=True
    ):
        catalog.register(
            bars_name(one.symbol), one.bars, source="a test", provenance={"prices": prices}
        )
    data = {"source": "catalog", "catalog": str(tmp_path), "symbols": ["SP500", "NASDAQ"]}
    sp500, nasdaq = load_market(tiny_study({"data": data})).symbols
    assert [one.message for one in sp500.loaded.warnings] == [
        "prices are adjusted, and those of NASDAQ are not"
    ]
    assert nasdaq.loaded.warnings == ()


def test_prices_adjusted_by_the_source_are_not_as_given(tmp_path: Path) -> None:
    bars = to_frame(make_bars(400), "A").with_columns(dividends=pl.lit(0.0))
    loaded = []
    for name, drop in (("a", ["symbol"]), ("b", ["symbol", "dividends"])):
        bars.drop(drop).write_csv(tmp_path / f"{name}.csv")
        loaded += load_bars(FileData(source="file", path=tmp_path / f"{name}.csv", calendar=None))
    catalog = Catalog(tmp_path)
    for one in loaded:
        name = bars_name(one.symbol)
        catalog.register(name, one.bars, source="a test", provenance=one.provenance)
    data = CatalogData(source="catalog", catalog=tmp_path, symbols=("a", "b"))
    (a, _), (b, _) = load_series(data).symbols
    assert [one.message for one in a.warnings] == ["prices are adjusted, and those of b are not"]
    assert b.warnings == ()


def test_features_that_are_clipped_on_many_rows_are_named(data: CellData) -> None:
    scaled_TF = data.scaled_TF.copy()
    test = data.split.test
    scaled_TF[test[: len(test) // 2], 3] = 5.0
    scaled_TF[test[: len(test) // 10], 4] = -5.0
    planted = replace(data, scaled_TF=scaled_TF).describe()["parts"]
    found = planted["test"]["clipped"]
    assert found[data.feature_names[3]] == pytest.approx(0.5, abs=0.05)
    assert data.feature_names[4] not in found
    assert data.feature_names[3] not in planted["train"]["clipped"]

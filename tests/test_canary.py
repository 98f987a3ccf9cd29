"""A leak of tomorrow into the features is found, and clean data raise no alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

from finscale.dataset import canary
from finscale.dataset.canary import CanaryReport, look_for_leaks
from finscale.dataset.cell import Cell, CellData, prepare_cell
from finscale.dataset.market import Market, load_market
from finscale.market.sources.bundled import load_bundled
from finscale.study_file import parse_study
from finscale.study_rows import TaskName

Prepared = tuple[Market, CellData]


def prepared(
    data: Mapping[str, Any],
    *,
    horizon_bars: int = 1,
    task: TaskName = "threshold_1pct",
    **more: Any,
) -> Prepared:
    study = parse_study(
        {"name": "canary", "data": data, "horizons": [horizon_bars], "tasks": [task]} | more
    )
    market = load_market(study)
    return market, prepare_cell(study, market, Cell(horizon_bars, task))


@pytest.fixture(scope="module")
def clean() -> Prepared:
    return prepared({"source": "bundled", "symbols": ["SP500"]})


def with_feature(one: Prepared, name: str, values_T: np.ndarray) -> Prepared:
    market, data = one
    column = values_T.astype(np.float32)[:, None]
    scaled_TF = np.hstack([data.scaled_TF, column])
    return market, replace(data, feature_names=(*data.feature_names, name), scaled_TF=scaled_TF)


def tomorrow(one: Prepared) -> np.ndarray:
    log_return = one[0].symbols[0].bars.log_return
    return np.append(log_return[1:], 0.0) / np.nanstd(log_return)


def names(report: CanaryReport) -> set[str]:
    return {leak.feature for leak in report.leaks}


# Clean data.


@pytest.mark.parametrize("symbol", ["SP500", "NASDAQ"])
def test_all_features_of_a_real_market_raise_no_alarm(symbol: str) -> None:
    one = prepared({"source": "bundled", "symbols": [symbol]}, features={"tier": "a500"})
    report = look_for_leaks(*one)
    assert (report.leaks, report.alarm, report.works) == ((), "", True)
    # The limits are far above what there is, not just above it.
    assert report.strongest["next return"] < 0.15
    assert report.strongest["surprise in the next range"] < 0.4
    assert report.strongest["surprise in the next volume"] < 0.5


@pytest.mark.parametrize(
    ("horizon_bars", "task"), [(5, "threshold_1pct"), (1, "direction"), (1, "threshold_1pct_close")]
)
def test_other_labels_raise_none_either(horizon_bars: int, task: TaskName) -> None:
    for tier in ("a25", "a500"):
        one = prepared(
            {"source": "bundled"}, horizon_bars=horizon_bars, task=task, features={"tier": tier}
        )
        report = look_for_leaks(*one)
        assert report.leaks == ()
        assert report.strongest.get("return over 5 bars", 0.0) < 0.2


@pytest.mark.parametrize(
    "market", ["random_walk", "garch", "gjr", "regimes", "short_memory", "teacher"]
)
def test_simulated_markets_raise_none(market: str) -> None:
    one = prepared({"source": "simulated", "market": market, "n_bars": 2500})
    assert look_for_leaks(*one).leaks == ()


# Planted leaks.


PLANTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "tomorrow": lambda r, _: r,
    "tomorrow upside down": lambda r, _: -r,
    "tomorrow cubed": lambda r, _: r**3,
    "tomorrow with noise": lambda r, noise: r + noise,
    "a price that is a day ahead": lambda r, _: np.cumsum(r),
    "a mean of today and tomorrow": lambda r, _: 2 * r + np.concatenate([[0.0], r[:-1]]),
    "a mean that ends tomorrow": lambda r, _: np.convolve(r, np.ones(10))[: len(r)],
}


@pytest.mark.parametrize("plant", sorted(PLANTS))
def test_a_feature_that_knows_tomorrow_is_named(clean: Prepared, plant: str) -> None:
    noise = np.random.default_rng(1).standard_normal(len(clean[1].date))
    report = look_for_leaks(*with_feature(clean, "oracle", PLANTS[plant](tomorrow(clean), noise)))
    assert names(report) - {"all features together"} == {"oracle"}
    assert report.alarm.startswith("no conclusion may be drawn: ")
    assert "oracle" in {leak.feature for leak in report.leaks[:2]}


@pytest.fixture(scope="module")
def clean_of_five_bars() -> Prepared:
    return prepared({"source": "bundled"}, horizon_bars=5, task="direction")


@pytest.mark.parametrize(
    ("first", "last", "knows"),
    [
        (3, 3, "return of bar t + 3"),
        (5, 5, "return of bar t + 5"),
        (1, 10, "return over 5 bars"),
        (1, 20, "return over 5 bars"),
    ],
)
def test_a_feature_that_knows_a_later_bar_of_the_label_is_found(
    clean_of_five_bars: Prepared, first: int, last: int, knows: str
) -> None:
    log_return = clean_of_five_bars[0].symbols[0].bars.log_return
    ahead = sum(
        np.append(log_return[bars:], np.zeros(bars)) for bars in range(first, last + 1)
    ) / np.nanstd(log_return)
    report = look_for_leaks(*with_feature(clean_of_five_bars, "oracle", np.asarray(ahead)))
    assert "oracle" in names(report)
    assert knows in {leak.knows for leak in report.leaks}


def test_tomorrows_range_is_found(clean: Prepared) -> None:
    bars = clean[0].symbols[0].bars
    ahead = np.append(np.log(np.log(bars.high / bars.low))[1:], 0.0)
    report = look_for_leaks(*with_feature(clean, "oracle", ahead))
    assert [leak.knows for leak in report.leaks] == ["surprise in the next range"]


def test_the_label_itself_is_found(clean: Prepared) -> None:
    market, data = clean
    labels = np.nan_to_num(data.labels_T)
    report = look_for_leaks(*with_feature((market, data), "oracle", 3 * labels))
    [leak] = report.leaks
    assert (leak.feature, leak.form, leak.knows) == ("oracle", "value", "label")
    assert (leak.measure, leak.strength) == ("AUC", 1.0)


def test_two_features_that_know_tomorrow_only_together_are_found(clean: Prepared) -> None:
    noise = 3 * np.random.default_rng(1).standard_normal(len(clean[1].date))
    one = with_feature(clean, "mask", noise)
    report = look_for_leaks(*with_feature(one, "masked", noise + tomorrow(clean)))
    assert names(report) == {"all features together"}
    assert "all features together know the next return" in report.alarm


def test_a_leak_in_test_rows_alone_is_not_looked_at(clean: Prepared) -> None:
    values = tomorrow(clean)
    values[: clean[1].split.test[0]] = 0.0
    assert look_for_leaks(*with_feature(clean, "oracle", values)).leaks == ()


def test_bars_of_the_test_part_change_nothing(clean: Prepared) -> None:
    market, data = clean
    first = data.split.test[0]
    [symbol] = market.symbols
    bars = symbol.bars
    later = np.arange(len(bars)) >= first
    # Ten times the range, a hundred times the volume, and other closes.
    wild = replace(
        bars,
        high=np.where(later, bars.high * 1.3, bars.high),
        low=np.where(later, bars.low / 1.3, bars.low),
        close=np.where(later, bars.close * 1.2, bars.close),
        volume=np.where(later, bars.volume * 100, bars.volume),
    )
    changed = replace(market, symbols=(replace(symbol, bars=wild),))
    assert look_for_leaks(changed, data).as_dict() == look_for_leaks(market, data).as_dict()


def test_a_context_series_dated_a_day_early_is_found(tmp_path: Path) -> None:
    bars = load_bundled("NASDAQ").bars
    right, early = tmp_path / "right.csv", tmp_path / "early.csv"
    bars.write_csv(right)
    # The row of a session carries the date of the session before it.
    shifted = bars.with_columns(pl.col("date").shift(1)).drop_nulls()
    shifted.write_csv(early)
    reports = []
    for path in (right, early):
        series = {"name": "nasdaq", "kind": "price", "source": "file", "path": str(path)}
        one = prepared({"source": "bundled", "context": [series | {"max_staleness_days": 9}]})
        reports.append(look_for_leaks(*one))
    assert reports[0].leaks == ()
    assert names(reports[1])
    assert all(name.startswith("nasdaq_") for name in names(reports[1]) - {"all features together"})


def test_a_file_with_a_column_ahead_of_its_row_is_found(tmp_path: Path) -> None:
    bars = load_bundled("SP500").bars
    path = tmp_path / "ahead.csv"
    # As it is such a file is refused, for some highs are below their lows; the rest is not seen.
    ahead = bars.with_columns(
        high=pl.max_horizontal(pl.col("high").shift(-1), "open", "close")
    ).drop_nulls()
    ahead.write_csv(path)
    one = prepared({"source": "file", "path": str(path)})
    assert "high_above_close" in names(look_for_leaks(*one))


def test_a_module_that_reads_tomorrow_from_a_file_is_found(tmp_path: Path) -> None:
    # Its code passes the proof of causality: the file does not change when later bars do.
    bars = load_bundled("SP500").bars
    returns = bars["close"].log().diff().shift(-1).fill_null(0.0).to_numpy()
    np.savez(tmp_path / "signal.npz", date=bars["date"].to_numpy(), value=returns)
    module = tmp_path / "mine.py"
    module.write_text(
        "import numpy as np\n"
        "from finscale.features.registry import feature\n"
        f"with np.load({str(tmp_path / 'signal.npz')!r}) as file:\n"
        "    FILE = dict(file)\n"
        "@feature(family='mine', meaning='m', formula='f', reference='r (2000)',\n"
        "         inputs=['date'], lookback_bars=0)\n"
        "def signal(bars):\n"
        "    at = np.searchsorted(FILE['date'], bars.date).clip(max=len(FILE['date']) - 1)\n"
        "    return FILE['value'][at]\n"
    )
    features = {"modules": [str(module)], "extra": ["signal"]}
    report = look_for_leaks(*prepared({"source": "bundled"}, features=features))
    assert names(report) - {"all features together"} == {"signal"}


# The check of the check.


def test_that_the_check_works_is_tried_every_time(
    clean: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(look_for_leaks(*clean).planted_found.values()) == {True}
    monkeypatch.setitem(canary.LIMITS, "next return", 0.8)
    report = look_for_leaks(*clean)
    assert report.planted_found["tomorrow's return"]
    assert not report.planted_found["tomorrow's return with as much noise"]
    assert not report.works
    assert "could not be checked" in report.alarm


def test_a_few_wild_days_do_not_hide_what_is_planted(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n_bars = 2000
    scale = np.where(rng.random(n_bars) < 0.03, 0.06, 0.003)
    close = 100.0 * np.exp(np.cumsum(scale * rng.standard_normal(n_bars)))
    opened = np.append(100.0, close[:-1])
    frame = pl.DataFrame(
        {
            "date": np.busday_offset(
                np.datetime64("2010-01-01"), np.arange(n_bars), roll="forward"
            ).astype("datetime64[D]"),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": rng.integers(1_000_000, 2_000_000, n_bars),
        }
    )
    path = tmp_path / "wild.csv"
    frame.write_csv(path)
    report = look_for_leaks(*prepared({"source": "file", "path": str(path)}, task="direction"))
    assert (report.works, report.alarm) == (True, "")


def test_too_few_rows_are_said_not_to_be_checked() -> None:
    one = prepared(
        {"source": "simulated", "market": "random_walk", "n_bars": 420},
        windows={"context_length": 20},
        patches={"patch_length": 4, "patch_stride": 4},
        split={"by": "fraction", "train_frac": 0.4, "validation_frac": 0.2},
    )
    report = look_for_leaks(*one)
    assert report.leaks == ()
    assert "could not be checked on 8" in report.alarm


def test_the_strength_against_the_label_is_twice_the_auc_above_a_half(clean: Prepared) -> None:
    market, data = clean
    rows = np.sort(np.concatenate([data.split.train, data.split.validation]))
    names_of = list(data.feature_names)
    aucs = [
        roc_auc_score(data.labels_T[rows], data.scaled_TF[rows, at]) for at in range(len(names_of))
    ]
    changes = data.scaled_TF[rows] - data.scaled_TF[rows - 1]
    aucs += [roc_auc_score(data.labels_T[rows], change) for change in changes.T]
    expected = max(abs(2 * auc - 1) for auc in aucs)
    assert_allclose(look_for_leaks(market, data).strongest["label"], expected, rtol=1e-6)


def test_symbols_of_a_panel_do_not_run_into_each_other() -> None:
    data = {"source": "simulated", "market": "random_walk", "n_bars": 1200, "n_symbols": 3}
    one = prepared(data)
    assert look_for_leaks(*one).leaks == ()
    ahead = np.concatenate(
        [np.append(symbol.bars.log_return[1:], 0.0) for symbol in one[0].symbols]
    )
    assert names(look_for_leaks(*with_feature(one, "oracle", 100 * ahead))) >= {"oracle"}

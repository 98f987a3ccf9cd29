from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from market_files import FIXTURES, SPY, TODAY, load_one, refusal

from finscale.market.adjust import (
    adjust_prices,
    find_adjustment_faults,
    find_unnamed_splits,
    find_unused_adjustment,
)
from finscale.market.bars import OHLCV
from finscale.market.check import validate_bars
from finscale.market.sources.file import load_file
from strategies import bars, to_frame


def test_as_given_never_uses_the_adjusted_close_and_says_so() -> None:
    loaded = load_one(FIXTURES / "yahoo.csv", symbols=["SPY"])
    assert loaded.bars.equals(SPY)
    found = next(one for one in loaded.warnings if one.kind == "unused_adjustment")
    assert found.message == "Adj Close differs from the close (by up to 4.0%) and is not used"
    assert found.fix == "for returns with dividends take --prices adjusted"
    assert found.rows == (1, 2, 3, 4, 5, 6)
    assert loaded.provenance["prices"] == "as_given"


def test_an_adjusted_close_that_is_the_close_is_not_worth_a_word() -> None:
    loaded = load_one(FIXTURES / "yahoo_actions.csv")
    assert [one.kind for one in loaded.warnings] == ["few_bars"]


def test_yahoo_prices_are_multiplied_and_volume_stays() -> None:
    loaded = load_one(FIXTURES / "yahoo.csv", symbols=["SPY"], prices="adjusted")
    for name in ("open", "high", "low", "close"):
        assert loaded.bars[name].to_list() == pytest.approx((SPY[name] * 0.96).to_list(), rel=1e-7)
    assert loaded.bars["volume"].equals(SPY["volume"])
    assert loaded.provenance["prices"] == "adjusted"
    assert loaded.provenance["price_columns"] == "open, high, low and close × Adj Close / close"
    assert "unused_adjustment" not in [one.kind for one in loaded.warnings]


@pytest.mark.parametrize(
    "name", ["yfinance.csv", "yfinance_by_ticker.csv", "odd/ticker_history.csv"]
)
def test_prices_that_yfinance_has_adjusted_are_known_as_such(name: str) -> None:
    for loaded in load_file(FIXTURES / name, today=TODAY):
        assert loaded.provenance["prices"] == "adjusted_by_source"
        assert next(one.kind for one in loaded.warnings) == "adjusted_by_source"


def test_prices_that_are_as_traded_can_be_said_to_be() -> None:
    loaded = load_one(FIXTURES / "odd" / "ticker_history.csv", layout="plain")
    assert loaded.provenance["prices"] == "as_given"
    assert [one.kind for one in loaded.warnings] == ["few_bars"]


def test_a_file_without_an_adjusted_close_is_refused_with_all_that_was_found() -> None:
    assert refusal(FIXTURES / "odd" / "ticker_history.csv", prices="adjusted") == (
        ": no adjusted close to adjust by (found Date, Open, High, Low, Close, Volume, Stock "
        "Splits, Dividends); take prices as given (--prices as-given)"
    )


@pytest.mark.parametrize("name", ["Adj. Close", "Adj.Close", "Adj Close**", "adj_close"])
def test_an_adjusted_close_is_known_however_it_is_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "SPY.csv"
    path.write_text((FIXTURES / "yahoo.csv").read_text().replace("Adj Close", name, 1))
    loaded = load_one(path, prices="adjusted")
    assert loaded.provenance["price_columns"] == f"open, high, low and close × {name} / close"


def test_alpha_vantage_prices_as_traded_become_one_series() -> None:
    path = FIXTURES / "alphavantage_adjusted.csv"
    given_ = load_one(path)
    assert given_.bars["close"].to_list() == [400.0, 404.0, 400.0, 101.0, 102.0]
    assert [one.rows for one in given_.warnings if one.kind == "split_like"] == [(2,)]
    loaded = load_one(path, prices="adjusted")
    # 4 for 1 before the fourth session, a dividend of 1% before the third.
    close = [99.0, 99.99, 100.0, 101.0, 102.0]
    assert loaded.bars["close"].to_list() == pytest.approx(close)
    opened = [400 * 99 / 400, 404 * 99.99 / 404, 100.0, 101.0, 102.0]
    assert loaded.bars["open"].to_list() == pytest.approx(opened)
    assert loaded.bars["volume"].to_list() == [4000.0, 4400.0, 4800.0, 5000.0, 5200.0]
    assert [one.kind for one in loaded.warnings] == ["few_bars"]
    assert loaded.provenance["price_columns"] == (
        "open, high, low and close × adjusted_close / close; volume × the later split_coefficient"
    )


def split_bars(ratio: float, *, raw: bool, dividend_frac: float = 0.0) -> pl.DataFrame:
    """Return ten bars at 100 that are split before the sixth, and what is needed to adjust them."""
    row = np.arange(10)
    traded = np.where(row < 5, 100.0 * ratio, 100.0)
    price = traded if raw else np.full(10, 100.0)
    adjusted = np.where(row < 5, 100.0 * (1 - dividend_frac), 100.0)
    return pl.DataFrame(
        {
            "date": np.busday_offset("2024-01-02", row),
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "volume": np.full(10, 60.0),
            "adj_close": adjusted,
            "split": np.where(row == 5, ratio, 0.0),
            "file_row": row + 1,
        }
    )


NAMES = {"adj_close": "Adj Close", "split": "Stock Splits"}


@pytest.mark.parametrize("ratio", [1.25, 1.5, 2.0, 10.0, 0.1, 0.5])
@pytest.mark.parametrize("dividend_frac", [0.0, 0.02])
@pytest.mark.parametrize("raw", [False, True])
def test_a_file_that_is_not_of_its_layout_is_found_out(
    ratio: float, dividend_frac: float, *, raw: bool
) -> None:
    frame = split_bars(ratio, raw=raw, dividend_frac=dividend_frac)
    assert find_adjustment_faults(frame, splits_in_prices=not raw, names=NAMES) == ()
    [found] = find_adjustment_faults(frame, splits_in_prices=raw, names=NAMES)
    assert (found.kind, found.rows) == ("split_mismatch", (6,))
    adjusted = adjust_prices(frame, splits_in_prices=not raw)
    assert adjusted["close"].to_list() == pytest.approx(frame["adj_close"].to_list())
    expected = 60.0 * ratio if raw else 60.0
    assert adjusted["volume"].to_list() == pytest.approx([expected] * 5 + [60.0] * 5)


@pytest.mark.parametrize("ratio", [1.2, 2.0, 0.5, 10.0])
def test_a_split_that_the_file_does_not_name_is_warned_of(ratio: float, tmp_path: Path) -> None:
    frame = split_bars(ratio, raw=True)
    assert find_unnamed_splits(frame, name="Adj Close") == ()
    [found] = find_unnamed_splits(frame.drop("split"), name="Adj Close")
    assert (found.kind, found.severity, found.rows) == ("unnamed_split", "warning", (6,))
    path = tmp_path / "A.csv"
    columns = ("date", "open", "high", "low", "close", "adj_close", "volume")
    names = dict.fromkeys(columns) | {"adj_close": "Adj Close"}
    frame.select(columns).rename({old: new or old for old, new in names.items()}).write_csv(path)
    loaded = load_one(path, prices="adjusted", calendar=None)
    assert loaded.bars["close"].to_list() == pytest.approx([100.0] * 10)
    assert "unnamed_split" in [one.kind for one in loaded.warnings]


def test_a_dividend_is_no_split() -> None:
    frame = split_bars(1.0, raw=False, dividend_frac=0.16).drop("split")
    assert find_unnamed_splits(frame, name="Adj Close") == ()


@pytest.mark.parametrize("value", [None, float("nan"), 0.0, -1.0, float("inf")])
def test_an_adjusted_close_that_cannot_be_is_a_fault(value: float | None) -> None:
    frame = split_bars(1.0, raw=False).with_columns(
        adj_close=pl.when(pl.col("file_row") == 4).then(pl.lit(value)).otherwise("adj_close")
    )
    [found] = find_adjustment_faults(frame, splits_in_prices=True, names=NAMES)
    assert (found.kind, found.rows) == ("bad_adj_close", (4,))
    # And where it is not used, it is at most a difference.
    unused = find_unused_adjustment(frame, name="Adj Close")
    assert [one.rows for one in unused] == ([(4,)] if value in (0.0, -1.0) else [])


@given(world=bars(2, 40))
def test_adjusted_bars_are_valid_and_keep_every_return_within_a_bar(world: OHLCV) -> None:
    frame = to_frame(world)
    factor = np.linspace(0.3, 1.0, len(frame))
    frame = frame.with_columns(adj_close=pl.col("close") * pl.Series(factor))
    adjusted = validate_bars(adjust_prices(frame, splits_in_prices=True), source="x")
    for name in ("open", "high", "low"):
        assert np.allclose(
            adjusted[name] / adjusted["close"], frame[name] / frame["close"], rtol=1e-12
        )
    assert np.allclose(adjusted["close"], frame["adj_close"], rtol=1e-12)

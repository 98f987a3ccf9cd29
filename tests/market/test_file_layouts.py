from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest
from market_files import DIA, FIXTURES, SPY, TODAY, load_one, refusal

from finscale.market.layouts import LAYOUTS
from finscale.market.sources.file import load_file


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("yahoo.csv", "yahoo"),
        ("yahoo_footnotes.csv", "yahoo"),
        ("yahoo_without_adj_close.csv", "plain"),
        ("yahoo_actions.csv", "yahoo"),
        ("yfinance.csv", "yfinance"),
        ("stooq.csv", "plain"),
        ("stooq_bulk.txt", "stooq"),
        ("alphavantage.csv", "alphavantage"),
        ("semicolon.csv", "plain"),
        ("tabs.tsv", "plain"),
        ("byte_order_mark.csv", "plain"),
        ("macintosh.csv", "plain"),
        ("empty_first_line.csv", "plain"),
        ("unnamed_index.csv", "plain"),
        ("row_numbers.csv", "plain"),
    ],
)
def test_a_file_of_one_symbol_is_read(name: str, layout: str) -> None:
    loaded = load_one(FIXTURES / name)
    symbol = {"yfinance.csv": "SPY", "stooq_bulk.txt": "SPY.US"}.get(name, Path(name).stem)
    assert loaded.symbol == symbol
    assert loaded.bars.equals(SPY.with_columns(symbol=pl.lit(symbol)))
    assert loaded.provenance["layout"] == layout


@pytest.mark.parametrize("name", ["yahoo_without_adj_close.csv", "alphavantage.csv"])
def test_a_file_without_symbols_takes_the_name_it_is_given(name: str) -> None:
    assert load_one(FIXTURES / name, symbols=["SPY"]).bars.equals(SPY)


@pytest.mark.parametrize(
    "name", ["yfinance_many.csv", "yfinance_older.csv", "yfinance_by_ticker.csv"]
)
def test_symbols_side_by_side_are_read_without_the_dates_one_has_no_bar_on(name: str) -> None:
    dia, spy = load_file(FIXTURES / name, today=TODAY)
    assert spy.bars.equals(SPY)
    assert dia.bars.equals(DIA[1:])
    assert (spy.provenance["n_dates_without_bar"], dia.provenance["n_dates_without_bar"]) == (0, 1)
    [again] = load_file(FIXTURES / name, symbols=["SPY"], today=TODAY)
    assert again.bars.equals(SPY)


def test_symbols_below_each_other_come_in_the_order_of_the_file() -> None:
    path = FIXTURES / "long.csv"
    assert [one.symbol for one in load_file(path, today=TODAY)] == ["SPY", "DIA"]
    spy, dia = load_file(path, symbols=["DIA", "SPY"], today=TODAY)
    assert spy.bars.equals(SPY)
    assert dia.bars.equals(DIA)
    assert load_one(path, symbols=["DIA"]).bars.equals(DIA)
    assert refusal(path, symbols=["DIA", "QQQ"]) == ": no symbol 'QQQ'; it holds SPY, DIA"


def test_a_column_of_names_holds_symbols_unless_another_does(tmp_path: Path) -> None:
    path = tmp_path / "all_stocks.csv"
    rows = ["2024-01-02,1,1,1,1,5,{}A", "2024-01-02,2,2,2,2,5,{}B"]
    path.write_text("\n".join(["date,open,high,low,close,volume,Name", *rows]).replace("{}", ""))
    assert [(one.symbol, one.bars["close"][0]) for one in load_file(path, today=TODAY)] == [
        ("A", 1.0),
        ("B", 2.0),
    ]
    header = "date,open,high,low,close,volume,Name,Ticker"
    path.write_text("\n".join([header, *rows]).replace("{}", "Company,"))
    loaded = load_file(path, today=TODAY)
    assert [one.symbol for one in loaded] == ["A", "B"]
    assert loaded[0].provenance["ignored_columns"] == ["Name"]


def test_several_names_for_one_symbol_are_refused() -> None:
    assert refusal(FIXTURES / "yahoo.csv", symbols=["SPY", "DIA"]) == (
        ": no column symbol, so it holds one symbol; got 2 names (SPY, DIA), give one"
    )


def test_newest_first_is_turned_round_and_said() -> None:
    assert load_one(FIXTURES / "alphavantage.csv").provenance["order"] == "newest first, reversed"
    assert load_one(FIXTURES / "yahoo.csv").provenance["order"] == "oldest first"


def test_where_bars_come_from_is_recorded() -> None:
    path = FIXTURES / "yahoo_actions.csv"
    assert load_one(path, symbols=["SPY"]).provenance == {
        "source": "file",
        "file": "yahoo_actions.csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "layout": "yahoo",
        "ignored_columns": ["Dividends", "Capital Gains"],
        "n_empty_rows": 0,
        "date_form": "%Y-%m-%d",
        "date_form_decided_by": None,
        "symbol": "SPY",
        "order": "oldest first",
        "prices": "as_given",
        "price_columns": "open, high, low, close and volume as they stand",
        "calendar": "XNYS",
        "repairs": [],
        "n_rows_in_file": 6,
        "n_dates_without_bar": 0,
        "range_tolerance": 1e-6,
        "n_rounded": 0,
    }


def test_what_was_rounded_is_counted() -> None:
    loaded = load_one(FIXTURES / "odd" / "rounded.csv")
    assert loaded.provenance["n_rounded"] == 1
    assert loaded.bars["high"].to_list() == [473.67, 471.19, 470.96, 470.44, 474.6, 474.93]


@pytest.mark.parametrize("layout", ["plain", "stooq", "yahoo"])
def test_a_layout_can_be_named(layout: str) -> None:
    loaded = load_one(FIXTURES / "stooq.csv", layout=layout)
    assert loaded.provenance["layout"] == layout
    assert loaded.bars["close"].equals(SPY["close"])


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        (
            "yahoo.csv",
            "excel",
            "no layout 'excel'; choose one of auto, yfinance, stooq, alphavantage, yahoo, plain",
        ),
        ("yahoo.csv", "yfinance", ": has one header row, so its layout is not yfinance; leave it"),
        ("yfinance.csv", "yahoo", ": has two header rows, so its layout is not yahoo; leave it"),
        (
            "yahoo_without_adj_close.csv",
            "alphavantage",
            (
                ": no column timestamp; the layout alphavantage needs timestamp, open, high, low, "
                "close (found date, open, high, low, close, volume)"
            ),
        ),
    ],
)
def test_a_layout_that_is_not_the_files_is_refused(name: str, layout: str, message: str) -> None:
    assert refusal(FIXTURES / name, layout=layout).startswith(message)


def test_every_layout_has_a_fixture() -> None:
    found = {
        one.provenance["layout"]
        for path in FIXTURES.glob("*.*")
        for one in load_file(path, today=TODAY)
    }
    assert found == set(LAYOUTS)


def test_pandas_parquet_is_read(tmp_path: Path) -> None:
    columns = {name: SPY[name] for name in ("open", "high", "low", "close", "volume")}
    midnight = SPY["date"].cast(pl.Datetime("ns")).dt.replace_time_zone("America/New_York")
    for name in ("Date", "Datetime", "__index_level_0__", "index"):
        path = tmp_path / "SPY.parquet"
        pl.DataFrame(columns | {name: midnight}).write_parquet(path)
        loaded = load_one(path)
        assert loaded.bars.equals(SPY)
        assert loaded.provenance["date_form"] == "datetime [America/New_York]"


def test_parquet_with_two_levels_of_names_is_read(tmp_path: Path) -> None:
    columns = {
        f"('{name.title()}', '{frame['symbol'][0]}')": frame[name]
        for name in ("close", "high", "low", "open", "volume")
        for frame in (SPY, DIA)
    }
    path = tmp_path / "both.parquet"
    pl.DataFrame(columns | {"Date": SPY["date"]}).write_parquet(path)
    spy, dia = load_file(path, today=TODAY)
    assert spy.bars.equals(SPY)
    assert dia.bars.equals(DIA)

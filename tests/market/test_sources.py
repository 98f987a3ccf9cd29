from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from market_files import load_one, refusal

from finscale.errors import DataError
from finscale.market.bars import SCHEMA
from finscale.market.sources.bundled import BUNDLED, load_bundled

CSV = (
    "date,open,high,low,close,volume\n"
    "2018-01-02,10,11,9,10.5,100\n"
    "2018-01-03,10.5,12,10,11.5,0\n"
    "2018-01-04,11,12,10,10.25,300\n"
)
BARS = pl.DataFrame(
    {
        "symbol": ["SPY"] * 3,
        "date": [dt.date(2018, 1, day) for day in (2, 3, 4)],
        "open": [10.0, 10.5, 11.0],
        "high": [11.0, 12.0, 12.0],
        "low": [9.0, 10.0, 10.0],
        "close": [10.5, 11.5, 10.25],
        "volume": [100.0, 0.0, 300.0],
    },
    schema=SCHEMA,
)
TWO_SYMBOLS = (
    "date,open,high,low,close,volume,symbol\n"
    "2018-01-02,10,11,9,10.5,100,SPY\n"
    "2018-01-02,1,1,1,1,1,DIA\n"
    "2018-01-03,10.5,12,10,11.5,0,SPY\n"
    "2018-01-03,1,1,1,oops,1,DIA\n"
    "2018-01-04,11,12,10,10.25,300,SPY\n"
)


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    return tmp_path / "SPY.csv"


@pytest.mark.parametrize("symbol", list(BUNDLED))
def test_bundled_bars_are_twenty_years_of_sessions(symbol: str) -> None:
    loaded = load_bundled(symbol)
    assert (loaded.symbol, loaded.provenance["series"]) == (symbol, BUNDLED[symbol])
    bars = loaded.bars
    assert bars.schema == SCHEMA
    assert len(bars) == 5031
    assert bars["symbol"].unique().to_list() == [symbol]
    assert (bars["date"][0], bars["date"][-1]) == (dt.date(1999, 1, 4), dt.date(2018, 12, 31))


def test_bundled_bars_are_the_published_ones() -> None:
    bars = load_bundled("SP500").bars.filter(pl.col("date") == dt.date(2008, 10, 13))
    # The largest one-day rise of the period: 899.22 to 1003.35.
    assert bars["close"][0] == pytest.approx(1003.349976)


def test_an_unknown_bundled_symbol_lists_those_there_are() -> None:
    with pytest.raises(DataError, match="no symbol 'SPY'; choose one of SP500, NASDAQ"):
        load_bundled("SPY")


def test_csv_takes_its_symbol_from_the_file_or_the_caller(spy: Path) -> None:
    spy.write_text(CSV)
    assert load_one(spy).bars.equals(BARS)
    renamed = load_one(spy, symbols=["X"])
    assert renamed.symbol == "X"
    assert renamed.bars["symbol"].unique().to_list() == ["X"]


@pytest.mark.parametrize(
    "text",
    [
        CSV.replace("date,open,high,low,close,volume", " Date,OPEN,High,low ,Close,VOLUME"),
        CSV.replace("\n", ",7\n").replace("volume,7", "volume,dividends"),
        "\ufeff" + CSV,
        CSV.replace("10.25", " 10.25 "),
        CSV.replace("\n", "\r\n"),
        "\n".join(f"{i},{line}" for i, line in enumerate(CSV.splitlines())).replace(
            "0,date", ",date"
        ),
    ],
    ids=["case", "extra", "bom", "blanks", "windows", "index"],
)
def test_csv_of_another_make_is_read(spy: Path, text: str) -> None:
    spy.write_bytes(text.encode())
    assert load_one(spy).bars.equals(BARS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": damaged or not CSV (empty CSV)"),
        (CSV.splitlines()[0] + "\n", ": no rows; give at least a few hundred bars"),
        (CSV.replace("10.25", "ten"), ": row 3 (2018-01-04): close is 'ten'; give a number"),
        (
            CSV.replace("10.25", '"10,25"'),
            ": row 3 (2018-01-04): close is '10,25'; write it with a decimal point (10.25)",
        ),
        (
            CSV.replace("2018-01-03", "01/03/2018"),
            ": row 2: date is '01/03/2018', and in row 1 '2018-01-02'; write all",
        ),
        (
            CSV.replace("2018-01-03", "2018-02-30"),
            ": row 2: date is '2018-02-30'; correct it; the dates of this file are read",
        ),
        (
            CSV.replace("2018-01-03", "2018-01-03 16:00"),
            ": row 2: date is '2018-01-03 16:00', and in row 1 '2018-01-02'; write",
        ),
        (
            CSV.replace("10.25", " "),
            ": row 3 (2018-01-04): close is missing; fill it in or drop the row",
        ),
        (
            CSV.replace("10.25", "NaN"),
            ": row 3 (2018-01-04): close is not a finite number; correct it or drop the row",
        ),
        (CSV.replace("volume", "close"), ": column close is there twice; remove one"),
        (CSV.replace("volume", "Close"), ": column close is there twice; remove one"),
        (
            CSV.replace("volume", "vol"),
            ": column vol is not read; call it volume, or remove it if the ser",
        ),
        (CSV + "2018-01-05,1,1,1,1,1,1,1\n", ": row 4: 8 cells under 6 columns; remove what is"),
        (
            CSV + "2018-01-05,11\n",
            ": row 4 (2018-01-05): high is missing; fill it in or drop the row",
        ),
    ],
)
def test_a_bad_csv_is_refused_with_row_and_fix(spy: Path, text: str, message: str) -> None:
    spy.write_text(text)
    assert refusal(spy).startswith(message)


def test_a_csv_that_is_not_utf8_is_refused(spy: Path) -> None:
    spy.write_bytes(CSV.replace("10.25", "10\xa025").encode("latin-1"))
    assert refusal(spy).startswith(": damaged or not CSV (invalid utf-8")


def test_one_symbol_is_taken_from_a_file_of_several(spy: Path) -> None:
    spy.write_text(TWO_SYMBOLS)
    assert load_one(spy, symbols=["SPY"]).bars.equals(BARS)
    # Rows are those of the file, and the message says which symbol's they are.
    expected = " [DIA]: row 4 (2018-01-03): close is 'oops'; give a number"
    assert refusal(spy, symbols=["DIA"]) == expected
    assert refusal(spy) == expected
    assert refusal(spy, symbols=["QQQ"]) == ": no symbol 'QQQ'; it holds SPY, DIA"


def test_a_symbol_column_without_symbols_is_refused(spy: Path) -> None:
    spy.write_text(CSV.replace("\n", ",\n").replace("volume,", "volume,symbol"))
    assert refusal(spy) == (
        ": row 1: symbol is missing (and 2 more rows); fill it in or drop the row"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", ": no such file; give the path of a .csv or .parquet file"),
        ("none.parquet", ": no such file; give the path of a .csv or .parquet file"),
        ("bars.xlsx", ": cannot tell the format; give a .csv or .parquet file"),
        ("bars", ": cannot tell the format; give a .csv or .parquet file"),
    ],
)
def test_a_file_that_is_not_there_or_of_another_kind(
    tmp_path: Path, name: str, message: str
) -> None:
    if not name.startswith("none"):
        (tmp_path / name).touch()
    assert refusal(tmp_path / name) == message


def test_a_directory_is_no_file(spy: Path) -> None:
    spy.mkdir()
    assert refusal(spy) == ": a directory; give a .csv or .parquet file in it"


@pytest.mark.parametrize(
    "frame",
    [
        BARS,
        BARS.rename({"close": "Close"}).with_columns(pl.lit(1).alias("extra")),
        BARS.with_columns(pl.col("date").cast(pl.Datetime("ns"))),
        BARS.with_columns(pl.col("date").cast(pl.String)),
        BARS.with_columns(pl.col("volume").cast(pl.UInt32), pl.col("close").cast(pl.Float32)),
        BARS.with_columns(pl.col("close").cast(pl.Decimal(10, 2))),
        BARS.with_columns(pl.col("symbol").cast(pl.Categorical)),
    ],
)
def test_parquet_is_read(tmp_path: Path, frame: pl.DataFrame) -> None:
    path = tmp_path / "bars.PARQUET"
    frame.write_parquet(path)
    assert load_one(path).bars.equals(BARS)
    assert load_one(path, symbols=["SPY"]).bars.equals(BARS)


def test_numbers_may_be_symbols(tmp_path: Path) -> None:
    path = tmp_path / "hk.parquet"
    BARS.with_columns(symbol=pl.lit(700)).write_parquet(path)
    assert load_one(path, symbols=["700"]).bars["symbol"].to_list() == ["700"] * 3
    assert refusal(path, symbols=["701"]) == ": no symbol '701'; it holds 700"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.lit(20180102).alias("date"), ": column date holds Int32; give a date such as 2018-12"),
        (pl.lit(True).alias("volume"), ": column volume holds Boolean; give a number"),
        (pl.struct("open").alias("close"), ": column close holds Struct({'open': Float64}); give"),
        (pl.lit(b"S").alias("symbol"), ": column symbol holds Binary; give text"),
        (pl.lit(None).alias("close"), ": row 1 (2018-01-02): close is missing (and 2 more rows)"),
    ],
)
def test_a_parquet_column_of_another_kind_is_refused(
    tmp_path: Path, column: pl.Expr, message: str
) -> None:
    path = tmp_path / "bars.parquet"
    BARS.with_columns(column).write_parquet(path)
    assert refusal(path).startswith(message)


@pytest.mark.parametrize("kept_frac", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_parquet_is_refused(tmp_path: Path, kept_frac: float) -> None:
    path = tmp_path / "bars.parquet"
    BARS.write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept_frac * len(content))])
    assert refusal(path).startswith(": damaged or not PARQUET (")


@pytest.mark.parametrize("content", [b"date,open", b"PAR1" + bytes(1000) + b"PAR1", bytes(200)])
def test_garbage_is_refused_as_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bars.parquet"
    path.write_bytes(content)
    assert refusal(path).startswith(": damaged or not PARQUET (")

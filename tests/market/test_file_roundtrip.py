"""Bars written in each layout come back as they were, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.errors import DataError
from finscale.market.bars import OHLCV
from finscale.market.sources.file import load_file
from strategies import bars, to_frame

FIELDS = ("open", "high", "low", "close", "volume")
WORLDS = st.lists(bars(1, 25), min_size=1, max_size=3)
NAMES = ("SPY", "BRK.B", "^VIX")


def _titled(frame: pl.DataFrame, date: str = "%Y-%m-%d") -> pl.DataFrame:
    columns = {name.title(): frame[name] for name in FIELDS}
    return pl.DataFrame({"Date": frame["date"].dt.strftime(date), **columns})


def write_yahoo(path: Path, frames: list[pl.DataFrame]) -> None:
    table = _titled(frames[0], "%Y-%m-%d 00:00:00-05:00")
    table.with_columns(**{"Adj Close": 1.0, "Dividends": 0.0, "Stock Splits": 0.0}).write_csv(path)


def write_alphavantage(path: Path, frames: list[pl.DataFrame]) -> None:
    table = frames[0].select(pl.col("date").alias("timestamp"), *FIELDS)
    table.reverse().write_csv(path, line_terminator="\r\n")


def write_stooq(path: Path, frames: list[pl.DataFrame]) -> None:
    pl.concat(frames).select(
        pl.col("symbol").alias("<TICKER>"),
        pl.lit("D").alias("<PER>"),
        pl.col("date").dt.strftime("%Y%m%d").alias("<DATE>"),
        pl.lit("000000").alias("<TIME>"),
        *(
            pl.col(name).alias(f"<{name.upper()[:3] if name == 'volume' else name.upper()}>")
            for name in FIELDS
        ),
    ).write_csv(path)


def write_semicolons(path: Path, frames: list[pl.DataFrame]) -> None:
    text = _titled(frames[0], "%d-%b-%Y").write_csv(separator=";", include_bom=True)
    path.write_text(text + "\n\n", encoding="utf-8")


def write_long(path: Path, frames: list[pl.DataFrame]) -> None:
    # By date, as panels are: the rows of a symbol are not neighbours.
    pl.concat(frames).sort("date", maintain_order=True).write_csv(path)


def write_long_parquet(path: Path, frames: list[pl.DataFrame]) -> None:
    stamps = pl.col("date").cast(pl.Datetime("ms")).dt.replace_time_zone("Asia/Tokyo")
    pl.concat(frames).with_columns(date=stamps).write_parquet(path)


def write_yfinance(path: Path, frames: list[pl.DataFrame]) -> None:
    table = frames[0].select("date")
    for frame in frames[1:]:
        table = table.join(frame.select("date"), on="date", how="full", coalesce=True)
    table = table.sort("date")
    symbols = [frame["symbol"][0] for frame in frames]
    for field in FIELDS:
        for frame, symbol in zip(frames, symbols, strict=True):
            cells = frame.select("date", pl.col(field).alias(f"{field}|{symbol}"))
            table = table.join(cells, on="date", how="left", maintain_order="left")
    header = [
        "Price," + ",".join(field.title() for field in FIELDS for _ in symbols),
        "Ticker," + ",".join(symbols * len(FIELDS)),
        "Date" + "," * (len(symbols) * len(FIELDS)),
    ]
    path.write_text("\n".join(header) + "\n" + table.write_csv(include_header=False))


@pytest.mark.parametrize(
    ("write", "suffix", "many"),
    [
        (write_yahoo, "csv", False),
        (write_alphavantage, "csv", False),
        (write_semicolons, "csv", False),
        (write_stooq, "txt", True),
        (write_long, "csv", True),
        (write_long_parquet, "parquet", True),
        (write_yfinance, "csv", True),
    ],
)
@settings(max_examples=25)
@given(worlds=WORLDS)
def test_bars_survive_every_layout(
    write: Callable[[Path, list[pl.DataFrame]], None],
    suffix: str,
    many: bool,
    worlds: list[OHLCV],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frames = [to_frame(world, name) for world, name in zip(worlds, NAMES, strict=False)]
    path = tmp_path_factory.mktemp("layout") / f"{NAMES[0]}.{suffix}"
    write(path, frames)
    loaded = load_file(path, calendar=None)
    expected = frames if many else frames[:1]
    by_name = {one.symbol: one for one in loaded}
    assert len(by_name) == len(loaded) == len(expected)
    for frame in expected:
        one = by_name[frame["symbol"][0]]
        assert one.bars.equals(frame)
        assert one.provenance["n_rounded"] == 0


@settings(max_examples=40)
@given(
    world=bars(3, 20),
    name=st.sampled_from(FIELDS),
    value=st.sampled_from(["", "null", "NaN", "inf", "-1", "0", "1,5", "1,500", "x", "1e999"]),
    data=st.data(),
)
def test_a_bad_cell_is_never_let_through(
    world: OHLCV,
    name: str,
    value: str,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frame = to_frame(world, "SPY")
    row = data.draw(st.integers(0, len(frame) - 1))
    cells = frame.select("date", *(pl.col(one).cast(pl.String) for one in FIELDS))
    bad = pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(name)
    path = tmp_path_factory.mktemp("cell") / "SPY.csv"
    cells.with_columns(bad.alias(name)).write_csv(path)
    if name == "volume" and value == "0":
        assert load_file(path, calendar=None)[0].bars["volume"][row] == 0
        return
    with pytest.raises(DataError, match=rf"^{path}: row {row + 1} \({frame['date'][row]}\): "):
        load_file(path, calendar=None)

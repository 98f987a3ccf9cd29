from __future__ import annotations

import datetime as dt
import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import CommandLine, Finished, fault_of, names_in

from finscale.cli import data as data_command
from finscale.files import hash_bytes
from finscale.market.bars import SCHEMA
from finscale.market.catalog import Catalog
from finscale.market.repair import REPAIRS
from finscale.market.sources.retry import Patience, Retrying
from yahoo_stand_in import NOW, SESSIONS, StandIn, stand_in_for_yahoo, yahoo_table

TABLE = yahoo_table()
# Without what tells of prices that Yahoo or yfinance has adjusted.
AS_TRADED = TABLE.drop("Adj Close", "Dividends", "Stock Splits")
FIRST, LAST = SESSIONS[0], SESSIONS[-1]
NAME = "SPY.OHLCV.daily"


def document(text: str) -> Any:
    """Return the one JSON document that a text is."""
    value, end = json.JSONDecoder().raw_decode(text)
    assert text[end:] == "\n"
    return value


def write(path: Path, table: pl.DataFrame = TABLE) -> Path:
    table.write_csv(path)
    return path


def registered(finished: Finished) -> list[str]:
    """Return the first line about each symbol."""
    assert (finished.code, finished.err) == (0, "")
    return [line for line in finished.out.splitlines() if not line.startswith(" ")]


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    return write(tmp_path / "SPY.csv")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "data")


# --- import -------------------------------------------------------------------------------------


def test_a_file_is_registered(finscale: CommandLine, spy: Path, catalog: Catalog) -> None:
    finished = finscale("data", "import", "SPY.csv")
    assert finished.code == 0
    first, *rest = finished.out.splitlines()
    assert first == f"{NAME} version 1: registered, 625 rows, {FIRST} to {LAST}"
    [warning] = rest
    assert warning.startswith("  warning: rows 1 (2022-01-03), 2 (2022-01-04)")
    assert "Adj Close differs from the close (by up to 1.0%) and is not used" in warning
    [entry] = catalog.entries()
    assert entry.source == f"SPY.csv sha256:{hash_bytes(spy.read_bytes())}"
    assert catalog.read(entry)["close"].equals(TABLE["Close"].alias("close"))
    assert [one.kind for one in entry.warnings] == ["unused_adjustment"]
    assert entry.provenance["layout"] == "yahoo"


def test_the_same_file_again_is_unchanged(
    finscale: CommandLine, spy: Path, catalog: Catalog, tmp_path: Path
) -> None:
    finscale("data", "import", spy)
    before = names_in(catalog.root)
    again = registered(finscale("data", "import", spy))
    assert again == [f"{NAME} version 1: unchanged, 625 rows, {FIRST} to {LAST}"]
    # Another file with the same bars says nothing new either.
    copy = write(tmp_path / "copy.csv")
    other = registered(finscale("data", "import", copy, "--symbol", "SPY"))
    assert other == again
    assert names_in(catalog.root) == before


def test_many_symbols_of_one_file_and_many_files(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    panel = pl.concat(
        yahoo_table(seed=seed).with_columns(Symbol=pl.lit(symbol))
        for seed, symbol in enumerate(["SPY", "^DJI", "BRK.B"])
    )
    write(tmp_path / "panel.csv", panel)
    write(tmp_path / "QQQ.csv", yahoo_table(seed=7))
    lines = registered(finscale("data", "import", "panel.csv", "QQQ.csv", "--catalog", "elsewhere"))
    assert [line.split()[0] for line in lines] == [
        f"{symbol}.OHLCV.daily" for symbol in ("SPY", "^DJI", "BRK.B", "QQQ")
    ]
    assert catalog.entries() == []
    lines = registered(
        finscale("data", "import", "panel.csv", "--symbol", "BRK.B", "--symbol", "SPY")
    )
    assert [line.split()[0] for line in lines] == ["SPY.OHLCV.daily", "BRK.B.OHLCV.daily"]


def test_options_reach_the_file(finscale: CommandLine, spy: Path, catalog: Catalog) -> None:
    finscale("data", "import", spy)
    finished = finscale(
        *("data", "import", spy, "--prices", "adjusted", "--calendar", "none"),
        *("--repair", "drop_future", "--layout", "yahoo", "--date-format", "%Y-%m-%d", "--json"),
    )
    assert finished.code == 0
    [added] = document(finished.out)
    assert (added["status"], added["version"], added["previous_version"]) == ("registered", 2, 1)
    provenance = catalog.entry(NAME).provenance
    assert provenance["prices"] == "adjusted"
    assert provenance["calendar"] is None
    assert [one["repair"] for one in provenance["repairs"]] == ["drop_future"]
    assert catalog.read(catalog.entry(NAME))["close"][0] == pytest.approx(TABLE["Close"][0] * 0.99)


def test_other_prices_are_said_to_be_others(finscale: CommandLine, spy: Path) -> None:
    finscale("data", "import", spy)
    assert finscale("data", "import", spy, "--prices", "adjusted").out.splitlines()[1] == (
        "  against version 1: prices are adjusted, and were as-given; 100 rows changed (closes by "
        f"up to 1.00%); history differs from {FIRST} on"
    )


def test_the_same_bars_otherwise_treated(finscale: CommandLine, spy: Path) -> None:
    finscale("data", "import", spy)
    again = finscale("data", "import", spy, "--repair", "drop_future")
    assert again.out.splitlines()[1] == "  against version 1: the same bars, otherwise treated"


def test_sessions_that_come_to_light_are_said(finscale: CommandLine, tmp_path: Path) -> None:
    write(tmp_path / "SPY.csv", pl.concat([TABLE[2:50], TABLE[51:600]]))
    finscale("data", "import", "SPY.csv")
    write(tmp_path / "SPY.csv")
    assert finscale("data", "import", "SPY.csv").out.splitlines()[1] == (
        "  against version 1: 28 rows added (3 of them before its end); history differs from "
        f"{FIRST} on"
    )


def test_a_longer_file_adds_rows(finscale: CommandLine, tmp_path: Path) -> None:
    write(tmp_path / "SPY.csv", TABLE[:600])
    finscale("data", "import", "SPY.csv")
    write(tmp_path / "SPY.csv")
    lines = finscale("data", "import", "SPY.csv").out.splitlines()
    assert lines[:2] == [
        f"{NAME} version 2: registered, 625 rows, {FIRST} to {LAST}",
        "  against version 1: 25 rows added",
    ]


def test_history_that_changed_is_said(finscale: CommandLine, tmp_path: Path) -> None:
    write(tmp_path / "SPY.csv", TABLE[:610])
    finscale("data", "import", "SPY.csv")
    # As after a further dividend, with one session gone and the end cut off.
    is_old = pl.int_range(pl.len()) < 300
    prices = pl.col("Open", "High", "Low", "Close", "Adj Close")
    anew = TABLE.with_columns(pl.when(is_old).then(prices * 0.995).otherwise(prices))
    write(tmp_path / "SPY.csv", pl.concat([anew[:400], anew[401:600]]))
    lines = finscale("data", "import", "SPY.csv").out.splitlines()
    days = (SESSIONS[609] - SESSIONS[599]).days
    assert lines[1] == (
        "  against version 1: 300 rows changed (closes by up to 0.50%), 11 rows removed; it ends "
        f"{days} days earlier; history differs from {FIRST} on"
    )
    write(tmp_path / "SPY.csv", TABLE[:610])
    assert finscale("data", "import", "SPY.csv").out.splitlines()[:2] == [
        f"{NAME} version 1: unchanged, 610 rows, {FIRST} to {SESSIONS[609]}",
        (
            "  the same as this older version; version 2 is the latest, which studies read; to "
            "read this one set data.versions: {SPY: 1}"
        ),
    ]
    [again] = document(finscale("data", "import", "SPY.csv", "--json").out)
    assert (again["status"], again["version"], again["latest_version"]) == ("unchanged", 1, 2)


def test_revisions_are_in_the_document(finscale: CommandLine, tmp_path: Path) -> None:
    write(tmp_path / "SPY.csv", TABLE[:600])
    [first] = document(finscale("data", "import", "SPY.csv", "--json").out)
    assert (first["name"], first["version"], first["status"]) == (NAME, 1, "registered")
    assert (first["previous_version"], first["revision"]) == (None, None)
    assert [one["kind"] for one in first["warnings"]] == ["unused_adjustment"]
    write(tmp_path / "SPY.csv", TABLE[1:])
    [second] = document(finscale("data", "import", "SPY.csv", "--json").out)
    assert second["revision"] == {
        "n_added": 25,
        "n_changed": 0,
        "n_removed": 1,
        "n_inserted": 0,
        "first_changed": str(FIRST),
        "max_change_frac": 0.0,
        "n_days_back": 0,
        "rewrites_history": True,
    }


def test_a_damaged_older_version_spoils_no_import(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    write(tmp_path / "SPY.csv", TABLE[:600])
    finscale("data", "import", "SPY.csv")
    (catalog.root / catalog.entry(NAME).file).write_bytes(b"x")
    write(tmp_path / "SPY.csv")
    finished = finscale("data", "import", "SPY.csv")
    assert finished.code == 0
    assert finished.out.startswith(f"{NAME} version 2: registered")
    assert f"{NAME}: no comparison: " in finished.err


BAD = "Date,Open,High,Low,Close,Volume\n2022-01-03,1,0.5,1,1,1\n"


def test_a_bad_file_is_refused_and_leaves_nothing(finscale: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(BAD)
    fault = fault_of(finscale("data", "import", "bad.csv"))
    assert fault.startswith("bad.csv: row 1 (2022-01-03): high is below low; correct the bar")
    assert names_in(tmp_path) == {"bad.csv"}


def test_of_a_file_with_one_bad_symbol_nothing_is_registered(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    good = TABLE.with_columns(Symbol=pl.lit("SPY"))
    bad = good.with_columns(pl.lit("DIA").alias("Symbol"), pl.lit(-1.0).alias("Low"))
    write(tmp_path / "panel.csv", pl.concat([good, bad]))
    assert "panel.csv [DIA]: row 626" in fault_of(finscale("data", "import", "panel.csv"))
    odd = good.with_columns(pl.lit("a/b").alias("Symbol"))
    write(tmp_path / "panel.csv", pl.concat([good, odd]))
    fault = fault_of(finscale("data", "import", "panel.csv"))
    assert fault.startswith("data set 'a/b.OHLCV.daily': holds '/'; names are like SPY.OHLCV.daily")
    assert catalog.entries() == []


def test_of_a_file_whose_symbols_clash_nothing_is_registered(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    def panel(*symbols: str) -> None:
        frames = [TABLE.with_columns(Symbol=pl.lit(one)) for one in symbols]
        write(tmp_path / "panel.csv", pl.concat(frames))

    panel("AAA", "Spy", "SPY")
    assert fault_of(finscale("data", "import", "panel.csv")) == (
        "panel.csv: symbols Spy and SPY differ by case only; write them otherwise in the file, or "
        "take one of them with --symbol"
    )
    assert catalog.entries() == []
    write(tmp_path / "SPY.csv")
    finscale("data", "import", "SPY.csv")
    panel("AAA", "spy")
    assert fault_of(finscale("data", "import", "panel.csv")) == (
        "data: spy.OHLCV.daily is there as SPY.OHLCV.daily; write it the same way"
    )
    assert [one.symbol for one in catalog.entries()] == ["SPY"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_was_registered_before_a_fault_is_said(
    finscale: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    frames = [TABLE.with_columns(Symbol=pl.lit(one)) for one in ("AAA", "BBB")]
    write(tmp_path / "panel.csv", pl.concat(frames))
    real = Catalog.register

    def full(catalog: Catalog, name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("BBB"):
            raise OSError(errno.ENOSPC, "No space left on device", "data/raw/x")
        return real(catalog, name, *rest, **options)

    monkeypatch.setattr(Catalog, "register", full)
    finished = finscale("data", "import", "panel.csv", *options)
    assert finished.code == 2
    assert finished.err.startswith("finscale: data/raw/x: No space left on device; make room")
    if options:
        assert [one["name"] for one in document(finished.out)] == ["AAA.OHLCV.daily"]
    else:
        assert finished.out.startswith("AAA.OHLCV.daily version 1: registered, 625 rows")


def test_one_bad_file_of_several_keeps_nobody_else_out(
    finscale: CommandLine, spy: Path, tmp_path: Path, catalog: Catalog
) -> None:
    (tmp_path / "bad.csv").write_text(BAD)
    write(tmp_path / "QQQ.csv")
    finished = finscale("data", "import", "SPY.csv", "bad.csv", "QQQ.csv")
    assert finished.code == 2
    assert finished.err.startswith("finscale: bad.csv: row 1 (2022-01-03): high is below low")
    assert finished.err.count("\n") == 1
    assert [one.symbol for one in catalog.entries()] == ["QQQ", "SPY"]
    finished = finscale("data", "import", "SPY.csv", "bad.csv", "none.csv", "--json")
    assert finished.code == 2
    assert [one["status"] for one in document(finished.out)] == ["unchanged"]
    assert finished.err.startswith("finscale: 2 were refused\n  bad.csv: row 1")
    assert "\n  none.csv: no such file" in finished.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: no such file"),
        (["SPY.csv", "--prices", "raw"], "no prices 'raw'; choose as-given or adjusted"),
        (["SPY.csv", "--layout", "x"], "no layout 'x'; choose one of auto, "),
        (["SPY.csv", "--calendar", "MARS"], "no exchange calendar 'MARS'; name one"),
        (["SPY.csv", "--repair", "all"], "no repair 'all'; choose from "),
        (["SPY.csv", "--symbol", "../x"], "data set '../x.OHLCV.daily': holds '/'"),
        (["SPY.csv", "--catalog", "SPY.csv"], "SPY.csv: is a file, not a directory; choose anoth"),
    ],
)
def test_bad_options_register_nothing(
    finscale: CommandLine, spy: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert fault_of(finscale("data", "import", *arguments)).startswith(message)
    assert names_in(tmp_path) == {"SPY.csv"}


# --- check --------------------------------------------------------------------------------------


def test_check_shows_all_findings_and_registers_nothing(
    finscale: CommandLine, tmp_path: Path
) -> None:
    table = TABLE.with_columns(
        High=pl.when(pl.int_range(pl.len()).is_in([3, 9])).then(0.5).otherwise("High"),
        Volume=pl.when(pl.int_range(pl.len()) == 5).then(0.0).otherwise("Volume"),
    )
    write(tmp_path / "SPY.csv", table)
    finished = finscale("data", "check", "SPY.csv")
    assert finished.code == 2
    lines = finished.out.splitlines()
    assert lines[0] == f"SPY: 625 rows, {FIRST} to {LAST}"
    assert lines[1].startswith(f"error: rows 4 ({SESSIONS[3]}), 10 ({SESSIONS[9]}): high is below")
    # What is odd may be the errors' doing.
    assert not any(line.startswith("warning: ") for line in lines)
    n_errors = sum(line.startswith("error: ") for line in lines)
    assert n_errors >= 1
    word = "error" if n_errors == 1 else "errors"
    assert finished.err == (
        f"finscale: SPY.csv: {n_errors} {word}, see above; what is odd is looked for once the "
        "errors are mended\n"
    )
    assert names_in(tmp_path) == {"SPY.csv"}
    document_of = finscale("data", "check", "SPY.csv", "--json")
    assert document_of.code == 2
    [one] = document(document_of.out)
    assert (one["symbol"], one["n_rows"]) == ("SPY", 625)
    assert one["findings"][0]["rows"] == [4, 10]


def test_check_of_what_is_no_file(finscale: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "some.csv").mkdir()
    assert fault_of(finscale("data", "check", "some.csv")) == (
        "some.csv: a directory; give a .csv or .parquet file in it"
    )
    for name in ("none.csv", "none"):
        assert fault_of(finscale("data", "check", name)) == (
            f"{name}: no such file; give the path of a .csv or .parquet file"
        )


def test_check_of_a_file_that_is_only_odd(finscale: CommandLine, spy: Path) -> None:
    finished = finscale("data", "check", spy)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.splitlines()[1].startswith("warning: rows 1 (2022-01-03), ")


def test_check_of_a_file_in_order(finscale: CommandLine, tmp_path: Path) -> None:
    plain = AS_TRADED
    write(tmp_path / "SPY.csv", plain)
    finished = finscale("data", "check", "SPY.csv")
    assert finished.out.splitlines() == [
        f"SPY: 625 rows, {FIRST} to {LAST}",
        "nothing wrong or odd",
    ]


FUTURE = pl.concat(
    [
        AS_TRADED,
        AS_TRADED[:3].with_columns(Date=pl.Series([dt.date(2990, 1, day) for day in (1, 2, 3)])),
    ]
)


def test_repairs_are_said(finscale: CommandLine, tmp_path: Path) -> None:
    write(tmp_path / "FUT.csv", FUTURE)
    finished = finscale("data", "check", "FUT.csv", "--repair", "drop_future")
    assert finished.code == 0
    assert finished.out.splitlines() == [
        f"FUT: 628 rows, {FIRST} to {LAST}",
        "repaired: drop_future, 3 rows (626-628)",
        "nothing else wrong or odd",
    ]
    finished = finscale("data", "check", "FUT.csv", "--repair", "drop_future", "--repair", "sort")
    assert finished.out.splitlines()[2] == "repaired: sort, 0 rows"
    finished = finscale("data", "import", "FUT.csv", "--repair", "drop_future")
    assert finished.out.splitlines() == [
        f"FUT.OHLCV.daily version 1: registered, 625 rows, {FIRST} to {LAST}",
        "  repaired: drop_future, 3 rows (626-628)",
    ]
    [again] = document(
        finscale("data", "import", "FUT.csv", "--repair", "drop_future", "--json").out
    )
    assert [(one["repair"], one["rows"]) for one in again["repairs"]] == [
        ("drop_future", "626-628"),
    ]


@pytest.mark.parametrize("command", ["import", "check"])
def test_help_lists_the_repairs(finscale: CommandLine, command: str) -> None:
    out = " ".join(finscale("data", command, "--help").out.replace("│", " ").split())
    for name in REPAIRS:
        assert f"{name}:" in out


def test_check_refuses_the_names_that_import_refuses(finscale: CommandLine, tmp_path: Path) -> None:
    write(tmp_path / "panel.csv", TABLE.with_columns(Symbol=pl.lit("EUR/USD")))
    finished = finscale("data", "check", "panel.csv")
    assert finished.code == 2
    assert finished.out.splitlines()[1:] == [
        (
            "error: data set 'EUR/USD.OHLCV.daily': holds '/'; names are like SPY.OHLCV.daily or "
            "SPY.features.a25; write it otherwise in the file, or give other symbols with --symbol"
        )
    ]
    assert finished.err.startswith("finscale: panel.csv: 1 error, see above")
    write(tmp_path / "SPY.OHLCV.daily.csv")
    for command in ("check", "import"):
        finished = finscale("data", command, "SPY.OHLCV.daily.csv")
        assert finished.code == 2
        assert (
            "symbol 'SPY.OHLCV.daily': is the name of a data set; give the symbol alone (SPY); "
            "name the bars with --symbol"
        ) in finished.out + finished.err
    assert finscale("data", "check", "SPY.OHLCV.daily.csv", "--symbol", "../../evil").code == 2


def test_a_symbol_for_several_files_is_refused(
    finscale: CommandLine, spy: Path, tmp_path: Path, catalog: Catalog
) -> None:
    write(tmp_path / "QQQ.csv")
    assert fault_of(finscale("data", "import", "SPY.csv", "QQQ.csv", "--symbol", "X")) == (
        "--symbol X with 2 files: it is about the symbols of one file; import each file by itself"
    )
    assert catalog.entries() == []


def test_a_file_without_volume_is_registered(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    write(tmp_path / "VIX.csv", AS_TRADED.drop("Volume"))
    assert finscale("data", "import", "VIX.csv").code == 0
    [entry] = catalog.entries()
    assert [one.kind for one in entry.warnings] == ["no_volume"]
    assert set(catalog.read(entry)["volume"]) == {0.0}


def test_check_of_what_is_no_table(finscale: CommandLine, tmp_path: Path) -> None:
    assert fault_of(finscale("data", "check", "none.csv")).startswith("none.csv: no such file")


# --- list and describe --------------------------------------------------------------------------


def test_list_of_nothing(finscale: CommandLine, tmp_path: Path) -> None:
    finished = finscale("data", "list")
    assert (finished.code, finished.err) == (0, "")
    assert document(finscale("data", "list", "--json").out) == []
    assert names_in(tmp_path) == set()


def test_list_shows_the_latest_of_each(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    for n_rows in (600, 625):
        finscale("data", "import", write(tmp_path / "SPY.csv", TABLE[:n_rows]))
    finscale("data", "import", write(tmp_path / "QQQ.csv"))
    lines = finscale("data", "list").out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["QQQ.OHLCV.daily", "QQQ.csv", "1", "625", "7", str(FIRST), str(LAST), "1"],
        [NAME, "SPY.csv", "2", "625", "7", str(FIRST), str(LAST), "1"],
    ]
    listed = document(finscale("data", "list", "--json").out)
    assert [(one["name"], one["version"]) for one in listed] == [
        *(("QQQ.OHLCV.daily", 1), (NAME, 1), (NAME, 2)),
    ]
    assert listed[2] == catalog.entry(NAME).as_dict()


def test_a_damaged_manifest_stops_nobody(
    finscale: CommandLine, tmp_path: Path, catalog: Catalog
) -> None:
    for name in ("SPY", "QQQ"):
        finscale("data", "import", write(tmp_path / f"{name}.csv"))
    (catalog.root / "raw" / NAME / "v0001.json").write_text('{"format": 1')
    finished = finscale("data", "list")
    assert finished.code == 0
    assert "QQQ.OHLCV.daily" in finished.out
    assert NAME not in finished.out
    assert finished.err == ("1 more cannot be listed; see: finscale data verify --catalog data\n")
    assert finscale("data", "describe", "QQQ.OHLCV.daily").code == 0
    assert "v0001.json: cannot be read as JSON" in fault_of(finscale("data", "describe", NAME))


def test_describe_tells_all(finscale: CommandLine, spy: Path, catalog: Catalog) -> None:
    finscale("data", "import", spy, "--prices", "as-given", "--repair", "drop_future")
    raw = catalog.entry(NAME)
    features = pl.DataFrame({"date": SESSIONS, "x": [0.0] * len(SESSIONS)})
    catalog.register(
        *("SPY.features.a25", features),
        source="finscale",
        provenance={"scale": "daily", "nothing": None},
        lineage=[raw],
        code_hash="c0de",
        tier="a25",
    )
    out = finscale("data", "describe", NAME).out
    for fact in (
        f"data set      {NAME} version 1\n",
        "versions      1\n",
        "kind          raw\n",
        f"rows          625 × 7 columns, {FIRST} to {LAST}\n",
        f"source        SPY.csv sha256:{hash_bytes(spy.read_bytes())}\n",
        f"registered    {raw.created_at}\n",
        f"file          {raw.file}\n",
        f"checksum      {raw.checksum}\n",
        f"content hash  {raw.content_hash}\n",
        "prices        as-given\n",
        "calendar      XNYS\n",
        '"repair": "drop_future", "n_rows": 0',
        "\nwarning: rows 1 (2022-01-03), ",
    ):
        assert fact in out, fact
    out = finscale("data", "describe", "SPY.features.a25").out
    assert f"computed from {NAME} version 1 ({raw.checksum})\n" in out
    assert "kind          processed, tier a25\n" in out
    assert "code hash     c0de\n" in out
    assert "nothing" not in out
    described = document(finscale("data", "describe", NAME, "--version", "1", "--json").out)
    assert described == raw.as_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DIA.OHLCV.daily"], f"data: no data set DIA.OHLCV.daily; it holds {NAME}"),
        ([NAME, "--version", "3"], f"data: {NAME} has no version 3; there are 1"),
        (["../SPY.OHLCV.daily"], "data set '../SPY.OHLCV.daily': holds '/'"),
        (["SPY\n.OHLCV.daily"], "data set 'SPY\\n.OHLCV.daily': holds '\\n'"),
        (["SPY"], "data set 'SPY': is neither SYMBOL.OHLCV.SCALE nor SYMBOL.features.TIER"),
    ],
)
def test_describe_of_what_is_not_there(
    finscale: CommandLine, spy: Path, arguments: list[str], message: str
) -> None:
    finscale("data", "import", spy)
    assert fault_of(finscale("data", "describe", *arguments)).startswith(message)


# --- verify -------------------------------------------------------------------------------------


def test_verify_of_what_is_in_order(finscale: CommandLine, spy: Path) -> None:
    finscale("data", "import", spy)
    finished = finscale("data", "verify")
    assert (finished.code, finished.out) == (0, "data: 1 versions, all as registered\n")
    assert document(finscale("data", "verify", "--json").out) == []


def test_verify_of_what_is_no_catalogue(finscale: CommandLine, spy: Path) -> None:
    assert fault_of(finscale("data", "verify", "--catalog", "none")) == (
        "none: no such directory; give that of a catalogue (--catalog)"
    )
    assert fault_of(finscale("data", "verify", "--catalog", "SPY.csv")) == (
        "SPY.csv: a file, not a directory; give that of a catalogue (--catalog)"
    )


def test_verify_of_damage(finscale: CommandLine, tmp_path: Path, catalog: Catalog) -> None:
    for name in ("SPY", "QQQ", "DIA"):
        finscale("data", "import", write(tmp_path / f"{name}.csv"))
    root = catalog.root / "raw"
    (root / NAME / "v0001.parquet").write_bytes(b"x")
    (root / "QQQ.OHLCV.daily" / "v0001.json").write_text("{")
    (root / "DIA.OHLCV.daily" / "v0001.parquet").unlink()
    (root / NAME / "v0002.parquet").write_bytes(b"x")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    finished = finscale("data", "verify")
    assert finished.code == 2
    assert finished.err == "finscale: data: 4 problems, see above; nothing was changed\n"
    again = (
        "restore it from a backup, or import or download the data again (as the next version) and "
        "delete v0001.*"
    )
    lines = finished.out.splitlines()
    assert lines[0] == (
        "DIA.OHLCV.daily version 1: missing_file: data/raw/DIA.OHLCV.daily/v0001.parquet: cannot "
        f"be read (No such file or directory); {again}"
    )
    assert lines[1] == (
        "QQQ.OHLCV.daily version 1: manifest: data/raw/QQQ.OHLCV.daily/v0001.json: cannot be read "
        "as JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); "
        f"{again}"
    )
    assert lines[2] == (
        f"{NAME} version 1: checksum: data/raw/{NAME}/v0001.parquet: has another checksum than "
        f"registered; {again}"
    )
    assert lines[3] == (
        f"{NAME} version 2: pending: data/raw/{NAME}/v0002.parquet: present and not registered "
        "(the registration was interrupted); import or download the data again (as the next "
        "version), then delete it"
    )
    assert len(lines) == 4
    as_json = finscale("data", "verify", "--json")
    assert as_json.code == 2
    assert [one["kind"] for one in document(as_json.out)] == [
        *("missing_file", "manifest", "checksum", "pending"),
    ]
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_stale_features_are_a_note(
    finscale: CommandLine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_command, "feature_code_hash", lambda: "new")
    features = pl.DataFrame({"date": SESSIONS, "x": [0.0] * len(SESSIONS)})
    catalog.register("SPY.features.a25", features, source="t", provenance={}, code_hash="old")
    finished = finscale("data", "verify")
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.startswith("note: SPY.features.a25 version 1: stale: data/processed/SPY.")


# --- download -----------------------------------------------------------------------------------


@pytest.fixture
def yahoo(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandIn]:
    """A server in place of Yahoo, no pauses, and the time at which its answers are whole."""
    from finscale.cli import data_import

    monkeypatch.setattr(
        data_import,
        "Retrying",
        lambda: Retrying(Patience(min_interval_s=0), sleep=lambda _: time.sleep(0)),
    )
    download = data_import.download_yahoo
    monkeypatch.setattr(
        data_import, "download_yahoo", lambda symbol, **given: download(symbol, now=NOW, **given)
    )
    yield from stand_in_for_yahoo(monkeypatch, tmp_path_factory.mktemp("yfinance"))


def test_a_download_is_registered_with_its_snapshot(
    finscale: CommandLine, yahoo: StandIn, catalog: Catalog, tmp_path: Path
) -> None:
    yahoo.tables["SPY"] = TABLE
    finished = finscale("data", "download", "spy")
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.splitlines()[0] == (
        f"{NAME} version 1: registered, 625 rows, {FIRST} to {LAST}"
    )
    entry = catalog.entry(NAME)
    assert entry.source == "Yahoo Finance"
    assert entry.snapshot is not None
    snapshot = (catalog.root / entry.snapshot).read_bytes()
    assert hash_bytes(snapshot) == entry.snapshot_checksum == entry.provenance["sha256"]
    assert entry.provenance["downloaded_at"] == "2024-07-01T03:00:00+00:00"
    # The snapshot is a file like any other: imported, it gives the same version.
    (tmp_path / "SPY.csv").write_bytes(snapshot)
    imported = finscale("data", "import", "SPY.csv").out
    assert imported.startswith(f"{NAME} version 1: unchanged")
    # And so does another download of the same.
    assert finscale("data", "download", "SPY").out.startswith(f"{NAME} version 1: unchanged")
    assert finscale("data", "verify").code == 0


def test_a_later_download_says_what_changed(
    finscale: CommandLine, yahoo: StandIn, catalog: Catalog
) -> None:
    yahoo.tables["SPY"] = TABLE
    finscale("data", "download", "SPY", "--prices", "adjusted", "--end", str(SESSIONS[599]))
    is_old = pl.int_range(pl.len()) < 610
    adjusted = pl.when(is_old).then(pl.col("Adj Close") * 0.99).otherwise("Adj Close")
    yahoo.tables["SPY"] = TABLE.with_columns(adjusted.alias("Adj Close"))
    [added] = document(finscale("data", "download", "SPY", "--prices", "adjusted", "--json").out)
    assert (added["version"], added["previous_version"]) == (2, 1)
    assert added["revision"]["n_changed"] == 600
    assert added["revision"]["n_added"] == 25
    assert added["revision"]["max_change_frac"] == pytest.approx(0.01)
    assert added["revision"]["rewrites_history"]


def test_options_reach_yahoo(finscale: CommandLine, yahoo: StandIn, catalog: Catalog) -> None:
    yahoo.tables["^DJI"] = TABLE.with_columns(Volume=pl.lit(0.0))
    finished = finscale(
        *("data", "download", "^DJI", "--start", str(SESSIONS[20]), "--end", str(SESSIONS[599])),
        *("--calendar", "none", "--repair", "drop_missing", "--catalog", "elsewhere"),
    )
    assert finished.out.splitlines()[0] == (
        f"^DJI.OHLCV.daily version 1: registered, 580 rows, {SESSIONS[20]} to {SESSIONS[599]}"
    )
    [entry] = Catalog(catalog.root.parent / "elsewhere").entries()
    assert entry.provenance["calendar"] is None
    assert entry.provenance["request"]["start"] == str(SESSIONS[20])
    assert catalog.entries() == []


def test_one_unknown_symbol_keeps_nobody_else_out(
    finscale: CommandLine, yahoo: StandIn, catalog: Catalog
) -> None:
    yahoo.tables["SPY"] = TABLE
    yahoo.tables["QQQ"] = TABLE
    finished = finscale("data", "download", "SPY", "NOPE", "QQQ")
    assert finished.code == 2
    assert [one.symbol for one in catalog.entries()] == ["QQQ", "SPY"]
    assert "finscale: Yahoo NOPE: no such symbol; look it up on finance.yahoo.com" in finished.err


def test_a_download_that_cannot_be_had_leaves_nothing(
    finscale: CommandLine, yahoo: StandIn, tmp_path: Path
) -> None:
    fault = finscale("data", "download", "NOPE")
    assert (fault.code, fault.out) == (2, "")
    assert "finscale: Yahoo NOPE: no such symbol" in fault.err
    assert finscale("data", "download", "SPY", "--start", "yesterday").code == 2
    assert names_in(tmp_path) == set()


def test_all_columns_of_the_schema_are_registered(
    finscale: CommandLine, yahoo: StandIn, catalog: Catalog
) -> None:
    yahoo.tables["SPY"] = TABLE
    finscale("data", "download", "SPY")
    assert catalog.read(catalog.entry(NAME)).schema == SCHEMA

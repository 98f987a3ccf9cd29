from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finscale.errors import DataError
from finscale.files import hash_bytes
from finscale.market.sources.file import load_file
from finscale.market.sources.retry import Patience, RateLimitedError, Retrying, TemporaryError
from finscale.market.sources.yahoo import download_yahoo
from finscale.market.sources.yahoo_client import (
    Answer,
    NoBarsError,
    UnknownSymbolError,
    YFinanceClient,
)
from finscale.market.symbol_bars import SymbolBars
from yahoo_stand_in import NEW_YORK, NOW, SESSIONS, StandIn, stand_in_for_yahoo, yahoo_table

WHOLE = yahoo_table()
CLOSE = dt.datetime.combine(SESSIONS[-1], dt.time(16), tzinfo=NEW_YORK)


def bars_of(table: pl.DataFrame, symbol: str = "SPY") -> pl.DataFrame:
    prices = [pl.col(name.title()).alias(name) for name in ("open", "high", "low", "close")]
    return table.select(
        pl.lit(symbol).alias("symbol"),
        pl.col("Date").alias("date"),
        *prices,
        pl.col("Volume").alias("volume"),
    )


def without(table: pl.DataFrame, *rows: int) -> pl.DataFrame:
    return table.with_row_index("row").filter(~pl.col("row").is_in(rows)).drop("row")


def emptied(table: pl.DataFrame, row: int) -> pl.DataFrame:
    """Return the table with no prices in one row, as Yahoo gives it now and then."""
    is_row = pl.int_range(pl.len()) == row % len(table)
    prices = pl.col("Open", "High", "Low", "Close", "Adj Close")
    volume = pl.when(is_row).then(0.0).otherwise("Volume").alias("Volume")
    return table.with_columns(pl.when(~is_row).then(prices), volume)


class FakeClient:
    """Answers with the next of a list: a table, or an error."""

    def __init__(self, *answers: pl.DataFrame | Exception, **known: Any) -> None:
        self.answers, self.asked = list(answers), []
        self.known = {
            "first_trade": SESSIONS[0],
            "last_trade": SESSIONS[-1],
            "session_end": CLOSE,
            **known,
        }

    def history(self, symbol: str, start: dt.date | None, end: dt.date | None) -> Answer:
        self.asked.append((symbol, start, end))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer, {"currency": "USD"}, **self.known, library="0")


def hurried(sleeps: list[float] | None = None) -> Retrying:
    sleep = ([] if sleeps is None else sleeps).append
    return Retrying(Patience(min_interval_s=0), sleep=sleep)


def download(client: Any, symbol: str = "SPY", **options: Any) -> SymbolBars:
    given = {"client": client, "retrying": hurried(), "now": NOW, **options}
    return download_yahoo(symbol, **given)[0]


def refusal(client: Any, symbol: str = "SPY", **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        download(client, symbol, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def kinds(bars: SymbolBars) -> dict[str, tuple[str, ...]]:
    return {one.kind: one.dates for one in bars.warnings}


# --- An answer that is whole --------------------------------------------------------------------


def test_a_whole_answer_is_taken_as_it_is() -> None:
    client = FakeClient(WHOLE)
    found = download(client, "spy")
    assert found.symbol == "SPY"
    assert found.bars.equals(bars_of(WHOLE))
    assert kinds(found) == {"unused_adjustment": tuple(map(str, SESSIONS[:100]))}
    assert client.asked == [("SPY", None, None)]
    assert found.provenance["n_requests"] == 1
    assert found.provenance["downloaded_at"] == "2024-07-01T03:00:00+00:00"
    assert found.provenance["request"] == {
        "symbol": "SPY",
        "start": None,
        "end": None,
        "interval": "1d",
        "auto_adjust": False,
    }
    assert found.provenance["currency"] == "USD"
    assert (found.provenance["source"], found.provenance["prices"]) == ("yahoo", "as_given")


def test_both_ends_of_a_span_are_included() -> None:
    client = FakeClient(WHOLE[10:20])
    found = download(client, start=SESSIONS[10], end=SESSIONS[19])
    assert client.asked == [("SPY", SESSIONS[10], SESSIONS[19] + dt.timedelta(1))]
    assert found.bars.equals(bars_of(WHOLE[10:20]))
    assert "late_start" not in kinds(found)
    assert "early_end" not in kinds(found)


@pytest.mark.parametrize("prices", ["as_given", "adjusted"])
def test_the_snapshot_is_the_file_yahoo_would_have_given(tmp_path: Path, prices: Any) -> None:
    found, snapshot = download_yahoo("SPY", prices=prices, client=FakeClient(WHOLE), now=NOW)
    path = tmp_path / "SPY.csv"
    path.write_bytes(snapshot)
    [read] = load_file(path, prices=prices)
    assert read.bars.equals(found.bars)
    assert found.provenance["sha256"] == hash_bytes(snapshot) == read.provenance["sha256"]
    assert found.provenance["prices"] == read.provenance["prices"] == prices
    assert snapshot.decode().splitlines()[0] == (
        "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits"
    )


def test_adjusted_prices_hold_the_dividend() -> None:
    found = download(FakeClient(WHOLE), prices="adjusted")
    expected = bars_of(WHOLE)
    factor = pl.Series([0.99] * 100 + [1.0] * (len(WHOLE) - 100))
    for name in ("open", "high", "low", "close"):
        assert found.bars[name].to_list() == pytest.approx((expected[name] * factor).to_list())
    assert found.bars["volume"].equals(expected["volume"])
    assert found.provenance["prices"] == "adjusted"


def test_an_index_needs_no_volume() -> None:
    index = WHOLE.with_columns(Volume=pl.lit(0.0))
    found = download(FakeClient(index), "^dji")
    assert found.symbol == "^DJI"
    assert found.bars["volume"].to_list() == [0.0] * len(WHOLE)
    assert "no_volume" in kinds(found)


# --- Partial answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "partial",
    [without(WHOLE, 300), emptied(WHOLE, 300), WHOLE[:400], WHOLE[200:], emptied(WHOLE, -1)],
)
def test_a_partial_answer_is_asked_for_again(partial: pl.DataFrame) -> None:
    client = FakeClient(partial, WHOLE)
    found = download(client)
    assert len(client.asked) == found.provenance["n_requests"] == 2
    assert found.bars.equals(bars_of(WHOLE))
    assert set(kinds(found)) == {"unused_adjustment"}


def test_the_same_gap_twice_is_what_yahoo_has() -> None:
    client = FakeClient(without(WHOLE, 300, 301))
    found = download(client)
    assert len(client.asked) == 2
    assert found.bars.equals(bars_of(without(WHOLE, 300, 301)))
    assert kinds(found)["missing_sessions"] == (str(SESSIONS[300]), str(SESSIONS[301]))


def test_of_answers_with_other_gaps_the_best_is_taken() -> None:
    client = FakeClient(
        without(WHOLE, 1, 2, 3), without(WHOLE, 300), without(WHOLE, 5, 6), WHOLE[:3]
    )
    found = download(client)
    assert len(client.asked) == 3
    assert found.bars.equals(bars_of(without(WHOLE, 300)))
    assert kinds(found)["missing_sessions"] == (str(SESSIONS[300]),)


def test_sessions_missing_at_the_ends_are_listed() -> None:
    found = download(FakeClient(WHOLE[2:-1]))
    assert kinds(found)["late_start"] == (str(SESSIONS[0]), str(SESSIONS[1]))
    assert kinds(found)["early_end"] == (str(SESSIONS[-1]),)
    assert "missing_sessions" not in kinds(found)
    messages = [one.message for one in found.warnings]
    assert "2 sessions before the first bar missing" in messages
    assert "1 session after the last bar missing" in messages


def test_an_answer_of_which_too_much_is_missing_is_refused() -> None:
    fault = refusal(FakeClient(WHOLE[100:]))
    assert fault == (
        f"Yahoo SPY: 100 of {len(SESSIONS)} sessions of XNYS from {SESSIONS[0]} to {SESSIONS[99]} "
        f"are missing in the answer; run again later, ask for what there is (--start "
        f"{SESSIONS[100]} --end {SESSIONS[-1]}), or name another calendar (--calendar none)"
    )
    # Each of the ways out that it names is one.
    assert len(download(FakeClient(WHOLE[100:]), start=SESSIONS[100]).bars) == len(WHOLE) - 100
    assert len(download(FakeClient(WHOLE[100:]), calendar=None).bars) == len(WHOLE) - 100


@pytest.mark.parametrize(("n_missing", "is_refused"), [(31, False), (32, True)])
def test_how_much_may_be_missing(n_missing: int, is_refused: bool) -> None:
    # 5% of the 625 sessions are 31.25.
    assert len(SESSIONS) == 625
    client = FakeClient(without(WHOLE, *range(100, 100 + n_missing)))
    if is_refused:
        assert "32 of 625 sessions of XNYS" in refusal(client)
    else:
        assert len(kinds(download(client))["missing_sessions"]) == 31


def test_prices_missing_inside_are_refused_unless_the_row_is_dropped() -> None:
    assert refusal(FakeClient(emptied(WHOLE, 300))) == (
        f"Yahoo SPY: row 301 ({SESSIONS[300]}): open is missing; fill it in or drop the row "
        "(--repair drop_missing), or leave such sessions out (--start, --end)"
    )
    found = download(FakeClient(emptied(WHOLE, 300)), repairs=["drop_missing"])
    assert found.bars.equals(bars_of(without(WHOLE, 300)))
    assert found.provenance["repairs"][0]["rows"] == "301"


def test_impossible_bars_are_refused() -> None:
    is_first = pl.int_range(pl.len()) == 0
    table = WHOLE.with_columns(Open=pl.when(is_first).then(0.0).otherwise("Open"))
    assert refusal(FakeClient(table)) == (
        f"Yahoo SPY: row 1 ({SESSIONS[0]}): open is not positive; correct it or drop the row, or "
        "leave such sessions out (--start, --end)"
    )


@pytest.mark.parametrize(
    ("now", "known", "n_kept"),
    [
        (CLOSE + dt.timedelta(minutes=31), {}, 625),
        (CLOSE + dt.timedelta(minutes=29), {}, 624),
        (CLOSE - dt.timedelta(hours=2), {}, 624),
        (CLOSE + dt.timedelta(days=1), {"session_end": None}, 625),
        (CLOSE, {"session_end": None}, 624),
        # On a Sunday, Yahoo speaks of the next session already.
        (CLOSE + dt.timedelta(days=2), {"session_end": CLOSE + dt.timedelta(days=3)}, 625),
    ],
)
def test_the_bar_of_a_session_that_is_not_over_is_left_out(
    now: dt.datetime, known: dict[str, Any], n_kept: int
) -> None:
    client = FakeClient(WHOLE, **known)
    found = download(client, now=now.astimezone(dt.UTC))
    assert len(client.asked) == 1
    assert found.bars.equals(bars_of(WHOLE[:n_kept]))
    expected = (str(SESSIONS[-1]),) if n_kept < 625 else None
    assert kinds(found).get("unfinished_session") == expected
    assert "bar_of_today" not in kinds(found)


def test_a_last_bar_without_prices_is_left_out_when_it_stays_so() -> None:
    client = FakeClient(emptied(WHOLE, -1))
    found = download(client)
    assert len(client.asked) == 2
    assert found.bars.equals(bars_of(WHOLE[:-1]))
    assert kinds(found)["unfinished_session"] == (str(SESSIONS[-1]),)
    assert "early_end" not in kinds(found)


def test_a_symbol_that_no_longer_trades_ends_where_its_trade_ended() -> None:
    found = download(FakeClient(WHOLE[:500], last_trade=SESSIONS[499]))
    assert len(found.bars) == 500
    assert set(kinds(found)) == {"unused_adjustment"}


def test_without_a_calendar_only_holes_are_seen() -> None:
    client = FakeClient(WHOLE[100:300])
    assert len(download(client, "ES=F").bars) == 200
    assert len(client.asked) == 1


# --- No answer ----------------------------------------------------------------------------------

UNKNOWN = (
    "no such symbol; look it up on finance.yahoo.com (indices begin with ^, as ^DJI, and share "
    "classes take a dash, as BRK-B)"
)


@pytest.mark.parametrize(
    ("answer", "message", "n_asked"),
    [
        (WHOLE.head(0), "an empty answer (asked 6 times); check the network and run again", 6),
        (
            emptied(emptied(WHOLE[:2], 0), 1),
            "no bar of a finished session; download it again later",
            2,
        ),
        (
            TemporaryError("no connection (x)"),
            "no connection (x) (asked 6 times); check the network and run again",
            6,
        ),
        (
            RateLimitedError("too many requests"),
            "too many requests (asked 6 times); wait an hour and run again",
            6,
        ),
        (
            UnknownSymbolError("no such symbol"),
            UNKNOWN,
            2,
        ),
        (
            NoBarsError("no bars"),
            "no bars from the first to the last; give other dates (--start, --end)",
            2,
        ),
    ],
)
def test_what_does_not_come_is_said_with_the_fix(
    answer: pl.DataFrame | Exception, message: str, n_asked: int
) -> None:
    client = FakeClient(answer)
    assert refusal(client) == f"Yahoo SPY: {message}"
    assert len(client.asked) == n_asked


def test_a_symbol_is_believed_to_be_unknown_only_twice() -> None:
    client = FakeClient(UnknownSymbolError("no such symbol"), WHOLE)
    assert len(download(client).bars) == len(WHOLE)


@pytest.mark.parametrize(
    ("symbol", "options", "message"),
    [
        ("a/b", {}, "data set 'A/B.OHLCV.daily': holds '/'; names are like"),
        ("SPY", {"prices": "raw"}, "no prices 'raw'; choose as_given or adjusted"),
        ("SPY", {"repairs": ["all"]}, "no repair 'all'; choose from"),
        (
            "SPY",
            {"start": dt.date(2024, 1, 2), "end": dt.date(2023, 1, 2)},
            "Yahoo SPY: start 2024-01-02 is after end 2023-01-02; give an earlier start",
        ),
    ],
)
def test_bad_requests_are_not_made(symbol: str, options: dict[str, Any], message: str) -> None:
    client = FakeClient(WHOLE)
    assert refusal(client, symbol, **options).startswith(message)
    assert client.asked == []


def test_without_yfinance_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(DataError) as caught:
        download_yahoo("SPY")
    assert str(caught.value) == (
        "Yahoo Finance: yfinance is not installed; pip install 'finscale[yahoo]'"
    )


# --- Through yfinance, from a local server ------------------------------------------------------


@pytest.fixture
def yahoo(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandIn]:
    yield from stand_in_for_yahoo(monkeypatch, tmp_path_factory.mktemp("yfinance"))


def fetch(symbol: str = "SPY", **options: Any) -> SymbolBars:
    return download(YFinanceClient(), symbol, **options)


def test_bars_come_through_yfinance(yahoo: StandIn) -> None:
    yahoo.tables["SPY"] = WHOLE
    found, snapshot = download_yahoo("SPY", retrying=hurried(), now=NOW)
    assert found.bars.equals(bars_of(WHOLE))
    assert kinds(found) == {"unused_adjustment": tuple(map(str, SESSIONS[:100]))}
    [(path, query)] = yahoo.paths
    assert path == "/v8/finance/chart/SPY"
    assert query["interval"] == "1d"
    assert query["events"] == "div,splits,capitalGains"
    about = {"currency": "USD", "exchange": "PCX", "instrument": "EQUITY"}
    assert found.provenance | about == found.provenance
    assert found.provenance["timezone"] == "America/New_York"
    assert found.provenance["yfinance_version"]
    lines = snapshot.decode().splitlines()
    assert len(lines) == len(WHOLE) + 1
    assert lines[101].split(",")[7] == str(WHOLE["Dividends"][100])
    assert lines[201].endswith(",2.0")


def test_an_index_comes_through_yfinance_without_volume(yahoo: StandIn) -> None:
    yahoo.tables["^DJI"] = WHOLE.with_columns(pl.lit(None, pl.Float64).alias("Volume"))
    found = fetch("^dji")
    assert yahoo.paths[0][0] == "/v8/finance/chart/^DJI"
    assert found.bars["volume"].to_list() == [0.0] * len(WHOLE)
    assert found.bars["close"].equals(WHOLE["Close"].alias("close"))
    assert "no_volume" in kinds(found)
    assert found.provenance["instrument"] == "INDEX"


def test_a_span_comes_through_yfinance(yahoo: StandIn) -> None:
    yahoo.tables["SPY"] = WHOLE
    found = fetch(start=SESSIONS[10], end=SESSIONS[19])
    assert found.bars.equals(bars_of(WHOLE[10:20]))


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ((429, "Too Many Requests"), "Yahoo allows no more requests for now"),
        ((500, "Internal Server Error"), "an answer that cannot be read ("),
        ((502, "<html>Bad Gateway</html>"), "an answer that cannot be read ("),
        ((200, '{"chart": {"result": [{"meta": {"curr'), "an answer that cannot be read ("),
        ((200, ""), "an answer that cannot be read ("),
        ((200, "Will be right back"), "an answer that cannot be read ("),
        ((200, '{"chart": {"result": [], "error": null}}'), "an empty answer"),
        ((200, '{"chart": {"result": [{"meta": {}}], "error": null}}'), "an answer that cannot b"),
        ((0, ""), "no connection ("),
    ],
)
@pytest.mark.parametrize("is_past", [False, True])
def test_what_goes_wrong_is_asked_for_again(
    yahoo: StandIn, failure: tuple[int, str], message: str, is_past: bool, caplog: Any
) -> None:
    yahoo.tables["SPY"] = WHOLE
    # yfinance itself repeats a request that was refused, once.
    yahoo.failures.extend([failure] * (2 if failure[0] >= 400 else 1))
    sleeps: list[float] = []
    end = SESSIONS[-1] if is_past else None
    found = fetch(end=end, retrying=hurried(sleeps))
    assert found.bars.equals(bars_of(WHOLE))
    assert found.provenance["n_requests"] == 2
    assert len(sleeps) == 1
    assert (sleeps[0] >= 30) == (failure[0] == 429)
    assert f"Yahoo SPY: {message}" in caplog.text
    assert "curl.se" not in caplog.text
    assert {record.name for record in caplog.records} == {"finscale"}


def test_an_unknown_symbol_comes_through_yfinance(yahoo: StandIn) -> None:
    # More often than yfinance looks elsewhere for a time zone in the life of a process.
    for _ in range(3):
        assert refusal(YFinanceClient(), "SPX").startswith("Yahoo SPX: no such symbol; look it up")


def test_a_limit_that_is_not_lifted_comes_through_yfinance(yahoo: StandIn) -> None:
    yahoo.tables["SPY"] = WHOLE
    yahoo.failures.extend([(429, "Too Many Requests")] * 20)
    assert refusal(YFinanceClient()) == (
        "Yahoo SPY: Yahoo allows no more requests for now (asked 6 times); wait an hour and run "
        "again"
    )
    assert len(yahoo.paths) == 12


def test_a_partial_answer_comes_through_yfinance(yahoo: StandIn) -> None:
    yahoo.tables["SPY"] = emptied(without(WHOLE, 7), -1)
    found = fetch()
    assert len(yahoo.paths) == 2
    assert found.bars.equals(bars_of(without(WHOLE, 7)[:-1]))
    assert kinds(found)["missing_sessions"] == (str(SESSIONS[7]),)
    assert kinds(found)["unfinished_session"] == (str(SESSIONS[-1]),)


def test_the_settings_of_yfinance_are_put_back(yahoo: StandIn) -> None:
    import yfinance

    yahoo.tables["SPY"] = WHOLE
    before = yfinance.config.debug.hide_exceptions, yfinance.config.network.retries
    fetch()
    assert (yfinance.config.debug.hide_exceptions, yfinance.config.network.retries) == before

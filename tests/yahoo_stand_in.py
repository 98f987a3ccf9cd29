"""A local server that answers as Yahoo Finance does, and yfinance turned towards it."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from finscale.market.calendars import find_sessions
from strategies import make_bars

NEW_YORK = ZoneInfo("America/New_York")
SESSIONS = find_sessions("XNYS", dt.date(2022, 1, 3), dt.date(2024, 6, 28)).dates.tolist()
NOW = dt.datetime(2024, 7, 1, 3, 0, tzinfo=dt.UTC)


def yahoo_table(sessions: list[dt.date] = SESSIONS, *, seed: int = 0) -> pl.DataFrame:
    """Return bars as Yahoo has them: a dividend of 1% on session 100, a split on session 200."""
    bars = make_bars(len(sessions), seed=seed)
    rows = pl.int_range(len(sessions), eager=True)
    return pl.DataFrame(
        {
            "Date": sessions,
            **{name.title(): getattr(bars, name) for name in ("open", "high", "low", "close")},
            "Adj Close": bars.close * (rows < 100).map_elements(lambda old: 0.99 if old else 1.0),
            "Volume": bars.volume,
            "Dividends": (rows == 100).cast(pl.Float64) * bars.close[min(99, len(rows) - 1)] / 100,
            "Stock Splits": (rows == 200).cast(pl.Float64) * 2,
        }
    )


@dataclass
class StandIn:
    """What the server knows, what it is to do wrong, and what it was asked.

    Attributes
    ----------
    tables
        Symbol to the bars the server has.
    failures
        Status and body of the answers to the next requests for bars; a status of 0 hangs up.
    paths
        Of the requests for bars, with their parameters.
    """

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    failures: deque[tuple[int, str]] = field(default_factory=deque)
    paths: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        if path.endswith("getcrumb"):
            return 200, "crumb"
        if "/v8/finance/chart/" not in path:
            return 404, "{}"
        symbol = unquote(path.rpartition("/")[2])
        if "period1" in query:
            self.paths.append((unquote(path), query))
            if self.failures:
                return self.failures.popleft()
        if symbol not in self.tables:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return 404, json.dumps({"chart": {"result": None, "error": error}})
        table = self.tables[symbol]
        if "period1" in query:
            opens = pl.Series([at_time(day, 9, 30) for day in table["Date"]])
            low, high = int(query["period1"]), int(query["period2"])
            table = table.filter((opens >= low) & (opens < high))
        return 200, chart(symbol, table)


def at_time(day: dt.date, hour: int, minute: int = 0) -> int:
    """Return the seconds since 1970 of a time of day in New York."""
    clock = dt.datetime.combine(day, dt.time(hour, minute), tzinfo=NEW_YORK)
    return int(clock.timestamp())


def chart(symbol: str, table: pl.DataFrame) -> str:
    """Return the body of Yahoo's answer, version 8 of its chart service."""
    days = table["Date"].to_list()
    stamps = [at_time(day, 9, 30) for day in days]
    period = {
        "timezone": "EDT",
        "gmtoffset": -14400,
        "start": at_time(SESSIONS[-1], 9, 30),
        "end": at_time(SESSIONS[-1], 16),
    }
    meta = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "PCX",
        "instrumentType": "INDEX" if symbol.startswith("^") else "EQUITY",
        "firstTradeDate": at_time(SESSIONS[0], 9, 30),
        "regularMarketTime": at_time(SESSIONS[-1], 16),
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EDT",
        "gmtoffset": -14400,
        "priceHint": 2,
        "validRanges": ["1d", "1mo", "max"],
        "currentTradingPeriod": {name: dict(period) for name in ("pre", "regular", "post")},
    }
    names = ("open", "high", "low", "close", "volume")
    events: dict[str, dict[str, Any]] = {"dividends": {}, "splits": {}}
    for stamp, dividend, split in zip(
        stamps, table["Dividends"], table["Stock Splits"], strict=True
    ):
        if dividend:
            events["dividends"][str(stamp)] = {"amount": dividend, "date": stamp}
        if split:
            parts = {"date": stamp, "numerator": split, "denominator": 1, "splitRatio": "2:1"}
            events["splits"][str(stamp)] = parts
    result: dict[str, Any] = {
        "meta": meta,
        "timestamp": stamps,
        "events": {name: known for name, known in events.items() if known},
        "indicators": {
            "quote": [{name: table[name.title()].to_list() for name in names}],
            "adjclose": [{"adjclose": table["Adj Close"].to_list()}],
        },
    }
    return json.dumps({"chart": {"result": [result], "error": None}})


def serve(stand_in: StandIn) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            status, body = stand_in.answer(address.path, query)
            if status == 0:
                self.close_connection = True
                return
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def stand_in_for_yahoo(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[StandIn]:
    """Run a server in a thread, and send every request of yfinance there."""
    yfinance = pytest.importorskip("yfinance", reason="yfinance (extra yahoo) is not installed")
    from yfinance import _http, data

    stand_in = StandIn()
    server = serve(stand_in)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    class Session(_http.requests.Session):
        def request(self, method: str, url: str, **options: Any) -> Any:
            address = urlsplit(url)
            here = address._replace(scheme="http", netloc=f"127.0.0.1:{server.server_port}")
            return super().request(method, here.geturl(), **options)

    monkeypatch.setattr(data.SingletonMeta, "_instances", {})
    session = Session()
    data.YfData(session=session)
    yfinance.set_tz_cache_location(str(cache))
    try:
        yield stand_in
    finally:
        session.close()
        server.shutdown()
        thread.join()
        server.server_close()

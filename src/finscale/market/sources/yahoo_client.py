"""One request to Yahoo Finance, through yfinance: what came, or why nothing did."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from finscale.errors import DataError
from finscale.market.sources.retry import RateLimitedError, TemporaryError

_TIMEOUT_S = 30
_PRICES = ("Open", "High", "Low", "Close", "Adj Close")
_EVENTS = ("Dividends", "Stock Splits", "Capital Gains")
_UNKNOWN = ("no data found", "not found", "delisted")
_NO_RANGE = "data doesn't exist"


class UnknownSymbolError(TemporaryError):
    """Yahoo says that there is no such symbol; now and then it says so of one that there is."""

    max_retries = 1


class NoBarsError(TemporaryError):
    """Yahoo says that the symbol has no bars in the range asked for."""

    max_retries = 1


@dataclass(frozen=True)
class Answer:
    """What Yahoo answered.

    Attributes
    ----------
    table
        ``Date``, ``Open`` … ``Close`` (split-adjusted), ``Adj Close`` (also for dividends),
        ``Volume``, ``Dividends``, ``Stock Splits`` and, for funds, ``Capital Gains``, as a file
        from Yahoo has them; null where Yahoo has no value.
    about
        Currency, exchange, time zone and kind of instrument, as far as Yahoo tells.
    first_trade, last_trade
        Days of the first trade that Yahoo has and of the last, if it tells.
    session_end
        Close of the current or last session, if Yahoo tells, in the exchange's time zone.
    library
        Version of yfinance.
    """

    table: pl.DataFrame
    about: Mapping[str, str]
    first_trade: dt.date | None
    last_trade: dt.date | None
    session_end: dt.datetime | None
    library: str


class Client(Protocol):
    """Whoever answers a request for daily bars."""

    def history(self, symbol: str, start: dt.date | None, end: dt.date | None) -> Answer:
        """Return the daily bars of ``[start, end)``; None: from the first, to the last.

        Raises
        ------
        TemporaryError
            If there is no answer, or none that can be read.
        """
        ...


class YFinanceClient:
    """Asks Yahoo once; repetitions are the caller's.

    Raises
    ------
    DataError
        If yfinance is not installed.
    """

    def __init__(self) -> None:
        try:
            self._yfinance: Any = importlib.import_module("yfinance")
        except ImportError as error:
            raise DataError(
                "Yahoo Finance: yfinance is not installed; pip install 'finscale[yahoo]'"
            ) from error

    def history(self, symbol: str, start: dt.date | None, end: dt.date | None) -> Answer:
        """Return the daily bars of ``[start, end)`` (see :class:`Client`)."""
        errors = self._yfinance.exceptions
        # yfinance keeps answers, bad ones too: asking again would bring back the one that failed.
        self._yfinance.data.YfData.cache_get.cache_clear()
        try:
            with self._settings():
                return self._ask(symbol, start, end)
        except errors.YFRateLimitError as error:
            raise RateLimitedError("Yahoo allows no more requests for now") from error
        except (errors.YFTzMissingError, errors.YFPricesMissingError) as error:
            raise _why_missing(error) from error
        except (
            errors.YFException,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            if getattr(getattr(error, "response", None), "status_code", None) == 404:
                raise UnknownSymbolError("no such symbol") from error
            raise TemporaryError(_in_words(error)) from error

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """Raise errors and repeat nothing, for the duration of one request.

        What goes wrong is told by the errors. What yfinance writes about it meanwhile, or is
        warned of by pandas, is not for our users to mend.
        """
        config, log = self._yfinance.config, logging.getLogger("yfinance")
        before = config.debug.hide_exceptions, config.network.retries
        was_disabled, log.disabled = log.disabled, True
        config.debug.hide_exceptions, config.network.retries = False, 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            config.debug.hide_exceptions, config.network.retries = before
            log.disabled = was_disabled

    def _ask(self, symbol: str, start: dt.date | None, end: dt.date | None) -> Answer:
        ticker = self._yfinance.Ticker(symbol)
        frame = ticker.history(
            start=start,
            end=end,
            **({"period": "max"} if start is None else {}),
            interval="1d",
            auto_adjust=False,
            actions=True,
            keepna=True,
            timeout=_TIMEOUT_S,
        )
        metadata = ticker.history_metadata
        period = (metadata.get("currentTradingPeriod") or {}).get("regular") or {}
        about = {
            name: str(metadata[key])
            for name, key in (
                ("currency", "currency"),
                ("exchange", "exchangeName"),
                ("instrument", "instrumentType"),
                ("timezone", "exchangeTimezoneName"),
            )
            if metadata.get(key) is not None
        }
        first, last = metadata.get("firstTradeDate"), metadata.get("regularMarketTime")
        return Answer(
            table=_to_table(frame),
            about=about,
            first_trade=None if first is None else first.date(),
            last_trade=None if last is None else last.date(),
            session_end=period["end"].to_pydatetime() if period else None,
            library=str(self._yfinance.__version__),
        )


def _to_table(frame: Any) -> pl.DataFrame:
    """Return the pandas frame of yfinance as Yahoo's files have it."""
    columns = {
        name: pl.Series(np.asarray(frame[name], dtype=np.float64), nan_to_null=True)
        for name in (*_PRICES, "Volume", *_EVENTS)
        if name in frame.columns
    }
    # Midnight of the session in the exchange's own time zone: its date is the session.
    return pl.DataFrame({"Date": pl.Series(list(frame.index.date), dtype=pl.Date), **columns})


def _why_missing(error: Exception) -> TemporaryError:
    reason = str(getattr(error, "yahoo_reason", None) or "")
    if _NO_RANGE in reason.lower():
        return NoBarsError("no bars in that time")
    # Without a time zone there is no such symbol; what Yahoo said of it yfinance does not pass on.
    if type(error).__name__ == "YFTzMissingError" or any(
        word in reason.lower() for word in _UNKNOWN
    ):
        return UnknownSymbolError("no such symbol")
    return TemporaryError(reason or "an empty answer")


def _in_words(error: Exception) -> str:
    text = str(error).strip().splitlines()
    # curl adds where to read more about its error codes.
    detail = text[0].partition(". See https://")[0][:200] if text else type(error).__name__
    # Errors of the connection are OSErrors; of these some are also of the answer's text.
    if isinstance(error, OSError) and not isinstance(error, ValueError):
        return f"no connection ({detail})"
    return f"an answer that cannot be read ({detail})"

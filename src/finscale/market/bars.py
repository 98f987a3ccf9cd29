"""One schema for OHLCV bars, as a frame and as arrays.

Bars are a polars frame with the columns of :data:`SCHEMA`: one symbol, one row per trading
session, sorted by date. What makes a bar invalid is in :mod:`finscale.market.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.files import hash_bytes

PRICES = ("open", "high", "low", "close")

SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "date": pl.Date,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
    }
)

FloatArray = NDArray[np.float64]

_NO_CONTEXT: Mapping[str, FloatArray] = {}


@dataclass(frozen=True)
class OHLCV:
    """The bars of one symbol as arrays of equal length T, oldest first.

    Attributes
    ----------
    date
        ``datetime64[D]``, strictly increasing.
    open, high, low, close
        Prices in the quote currency, positive.
    volume
        Units traded, zero or more.
    context
        Name of a context series to its value as of each bar's close (T values); NaN before the
        series begins, never after.
    """

    date: NDArray[np.datetime64]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    context: Mapping[str, FloatArray] = field(default_factory=lambda: _NO_CONTEXT)

    def __len__(self) -> int:
        return len(self.date)

    def head(self, n_rows: int) -> OHLCV:
        """Return the first ``n_rows`` bars: the world as it was known then."""
        return self.slice(0, n_rows)

    def slice(self, start: int, stop: int) -> OHLCV:
        """Return the bars of the half-open row interval ``[start, stop)``."""
        return OHLCV(
            **{name: getattr(self, name)[start:stop] for name in ("date", *PRICES, "volume")},
            context={name: values[start:stop] for name, values in self.context.items()},
        )

    # What many features start from, computed once per object. A slice is another object and
    # computes its own, so nothing of the future is carried into it.

    @cached_property
    def log_return(self) -> FloatArray:
        """ln(C_t / C_{t-1}); NaN in the first row."""
        values = np.full(len(self), np.nan)
        values[1:] = np.log(self.close[1:] / self.close[:-1])
        return _frozen(values)

    @cached_property
    def true_range(self) -> FloatArray:
        """max(H, C_{t-1}) - min(L, C_{t-1}), Wilder (1978); NaN in the first row."""
        values = np.full(len(self), np.nan)
        before = self.close[:-1]
        values[1:] = np.maximum(self.high[1:], before) - np.minimum(self.low[1:], before)
        return _frozen(values)

    @cached_property
    def typical_price(self) -> FloatArray:
        """(H + L + C) / 3."""
        return _frozen((self.high + self.low + self.close) / 3)


def _frozen(values: FloatArray) -> FloatArray:
    """Forbid writing: one feature must not change what the next one sees."""
    values.flags.writeable = False
    return values


def to_arrays(bars: pl.DataFrame) -> OHLCV:
    """Return valid bars as arrays."""
    numbers: dict[str, FloatArray] = {name: bars[name].to_numpy() for name in (*PRICES, "volume")}
    return OHLCV(
        bars["date"].to_numpy().astype("datetime64[D]"),
        numbers["open"],
        numbers["high"],
        numbers["low"],
        numbers["close"],
        numbers["volume"],
    )


def bars_hash(bars: pl.DataFrame) -> str:
    """Return a SHA-256 over the content of valid bars, the same on every platform."""
    arrays = to_arrays(bars)
    parts = [",".join(bars["symbol"].unique()).encode(), arrays.date.astype("<i8").tobytes()]
    parts += [getattr(arrays, name).astype("<f8").tobytes() for name in (*PRICES, "volume")]
    return hash_bytes(b"\0".join(parts))

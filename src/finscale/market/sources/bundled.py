"""Real daily index data that comes with the ``arch`` package, so that no network is needed.

S&P 500 and NASDAQ Composite, 1999-01-04 to 2018-12-31, 5,031 sessions each (from Yahoo Finance,
as shipped in ``arch.data``).
"""

from __future__ import annotations

import importlib

import polars as pl

from finscale.errors import DataError
from finscale.market.check import inspect_bars, validate_bars
from finscale.market.symbol_bars import SymbolBars

BUNDLED = {"SP500": "arch.data.sp500", "NASDAQ": "arch.data.nasdaq"}


def load_bundled(symbol: str) -> SymbolBars:
    """Return the bars of a bundled index.

    Raises
    ------
    DataError
        If ``symbol`` is not one of :data:`BUNDLED`, or its bars are damaged.
    """
    if symbol not in BUNDLED:
        raise DataError(f"bundled data: no symbol {symbol!r}; choose one of {', '.join(BUNDLED)}")
    raw = importlib.import_module(BUNDLED[symbol]).load()
    frame = pl.DataFrame(
        {
            "date": raw.index.to_numpy().astype("datetime64[D]"),
            **{
                name: raw[name.title()].to_numpy(dtype="float64")
                for name in ("open", "high", "low", "close", "volume")
            },
        }
    ).with_columns(symbol=pl.lit(symbol))
    bars = validate_bars(frame, source=f"bundled {symbol}")
    # The data do not change, and a test compares them with the exchange calendar.
    return SymbolBars(
        symbol,
        bars,
        warnings=inspect_bars(bars, calendar=None),
        provenance={
            "source": "bundled",
            "series": BUNDLED[symbol],
            "prices": "as_given",
            "repairs": [],
        },
    )

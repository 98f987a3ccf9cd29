"""Files and bars that several tests of this folder share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from finscale.errors import DataError
from finscale.market.bars import SCHEMA
from finscale.market.sources.bundled import load_bundled
from finscale.market.sources.file import load_file
from finscale.market.symbol_bars import SymbolBars
from strategies import make_bars, to_frame

FIXTURES = Path(__file__).parent / "fixtures"
# A day after all fixtures.
TODAY = dt.date(2024, 12, 31)

_DATES = [dt.date(2024, 1, day) for day in (2, 3, 4, 5, 8, 9)]
_SPY = (
    (472.16, 473.67, 470.49, 472.65, 123623700),
    (470.43, 471.19, 468.17, 468.79, 103585900),
    (468.30, 470.96, 467.05, 467.28, 84232200),
    (467.49, 470.44, 466.43, 467.92, 86060800),
    (468.43, 474.75, 468.30, 474.60, 74879100),
    (471.87, 474.93, 471.35, 473.88, 65931400),
)
_DIA = (
    (376.43, 378.70, 375.95, 377.29, 3838900),
    (375.92, 376.20, 373.93, 374.44, 4203800),
    (374.27, 376.90, 374.06, 374.53, 3263400),
    (374.14, 376.43, 373.59, 374.85, 3324300),
    (374.30, 377.06, 373.57, 376.96, 3090500),
    (375.14, 375.89, 374.23, 375.31, 2688400),
)


def _frame(symbol: str, rows: tuple[tuple[float, ...], ...]) -> pl.DataFrame:
    table = [(symbol, date, *map(float, row)) for date, row in zip(_DATES, rows, strict=True)]
    return pl.DataFrame(table, schema=SCHEMA, orient="row")


# What the fixtures hold.
SPY = _frame("SPY", _SPY)
DIA = _frame("DIA", _DIA)


def load_one(path: Path, **options: Any) -> SymbolBars:
    """Load a file of one symbol."""
    [loaded] = load_file(path, **{"today": TODAY} | options)
    return loaded


def refusal(path: Path, **options: Any) -> str:
    """Return what a file is refused with, without its name at the front."""
    with pytest.raises(DataError) as caught:
        load_file(path, **{"today": TODAY} | options)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(path))


def bundled_bars(symbol: str) -> pl.DataFrame:
    """Return the bars of a bundled index."""
    return load_bundled(symbol).bars


def long_bars(n_bars: int) -> pl.DataFrame:
    """Return bars of which nothing is odd, on all weekdays from 2001 on."""
    days = np.busday_offset("2001-01-01", np.arange(n_bars))
    return to_frame(make_bars(n_bars, seed=1), "A").with_columns(date=pl.Series(days))

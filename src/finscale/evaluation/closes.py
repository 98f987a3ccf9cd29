"""Closing prices of a cell's symbols on one grid of dates and symbols."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from finscale.evaluation.bootstrap import FloatArray, IntArray


@dataclass(frozen=True)
class Closes:
    """Closes by date and symbol, NaN where a symbol did not trade.

    Attributes
    ----------
    date_T
        Ascending, ``datetime64[D]``.
    symbols
        Sorted.
    close_TN
        Prices.
    """

    date_T: npt.NDArray[np.datetime64]
    symbols: tuple[str, ...]
    close_TN: FloatArray

    def up_to(self, last: np.datetime64) -> Closes:
        """Return the closes of dates up to and including one."""
        keep = int(np.searchsorted(self.date_T, last, side="right"))
        return Closes(self.date_T[:keep], self.symbols, self.close_TN[:keep])

    def places(
        self, date_B: npt.NDArray[np.datetime64], symbol_B: npt.NDArray[np.str_]
    ) -> tuple[IntArray, IntArray]:
        """Return the positions of rows on the grid: of their dates and of their symbols.

        Raises
        ------
        ValueError
            If a row has no close.
        """
        t_B = np.minimum(np.searchsorted(self.date_T, date_B), self.date_T.size - 1)
        names = np.asarray(self.symbols, dtype=np.str_)
        n_B = np.minimum(np.searchsorted(names, symbol_B), names.size - 1)
        missing_B = (self.date_T[t_B] != date_B) | (names[n_B] != symbol_B)
        missing_B |= np.isnan(self.close_TN[t_B, n_B])
        if missing_B.any():
            row = int(np.argmax(missing_B))
            raise ValueError(f"no close of {symbol_B[row]} on {date_B[row]}")
        return t_B.astype(np.int64), n_B.astype(np.int64)


def grid_closes(frame: pl.DataFrame) -> Closes:
    """Arrange a frame with columns symbol, date and close on a grid.

    Raises
    ------
    ValueError
        If a column is missing, there are no rows, or a symbol has a date twice.
    """
    missing = {"symbol", "date", "close"} - set(frame.columns)
    if missing or frame.height == 0:
        raise ValueError(f"closes need rows of symbol, date and close; missing: {sorted(missing)}")
    if frame.select(pl.struct("symbol", "date").is_duplicated().any()).item():
        raise ValueError("closes have a symbol twice on one date")
    symbol_B = np.asarray(frame["symbol"].to_list(), dtype=np.str_)
    date_B = frame["date"].cast(pl.Date).to_numpy().astype("datetime64[D]")
    dates, t_B = np.unique(date_B, return_inverse=True)
    symbols, n_B = np.unique(symbol_B, return_inverse=True)
    close_TN = np.full((dates.size, symbols.size), np.nan)
    close_TN[t_B, n_B] = frame["close"].cast(pl.Float64).to_numpy()
    return Closes(dates, tuple(symbols.tolist()), close_TN)

"""What positions are taken by: the forecasts of all models, of whatever kind, on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from finscale.evaluation.bootstrap import FloatArray
from finscale.evaluation.return_frames import ReturnFrame

# Equal distributions have means that differ by the rounding of a sum, which is nothing to trade on.
_DECIMALS = 12


@dataclass(frozen=True)
class Signals:
    """A number per row and model: a probability, or the mean of a forecast return.

    Attributes
    ----------
    models
        Names of the M models.
    symbol_B, date_B
        Symbols and dates (``datetime64[D]``) of the rows.
    value_BM
        The numbers.
    """

    models: tuple[str, ...]
    symbol_B: npt.NDArray[np.str_]
    date_B: npt.NDArray[np.datetime64]
    value_BM: FloatArray

    def of(self, model: str) -> FloatArray:
        """Return the numbers of one model, shape (B,)."""
        return self.value_BM[:, self.models.index(model)]


def gather_means(frame: ReturnFrame, part: str) -> Signals:
    """Return the forecast means of all models on one part, of seeds the average's, by date.

    Raises
    ------
    ValueError
        If a model lacks rows that another has.
    """
    table = (
        frame.filter((pl.col("part") == part) & pl.col("seed").is_null())
        .pivot("model", index=["row", "symbol", "date"], values="mean")
        .sort("date", "symbol", "row")
    )
    means = table.drop("row", "symbol", "date")
    for column in means:
        if column.null_count() > 0:
            raise ValueError(f"{column.name} lacks {column.null_count()} {part} rows")
    return Signals(
        models=tuple(means.columns),
        symbol_B=np.asarray(table["symbol"].to_list(), dtype=np.str_),
        date_B=table["date"].to_numpy().astype("datetime64[D]"),
        value_BM=means.to_numpy().astype(np.float64).round(_DECIMALS),
    )

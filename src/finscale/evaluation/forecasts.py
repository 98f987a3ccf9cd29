"""The forecasts of all models of a cell as arrays over the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from finscale.evaluation.bootstrap import FloatArray, IntArray
from finscale.evaluation.comparisons import RowLosses
from finscale.evaluation.metrics import row_log_loss
from finscale.evaluation.predictions import Predictions
from finscale.evaluation.signals import Signals


@dataclass(frozen=True)
class Forecasts:
    """Probabilities of M models on the B rows of one part, ordered by date and symbol.

    Attributes
    ----------
    models
        Names, in the order in which the frame first has them.
    row_B, symbol_B, date_B, y_B
        Row numbers, symbols, dates (``datetime64[D]``) and 0/1 labels.
    p_BM
        Probabilities; of a model trained with several seeds, the average over the seeds.
    """

    models: tuple[str, ...]
    row_B: IntArray
    symbol_B: npt.NDArray[np.str_]
    date_B: npt.NDArray[np.datetime64]
    y_B: FloatArray
    p_BM: FloatArray

    def of(self, model: str) -> FloatArray:
        """Return the probabilities of one model, shape (B,)."""
        return self.p_BM[:, self.models.index(model)]

    def signals(self) -> Signals:
        """Return the probabilities as what positions are taken by."""
        return Signals(self.models, self.symbol_B, self.date_B, self.p_BM)

    def losses(self, model: str) -> RowLosses:
        """Return the log-loss of one model on every row."""
        return RowLosses(model, self.row_B, row_log_loss(self.of(model), self.y_B))

    def mean_loss(self, model: str) -> float:
        """Return the mean log-loss of one model."""
        return float(self.losses(model).loss_B.mean())


def gather_forecasts(predictions: Predictions, part: str) -> Forecasts:
    """Gather one part of a predictions frame.

    A model's line without a seed is its average over seeds; where it has none, the average is
    taken here.

    Raises
    ------
    ValueError
        If the part has no rows, or a model was not scored on all of them.
    """
    lines = predictions.filter(pl.col("part") == part)
    if lines.height == 0:
        raise ValueError(f"no predictions on {part}")
    averaged = pl.col("seed").is_null().any().over("model")
    table = (
        lines.filter(pl.col("seed").is_null() | ~averaged)
        .group_by("model", "row", "symbol", "date", "label")
        .agg(pl.col("probability").mean())
        .pivot("model", index=["row", "symbol", "date", "label"], values="probability")
        .sort("date", "symbol", "row")
    )
    models = tuple(lines["model"].unique(maintain_order=True).to_list())
    for model in models:
        if table[model].null_count() > 0:
            raise ValueError(
                f"{model} lacks {table[model].null_count()} of {table.height} {part} rows that "
                f"other models were scored on"
            )
    return Forecasts(
        models=models,
        row_B=table["row"].to_numpy().astype(np.int64),
        symbol_B=np.asarray(table["symbol"].to_list(), dtype=np.str_),
        date_B=table["date"].to_numpy().astype("datetime64[D]"),
        y_B=table["label"].to_numpy().astype(np.float64),
        p_BM=table.select(models).to_numpy().astype(np.float64),
    )

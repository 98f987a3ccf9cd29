"""What is made of a model's forecasts: scores for its record, and the frame that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.dataset.cell import CellData
from finscale.evaluation.metrics import evaluate
from finscale.evaluation.outcomes import row_loss
from finscale.evaluation.predictions import predictions_frame, write_predictions
from finscale.evaluation.return_frames import return_frame, write_return_frame
from finscale.evaluation.return_metrics import QUANTILE_LEVELS, evaluate_returns
from finscale.records import Scores

SCORED_PARTS = ("validation", "test")

Probabilities = dict[str, NDArray[np.float64]]
"""Part to the forecasts of its rows: (B,) of label 1, or (B, K) of each bin of the return."""


def score_parts(data: CellData, probabilities: Mapping[str, NDArray[np.float64]]) -> Scores:
    """Score forecasts of every anchor of validation and test."""
    return Scores(
        **{part: _score(data, data.split.part(part), probabilities[part]) for part in SCORED_PARTS}
    )


def _score(
    data: CellData, rows: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, int | float | bool | None]:
    if data.bins is not None and data.returns_T is not None:
        return evaluate_returns(probabilities, data.returns_T[rows], data.bins).as_dict()
    base_rate = cast("float", data.base_rate)
    return evaluate(probabilities, data.labels_T[rows], base_rate=base_rate).as_dict()


def part_frames(
    data: CellData,
    model: str,
    seed: int | None,
    probabilities: Mapping[str, NDArray[np.float64]],
) -> list[pl.DataFrame]:
    """Return forecasts in the form in which they are kept, a frame per part."""
    frames = []
    for part in SCORED_PARTS:
        rows = data.split.part(part)
        symbols, dates = data.symbol_of(rows), pl.Series(data.date[rows]).cast(pl.Date)
        if data.bins is not None and data.returns_T is not None:
            frame = return_frame(
                rows=rows,
                symbols=symbols,
                dates=dates,
                part=part,
                returns=data.returns_T[rows],
                model=model,
                seed=seed,
                losses_B=row_loss(probabilities[part], data.labels_T[rows]),
                means_B=data.bins.means(probabilities[part]),
                quantiles_BQ=data.bins.quantiles(probabilities[part], QUANTILE_LEVELS),
            )
        else:
            frame = predictions_frame(
                rows=rows,
                symbols=symbols,
                dates=dates,
                part=part,
                labels=data.labels_T[rows],
                model=model,
                seed=seed,
                probabilities=probabilities[part],
            )
        frames.append(frame)
    return frames


def write_frames(data: CellData, path: Path, frames: Sequence[pl.DataFrame]) -> None:
    """Write forecasts that `part_frames` made of a cell's rows, atomically."""
    write = write_predictions if data.bins is None else write_return_frame
    write(path, pl.concat(frames))

"""The one form in which predictions travel: a checked frame, kept as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from finscale.evaluation.checked_frames import read_frame, require_rules, write_frame

Predictions: TypeAlias = pl.DataFrame
"""A frame with the columns of `SCHEMA`, one line per row, part, model and seed.

``row`` is the row number among those of all symbols, ``symbol`` and ``date`` say which it is,
``part`` is "validation" or "test", ``label`` 0 or 1, ``model`` a budget or a baseline's name,
``seed`` the training seed (null for a baseline) and ``probability`` the predicted probability of
label 1.
"""

SCHEMA = pl.Schema(
    {
        "row": pl.Int64,
        "symbol": pl.String,
        "date": pl.Date,
        "part": pl.String,
        "label": pl.Int8,
        "model": pl.String,
        "seed": pl.Int64,
        "probability": pl.Float64,
    }
)

PARTS = ("validation", "test")

_IDENTITY = ["row", "part", "model", "seed"]


def predictions_frame(
    *,
    rows: npt.ArrayLike,
    symbols: npt.ArrayLike,
    dates: Sequence[date] | pl.Series,
    part: str,
    labels: npt.ArrayLike,
    model: str,
    seed: int | None,
    probabilities: npt.ArrayLike,
) -> Predictions:
    """Predictions of one model and seed on one part; frames of several are stacked vertically.

    Raises
    ------
    ValueError
        If the values break the contract of `validate_predictions`.
    """
    frame = pl.DataFrame(
        {
            "row": np.asarray(rows, dtype=np.int64),
            "symbol": np.asarray(symbols, dtype=np.str_).tolist(),
            "date": dates,
            "label": np.asarray(labels, dtype=np.int8),
            "probability": np.asarray(probabilities, dtype=np.float64),
        },
        schema_overrides={"date": pl.Date},
    ).with_columns(part=pl.lit(part), model=pl.lit(model), seed=pl.lit(seed, dtype=pl.Int64))
    return validate_predictions(frame.select(SCHEMA.names()))


def validate_predictions(frame: pl.DataFrame) -> Predictions:
    """Return the frame unchanged if it keeps the contract.

    The contract: exactly the columns and types of `SCHEMA`, in that order; only ``seed`` may be
    null; parts, labels and probabilities within their ranges; no row twice for the same part,
    model and seed; and one symbol, date, part and label for each row, whatever the model, so that
    all models in a frame are scored on the same truth.

    Raises
    ------
    ValueError
        If it does not, naming the first broken rule.
    """
    if frame.schema != SCHEMA:
        raise ValueError(f"columns must be {_describe(SCHEMA)}, got {_describe(frame.schema)}")
    rules = {
        "a value other than seed is missing": pl.any_horizontal(pl.exclude("seed").is_null()),
        f"part is not one of {', '.join(PARTS)}": ~pl.col("part").is_in(PARTS),
        "label is neither 0 nor 1": ~pl.col("label").is_in([0, 1]),
        # polars orders NaN above every number, so this refuses it too.
        "probability is not within [0, 1]": ~pl.col("probability").is_between(0.0, 1.0),
        "a row appears twice for one part, model and seed": pl.struct(_IDENTITY).is_duplicated(),
        "a row has two symbols, dates, parts or labels": pl.any_horizontal(
            pl.col(name).n_unique().over("row") > 1 for name in ("symbol", "date", "part", "label")
        ),
    }
    require_rules(frame, rules)
    return frame


def write_predictions(path: Path, frame: Predictions) -> None:
    """Write checked predictions as Parquet, atomically.

    Raises
    ------
    ValueError
        If the frame breaks the contract of `validate_predictions`.
    """
    write_frame(path, validate_predictions(frame))


def read_predictions(path: Path) -> Predictions:
    """Read predictions written by `write_predictions`, and check them.

    Raises
    ------
    RunDirectoryError
        If the file is missing, is not Parquet, or breaks the contract.
    """
    return read_frame(path, validate_predictions, what="predictions", kind="predictions file")


def _describe(schema: pl.Schema) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in schema.items())

"""Quantile forecasts of a return as a checked frame, kept as Parquet.

What `finscale.evaluation.predictions` is to probabilities of a binary label.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from finscale.evaluation.checked_frames import read_frame, require_rules, write_frame
from finscale.evaluation.predictions import PARTS
from finscale.evaluation.return_forecasts import ReturnForecasts
from finscale.evaluation.return_metrics import QUANTILE_LEVELS

ReturnFrame: TypeAlias = pl.DataFrame
"""A frame with the columns of `SCHEMA`, one line per row, part, model and seed.

``row``, ``symbol``, ``date``, ``part``, ``model`` and ``seed`` are those of predictions; ``return``
is the log return that was realised, ``log_loss`` that of its bin in nats, ``mean`` the forecast
mean, ``q05`` … ``q95`` are the forecast quantiles.
"""

QUANTILE_COLUMNS = tuple(f"q{round(100 * level):02d}" for level in QUANTILE_LEVELS)

SCHEMA = pl.Schema(
    {
        "row": pl.Int64,
        "symbol": pl.String,
        "date": pl.Date,
        "part": pl.String,
        "return": pl.Float64,
        "model": pl.String,
        "seed": pl.Int64,
        "log_loss": pl.Float64,
        "mean": pl.Float64,
        **dict.fromkeys(QUANTILE_COLUMNS, pl.Float64),
    }
)

_IDENTITY = ["row", "part", "model", "seed"]


def return_frame(
    *,
    rows: npt.ArrayLike,
    symbols: npt.ArrayLike,
    dates: Sequence[date] | pl.Series,
    part: str,
    returns: npt.ArrayLike,
    model: str,
    seed: int | None,
    losses_B: npt.ArrayLike,
    means_B: npt.ArrayLike,
    quantiles_BQ: npt.ArrayLike,
) -> ReturnFrame:
    """Quantile forecasts of one model and seed on one part; several are stacked vertically.

    Raises
    ------
    ValueError
        If the values break the contract of `validate_return_frame`.
    """
    q_BQ = np.asarray(quantiles_BQ, dtype=np.float64)
    frame = pl.DataFrame(
        {
            "row": np.asarray(rows, dtype=np.int64),
            "symbol": np.asarray(symbols, dtype=np.str_).tolist(),
            "date": dates,
            "return": np.asarray(returns, dtype=np.float64),
            "log_loss": np.asarray(losses_B, dtype=np.float64),
            "mean": np.asarray(means_B, dtype=np.float64),
            **{name: q_BQ[:, place] for place, name in enumerate(QUANTILE_COLUMNS)},
        },
        schema_overrides={"date": pl.Date},
    ).with_columns(part=pl.lit(part), model=pl.lit(model), seed=pl.lit(seed, dtype=pl.Int64))
    return validate_return_frame(frame.select(SCHEMA.names()))


def validate_return_frame(frame: pl.DataFrame) -> ReturnFrame:
    """Return the frame unchanged if it keeps the contract.

    The contract: exactly the columns and types of `SCHEMA`, in that order; only ``seed`` may be
    null; returns and forecasts finite, quantiles in order; no row twice for the same part, model
    and seed; and one symbol, date, part and return for each row, whatever the model.

    Raises
    ------
    ValueError
        If it does not, naming the first broken rule.
    """
    if frame.schema != SCHEMA:
        raise ValueError(f"columns must be those of a return frame, got {list(frame.schema)}")
    numbers = pl.col("return", "log_loss", "mean", *QUANTILE_COLUMNS)
    rules = {
        "a value other than seed is missing": pl.any_horizontal(pl.exclude("seed").is_null()),
        f"part is not one of {', '.join(PARTS)}": ~pl.col("part").is_in(PARTS),
        "a return or a forecast is not finite": pl.any_horizontal(~numbers.is_finite()),
        "quantiles do not rise with their level": pl.any_horizontal(
            pl.col(low) > pl.col(high) for low, high in pairwise(QUANTILE_COLUMNS)
        ),
        "a row appears twice for one part, model and seed": pl.struct(_IDENTITY).is_duplicated(),
        "a row has two symbols, dates, parts or returns": pl.any_horizontal(
            pl.col(name).n_unique().over("row") > 1 for name in ("symbol", "date", "part", "return")
        ),
    }
    require_rules(frame, rules)
    return frame


def write_return_frame(path: Path, frame: ReturnFrame) -> None:
    """Write checked quantile forecasts as Parquet, atomically.

    Raises
    ------
    ValueError
        If the frame breaks the contract of `validate_return_frame`.
    """
    write_frame(path, validate_return_frame(frame))


def read_return_frame(path: Path) -> ReturnFrame:
    """Read what `write_return_frame` wrote, and check it.

    Raises
    ------
    RunDirectoryError
        If the file is missing, is not Parquet, or breaks the contract.
    """
    return read_frame(
        path, validate_return_frame, what="forecasts", kind="file of return forecasts"
    )


def gather_returns(frame: ReturnFrame, model: str, part: str) -> ReturnForecasts:
    """Return the forecasts of a model on one part, those of its average over seeds, by date."""
    lines = frame.filter(
        (pl.col("model") == model) & (pl.col("part") == part) & pl.col("seed").is_null()
    ).sort("date", "symbol", "row")
    return ReturnForecasts(
        date_B=lines["date"].to_numpy().astype("datetime64[D]"),
        symbol_B=np.asarray(lines["symbol"].to_list(), dtype=np.str_),
        y_B=lines["return"].to_numpy(),
        q_BQ=lines.select(QUANTILE_COLUMNS).to_numpy(),
        mean_B=lines["mean"].to_numpy(),
    )

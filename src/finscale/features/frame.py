"""A feature matrix as a table, and back: the one place where either becomes the other."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finscale.errors import FeatureError
from finscale.features.build import FeatureMatrix
from finscale.features.registry import Feature


def matrix_to_frame(matrix: FeatureMatrix) -> pl.DataFrame:
    """Return a column ``date`` and a float32 column per feature, from the first usable row on."""
    # One transposing copy; every column of the frame is then a view of it.
    values_FT = np.ascontiguousarray(matrix.values[matrix.first_row :].T)
    return pl.DataFrame(
        {
            "date": matrix.date[matrix.first_row :],
            **dict(zip(matrix.names, values_FT, strict=True)),
        }
    )


def frame_to_matrix(
    frame: pl.DataFrame,
    features: Sequence[Feature],
    date: NDArray[np.datetime64],
    *,
    source: str,
) -> FeatureMatrix:
    """Return the matrix that a table was made from, to the bit.

    Parameters
    ----------
    frame
        As :func:`matrix_to_frame` gives it.
    features
        The features it holds, in their order; they give the families.
    date
        Session of each of the T bars that the features were computed on: the table leaves out the
        rows before the first usable one.
    source
        What to call the table in messages.

    Raises
    ------
    FeatureError
        If the table's columns are not those features, or its sessions are not the last of
        ``date``.
    """
    names = tuple(one.name for one in features)
    if tuple(frame.columns) != ("date", *names):
        odd = sorted(set(frame.columns) ^ {"date", *names}) or ["the same in another order"]
        raise FeatureError(
            f"{source}: its columns are not the {len(names)} features asked for "
            f"({', '.join(odd[:5])}); build it again"
        )
    first_row = len(date) - len(frame)
    found = frame["date"].to_numpy().astype("datetime64[D]")
    if first_row < 0 or not np.array_equal(found, date[first_row:]):
        raise FeatureError(
            f"{source}: its {len(frame)} sessions are not the last of the {len(date)} bars at "
            "hand; build it again from these bars"
        )
    values_TF = np.full((len(date), len(names)), np.nan, dtype=np.float32)
    values_TF[first_row:] = frame.select(names).to_numpy()
    return FeatureMatrix(
        values=values_TF,
        names=names,
        families=tuple(one.family for one in features),
        date=date,
        first_row=first_row,
    )


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return a feature table as a Parquet file.

    float32 noise hardly compresses, and nobody filters by its statistics: lz4 without them takes
    two thirds of the time of the default.
    """
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="lz4", statistics=False)
    return buffer.getvalue()

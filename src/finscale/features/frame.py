"""A feature matrix as a table."""

from __future__ import annotations

import numpy as np
import polars as pl

from finscale.features.build import FeatureMatrix


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

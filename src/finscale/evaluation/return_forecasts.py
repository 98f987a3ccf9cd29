"""Quantile forecasts of a return, as they are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import FloatArray


@dataclass(frozen=True)
class ReturnForecasts:
    """Quantile forecasts of the log return over the next h bars, on rows of one part.

    Attributes
    ----------
    date_B, symbol_B
        Of each row.
    y_B
        Log return from the close of the row to the close h bars later.
    q_BQ
        Forecast quantiles.
    mean_B
        Forecast means; None where there are none.
    """

    date_B: npt.NDArray[np.datetime64]
    symbol_B: npt.NDArray[np.str_]
    y_B: FloatArray
    q_BQ: FloatArray
    mean_B: FloatArray | None = None

"""Quantiles of a return from volatility alone: forecasts to score in tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finscale.evaluation.bootstrap import FloatArray
from finscale.evaluation.closes import Closes
from finscale.evaluation.forecasts import Forecasts
from finscale.evaluation.return_forecasts import ReturnForecasts
from finscale.evaluation.stability import realised_volatility

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True)
class VolatilityForecasts:
    """Forecasts by volatility alone, and the quantiles of the training rows.

    Attributes
    ----------
    validation, test
        Rows of the part whose return and volatility are known.
    reference_Q
        Quantiles of the training returns: what is forecast by someone who knows no volatility.
    """

    levels: tuple[float, ...]
    validation: ReturnForecasts
    test: ReturnForecasts
    reference_Q: FloatArray


def forecast_by_volatility(
    validation: Forecasts,
    test: Forecasts,
    closes: Closes,
    *,
    horizon_bars: int,
    levels: tuple[float, ...] = LEVELS,
) -> VolatilityForecasts:
    """Forecast quantiles as the 21-day volatility times quantiles of standardised training returns.

    Training rows are those of all dates before validation begins whose return is known by then.

    Raises
    ------
    ValueError
        If a row has no close, or there are no training returns.
    """
    return_TN, volatility_TN = _by_symbol(closes, horizon_bars)
    known_TN = _by_symbol(closes.up_to(validation.date_B.min()), horizon_bars)
    usable = np.isfinite(known_TN[0]) & (known_TN[1] > 0.0)
    if not usable.any():
        raise ValueError("no training returns before validation begins")
    past_B, scale_B = known_TN[0][usable], known_TN[1][usable]
    shape_Q = np.quantile(past_B / scale_B, levels)

    def forecast(part: Forecasts) -> ReturnForecasts:
        places = closes.places(part.date_B, part.symbol_B)
        y_B, volatility_B = return_TN[places], volatility_TN[places]
        keep_B = np.isfinite(y_B) & np.isfinite(volatility_B)
        return ReturnForecasts(
            part.date_B[keep_B],
            part.symbol_B[keep_B],
            y_B[keep_B],
            volatility_B[keep_B, None] * shape_Q,
        )

    return VolatilityForecasts(
        levels=levels,
        validation=forecast(validation),
        test=forecast(test),
        reference_Q=np.quantile(past_B, levels),
    )


def _by_symbol(closes: Closes, horizon_bars: int) -> tuple[FloatArray, FloatArray]:
    """Return the log return over each symbol's next h bars, and its volatility over h bars."""
    return_TN = np.full(closes.close_TN.shape, np.nan)
    volatility_TN = np.full(closes.close_TN.shape, np.nan)
    for column in range(len(closes.symbols)):
        traded = np.flatnonzero(~np.isnan(closes.close_TN[:, column]))
        close = closes.close_TN[traded, column]
        ahead = np.log(close[horizon_bars:] / close[: max(close.size - horizon_bars, 0)])
        return_TN[traded[: ahead.size], column] = ahead
        volatility_TN[traded, column] = realised_volatility(close) * np.sqrt(horizon_bars)
    return return_TN, volatility_TN

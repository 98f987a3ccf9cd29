"""Heterogeneous autoregression of the log range volatility, and what it says of the barrier.

Corsi (2009), "A simple approximate long-memory model of realized volatility", Journal of Financial
Econometrics 7, eq. 10, in logarithms and for the mean of the next h bars. A bar's variance is
Parkinson's (1980) of its range plus the square of the overnight gap before it, which a barrier of
the next high is also reached by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finscale.baselines.barrier import needed_log_return, share_reaching, shares_between
from finscale.baselines.contract import Fitted
from finscale.baselines.folds import FloatArray, one_thread
from finscale.baselines.series import SymbolSeries, log_moves, symbol_series
from finscale.dataset.cell import CellData
from finscale.market.bars import OHLCV
from finscale.tasks import Task, log_reach

SPANS = (1, 5, 22)
"""Bars of a day, a week and a month."""

# One basis point: a bar without any range has a logarithm too.
_LEAST_VARIANCE = 1e-8


@dataclass(frozen=True)
class _Model:
    """Regression coefficients, and the training rows' moves in units of their forecast."""

    coefficients: FloatArray
    drift: float
    z_N: FloatArray


def fit_har(data: CellData, _: int) -> Fitted:
    """Fit one regression per symbol, or one for all where a symbol's training rows are few."""
    horizon, task = data.cell.horizon_bars, data.task
    all_series = symbol_series(data)
    with one_thread():
        pooled = _fit(all_series, task, horizon)
        models = [_fit([one], task, horizon) if one.has_own else pooled for one in all_series]
        p_T = np.concatenate(
            [
                _probabilities(one.bars, model, task)
                if data.bins is None
                else _shares(one.bars, model, data.bins.inner_edges)
                for one, model in zip(all_series, models, strict=True)
            ]
        )
    return Fitted(lambda rows: p_T[rows], {})


def log_range_variance(bars: OHLCV) -> FloatArray:
    """Return each bar's log variance, from its range and the gap before it."""
    gap = log_moves(bars.open, bars.close)
    parkinson = np.log(bars.high / bars.low) ** 2 / (4 * np.log(2))
    return np.asarray(np.log(np.maximum(gap**2 + parkinson, _LEAST_VARIANCE)))


def predictors(bars: OHLCV) -> FloatArray:
    """Return T × 4: one, and the log mean variance of the last 1, 5 and 22 bars.

    The first rows of a series take the mean of what there is.
    """
    total = np.concatenate([[0.0], np.cumsum(np.exp(log_range_variance(bars)))])
    rows = np.arange(1, len(bars) + 1)
    columns = [np.ones(len(bars))]
    for span in SPANS:
        first = np.maximum(rows - span, 0)
        mean = (total[rows] - total[first]) / (rows - first)
        # Of sums of the whole past the last digits are lost.
        columns.append(np.log(np.maximum(mean, _LEAST_VARIANCE)))
    return np.stack(columns, axis=1)


def _fit(series: Sequence[SymbolSeries], task: Task, horizon_bars: int) -> _Model:
    known = [_known(one, task, horizon_bars) for one in series if len(one.train)]
    x_NK, y_N, reach_N, returns = (np.concatenate(part) for part in zip(*known, strict=True))
    coefficients = np.linalg.lstsq(x_NK, y_N)[0]
    drift = float(returns.mean())
    # The location is that of a close h bars on; of a high, z holds the rest.
    z_N = (reach_N - horizon_bars * drift) * np.exp(-0.5 * x_NK @ coefficients)
    return _Model(coefficients, horizon_bars * drift, z_N)


def _known(
    one: SymbolSeries, task: Task, horizon_bars: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return predictors, log mean variance ahead and reach of the training rows, and returns."""
    variance = np.exp(log_range_variance(one.bars))
    ahead = np.mean([variance[one.train + step] for step in range(1, horizon_bars + 1)], axis=0)
    returns = log_moves(one.bars.close, one.bars.close)
    return (
        predictors(one.bars)[one.train],
        np.log(ahead),
        log_reach(one.bars, task, horizon_bars)[one.train],
        returns[one.first_seen + 1 : one.stop_seen],
    )


def _shares(bars: OHLCV, model: _Model, edges_J: FloatArray) -> FloatArray:
    """Return the probability of every bin of the return."""
    sigma_T = np.exp(0.5 * predictors(bars) @ model.coefficients)
    return shares_between(model.z_N, (edges_J - model.drift) / sigma_T[:, None])


def _probabilities(bars: OHLCV, model: _Model, task: Task) -> FloatArray:
    sigma_T = np.exp(0.5 * predictors(bars) @ model.coefficients)
    return share_reaching(model.z_N, (needed_log_return(task) - model.drift) / sigma_T)

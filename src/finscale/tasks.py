"""The label of a row, and how far it reaches: the one home of the label rule.

The label of row t reads rows t+1 … t+h, never t itself (beyond the close it is compared with) and
never a row after t+h. The last h rows have no label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finscale.market.bars import OHLCV, FloatArray
from finscale.study_rows import TaskName

# 1.05 times a close of 2.60 is 2.7300000000000004 in binary, and a high of 2.73 does reach 5%.
# Prices carry 16 digits and mean at most ten of them, so the difference is never a real one.
_ROUNDING_FRAC = 1e-12

N_RETURN_BINS = 20
"""Outcomes of the task ``return``: bins that are equally likely in training."""

BaseRate = float | tuple[float, ...]
"""Share of label 1 among training rows; of a task with more than two labels, the share of each."""


@dataclass(frozen=True)
class Task:
    """A question about the next h bars: a binary one, or how far the close moves.

    Attributes
    ----------
    name
        As in the study file.
    threshold_frac
        The rise asked for, as a fraction of the close of row t; None for ``direction`` and
        ``return``.
    price
        ``"high"`` or ``"close"``: the price that has to reach the threshold.
    """

    name: str
    threshold_frac: float | None
    price: str

    @property
    def is_return(self) -> bool:
        """Whether the answer is a number, forecast as a distribution over bins."""
        return self.name == "return"

    @property
    def n_outputs(self) -> int:
        """Logits that a model gives: one for a binary question, one per bin of the return."""
        return N_RETURN_BINS if self.is_return else 1

    def describe(self, horizon_bars: int) -> str:
        """Return the question in words."""
        if self.is_return:
            bars = "bar" if horizon_bars == 1 else "bars"
            return f"what is the log return from today's close to that {horizon_bars} {bars} ahead?"
        span = "next bar" if horizon_bars == 1 else f"next {horizon_bars} bars"
        if self.threshold_frac is None:
            return f"is the close {horizon_bars} bar{'s' * (horizon_bars > 1)} ahead above today's?"
        return (
            f"does the highest {self.price} of the {span} reach today's close "
            f"plus {100 * self.threshold_frac:g}%?"
        )


def get_task(name: TaskName) -> Task:
    """Return the task of that name."""
    threshold = re.fullmatch(r"threshold_(.+)pct(_close)?", name)
    if threshold is None:
        return Task(name, None, "close")
    percent, on_close = threshold.groups()
    return Task(name, float(percent) / 100, "close" if on_close else "high")


def label_rows(bars: OHLCV, task: Task, horizon_bars: int) -> NDArray[np.float32]:
    """Label every row with the answer to a binary question.

    Parameters
    ----------
    bars
        T bars.
    horizon_bars
        h, one or more.

    Returns
    -------
    ndarray
        float32 of length T: 1.0 for yes, 0.0 for no, NaN in the last h rows. A threshold that is
        reached exactly counts as reached; a close that has not moved is not above.
    """
    if task.is_return:
        raise ValueError("a return has no label before its bins are known; see log_reach")
    n_labelled = max(len(bars) - horizon_bars, 0)
    labels = np.full(len(bars), np.nan, dtype=np.float32)
    if n_labelled == 0:
        return labels
    close = bars.close[:n_labelled]
    if task.threshold_frac is None:
        labels[:n_labelled] = bars.close[horizon_bars:] > close
    else:
        best = _highest_ahead(getattr(bars, task.price), horizon_bars)
        labels[:n_labelled] = best >= close * (1 + task.threshold_frac) * (1 - _ROUNDING_FRAC)
    return labels


def log_reach(bars: OHLCV, task: Task, horizon_bars: int) -> FloatArray:
    """Return what a label compares with its threshold, as a log-return from the close of its row.

    Returns
    -------
    ndarray
        float64 of length T: of the highest price of rows t+1 … t+h, or, for ``direction`` and
        ``return``, of the close of row t+h. NaN in the last h rows. A binary label is 1 where it is
        at least log(1 + threshold), or, for ``direction``, above zero.
    """
    n_labelled = max(len(bars) - horizon_bars, 0)
    reach = np.full(len(bars), np.nan)
    if n_labelled == 0:
        return reach
    if task.threshold_frac is None:
        best = bars.close[horizon_bars:]
    else:
        best = _highest_ahead(getattr(bars, task.price), horizon_bars)
    reach[:n_labelled] = np.log(best / bars.close[:n_labelled])
    return reach


def _highest_ahead(price: FloatArray, horizon_bars: int) -> FloatArray:
    """Return the maximum of rows t+1 … t+h for every t that has them all."""
    windows = np.lib.stride_tricks.sliding_window_view(price[1:], horizon_bars)
    return np.asarray(windows.max(axis=1))

"""Hold-out splits, and the one purge rule.

A split is three sets of anchors. An anchor is the row t at which a prediction is made: its input
window is rows t - L + 1 … t, its label reads rows t + 1 … t + h. Parts are half-open row intervals
``[start, stop)`` that follow each other: train, validation, test.

An anchor belongs to a part when t lies in it *and* its label's last row t + h does too (the purge).
An input window may reach back into an earlier part, as it would in use: the past is known. So no
row that a label of one part was made from is a row to predict from in the next, and every anchor
left in validation and test is scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finscale.errors import SplitError
from finscale.study import DateSplit, FractionSplit

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Anchor rows of each part, ascending, and where the parts lie.

    Attributes
    ----------
    train, validation, test
        Row numbers, int64.
    train_stop, validation_stop, test_stop
        First row after each part; a part starts where the one before it stops.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    train_stop: int
    validation_stop: int
    test_stop: int

    def part(self, name: str) -> IntArray:
        """Return the anchors of ``"train"``, ``"validation"`` or ``"test"``."""
        rows: IntArray = getattr(self, name)
        return rows


def hold_out(
    date: NDArray[np.datetime64],
    cut: DateSplit | FractionSplit,
    *,
    first_anchor: int,
    horizon_bars: int,
) -> Split:
    """Cut rows into contiguous train, validation and test parts.

    Parameters
    ----------
    date
        Session of each of the T rows, ascending.
    cut
        Dates (inclusive ends), or fractions of the rows from ``first_anchor`` on.
    first_anchor
        First row with a whole input window of finite features.
    horizon_bars
        How far a label reaches.

    Raises
    ------
    SplitError
        If a part is left without anchors; the message names the part and the fix.
    """
    n_rows = len(date)
    if isinstance(cut, DateSplit):
        train_stop = int(np.searchsorted(date, np.datetime64(cut.train_end), side="right"))
        validation_stop = int(
            np.searchsorted(date, np.datetime64(cut.validation_end), side="right")
        )
    else:
        usable = max(n_rows - first_anchor, 0)
        train_stop = first_anchor + round(usable * cut.train_frac)
        validation_stop = first_anchor + round(usable * (cut.train_frac + cut.validation_frac))
    bounds = {
        "train": (first_anchor, train_stop),
        "validation": (max(train_stop, first_anchor), validation_stop),
        "test": (max(validation_stop, first_anchor), n_rows),
    }
    anchors = {name: purged(*bound, horizon_bars) for name, bound in bounds.items()}
    for name, rows in anchors.items():
        if len(rows) == 0:
            raise SplitError(_empty_part(name, bounds[name], date, first_anchor, horizon_bars))
    return Split(
        **anchors, train_stop=train_stop, validation_stop=validation_stop, test_stop=n_rows
    )


def purged(start: int, stop: int, horizon_bars: int) -> IntArray:
    """Return the anchors of the part ``[start, stop)`` whose labels end inside it."""
    return np.arange(start, max(stop - horizon_bars, start), dtype=np.int64)


def _empty_part(
    name: str,
    bound: tuple[int, int],
    date: NDArray[np.datetime64],
    first_anchor: int,
    horizon_bars: int,
) -> str:
    fix = "move split.train_end or split.validation_end (or the fractions), or give more history"
    if first_anchor >= len(date):
        return (
            f"{len(date)} bars are too few: the first window with all features ends at row "
            f"{first_anchor + 1}; give a longer history"
        )
    start, stop = bound
    reach = f"its labels reach {horizon_bars} rows ahead"
    inside = f"{max(stop - start, 0)} rows of the data, which runs {date[0]} to {date[-1]}"
    return (
        f"the {name} part holds no sample: it covers {inside}, and {reach}; "
        f"the first possible sample is on {date[first_anchor]}; {fix}"
    )

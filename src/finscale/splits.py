"""Hold-out and walk-forward splits, and the one purge rule.

A split is three sets of anchors. An anchor is the row t at which a prediction is made: its input
window is rows t - L + 1 … t, its label reads rows t + 1 … t + h, all of one symbol. Parts follow
each other in time: train, validation, test. They are cut at dates, the same for every symbol.

An anchor belongs to a part when t lies in it *and* its label's last row t + h does too (the purge).
An input window may reach back into an earlier part, as it would in use: the past is known. So no
row that a label of one part was made from is a row to predict from in the next, and every anchor
left in validation and test is scored.

Walk-forward folds are hold-outs of their own: each trains on all that lies before its validation
block. The blocks are as long as the validation part, which is the last of them, and follow each
other without a gap; the test part belongs to none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from finscale.errors import SplitError
from finscale.study_rows import DateSplit, FractionSplit

IntArray = NDArray[np.int64]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SymbolRows:
    """The rows of one symbol, and where they lie among those of all symbols.

    Attributes
    ----------
    date
        Session of each row, ascending.
    first_anchor
        First row (of the symbol's own) with a whole input window of finite features.
    offset
        Number of the symbol's first row among the rows of all symbols.
    """

    date: NDArray[np.datetime64]
    first_anchor: int
    offset: int = 0


@dataclass(frozen=True)
class Split:
    """Anchor rows of each part, ascending, and the dates that the parts are cut at.

    Attributes
    ----------
    train, validation, test
        Row numbers, int64. A walk-forward fold has no test rows.
    train_start, validation_start, test_start
        First day of each part; a part ends the day before the next one starts. Of a walk-forward
        fold, ``test_start`` is the day after its validation block.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    train_start: np.datetime64
    validation_start: np.datetime64
    test_start: np.datetime64

    def part(self, name: str) -> IntArray:
        """Return the anchors of ``"train"``, ``"validation"`` or ``"test"``."""
        rows: IntArray = getattr(self, name)
        return rows


def hold_out(
    symbols: Sequence[SymbolRows],
    cut: DateSplit | FractionSplit,
    *,
    horizon_bars: int,
    history_frac: float = 1.0,
    n_trained: int | None = None,
    n_scored: int | None = None,
) -> Split:
    """Cut the rows of all symbols into train, validation and test parts, at the same dates.

    Parameters
    ----------
    symbols
        One or more.
    cut
        Dates (inclusive ends), or fractions of the sessions on which any symbol has an anchor.
    horizon_bars
        How far a label reaches.
    history_frac
        Share of the training sessions to train on: the most recent ones.
    n_trained, n_scored
        Train on the first so many symbols, score on the first so many; None: on all. The dates
        of the cut do not depend on them, nor do those of validation and test on ``history_frac``.

    Raises
    ------
    SplitError
        If a part is left without anchors; the message names the part and the fix.
    """
    sessions = _anchor_sessions(symbols)
    validation_start, test_start = _boundaries(sessions, cut)
    end = max(one.date[-1] for one in symbols) + np.timedelta64(1, "D")
    chosen = _Chosen(symbols, sessions, horizon_bars, history_frac, n_trained, n_scored)
    return chosen.split(validation_start, test_start, end, parts=PARTS)


def walk_forward(
    symbols: Sequence[SymbolRows],
    cut: DateSplit | FractionSplit,
    *,
    horizon_bars: int,
    history_frac: float = 1.0,
    n_trained: int | None = None,
    n_scored: int | None = None,
) -> tuple[Split, ...]:
    """Cut the rows before the test part into ``cut.n_folds`` expanding folds, the oldest first.

    The validation blocks have as many sessions each as the validation part, and end where the
    next one begins, the last where the test part does. A fold trains on everything before its
    block, or the most recent ``history_frac`` of it. The last fold is the hold-out's training
    and validation part; with one fold, it is the only one. The parameters are those of
    :func:`hold_out`.

    Raises
    ------
    SplitError
        If the blocks leave nothing to train on before the first, or a part has no anchors.
    """
    sessions = _anchor_sessions(symbols)
    chosen = _Chosen(symbols, sessions, horizon_bars, history_frac, n_trained, n_scored)
    starts = _fold_starts(sessions, cut)
    folds = []
    for number, (start, stop) in enumerate(pairwise(starts), start=1):
        try:
            folds.append(chosen.split(start, stop, stop, parts=PARTS[:2]))
        except SplitError as error:
            raise SplitError(f"fold {number} of {cut.n_folds}: {error}") from error
    return tuple(folds)


@dataclass(frozen=True)
class _Chosen:
    """What is cut, whatever the dates: the symbols, and which of them for what."""

    symbols: Sequence[SymbolRows]
    sessions: NDArray[np.datetime64]
    horizon_bars: int
    history_frac: float
    n_trained: int | None
    n_scored: int | None

    def split(
        self,
        validation_start: np.datetime64,
        test_start: np.datetime64,
        end: np.datetime64,
        *,
        parts: Sequence[str],
    ) -> Split:
        """Cut at the given days; ``parts`` are those that must not be empty."""
        before = self.sessions[self.sessions < validation_start]
        n_kept = round(len(before) * self.history_frac)
        train_start = before[len(before) - n_kept] if n_kept else validation_start
        bounds = {
            "train": (train_start, validation_start, self.symbols[: self.n_trained]),
            "validation": (validation_start, test_start, self.symbols[: self.n_scored]),
            "test": (test_start, end, self.symbols[: self.n_scored]),
        }
        anchors = {
            name: np.concatenate([_anchors(one, start, stop, self.horizon_bars) for one in chosen])
            for name, (start, stop, chosen) in bounds.items()
        }
        for name in parts:
            if len(anchors[name]) == 0:
                start, stop, chosen = bounds[name]
                n_rows = sum(int(np.sum((one.date >= start) & (one.date < stop))) for one in chosen)
                raise SplitError(
                    _empty_part(name, n_rows, self.symbols, self.sessions[0], self.horizon_bars)
                )
        return Split(
            **anchors,
            train_start=train_start,
            validation_start=validation_start,
            test_start=test_start,
        )


def purged(start: int, stop: int, horizon_bars: int) -> IntArray:
    """Return the anchors of the part ``[start, stop)`` whose labels end inside it."""
    return np.arange(start, max(stop - horizon_bars, start), dtype=np.int64)


def _anchor_sessions(symbols: Sequence[SymbolRows]) -> NDArray[np.datetime64]:
    """Return the sessions on which any symbol has an anchor, each once, ascending."""
    sessions = np.unique(np.concatenate([one.date[one.first_anchor :] for one in symbols]))
    if len(sessions) == 0:
        longest = max(symbols, key=lambda one: len(one.date) - one.first_anchor)
        raise SplitError(
            f"{len(longest.date)} bars are too few: the first window with all features ends at "
            f"row {longest.first_anchor + 1}; give a longer history"
        )
    return sessions


def _boundaries(
    sessions: NDArray[np.datetime64], cut: DateSplit | FractionSplit
) -> tuple[np.datetime64, np.datetime64]:
    """Return the first days of validation and test."""
    day = np.timedelta64(1, "D")
    if isinstance(cut, DateSplit):
        return np.datetime64(cut.train_end) + day, np.datetime64(cut.validation_end) + day
    after = np.append(sessions, sessions[-1] + day)
    n_train = round(len(sessions) * cut.train_frac)
    n_both = round(len(sessions) * (cut.train_frac + cut.validation_frac))
    return after[n_train], after[n_both]


def _fold_starts(
    sessions: NDArray[np.datetime64], cut: DateSplit | FractionSplit
) -> list[np.datetime64]:
    """Return the first days of the validation blocks, and that of test."""
    validation_start, test_start = _boundaries(sessions, cut)
    first, stop = np.searchsorted(sessions, [validation_start, test_start])
    length = int(stop - first)
    earlier = [int(first) - length * back for back in range(cut.n_folds - 1, 0, -1)]
    if earlier and (length == 0 or earlier[0] <= 0):
        most = 1 + max(int(first) - 1, 0) // length if length else 1
        raise SplitError(
            f"split.n_folds: got {cut.n_folds}; blocks of {length} sessions, as long as the "
            f"validation part, leave none to train on before the first; use at most {most}, or a "
            "shorter validation part"
        )
    return [*(sessions[row] for row in earlier), validation_start, test_start]


def _anchors(
    symbol: SymbolRows, start: np.datetime64, stop: np.datetime64, horizon_bars: int
) -> IntArray:
    """Return a symbol's anchors in the part of the days ``[start, stop)``."""
    first, last = np.searchsorted(symbol.date, [start, stop])
    return symbol.offset + purged(max(int(first), symbol.first_anchor), int(last), horizon_bars)


def _empty_part(
    name: str,
    n_rows: int,
    symbols: Sequence[SymbolRows],
    first_anchor: np.datetime64,
    horizon_bars: int,
) -> str:
    fix = "move split.train_end or split.validation_end (or the fractions), or give more history"
    begin = min(one.date[0] for one in symbols)
    end = max(one.date[-1] for one in symbols)
    return (
        f"the {name} part holds no sample: it covers {n_rows} rows of the data, which runs "
        f"{begin} to {end}, and its labels reach {horizon_bars} rows ahead; "
        f"the first possible sample is on {first_anchor}; {fix}"
    )

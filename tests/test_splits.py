from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from finscale.errors import SplitError
from finscale.splits import Split, SymbolRows, hold_out, purged, walk_forward
from finscale.study_rows import DateSplit, FractionSplit

PARTS = ("train", "validation", "test")


def sessions(n_rows: int) -> np.ndarray:
    return np.datetime64("2001-01-01", "D") + np.arange(n_rows)


def stops(split: Split, date: np.ndarray) -> tuple[int, int]:
    """Return the first rows after the training and the validation part."""
    first, second = np.searchsorted(date, [split.validation_start, split.test_start])
    return int(first), int(second)


def by_date(train_end: str, validation_end: str) -> DateSplit:
    return DateSplit(
        by="date",
        train_end=dt.date.fromisoformat(train_end),
        validation_end=dt.date.fromisoformat(validation_end),
    )


def test_purged_rows() -> None:
    assert purged(3, 10, 2).tolist() == [3, 4, 5, 6, 7]
    assert purged(3, 5, 2).tolist() == []
    assert purged(3, 4, 5).tolist() == []
    assert purged(9, 4, 1).tolist() == []
    assert purged(0, 3, 1).dtype == np.int64


def test_fractions_by_hand() -> None:
    # 20 usable rows, 10 … 29: 60% to row 22, 20% to row 26, the rest to row 30; then 2 purged.
    cut = FractionSplit(train_frac=0.6, validation_frac=0.2)
    split = hold_out([SymbolRows(sessions(30), 10)], cut, horizon_bars=2)
    assert split.train.tolist() == list(range(10, 20))
    assert split.validation.tolist() == [22, 23]
    assert split.test.tolist() == [26, 27]
    assert stops(split, sessions(30)) == (22, 26)
    assert [split.part(name).tolist() for name in PARTS] == [
        split.train.tolist(),
        split.validation.tolist(),
        split.test.tolist(),
    ]


def test_dates_are_inclusive_ends() -> None:
    # Row 0 is January 1, so January 10 is row 9.
    cut = by_date("2001-01-10", "2001-01-14")
    split = hold_out([SymbolRows(sessions(20), 4)], cut, horizon_bars=1)
    assert split.train.tolist() == [4, 5, 6, 7, 8]
    assert split.validation.tolist() == [10, 11, 12]
    assert split.test.tolist() == [14, 15, 16, 17, 18]


def test_dates_on_which_the_market_was_closed() -> None:
    date = np.array(
        ["2001-01-04", "2001-01-05", "2001-01-08", "2001-01-09", "2001-01-10", "2001-01-11"],
        dtype="datetime64[D]",
    )
    # January 6 is a Saturday: training ends on Friday, row 1.
    split = hold_out([SymbolRows(date, 0)], by_date("2001-01-06", "2001-01-09"), horizon_bars=1)
    assert [split.part(name).tolist() for name in PARTS] == [[0], [2], [4]]


def test_the_gap_is_that_of_a_time_series_split() -> None:
    # One fold of scikit-learn's splitter with the same gap and test size.
    n_rows, horizon = 100, 5
    cut = FractionSplit(train_frac=0.6, validation_frac=0.2)
    split = hold_out([SymbolRows(sessions(n_rows), 0)], cut, horizon_bars=horizon)
    folds = TimeSeriesSplit(n_splits=2, test_size=20, gap=horizon).split(np.zeros(n_rows))
    (train, validation), (train_and_validation, test) = folds
    assert split.train.tolist() == train.tolist()
    # Its test sets are not purged at their own end, where a label would reach into what follows.
    assert split.validation.tolist() == validation[:-horizon].tolist()
    assert split.test.tolist() == test[:-horizon].tolist()
    assert split.validation[-1] == train_and_validation[-1]


def faults(split: Split, date: np.ndarray, *, first_anchor: int, horizon: int) -> list[str]:
    """Return what is wrong with a split, by the definition of a hold-out and one row at a time."""
    found = []
    bounds = [first_anchor, *stops(split, date), len(date)]
    parts = [split.part(name).tolist() for name in PARTS]
    owner: dict[int, str] = {}
    spans = list(pairwise(bounds))
    for name, rows, (start, stop) in zip(PARTS, parts, spans, strict=True):
        for row in rows:
            if row in owner:
                found.append(f"row {row} is in {owner[row]} and {name}")
            owner[row] = name
            if not start <= row < stop:
                found.append(f"row {row} of {name} lies outside its part")
            if row + horizon >= stop:
                found.append(f"the label of row {row} of {name} reaches past its part")
    for name, (start, stop) in zip(PARTS, spans, strict=True):
        eligible = [row for row in range(start, stop) if row + horizon < stop]
        found += [f"row {row} of {name} is left out" for row in eligible if row not in owner]
    for (one, earlier), (other, later) in pairwise(zip(PARTS, parts, strict=True)):
        if earlier and later and later[0] - earlier[-1] != horizon + 1:
            found.append(f"the gap between {one} and {other} is {later[0] - earlier[-1] - 1} rows")
    if parts != [sorted(rows) for rows in parts]:
        found.append("rows are out of order")
    return found


@given(
    n_rows=st.integers(1, 300),
    first_anchor=st.integers(0, 100),
    horizon=st.integers(1, 10),
    train_frac=st.floats(0.05, 0.9),
    validation_frac=st.floats(0.05, 0.9),
)
def test_a_split_by_fractions_holds_what_it_promises(
    n_rows: int, first_anchor: int, horizon: int, train_frac: float, validation_frac: float
) -> None:
    assume(train_frac + validation_frac < 1)
    cut = FractionSplit(train_frac=train_frac, validation_frac=validation_frac)
    try:
        split = hold_out([SymbolRows(sessions(n_rows), first_anchor)], cut, horizon_bars=horizon)
    except SplitError:
        # Refused only where a part is too short for a single label.
        usable = max(n_rows - first_anchor, 0)
        shortest = min(train_frac, validation_frac, 1 - train_frac - validation_frac)
        assert usable * shortest <= horizon + 1
        return
    assert faults(split, sessions(n_rows), first_anchor=first_anchor, horizon=horizon) == []


@given(
    steps=st.lists(st.integers(1, 5), min_size=10, max_size=120),
    first_anchor=st.integers(0, 5),
    horizon=st.integers(1, 5),
    ends=st.tuples(st.integers(0, 400), st.integers(1, 200)),
)
def test_a_split_by_dates_holds_what_it_promises(
    steps: list[int], first_anchor: int, horizon: int, ends: tuple[int, int]
) -> None:
    date = np.datetime64("2001-01-01", "D") + np.cumsum(steps)
    train_end = dt.date(2001, 1, 1) + dt.timedelta(days=ends[0])
    validation_end = train_end + dt.timedelta(days=ends[1])
    cut = DateSplit(by="date", train_end=train_end, validation_end=validation_end)
    days = [dt.date(2001, 1, 1) + dt.timedelta(days=int(day)) for day in np.cumsum(steps)]
    part_of = [(day > train_end) + (day > validation_end) for day in days]
    sizes = [part_of[first_anchor:].count(number) for number in range(3)]
    if min(sizes) <= horizon:
        with pytest.raises(SplitError):
            hold_out([SymbolRows(date, first_anchor)], cut, horizon_bars=horizon)
        return
    split = hold_out([SymbolRows(date, first_anchor)], cut, horizon_bars=horizon)
    assert faults(split, date, first_anchor=first_anchor, horizon=horizon) == []
    for number, name in enumerate(PARTS):
        assert {part_of[row] for row in split.part(name)} == {number}


def planted(**changes: Any) -> Split:
    parts: dict[str, Any] = {
        "train": np.arange(0, 8),
        "validation": np.arange(10, 18),
        "test": np.arange(20, 28),
        "train_start": sessions(30)[0],
        "validation_start": sessions(30)[10],
        "test_start": sessions(30)[20],
    }
    return Split(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"train": np.arange(0, 10)}, "the label of row 8 of train reaches past its part"),
        ({"train": np.arange(0, 9)}, "the label of row 8 of train reaches past its part"),
        ({"train": np.arange(0, 7)}, "row 7 of train is left out"),
        ({"validation": np.arange(9, 18)}, "row 9 of validation lies outside its part"),
        ({"test": np.arange(17, 28)}, "row 17 is in validation and test"),
        ({"test": np.arange(20, 29)}, "the label of row 28 of test reaches past its part"),
        ({"train": np.arange(0, 8)[::-1]}, "rows are out of order"),
        ({"test": np.arange(20, 26)}, "row 26 of test is left out"),
    ],
)
def test_the_check_catches_a_planted_fault(changes: dict[str, Any], fault: str) -> None:
    assert faults(planted(), sessions(30), first_anchor=0, horizon=2) == []
    found = faults(planted(**changes), sessions(30), first_anchor=0, horizon=2)
    assert any(one.startswith(fault) for one in found), found


@pytest.mark.parametrize(
    ("cut", "n_rows", "first_anchor", "message"),
    [
        (
            FractionSplit(),
            50,
            60,
            "50 bars are too few: the first window with all features ends at row 61; give a long",
        ),
        (
            FractionSplit(),
            60,
            60,
            "60 bars are too few: the first window with all features ends at row 61; give a long",
        ),
        (
            FractionSplit(train_frac=0.8, validation_frac=0.1),
            70,
            40,
            (
                "the validation part holds no sample: it covers 3 rows of the data, which runs "
                "2001-01-01 to 2001-03-11, and its labels reach 3 rows ahead; "
                "the first possible sample is on 2001-02-10; "
            ),
        ),
        (
            by_date("2000-12-31", "2001-02-20"),
            70,
            10,
            "the train part holds no sample: it covers 0 rows of the data",
        ),
        (
            by_date("2001-01-08", "2001-02-20"),
            70,
            10,
            "the train part holds no sample: it covers 0 rows of the data",
        ),
        (
            by_date("2001-02-01", "2001-02-03"),
            70,
            10,
            "the validation part holds no sample: it covers 2 rows of the data",
        ),
        (
            by_date("2001-02-01", "2020-01-01"),
            70,
            10,
            "the test part holds no sample: it covers 0 rows of the data",
        ),
    ],
)
def test_an_impossible_split_names_the_part_and_the_fix(
    cut: DateSplit | FractionSplit, n_rows: int, first_anchor: int, message: str
) -> None:
    with pytest.raises(SplitError) as caught:
        hold_out([SymbolRows(sessions(n_rows), first_anchor)], cut, horizon_bars=3)
    assert str(caught.value).startswith(message)
    if "part" in message:
        assert str(caught.value).endswith(
            "; move split.train_end or split.validation_end (or the fractions), "
            "or give more history"
        )


def test_the_default_split_of_the_bundled_data() -> None:
    split = hold_out([SymbolRows(sessions(5031), 313)], FractionSplit(), horizon_bars=5)
    # 4,718 usable rows: 65% are 3,067 (3,066.7), 80% are 3,774 (3,774.4).
    assert stops(split, sessions(5031)) == (313 + 3067, 313 + 3774)
    assert [len(split.part(name)) for name in PARTS] == [3067 - 5, 707 - 5, 944 - 5]


# Panels.


def panel() -> list[SymbolRows]:
    """One symbol of 40 sessions, one that begins ten later, one that ends ten earlier."""
    date = sessions(40)
    return [SymbolRows(date, 4), SymbolRows(date[10:], 4, 40), SymbolRows(date[:30], 4, 70)]


def test_a_panel_is_cut_at_the_same_dates_for_every_symbol() -> None:
    split = hold_out(panel(), by_date("2001-01-25", "2001-01-30"), horizon_bars=2)
    # January 25 is row 24 of the first symbol, row 14 of the second, row 24 of the third.
    assert split.train.tolist() == [*range(4, 23), *range(44, 53), *range(74, 93)]
    assert split.validation.tolist() == [25, 26, 27, 55, 56, 57, 95, 96, 97]
    # The third has no session left to test on.
    assert split.test.tolist() == [*range(30, 38), *range(60, 68)]


def test_fractions_of_a_panel_are_of_the_sessions_on_which_anyone_has_an_anchor() -> None:
    cut = FractionSplit(train_frac=0.5, validation_frac=0.25)
    split = hold_out(panel(), cut, horizon_bars=1)
    # 36 sessions, rows 4 … 39 of the first symbol: 18 train, 9 validation.
    assert split.validation_start == sessions(40)[22]
    assert split.test_start == sessions(40)[31]


@given(
    lengths=st.lists(st.tuples(st.integers(30, 80), st.integers(0, 20)), min_size=1, max_size=4),
    horizon=st.integers(1, 4),
)
def test_no_window_or_label_crosses_to_another_symbol(
    lengths: list[tuple[int, int]], horizon: int
) -> None:
    symbols, offset = [], 0
    for n_rows, late in lengths:
        symbols.append(SymbolRows(sessions(120)[late : late + n_rows], 7, offset))
        offset += n_rows
    cut = FractionSplit(train_frac=0.5, validation_frac=0.25)
    split = hold_out(symbols, cut, horizon_bars=horizon)
    owner = np.concatenate([np.full(len(one.date), i) for i, one in enumerate(symbols)])
    date = np.concatenate([one.date for one in symbols])
    for name in PARTS:
        for row in split.part(name):
            assert owner[row - 7] == owner[row] == owner[row + horizon]
            # The label ends inside of the part, on every symbol's own calendar.
            ends = {"train": split.validation_start, "validation": split.test_start}
            assert name not in ends or date[row + horizon] < ends[name]


def test_part_of_the_history_is_its_most_recent_part() -> None:
    cut = by_date("2001-01-24", "2001-01-30")
    whole, half = (hold_out(panel(), cut, horizon_bars=1, history_frac=frac) for frac in (1.0, 0.5))
    # 20 training sessions from January 5 on; the last ten begin on January 15, row 14.
    assert half.train_start == sessions(40)[14]
    assert half.train.tolist() == [*range(14, 23), *range(44, 53), *range(84, 93)]
    assert half.validation.tolist() == whole.validation.tolist()
    assert half.test.tolist() == whole.test.tolist()


def test_fewer_symbols_are_the_first_ones_and_change_no_date() -> None:
    cut = FractionSplit(train_frac=0.5, validation_frac=0.25)
    whole = hold_out(panel(), cut, horizon_bars=1)
    fewer = hold_out(panel(), cut, horizon_bars=1, n_trained=2, n_scored=1)
    assert fewer.train.tolist() == [row for row in whole.train if row < 70]
    assert fewer.validation.tolist() == [row for row in whole.validation if row < 40]
    assert fewer.test.tolist() == [row for row in whole.test if row < 40]
    assert fewer.validation_start == whole.validation_start


# Walk-forward folds.


def fractions(n_folds: int, train_frac: float = 0.6, validation_frac: float = 0.1) -> FractionSplit:
    return FractionSplit(train_frac=train_frac, validation_frac=validation_frac, n_folds=n_folds)


def rows_of(splits: Sequence[Split]) -> list[list[list[int]]]:
    return [[split.train.tolist(), split.validation.tolist()] for split in splits]


def test_folds_by_hand() -> None:
    # 20 usable rows, 10 … 29: training to row 22, validation rows 22 … 25. Blocks of four rows
    # back from there, each of which loses its last two to the purge, and so does what is before.
    folds = walk_forward([SymbolRows(sessions(30), 10)], fractions(3, 0.6, 0.2), horizon_bars=2)
    assert rows_of(folds) == [
        [[10, 11], [14, 15]],
        [[10, 11, 12, 13, 14, 15], [18, 19]],
        [[10, 11, 12, 13, 14, 15, 16, 17, 18, 19], [22, 23]],
    ]
    assert all(fold.test.tolist() == [] for fold in folds)
    assert [str(fold.validation_start) for fold in folds] == [
        "2001-01-15",
        "2001-01-19",
        "2001-01-23",
    ]
    assert [str(fold.test_start) for fold in folds] == ["2001-01-19", "2001-01-23", "2001-01-27"]


@pytest.mark.parametrize("n_folds", [1, 2, 5])
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_folds_are_those_of_a_time_series_split(n_folds: int, horizon: int) -> None:
    # scikit-learn's test sets end where its data do, so it is given what lies before our test.
    folds = walk_forward([SymbolRows(sessions(100), 0)], fractions(n_folds), horizon_bars=horizon)
    # It wants two splits at least; of one more than ours the first is left out.
    splitter = TimeSeriesSplit(n_splits=n_folds + 1, test_size=10, gap=horizon)
    expected = list(splitter.split(np.zeros(70)))[1:]
    assert len(folds) == n_folds
    for fold, (train, validation) in zip(folds, expected, strict=True):
        assert fold.train.tolist() == train.tolist()
        # Its test sets are not purged at their own end.
        assert fold.validation.tolist() == validation[:-horizon].tolist()


def test_the_last_fold_is_the_hold_out() -> None:
    for cut in (fractions(3), by_date("2001-01-24", "2001-01-28")):
        options: dict[str, Any] = {"horizon_bars": 1, "history_frac": 0.5, "n_scored": 2}
        whole = hold_out(panel(), cut, **options)
        last = walk_forward(panel(), cut, **options)[-1]
        assert last.train.tolist() == whole.train.tolist()
        assert last.validation.tolist() == whole.validation.tolist()
        assert (last.train_start, last.validation_start, last.test_start) == (
            whole.train_start,
            whole.validation_start,
            whole.test_start,
        )


def fold_faults(
    folds: Sequence[Split], symbols: Sequence[SymbolRows], test_start: np.datetime64, horizon: int
) -> list[str]:
    """Return what is wrong with folds, by their definition and one row at a time."""
    found = []
    day = np.concatenate([one.date for one in symbols])
    owner = np.concatenate([np.full(len(one.date), i) for i, one in enumerate(symbols)])
    anchors = [
        one.offset + row for one in symbols for row in range(one.first_anchor, len(one.date))
    ]

    def label_end(row: int) -> np.datetime64 | None:
        end = row + horizon
        return day[end] if end < len(day) and owner[end] == owner[row] else None

    for number, fold in enumerate(folds):
        start, stop = fold.validation_start, fold.test_start
        train, validation = set(fold.train.tolist()), set(fold.validation.tolist())
        for row in anchors:
            end = label_end(row)
            ends_before = end is not None and end < start
            if (row in train) != (day[row] < start and ends_before):
                found.append(f"row {row} and the training rows of fold {number}")
            ends_inside = end is not None and end < stop
            if (row in validation) != (start <= day[row] < stop and ends_inside):
                found.append(f"row {row} and the validation rows of fold {number}")
        found += [f"row {row} has no window" for row in (train | validation) - set(anchors)]
        if len(fold.test):
            found.append(f"fold {number} has test rows")
    for one, other in pairwise(folds):
        if one.test_start != other.validation_start:
            found.append("a block does not begin where the one before it ends")
    if folds[-1].test_start != test_start:
        found.append("the last block does not end at the test part")
    return found


@given(
    spans=st.lists(st.tuples(st.integers(0, 30), st.integers(40, 120)), min_size=1, max_size=3),
    n_folds=st.integers(1, 6),
    horizon=st.integers(1, 4),
    validation_frac=st.floats(0.08, 0.3),
)
def test_folds_hold_what_they_promise(
    spans: list[tuple[int, int]], n_folds: int, horizon: int, validation_frac: float
) -> None:
    symbols, offset = [], 0
    for late, n_rows in spans:
        symbols.append(SymbolRows(sessions(150)[late : late + n_rows], 5, offset))
        offset += n_rows
    cut = fractions(n_folds, 0.5, validation_frac)
    try:
        folds = walk_forward(symbols, cut, horizon_bars=horizon)
        whole = hold_out(symbols, cut, horizon_bars=horizon)
    except SplitError:
        assume(False)
    assert len(folds) == n_folds
    assert fold_faults(folds, symbols, whole.test_start, horizon) == []
    # All blocks have as many sessions, and together they are the rows before test, without a gap.
    known = np.unique(np.concatenate([one.date[one.first_anchor :] for one in symbols]))
    lengths = {int(np.sum((known >= f.validation_start) & (known < f.test_start))) for f in folds}
    assert len(lengths) == 1


@pytest.mark.parametrize(
    "fault",
    [
        lambda fold: {"train": fold.train[:-1]},
        lambda fold: {"train": np.append(fold.train, fold.train[-1] + 1)},
        lambda fold: {"validation": fold.validation[1:]},
        lambda fold: {"validation": np.append(fold.validation, fold.validation[-1] + 1)},
        lambda fold: {"test": np.array([60])},
        lambda fold: {"test_start": fold.test_start + np.timedelta64(1, "D")},
    ],
)
def test_the_check_catches_a_planted_fault_of_a_fold(fault: Any) -> None:
    symbols = [SymbolRows(sessions(100), 0)]
    folds = list(walk_forward(symbols, fractions(3), horizon_bars=2))
    test_start = sessions(100)[70]
    assert fold_faults(folds, symbols, test_start, 2) == []
    folds[1] = replace(folds[1], **fault(folds[1]))
    assert fold_faults(folds, symbols, test_start, 2) != []


def test_a_fold_trains_on_the_most_recent_part_of_what_is_before_it() -> None:
    folds = walk_forward([SymbolRows(sessions(100), 0)], fractions(2), horizon_bars=1)
    half = walk_forward(
        [SymbolRows(sessions(100), 0)], fractions(2), horizon_bars=1, history_frac=0.5
    )
    # Blocks begin at rows 50 and 60; half of what is before are 25 and 30 rows.
    assert [fold.train[0] for fold in folds] == [0, 0]
    assert [fold.train[0] for fold in half] == [25, 30]
    assert [f.validation.tolist() for f in half] == [f.validation.tolist() for f in folds]


def test_too_many_folds_are_refused() -> None:
    symbols = [SymbolRows(sessions(100), 0)]
    # The training part has 60 sessions: five blocks of ten more, and ten to train on.
    assert len(walk_forward(symbols, fractions(6), horizon_bars=1)) == 6
    with pytest.raises(SplitError) as refusal:
        walk_forward(symbols, fractions(7), horizon_bars=1)
    assert str(refusal.value) == (
        "split.n_folds: got 7; blocks of 10 sessions, as long as the validation part, leave none "
        "to train on before the first; use at most 6, or a shorter validation part"
    )
    with pytest.raises(SplitError, match=r"^fold 1 of 6: the train part holds no sample: it cov"):
        walk_forward(symbols, fractions(6), horizon_bars=10)

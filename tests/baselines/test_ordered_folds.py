from __future__ import annotations

import numpy as np
import pytest

from finscale.baselines.folds import Fold, least_loss, ordered_folds, total_nats

DAY = np.datetime64("2001-01-01")


def days(start: int, stop: int) -> np.ndarray:
    return DAY + np.arange(start, stop)


def mixed(n: int) -> np.ndarray:
    return (np.arange(n) % 2).astype(np.float32)


def test_blocks_fill_the_later_half_and_training_ends_a_horizon_before() -> None:
    folds = ordered_folds(days(0, 20), mixed(20), 3)

    assert [fold.validation.tolist() for fold in folds] == [
        [10, 11], [12, 13], [14, 15], [16, 17], [18, 19],
    ]  # fmt: skip
    # The label of row 6 reads rows 7, 8 and 9, and the first block starts at row 10.
    assert [fold.train.tolist() for fold in folds] == [
        [*range(7)], [*range(9)], [*range(11)], [*range(13)], [*range(15)],
    ]  # fmt: skip


def test_a_panel_is_cut_at_dates_and_purged_symbol_by_symbol() -> None:
    # The second symbol starts on day 6, and has no row on day 9.
    dates = np.concatenate([days(0, 20), np.delete(days(6, 20), 3)])

    folds = ordered_folds(dates, mixed(len(dates)), 2)

    for fold, first in zip(folds, (10, 12, 14, 16, 18), strict=True):
        of_day = (dates - DAY).astype(int)
        assert sorted(set(of_day[fold.validation])) == [first, first + 1]
        # Two rows of each symbol go: for the second that is day 7 where day 9 is missing.
        assert of_day[fold.train[fold.train < 20]].tolist() == [*range(first - 2)]
    assert folds[0].train[folds[0].train >= 20].tolist() == [20]
    assert folds[1].train[folds[1].train >= 20].tolist() == [20, 21, 22]


@pytest.mark.parametrize("horizon", [1, 3, 5])
def test_no_training_label_reads_a_validation_day(horizon: int) -> None:
    rng = np.random.default_rng(horizon)
    own = [days(0, 90)[np.sort(rng.choice(90, n, replace=False))] for n in (80, 30, 60)]
    dates, offsets = np.concatenate(own), np.cumsum([0, 80, 110, 170])

    folds = ordered_folds(dates, mixed(len(dates)), horizon)

    assert len(folds) == 5
    for fold in folds:
        begin = dates[fold.validation].min()
        symbol = np.searchsorted(offsets, fold.train, side="right")
        last_read = np.minimum(fold.train + horizon, offsets[symbol] - 1)
        assert (dates[last_read] < begin).all()
        # Nothing more is lost than the purge takes.
        assert (dates < begin).sum() - len(fold.train) <= horizon * 3


def test_of_many_rows_the_same_few_are_kept() -> None:
    dates = np.tile(days(0, 400), 50)

    whole = ordered_folds(dates, mixed(20_000), 1)
    thin, again = (ordered_folds(dates, mixed(20_000), 1, max_rows=2000) for _ in range(2))

    assert len(thin) == 5
    for fold, same, of_all in zip(thin, again, whole, strict=True):
        assert np.array_equal(fold.train, same.train)
        assert np.array_equal(fold.validation, same.validation)
        assert set(fold.train) < set(of_all.train)
        assert set(fold.validation) < set(of_all.validation)
        assert 0.08 < len(fold.train) / len(of_all.train) < 0.12
        # Every weekday of every symbol has its chance: the choice has no period.
        assert len(set(fold.train // 400)) == 50
        assert len(set(fold.train % 7)) == 7


def test_too_few_rows_or_one_label_leave_no_fold() -> None:
    assert ordered_folds(days(0, 1), mixed(1), 1) == ()
    assert ordered_folds(days(0, 0), mixed(0), 1) == ()
    assert ordered_folds(days(0, 40), np.zeros(40, dtype=np.float32), 1) == ()
    late = np.r_[np.zeros(25), np.ones(15)].astype(np.float32)
    assert [len(fold.train) for fold in ordered_folds(days(0, 40), late, 1)] == [27, 31, 35]


def test_least_loss_weighs_rows_not_folds_and_takes_the_first_of_equals() -> None:
    folds = [Fold(np.arange(2), np.arange(n)) for n in (1, 9)]
    of_fold = {1: [4.0, 1.0, 1.0], 9: [1.0, 3.0, 3.0]}

    def losses(fold: Fold) -> list[float]:
        return of_fold[len(fold.validation)]

    assert least_loss(folds, "abc", losses) == "b"
    assert least_loss(folds[1:], "abc", losses) == "a"
    assert least_loss([], "abc", losses) == "a"


def test_total_nats_by_hand() -> None:
    y = np.array([1, 0, 1], dtype=np.float32)
    assert total_nats(np.array([0.5, 0.75, 1.0]), y) == pytest.approx(np.log(2) + np.log(4))
    assert total_nats(np.array([0.0, 0.0, 1.0]), y) == pytest.approx(7 * np.log(10), rel=1e-6)

from __future__ import annotations

import numpy as np
import pytest

from finscale.evaluation.bootstrap import resample
from finscale.evaluation.conformal import (
    adaptive_intervals,
    conformity_scores,
    known_positions,
    measure_coverage,
    split_intervals,
)


def test_split_interval_by_hand():
    # Scores -0.1, 0, 0.2, 0.4 of four rows: the 4th of ceil(5 × 0.8) = 4 is 0.4.
    scores = conformity_scores([0.0] * 4, [1.0] * 4, [1.2, 0.1, -0.4, 1.0])

    found = split_intervals([0.0, 5.0], [1.0, 6.0], scores, coverage=0.8)

    assert scores == pytest.approx([0.2, -0.1, 0.4, 0.0])
    assert found.low_B == pytest.approx([-0.4, 4.6])
    assert found.high_B == pytest.approx([1.4, 6.4])


def test_too_few_scores_promise_nothing_finite():
    found = split_intervals([0.0], [1.0], [0.1] * 8, coverage=0.9)

    assert np.isneginf(found.low_B[0])
    assert np.isfinite(split_intervals([0.0], [1.0], [0.1] * 9, coverage=0.9).low_B[0])


def test_intervals_that_are_too_wide_are_narrowed_to_their_middle_at_most():
    found = split_intervals([0.0], [1.0], [-0.7] * 99, coverage=0.9)

    assert (found.low_B[0], found.high_B[0]) == (0.5, 0.5)


def test_split_covers_exchangeable_rows_at_the_rate_promised():
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        y = rng.standard_t(4, 300)
        scores = conformity_scores(np.full(100, -1.0), np.full(100, 1.0), y[:100])
        found = split_intervals(np.full(200, -1.0), np.full(200, 1.0), scores, coverage=0.8)
        rates.append(np.mean((found.low_B <= y[100:]) & (y[100:] <= found.high_B)))

    assert np.mean(rates) == pytest.approx(0.8, abs=0.01)


def test_under_planted_drift_the_adaptive_interval_keeps_its_coverage_and_split_does_not():
    rng = np.random.default_rng(1)
    n = 2000
    scale = np.concatenate([np.ones(500), np.linspace(1.0, 4.0, n)])
    y = scale * rng.normal(size=500 + n)
    low, high = np.full(n, -1.0), np.full(n, 1.0)
    scores = conformity_scores(np.full(500, -1.0), np.full(500, 1.0), y[:500])
    date = np.arange(n)
    known = known_positions(date, np.zeros(n), horizon_bars=5)
    drawn = resample(date, mean_block=5.0, n_samples=100, seed=0)

    split = split_intervals(low, high, scores, coverage=0.9)
    adaptive = adaptive_intervals(
        low, high, y[500:], scores, date_B=date, known_B=known, coverage=0.9
    )

    split_coverage = measure_coverage(split, y[500:], drawn, nominal=0.9)
    adaptive_coverage = measure_coverage(adaptive, y[500:], drawn, nominal=0.9)
    assert split_coverage.coverage.high < 0.75
    assert adaptive_coverage.coverage.value == pytest.approx(0.9, abs=0.02)
    assert adaptive_coverage.infinite_frac < 0.05
    assert adaptive_coverage.width.value > split_coverage.width.value


def test_a_label_is_not_used_before_it_is_known():
    rng = np.random.default_rng(2)
    n, horizon = 60, 4
    low, high, y = np.full(n, -1.0), np.full(n, 1.0), rng.normal(size=n)
    scores = conformity_scores(low, high, rng.normal(size=n))
    date = np.arange(n)
    known = known_positions(date, np.zeros(n), horizon_bars=horizon)

    def intervals(outcomes):
        return adaptive_intervals(
            low, high, outcomes, scores, date_B=date, known_B=known, coverage=0.8, step=0.1
        ).high_B

    changed = y.copy()
    changed[20] = 50.0
    before, after = intervals(y), intervals(changed)

    assert (before[: 20 + horizon] == after[: 20 + horizon]).all()
    assert before[20 + horizon] != after[20 + horizon]


def test_labels_become_known_at_the_close_of_a_symbols_own_rows():
    # Symbol b has no rows at dates 1 and 2.
    date = np.array([0, 0, 1, 2, 3, 3, 4, 4])
    symbol = np.array(["a", "b", "a", "a", "a", "b", "a", "b"])

    found = known_positions(date, symbol, horizon_bars=2)

    assert found.tolist() == [2, 4, 3, 4, 6, 6, 6, 6]


def test_all_symbols_of_a_date_count_as_one_step():
    # Both rows of date 0 miss: 1 - 0.5 aimed at falls by 0.2 × (0.5 - 1) = -0.1 once, to 0.4.
    date = np.array([0, 0, 1, 1])
    scores = np.arange(9) / 10.0

    found = adaptive_intervals(
        np.zeros(4),
        np.ones(4),
        np.array([9.0, 9.0, 0.5, 0.5]),
        scores,
        date_B=date,
        known_B=np.array([1, 1, 2, 2]),
        coverage=0.5,
        step=0.2,
        memory=9,
    )

    # First: the 5th of 0 … 0.8 is 0.4. Then two scores of 8 push out 0 and 0.1, and the 6th of
    # 0.2 … 0.8, 8, 8 is 0.7.
    assert found.high_B == pytest.approx([1.4, 1.4, 1.7, 1.7])


def test_labels_known_too_early_and_impossible_coverages_are_refused():
    arrays = (np.zeros(2), np.ones(2), np.zeros(2), np.zeros(5))
    with pytest.raises(ValueError, match="after its own"):
        adaptive_intervals(*arrays, date_B=np.arange(2), known_B=np.array([0, 2]), coverage=0.9)
    with pytest.raises(ValueError, match="coverage"):
        split_intervals([0.0], [1.0], [0.1], coverage=1.0)


@pytest.mark.parametrize(("n_scores", "memory"), [(5, 0), (5, -1), (0, None)])
def test_a_memory_that_holds_nothing_is_refused(n_scores, memory):
    # The last 0 of a list are, as a slice, all of it.
    with pytest.raises(ValueError, match="memory must be at least 1"):
        adaptive_intervals(
            *(np.zeros(2), np.ones(2), np.zeros(2), np.zeros(n_scores)),
            date_B=np.arange(2),
            known_B=np.array([1, 2]),
            coverage=0.9,
            memory=memory,
        )


def test_a_memory_of_one_holds_the_latest_score():
    # At a coverage of a half one score is its own quantile: 0.1, then 2 once that is known.
    found = adaptive_intervals(
        *(np.zeros(3), np.ones(3), np.array([3.0, 0.5, 0.5]), np.array([0.3, 0.1])),
        date_B=np.arange(3),
        known_B=np.array([1, 3, 4]),
        coverage=0.5,
        step=0.0,
        memory=1,
    )

    assert found.high_B == pytest.approx([1.1, 3.0, 3.0])


def test_a_label_that_reaches_no_row_ahead_is_refused():
    with pytest.raises(ValueError, match="at least 1 bar"):
        known_positions(np.arange(3), np.zeros(3), horizon_bars=0)

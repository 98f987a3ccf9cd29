from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length

from finscale.evaluation.bootstrap import block_length, resample, stationary_indices


def test_a_date_follows_the_one_before_it_as_often_as_the_block_length_says():
    index_ST = stationary_indices(n_dates=200, mean_block=5.0, n_samples=500, seed=1)

    follows = (np.diff(index_ST, axis=1) % 200) == 1

    # 1 - 1/5, and one time in 200 a new block starts where the old would have gone on.
    assert follows.mean() == pytest.approx(0.8 + 0.2 / 200, abs=0.005)
    assert np.bincount(index_ST.ravel(), minlength=200).min() > 300  # 500 expected each


def test_blocks_of_length_one_are_independent_draws():
    index_ST = stationary_indices(n_dates=50, mean_block=1.0, n_samples=400, seed=1)

    assert ((np.diff(index_ST, axis=1) % 50) == 1).mean() == pytest.approx(1 / 50, abs=0.004)


def test_weights_count_the_dates_of_every_sample():
    dates = np.array(["2020-01-03", "2020-01-02", "2020-01-03"], dtype="datetime64[D]")

    drawn = resample(dates, mean_block=1.5, n_samples=7, seed=3)

    index_ST = stationary_indices(n_dates=2, mean_block=1.5, n_samples=7, seed=3)
    assert drawn.date_of_row_B.tolist() == [1, 0, 1]
    assert drawn.weight_TS.T.tolist() == [[(row == 0).sum(), (row == 1).sum()] for row in index_ST]


def test_means_by_weights_are_means_of_the_drawn_rows():
    rng = np.random.default_rng(0)
    date_B = np.array([0, 0, 1, 2, 2, 2, 3])
    x_BM = rng.normal(size=(7, 2))

    drawn = resample(date_B, mean_block=2.0, n_samples=20, seed=5)

    for sample, index_T in enumerate(stationary_indices(4, 2.0, 20, 5)):
        rows = np.concatenate([np.flatnonzero(date_B == t) for t in index_T])
        assert drawn.means(x_BM)[sample] == pytest.approx(x_BM[rows].mean(axis=0))
        assert drawn.sums(x_BM)[sample] == pytest.approx(x_BM[rows].sum(axis=0))


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    date_B, x_BM = np.repeat(np.arange(30), 3), rng.normal(size=(90, 1))
    order_B = rng.permutation(90)

    ordered = resample(date_B, mean_block=4.0, n_samples=10, seed=2).means(x_BM)
    mixed = resample(date_B[order_B], mean_block=4.0, n_samples=10, seed=2).means(x_BM[order_B])

    assert mixed == pytest.approx(ordered)


def test_standard_error_of_an_autocorrelated_mean_is_recovered():
    # x_t = 0.5 x_{t-1} + e: the long-run standard deviation of the sum is 1 / (1 - 0.5) = 2.
    rng = np.random.default_rng(4)
    errors = []
    for repetition in range(20):
        noise = rng.normal(size=2100)
        x = np.zeros(2100)
        for t in range(1, 2100):
            x[t] = 0.5 * x[t - 1] + noise[t]
        x_TM = x[100:, None]
        length = block_length(x_TM, horizon_bars=1)
        drawn = resample(np.arange(2000), mean_block=length, n_samples=300, seed=repetition)
        errors.append(drawn.means(x_TM).std())

    assert np.mean(errors) * np.sqrt(2000) == pytest.approx(2.0, rel=0.08)
    # Rows drawn one by one would give 1 / sqrt(1 - 0.25) = 1.15.


def test_block_length_is_twice_the_automatic_one_and_never_below_the_horizon():
    rng = np.random.default_rng(0)
    white = rng.normal(size=500)
    slow = np.convolve(rng.normal(size=504), np.ones(5), mode="valid")
    slower = np.convolve(rng.normal(size=509), np.ones(10), mode="valid")
    columns = np.column_stack([white, slow, slower, np.ones(500)])

    automatic = float(optimal_block_length(slow)["stationary"].iloc[0])

    assert automatic > 5
    assert block_length(columns, horizon_bars=1) == pytest.approx(2 * automatic)
    assert block_length(white[:, None], horizon_bars=60) == 60


def test_block_length_leaves_four_blocks():
    trend = np.arange(40.0)[:, None]

    assert block_length(trend, horizon_bars=1) == 10
    assert block_length(trend, horizon_bars=15) == 15


def test_widening_by_hand():
    # 40 dates in blocks of 4 are 10 blocks: t quantile 2.2281 against 1.9600, and 1 - 2/10.
    few = resample(np.arange(40), mean_block=4.0, n_samples=2, seed=0)
    many = resample(np.arange(4000), mean_block=1.0, n_samples=2, seed=0)

    assert few.widening == pytest.approx(2.2281 / 1.9600 / np.sqrt(0.8), rel=1e-4)
    assert 1.0 < many.widening < 1.001


@pytest.mark.parametrize("series", [np.ones((500, 2)), np.arange(12.0)[:, None]])
def test_block_length_is_the_horizon_where_nothing_can_be_estimated(series):
    assert block_length(series, horizon_bars=3) == 3


def test_a_series_that_stands_still_at_one_end_is_no_trouble():
    series = np.zeros((200, 1))
    series[90:95] = 1.0

    assert 2 <= block_length(series, horizon_bars=2) <= 67


@pytest.mark.parametrize(
    ("dates", "mean_block", "n_samples", "message"),
    [([], 2, 2, "no rows"), ([1], 0.5, 2, "at least 1"), ([1], 2, 0, "at least 1")],
)
def test_nothing_to_draw_is_refused(dates, mean_block, n_samples, message):
    with pytest.raises(ValueError, match=message):
        resample(dates, mean_block=mean_block, n_samples=n_samples, seed=0)


@pytest.mark.parametrize("series", [np.ones(5), np.array([[np.nan]])])
def test_series_that_are_not_series_are_refused(series):
    with pytest.raises(ValueError, match="two-dimensional and finite"):
        block_length(series, horizon_bars=1)

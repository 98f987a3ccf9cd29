"""Bins of the return, and what a distribution over them says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finscale.errors import SplitError
from finscale.return_bins import KNOTS_PER_BIN, ReturnBins

# 0 … 40 in four bins: edges 10, 20, 30; a training quantile at level u is 40 u.
FOUR = ReturnBins.fit(np.arange(41.0), place="cell", n_bins=4)


def test_the_edges_are_the_quartiles_of_training() -> None:
    np.testing.assert_allclose(FOUR.inner_edges, [10.0, 20.0, 30.0])
    assert (FOUR.knots[0], FOUR.knots[-1]) == (0.0, 40.0)
    # 0 … 9, 10 … 19, 20 … 29 and 30 … 40
    np.testing.assert_allclose(FOUR.share_K, [10 / 41, 10 / 41, 10 / 41, 11 / 41])
    np.testing.assert_allclose(FOUR.mean_K, [4.5, 14.5, 24.5, 35.0])
    assert FOUR.historical_mean == pytest.approx(20.0)


def test_a_bin_holds_its_lower_edge_and_the_outermost_everything_beyond() -> None:
    numbers = FOUR.numbers([-99.0, 9.99, 10.0, 20.0, 30.0, 99.0, np.nan])
    np.testing.assert_array_equal(numbers, [0, 0, 1, 2, 3, 3, np.nan])
    assert numbers.dtype == np.float32


def test_equal_shares_give_the_training_quantiles() -> None:
    levels = [0.05, 0.25, 0.5, 0.6, 0.95]
    np.testing.assert_allclose(
        FOUR.quantiles([[0.25] * 4], levels), [[2.0, 10.0, 20.0, 24.0, 38.0]]
    )


def test_quantiles_of_unequal_shares_by_hand() -> None:
    # Half of the mass below 10, none in 10 … 20, a quarter in each of the others.
    p_BK = [[0.5, 0.0, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_allclose(
        FOUR.quantiles(p_BK, [0.25, 0.5, 0.75, 0.95]),
        [[5.0, 10.0, 30.0, 38.0], [32.5, 35.0, 37.5, 39.5]],
    )


def test_inside_a_bin_a_forecast_has_the_shape_of_the_training_returns() -> None:
    # The lowest quarter is 0, 0.01 … 0.1 and then -9: its lower tail is long.
    skewed = np.concatenate([[-9.0], np.linspace(-1.0, 1.0, 399)])
    bins = ReturnBins.fit(skewed, place="cell", n_bins=4)
    [[middle]] = bins.quantiles([[1.0, 0.0, 0.0, 0.0]], [0.5])
    assert middle == pytest.approx(np.quantile(skewed, 0.125), abs=0.01)
    assert middle > -0.8  # uniform between -9 and the edge it would be -4.75


def test_the_mean_is_that_of_the_bins_weighted() -> None:
    np.testing.assert_allclose(
        FOUR.means([[0.5, 0.0, 0.0, 0.5], FOUR.share_K]), [(4.5 + 35.0) / 2, 20.0]
    )


def test_returns_that_do_not_fill_the_bins_are_refused() -> None:
    still = np.concatenate([np.zeros(90), np.arange(1.0, 11.0)])
    with pytest.raises(SplitError, match="h1_return: 100 training returns of 11 different values"):
        ReturnBins.fit(still, place="h1_return", n_bins=4)
    with pytest.raises(SplitError, match="do not fill 20 bins"):
        ReturnBins.fit(np.arange(5.0), place="h1_return")


@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_quantiles_rise_and_their_bins_hold_the_probability(seed: int, n_bins: int) -> None:
    rng = np.random.default_rng(seed)
    bins = ReturnBins.fit(rng.standard_t(3, size=400), place="cell", n_bins=n_bins)
    assert len(bins.knots) == n_bins * KNOTS_PER_BIN + 1
    p_BK = rng.dirichlet(np.ones(n_bins), size=5)
    levels = np.linspace(0.01, 0.99, 50)
    q_BQ = bins.quantiles(p_BK, levels)
    assert (np.diff(q_BQ, axis=1) >= 0).all()
    assert (q_BQ >= bins.knots[0]).all()
    assert (q_BQ <= bins.knots[-1]).all()
    # The quantile at the upper edge of a bin's probability is that edge.
    for p_K in p_BK:
        edges = bins.quantiles(p_K[None], np.cumsum(p_K)[:-1])[0]
        np.testing.assert_allclose(edges, bins.inner_edges, atol=1e-6)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.features import rolling
from finscale.market.bars import FloatArray


def plain(values: FloatArray, n_bars: int, one: Callable[[FloatArray], float]) -> FloatArray:
    """Window by window, the slow way."""
    result = np.full(len(values), np.nan)
    for row in range(n_bars - 1, len(values)):
        result[row] = one(values[row - n_bars + 1 : row + 1])
    return result


def rank(window: FloatArray) -> float:
    others = window[:-1]
    return float((np.sum(others < window[-1]) + np.sum(others == window[-1]) / 2) / len(others))


def slope(window: FloatArray) -> float:
    return float(np.polyfit(np.arange(len(window)), window, 1)[0])


ONE_SERIES = {
    "rolling_sum": np.sum,
    "rolling_mean": np.mean,
    "rolling_max": np.max,
    "rolling_min": np.min,
    "rolling_var": np.var,
    "rolling_std": np.std,
    "rolling_rank": rank,
    "rolling_slope": slope,
}


@settings(max_examples=50)
@given(
    n_rows=st.integers(0, 90),
    n_bars=st.integers(2, 70),
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([0.0, 1e3]),
)
@pytest.mark.parametrize("name", ONE_SERIES)
def test_a_rolling_value_is_that_of_its_window(
    name: str, n_rows: int, n_bars: int, seed: int, level: float
) -> None:
    values = level + np.round(np.random.default_rng(seed).standard_normal(n_rows), 1)
    found = getattr(rolling, name)(values, n_bars)
    np.testing.assert_allclose(found, plain(values, n_bars, ONE_SERIES[name]), atol=1e-9)


@pytest.mark.parametrize("n_bars", [2, 3, 5, 21, 64])
def test_moments_and_correlation_are_scipys(n_bars: int) -> None:
    rng = np.random.default_rng(n_bars)
    one, other = rng.standard_t(4, size=(2, 100))
    skew, kurtosis = rolling.rolling_skew_kurtosis(one, n_bars)
    np.testing.assert_allclose(skew, plain(one, n_bars, scipy.stats.skew), atol=1e-9)
    np.testing.assert_allclose(kurtosis, plain(one, n_bars, scipy.stats.kurtosis), atol=1e-9)
    found = rolling.rolling_corr(one, other, n_bars)
    for row in range(n_bars - 1, 100):
        window = slice(row - n_bars + 1, row + 1)
        expected = np.corrcoef(one[window], other[window])[0, 1]
        assert found[row] == pytest.approx(expected, abs=1e-9)
    assert np.isnan(found[: n_bars - 1]).all()


def test_sample_variance_divides_by_one_less() -> None:
    found = rolling.rolling_var(np.array([1.0, 3.0, 8.0]), 2, ddof=1)
    np.testing.assert_allclose(found, [np.nan, 2.0, 12.5])


@pytest.mark.parametrize("value", [0.1, 1e6, -3e-9])
@pytest.mark.parametrize("n_bars", [2, 7, 30])
def test_equal_values_have_no_spread(value: float, n_bars: int) -> None:
    values = np.full(50, value)
    zero = np.r_[np.full(n_bars - 1, np.nan), np.zeros(51 - n_bars)]
    np.testing.assert_array_equal(rolling.rolling_std(values, n_bars), zero)
    for found in rolling.rolling_skew_kurtosis(values, n_bars):
        np.testing.assert_array_equal(found, zero)
    np.testing.assert_array_equal(rolling.rolling_corr(values, np.arange(50.0), n_bars), zero)


@given(start=st.integers(0, 80), n_bars=st.integers(2, 30), seed=st.integers(0, 2**32 - 1))
def test_the_rows_before_a_window_leave_no_trace(start: int, n_bars: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(120)
    values[: start + 1] *= 1e9
    for name in ONE_SERIES:
        function = getattr(rolling, name)
        whole, part = function(values, n_bars), function(values[start:], n_bars)
        np.testing.assert_array_equal(whole[start + n_bars :], part[n_bars:], err_msg=name)


def test_a_missing_value_is_missing_in_every_window_it_is_in() -> None:
    values = np.arange(12.0)
    values[0] = np.nan
    for name in ONE_SERIES:
        found = getattr(rolling, name)(values, 3)
        assert np.isnan(found[:3]).all(), name
        assert np.isfinite(found[3:]).all(), name


def test_lagged() -> None:
    np.testing.assert_array_equal(rolling.lagged(np.arange(3.0), 2), [np.nan, np.nan, 0.0])
    np.testing.assert_array_equal(rolling.lagged(np.arange(3.0), 5), [np.nan] * 3)

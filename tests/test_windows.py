from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finscale.market.bars import OHLCV
from finscale.windows import Scaler, Windows

CPU = torch.device("cpu")


def matrix(n_rows: int, n_features: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n_rows, n_features))
    return values.astype(np.float32)


def windows_of(values: np.ndarray, context_length: int) -> Windows:
    labels = (np.arange(len(values)) % 2).astype(np.float32)
    return Windows(values, labels, context_length=context_length, device=CPU)


def test_windows_by_hand() -> None:
    values = np.array([[1, 10], [2, 20], [3, 30], [4, 40]], dtype=np.float32)
    windows = windows_of(values, 2)
    x_BLF = windows.inputs(torch.tensor([3, 1]))
    assert x_BLF.tolist() == [[[3, 30], [4, 40]], [[1, 10], [2, 20]]]
    assert x_BLF.dtype == torch.float32
    assert x_BLF.device == CPU
    assert windows.n_features == 2


@given(data=st.data())
def test_gathered_windows_equal_slices(data: st.DataObject) -> None:
    n_rows = data.draw(st.integers(1, 40))
    n_features = data.draw(st.integers(1, 5))
    context_length = data.draw(st.integers(1, n_rows))
    values = matrix(n_rows, n_features)
    rows = data.draw(st.lists(st.integers(context_length - 1, n_rows - 1), max_size=20))
    gathered = windows_of(values, context_length).inputs(torch.tensor(rows, dtype=torch.int64))
    assert gathered.shape == (len(rows), context_length, n_features)
    for window, row in zip(gathered.numpy(), rows, strict=True):
        np.testing.assert_array_equal(window, values[row - context_length + 1 : row + 1])


def test_a_matrix_in_column_order_gives_the_same_windows() -> None:
    values = matrix(20, 3)
    rows = torch.tensor([4, 19])
    expected = windows_of(values, 5).inputs(rows)
    assert torch.equal(windows_of(np.asfortranarray(values), 5).inputs(rows), expected)
    padded = np.concatenate([values, values], axis=1)[:, :3]
    assert torch.equal(windows_of(padded, 5).inputs(rows), expected)


def test_a_batch_is_a_copy() -> None:
    windows = windows_of(matrix(10, 2), 3)
    before = windows.inputs(torch.tensor([5]))
    windows.inputs(torch.tensor([5])).zero_()
    assert torch.equal(windows.inputs(torch.tensor([5])), before)


def test_labels_are_taken_by_row() -> None:
    labels = np.array([0, 1, 1, 0, np.nan], dtype=np.float32)
    windows = Windows(matrix(5, 2), labels, context_length=2, device=CPU)
    y_B = windows.labels(torch.tensor([2, 0, 2, 1]))
    assert y_B.tolist() == [1, 0, 1, 1]
    assert y_B.dtype == torch.float32


@pytest.mark.parametrize("row", [0, 1, 10])
def test_a_row_without_a_whole_window_is_refused(row: int) -> None:
    with pytest.raises(IndexError):
        windows_of(matrix(10, 2), 3).inputs(torch.tensor([row]))


def test_everything_lives_on_the_named_device() -> None:
    meta = torch.device("meta")
    windows = Windows(matrix(10, 2), np.zeros(10, np.float32), context_length=3, device=meta)
    rows = torch.tensor([4, 5], device=meta)
    assert windows.inputs(rows).device == meta
    assert windows.inputs(rows).shape == (2, 3, 2)
    assert windows.labels(rows).device == meta


def test_scaling_by_hand() -> None:
    # Of 0 … 20 the quartiles are 5, 10, 15, and the 5% and 95% quantiles 1 and 19: 18 / 2.44 is
    # less than 10. The second column never moves, the third is ten times as wide.
    values = np.array([[v, 7, 10 * v] for v in range(21)], dtype=np.float32)
    scaler = Scaler.fit(values, clip=5.0)
    assert scaler.median_F.tolist() == [10, 7, 100]
    assert scaler.scale_F.tolist() == [10, 1, 100]
    assert scaler.median_F.dtype == scaler.scale_F.dtype == np.float32
    later = np.array([[30, 8, 100], [-500, 7, 5000]], dtype=np.float32)
    scaled = scaler.transform(later)
    assert scaled.tolist() == [[2, 1, 0], [-5, 0, 5]]
    assert scaled.dtype == np.float32


def test_a_scale_does_not_collapse_where_half_of_the_values_are_nearly_the_same() -> None:
    # 13 of 21 are zero to a millionth, and the others reach from -4 to 4: the 5% and 95% quantiles
    # are -3 and 3, and 6 / 2.4386 is 2.46.
    values = [1e-6 * (-1) ** v for v in range(13)] + [-4, -3, -2, -1, 1, 2, 3, 4]
    scaler = Scaler.fit(np.array(values, dtype=np.float32)[:, None], clip=5.0)
    np.testing.assert_allclose(scaler.scale_F, [6 / 2.4386], rtol=1e-4)
    assert np.abs(scaler.transform(np.array([[4.0]], dtype=np.float32))).max() < 2


def test_few_gaps_of_a_real_market_are_clipped(sp500: OHLCV) -> None:
    # The open was the previous close until 2005, and no longer from 2006 on.
    gap = np.log(sp500.open[1:] / sp500.close[:-1]).astype(np.float32)[:, None]
    year = sp500.date[1:].astype("datetime64[Y]").astype(int) + 1970
    scaler = Scaler.fit(gap[year <= 2011], clip=5.0)
    assert (np.abs(scaler.transform(gap[year > 2011])) == 5).mean() < 0.05


def test_the_scale_of_normal_values_is_their_interquartile_range() -> None:
    values = matrix(20_001, 5, seed=1)
    scaler = Scaler.fit(values, clip=5.0)
    np.testing.assert_allclose(scaler.scale_F, 1.349, rtol=0.03)
    assert scaler.as_dict()["scale"] == scaler.scale_F.tolist()


def test_clip_is_a_setting_and_nan_stays() -> None:
    values = np.array([[0], [1], [2], [3], [4]], dtype=np.float32)
    scaler = Scaler.fit(values, clip=0.25)
    scaled = scaler.transform(np.array([[np.nan], [10], [2.2]], dtype=np.float32))
    np.testing.assert_allclose(scaled, [[np.nan], [0.25], [0.1]], rtol=1e-6)


@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 200))
def test_quantiles_agree_with_a_second_method(seed: int, n_rows: int) -> None:
    values = matrix(n_rows, 3, seed)
    scaler = Scaler.fit(values, clip=5.0)
    ordered = np.sort(values.astype(np.float64), axis=0)

    def quantile(share: float) -> np.ndarray:
        place = share * (n_rows - 1)
        lower = int(place)
        upper = min(lower + 1, n_rows - 1)
        return np.asarray(ordered[lower] + (place - lower) * (ordered[upper] - ordered[lower]))

    np.testing.assert_allclose(scaler.median_F, quantile(0.5), rtol=1e-5, atol=1e-6)
    wide = (quantile(0.95) - quantile(0.05)) * 1.349 / 3.2897
    scale = np.maximum(quantile(0.75) - quantile(0.25), wide)
    expected = scale if n_rows > 1 else [1.0] * 3
    np.testing.assert_allclose(scaler.scale_F, expected, rtol=1e-4, atol=1e-6)


def test_scaled_training_rows_have_median_zero_and_scale_one() -> None:
    values = matrix(1001, 4) * [1e-6, 1.0, 50.0, 1e6] + [0.0, -3.0, 1e3, 1e6]
    scaled = Scaler.fit(values.astype(np.float32), clip=100.0).transform(values.astype(np.float32))
    np.testing.assert_allclose(np.median(scaled, axis=0), 0, atol=1e-4)
    quartiles = np.subtract(*np.quantile(scaled, [0.75, 0.25], axis=0))
    wide = np.subtract(*np.quantile(scaled, [0.95, 0.05], axis=0)) / 2.4386
    np.testing.assert_allclose(np.maximum(quartiles, wide), 1, rtol=1e-3)


def test_later_rows_change_nothing() -> None:
    values = matrix(100, 3)
    other = values.copy()
    other[60:] = 1e9
    one, two = Scaler.fit(values[:60], clip=5.0), Scaler.fit(other[:60], clip=5.0)
    np.testing.assert_array_equal(one.median_F, two.median_F)
    np.testing.assert_array_equal(one.scale_F, two.scale_F)
    np.testing.assert_array_equal(one.transform(values)[:60], two.transform(other)[:60])
    # The training rows do matter: the test above could fail.
    assert not np.array_equal(Scaler.fit(other, clip=5.0).median_F, one.median_F)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finscale.evaluation.calibration import ReliabilityBin, reliability_curve

forecasts = st.lists(
    # Few distinct values, so that ties are common.
    st.tuples(st.sampled_from([0.0, 0.1, 0.14, 0.3, 0.5, 0.9, 1.0]), st.integers(0, 1)),
    min_size=1,
    max_size=60,
)


def test_distinct_values_fill_bins_of_equal_count():
    p = [0.9, 0.1, 0.2, 0.6, 0.5, 0.8]
    y = [1, 0, 1, 0, 0, 1]

    curve = reliability_curve(p, y, n_bins=3)

    assert [b.count for b in curve] == [2, 2, 2]
    assert [b.mean_predicted for b in curve] == pytest.approx([0.15, 0.55, 0.85])
    assert [b.observed_frequency for b in curve] == pytest.approx([0.5, 0.0, 1.0])


def test_tied_values_share_the_bin_of_their_middle():
    # Sorted positions: 0.2 at 0, 0.4 at 1 to 4, 0.7 at 5. With 3 bins of 2 positions the middle
    # of 1 to 4 lies on the boundary at 3, inside the second bin (positions 2 and 3).
    curve = reliability_curve([0.4, 0.4, 0.2, 0.4, 0.7, 0.4], [1, 0, 0, 1, 1, 0], n_bins=3)

    assert curve == [
        ReliabilityBin(0.2, 0.0, 1),
        ReliabilityBin(0.4, 0.5, 4),
        ReliabilityBin(0.7, 1.0, 1),
    ]


def test_constant_prediction_gives_one_bin():
    assert reliability_curve([0.25] * 7, [0, 1, 0, 0, 1, 0, 0]) == [
        ReliabilityBin(0.25, pytest.approx(2 / 7), 7)
    ]


def test_fewer_rows_than_bins_give_one_bin_each():
    assert [b.count for b in reliability_curve([0.3, 0.1, 0.2], [0, 1, 0], n_bins=10)] == [1, 1, 1]


@settings(deadline=None)
@given(forecasts, st.integers(1, 12))
def test_bins_keep_every_row_and_never_split_a_value(rows, n_bins):
    p, y = (np.array(column) for column in zip(*rows, strict=True))

    curve = reliability_curve(p, y, n_bins)

    assert sum(b.count for b in curve) == p.size
    assert sum(b.count * b.observed_frequency for b in curve) == pytest.approx(y.sum())
    assert len(curve) <= min(n_bins, np.unique(p).size)
    # Bins are runs of the sorted values whose edges fall between distinct values.
    edges = np.cumsum([b.count for b in curve])[:-1]
    ordered = np.sort(p)
    assert all(ordered[edge - 1] < ordered[edge] for edge in edges)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 12))
def test_counts_of_distinct_values_differ_by_at_most_one(n, n_bins):
    counts = [b.count for b in reliability_curve(np.linspace(0, 1, n), np.zeros(n), n_bins)]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([], [], "non-empty"),
        ([0.5, 0.5], [1], "equal length"),
        ([[0.5]], [[1]], "one-dimensional"),
        ([0.5, 1.5], [0, 1], "probability 1.5 at position 1"),
        ([0.5, float("nan")], [0, 1], "probability nan at position 1"),
        ([0.5, 0.6], [0, 2], "label 2.0 at position 1"),
        ([0.5, 0.6], [0, float("nan")], "label nan at position 1"),
    ],
)
def test_bad_forecasts_are_refused(p, y, message):
    with pytest.raises(ValueError, match=message):
        reliability_curve(p, y)


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="n_bins"):
        reliability_curve([0.5], [1], n_bins=0)

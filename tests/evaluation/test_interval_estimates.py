from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from finscale.evaluation.estimate import Estimate, estimate, estimate_share, plain


def test_percentile_interval_holds_the_middle_of_the_samples():
    assert estimate(0.4, np.arange(101) / 100, 0.9) == Estimate(
        0.4, pytest.approx(0.05), pytest.approx(0.95)
    )


def test_widening_moves_the_ends_away_from_the_median():
    # Quantiles 0.05, 0.5 and 0.95; twice the distances would be -0.4 and 1.4, cut to 0 and 1.
    found = estimate(0.4, np.arange(101) / 100, 0.9, widening=1.1)
    cut = estimate(0.4, np.arange(101) / 100, 0.9, widening=2.0, bounds=(0.0, 1.0))

    assert found == Estimate(0.4, pytest.approx(0.005), pytest.approx(0.995))
    assert cut == Estimate(0.4, 0.0, 1.0)


def test_basic_interval_is_reflected_and_cut():
    # Quantiles 0.05 and 0.95 about a value of 0.4: 0.8 - 0.95 = -0.15 and 0.8 - 0.05 = 0.75.
    found = estimate(0.4, np.arange(101) / 100, 0.9, method="basic", bounds=(0.0, 1.0))

    assert found == Estimate(0.4, 0.0, pytest.approx(0.75))


def test_a_few_undefined_samples_are_left_out_and_many_leave_no_interval():
    samples = np.where(np.arange(100) < 10, np.nan, 1.0)

    assert estimate(1.0, samples, 0.95) == Estimate(1.0, 1.0, 1.0)
    assert estimate(1.0, np.where(np.arange(100) < 11, np.nan, 1.0), 0.95) == Estimate(1.0)
    assert estimate(float("nan"), samples, 0.95) == Estimate(None)


def test_a_share_of_none_or_all_has_a_width():
    # Ten rows, one block each: 1 - 0.025^(1/10) = 0.3085, the "rule of three" for ten.
    assert estimate_share(0, 10, np.zeros(9), 0.95, widening=1.0, rows_per_block=1.0) == Estimate(
        0.0, 0.0, pytest.approx(0.3085, abs=1e-4)
    )
    assert estimate_share(
        10, 10, np.ones(9), 0.95, widening=1.0, rows_per_block=1.0
    ).low == pytest.approx(0.6915, abs=1e-4)
    # Blocks of five rows leave two observations: 1 - 0.025^(1/2) = 0.8419.
    assert estimate_share(
        0, 10, np.zeros(9), 0.95, widening=1.0, rows_per_block=5.0
    ).high == pytest.approx(0.8419, abs=1e-4)
    assert estimate_share(
        5, 10, np.full(9, 0.5), 0.95, widening=1.0, rows_per_block=1.0
    ) == Estimate(0.5, 0.5, 0.5)
    assert estimate_share(0, 0, np.zeros(9), 0.95, widening=1.0, rows_per_block=1.0) == Estimate(
        None
    )


def test_plain_values_are_what_json_can_hold():
    @dataclass(frozen=True)
    class Part:
        when: date
        values: tuple[object, ...]

    part = Part(date(2020, 1, 2), (np.float64(1.5), np.nan, np.int64(3), True, "x", None))

    assert plain({"a": part, 2: np.array([0.5, np.inf])}) == {
        "a": {"when": "2020-01-02", "values": [1.5, None, 3, True, "x", None]},
        "2": [0.5, None],
    }

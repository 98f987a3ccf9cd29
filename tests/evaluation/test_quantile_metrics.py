from __future__ import annotations

import numpy as np
import pytest
from gaussian_crps import crps_gaussian
from scipy import integrate, stats

from finscale.evaluation.bootstrap import resample
from finscale.evaluation.quantile_metrics import (
    crps_from_quantiles,
    pinball_rows,
    score_quantiles,
)


def crps_by_integration(cdf, y, low=-12.0, high=12.0):
    """∫ (F(x) - 1{x >= y})² dx, the definition."""
    below = integrate.quad(lambda x: cdf(x) ** 2, low, y, limit=200)[0]
    return below + integrate.quad(lambda x: (1.0 - cdf(x)) ** 2, y, high, limit=200)[0]


def test_pinball_by_hand():
    found = pinball_rows([[1.0, 2.0], [1.0, 2.0]], [3.0, 0.5], [0.1, 0.9])

    assert found == pytest.approx(np.array([[0.2, 0.9], [0.45, 0.15]]))


@pytest.mark.parametrize(("mean", "sd", "y"), [(0.0, 1.0, 0.3), (0.5, 2.0, -1.7), (-1.0, 0.5, 2.0)])
def test_normal_crps_is_its_integral(mean, sd, y):
    expected = crps_by_integration(stats.norm(mean, sd).cdf, y)

    assert crps_gaussian([mean], [sd], [y])[0] == pytest.approx(expected, rel=1e-6)


def test_many_quantiles_approach_the_crps():
    levels = (np.arange(400) + 0.5) / 400
    quantiles = stats.norm.ppf(levels)[None].repeat(2, axis=0)

    found = crps_from_quantiles(quantiles, [0.4, -2.0], levels)

    assert found == pytest.approx(crps_gaussian([0.0] * 2, [1.0] * 2, [0.4, -2.0]), rel=2e-3)
    # At evenly spaced levels it is twice the plain mean.
    assert found == pytest.approx(2 * pinball_rows(quantiles, [0.4, -2.0], levels).mean(axis=1))


def test_uneven_levels_weigh_by_the_levels_they_stand_for():
    # Stand for (0, 0.3), (0.3, 0.7) and (0.7, 1).
    loss = pinball_rows([[0.0, 1.0, 2.0]], [1.5], [0.1, 0.5, 0.9])[0]

    found = crps_from_quantiles([[0.0, 1.0, 2.0]], [1.5], [0.1, 0.5, 0.9])

    assert found[0] == pytest.approx(2 * (0.3 * loss[0] + 0.4 * loss[1] + 0.3 * loss[2]))


def test_scores_of_a_calibrated_forecast():
    rng = np.random.default_rng(2)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    y = rng.normal(size=2000)
    quantiles = np.tile(stats.norm.ppf(levels), (2000, 1))
    drawn = resample(np.arange(2000), mean_block=1.0, n_samples=300, seed=0)

    found = score_quantiles(quantiles, y, levels, drawn, reference_BQ=3 * quantiles)

    for below, level in zip(found.below, levels, strict=True):
        assert below.low - 0.01 <= level <= below.high + 0.01
    assert [round(one.nominal, 6) for one in found.intervals] == [0.9, 0.5]
    assert found.intervals[0].coverage.value == pytest.approx(0.9, abs=0.02)
    assert found.intervals[0].width.value == pytest.approx(2 * 1.6449, abs=1e-3)
    assert found.crps_skill.low > 0.2
    assert [one.value for one in found.pinball] == pytest.approx(
        pinball_rows(quantiles, y, levels).mean(axis=0)
    )


@pytest.mark.parametrize(
    ("q", "y", "levels"),
    [
        ([[1.0, 2.0]], [1.0], [0.9, 0.1]),
        ([[1.0, 2.0]], [1.0], [0.0, 0.5]),
        ([[1.0, 2.0]], [1.0, 2.0], [0.1, 0.9]),
        ([[1.0, np.nan]], [1.0], [0.1, 0.9]),
    ],
)
def test_quantiles_that_are_none_are_refused(q, y, levels):
    with pytest.raises(ValueError, match=r"rise|fit|finite"):
        pinball_rows(q, y, levels)

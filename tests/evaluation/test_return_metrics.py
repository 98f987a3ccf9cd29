"""Scores of distributions over bins, on planted forecasts."""

from __future__ import annotations

import numpy as np
import pytest
from gaussian_crps import crps_gaussian

from finscale.evaluation.return_metrics import ReturnMetrics, evaluate_returns
from finscale.return_bins import ReturnBins

N = 4000


def planted(seed: int) -> tuple[np.ndarray, np.ndarray, ReturnBins, np.ndarray]:
    """Return volatilities, returns, bins of other returns like them, and the true bin shares."""
    rng = np.random.default_rng(seed)
    sigma_2N = np.exp(0.5 * rng.standard_normal(2 * N)) * 0.01
    r_2N = sigma_2N * rng.standard_normal(2 * N)
    bins = ReturnBins.fit(r_2N[:N], place="cell")
    sigma, r = sigma_2N[N:], r_2N[N:]
    from scipy.stats import norm

    below = norm.cdf(bins.inner_edges / sigma[:, None])
    p_BK = np.diff(below, axis=1, prepend=0.0, append=1.0)
    return sigma, r, bins, p_BK


SIGMA, R, BINS, TRUE_BK = planted(0)
SCORES = evaluate_returns(TRUE_BK, R, BINS)
BASE = evaluate_returns(np.tile(BINS.share_K, (N, 1)), R, BINS)


def test_the_training_distribution_has_no_skill_by_any_measure() -> None:
    assert BASE.skill == pytest.approx(0.0, abs=1e-12)
    assert BASE.crps_skill == pytest.approx(0.0, abs=1e-12)
    assert BASE.r2 == pytest.approx(0.0, abs=1e-12)
    assert BASE.base_log_loss == pytest.approx(np.log(20.0), abs=0.01)
    assert BASE.collapsed
    assert BASE.collapse_p_value is None


def test_the_true_distribution_has_skill_and_covers_what_it_promises() -> None:
    assert 0.02 < SCORES.skill < 0.2
    assert not SCORES.collapsed
    # Four standard errors of a share of 4000 rows.
    assert SCORES.coverage_90 == pytest.approx(0.9, abs=0.02)
    assert SCORES.coverage_50 == pytest.approx(0.5, abs=0.035)
    assert SCORES.r2 == pytest.approx(0.0, abs=0.01)


def test_the_crps_is_about_that_of_the_normal_law_behind_it() -> None:
    exact = float(crps_gaussian(np.zeros(N), SIGMA, R).mean())
    assert SCORES.crps == pytest.approx(exact, rel=0.02)
    assert SCORES.crps_skill == pytest.approx(1.0 - SCORES.crps / BASE.crps)


def test_the_pinball_loss_of_the_median_is_half_the_mean_distance_from_it() -> None:
    median = float(np.median(R))
    shifted = evaluate_returns(np.tile(BINS.share_K, (N, 1)), R, BINS)
    centre = BINS.quantiles(BINS.share_K[None], [0.5])[0, 0]
    assert abs(centre - median) < 0.001
    assert shifted.pinball_50 == pytest.approx(np.abs(R - centre).mean() / 2)


def test_a_forecast_that_knows_the_sign_has_r2() -> None:
    p_BK = np.where((R > 0)[:, None], np.arange(20) >= 10, np.arange(20) < 10) / 10.0
    r2 = evaluate_returns(p_BK, R, BINS).r2
    side = np.array([BINS.mean_K[:10].mean(), BINS.mean_K[10:].mean()])[(R > 0).astype(int)]
    expected = 1.0 - ((R - side) ** 2).sum() / ((R - BINS.historical_mean) ** 2).sum()
    assert r2 == pytest.approx(expected)
    assert expected > 0.3


def test_forecasts_of_other_rows_are_collapsed_at_the_stated_rate() -> None:
    flagged = []
    for seed in range(60):
        rng = np.random.default_rng([1, seed])
        rows = rng.choice(N, 300, replace=False)
        flagged.append(evaluate_returns(TRUE_BK[rng.permutation(rows)], R[rows], BINS).collapsed)
    # A tenth may go unflagged by chance even if the rate is 5%: P(more than 8 of 60) < 0.3%.
    assert sum(flagged) >= 52


def test_every_score_is_json_ready() -> None:
    assert set(SCORES.as_dict()) == set(ReturnMetrics.__dataclass_fields__)
    assert all(v is None or isinstance(v, bool | int | float) for v in SCORES.as_dict().values())


def test_the_bins_of_the_labels_are_those_of_the_returns() -> None:
    p_BK = np.full((2, 20), 0.05)
    p_BK[0] = np.eye(20)[int(BINS.numbers([R[0]])[0])]
    scores = evaluate_returns(p_BK, R[:2], BINS)
    assert scores.log_loss == pytest.approx(np.log(20.0) / 2)

from __future__ import annotations

import json
from math import exp, log

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finscale.evaluation.calibration import reliability_curve
from finscale.evaluation.metrics import (
    EPS,
    evaluate,
    hindsight_skill,
    log_loss,
    murphy_decomposition,
    sigmoid,
    skill,
)

two_classes = st.lists(
    st.tuples(st.floats(0.0, 1.0, width=16), st.integers(0, 1)), min_size=2, max_size=50
).filter(lambda rows: len({label for _, label in rows}) == 2)


def draw_calibrated(rng, n):
    """Probabilities around 15%, and labels drawn from them."""
    p = rng.beta(1.5, 8.5, size=n)
    return p, (rng.random(n) < p).astype(int)


def test_log_loss_by_hand():
    assert log_loss([0.8, 0.4, 0.5], [1, 0, 1]) == pytest.approx(
        -(log(0.8) + log(0.6) + log(0.5)) / 3
    )


def test_log_loss_of_certainty_is_clipped():
    assert log_loss([0.0], [1]) == pytest.approx(-log(EPS))
    assert log_loss([1.0], [0]) == pytest.approx(-log(EPS))
    assert log_loss([1.0, 0.0], [1, 0]) == pytest.approx(EPS, rel=1e-6)


@settings(deadline=None)
@given(two_classes)
def test_scores_agree_with_scikit_learn(rows):
    p, y = (np.array(column) for column in zip(*rows, strict=True))

    metrics = evaluate(p, y, base_rate=0.14)

    clipped = np.clip(p, EPS, 1 - EPS)
    assert metrics.log_loss == pytest.approx(sklearn.metrics.log_loss(y, clipped), abs=1e-12)
    assert metrics.brier == pytest.approx(sklearn.metrics.brier_score_loss(y, p), abs=1e-12)
    assert metrics.auc == pytest.approx(sklearn.metrics.roc_auc_score(y, p), abs=1e-12)
    assert metrics.average_precision == pytest.approx(
        sklearn.metrics.average_precision_score(y, p), abs=1e-12
    )


def test_skill_of_the_published_figure_is_negative():
    # A loss of 0.3756 where the base rate scores 0.372 is no skill at all.
    assert skill(0.3756, 0.372) == pytest.approx(-0.00968, abs=1e-5)
    assert skill(0.0, 0.372) == 1.0


@pytest.mark.parametrize("base", [0.0, -0.1, float("nan")])
def test_skill_refuses_a_base_loss_that_is_not_positive(base):
    with pytest.raises(ValueError, match="positive"):
        skill(0.3, base)


def test_evaluate_by_hand():
    metrics = evaluate([0.1, 0.2, 0.4, 0.8], [0, 0, 1, 1], base_rate=0.25)

    assert metrics.n == 4
    assert metrics.event_rate == 0.5
    # The base rate of training, 0.25, is scored, not the 0.5 of these rows.
    assert metrics.base_log_loss == pytest.approx(-(log(0.25) + log(0.75)) / 2)
    assert metrics.log_loss == pytest.approx(-(log(0.9) + log(0.8) + log(0.4) + log(0.8)) / 4)
    assert metrics.skill == pytest.approx(1 - metrics.log_loss / metrics.base_log_loss)
    assert metrics.brier == pytest.approx((0.01 + 0.04 + 0.36 + 0.04) / 4)
    assert metrics.brier_skill == pytest.approx(1 - 0.1125 / ((2 * 0.0625 + 2 * 0.5625) / 4))
    # Four rows are four bins of one.
    assert metrics.reliability == pytest.approx(0.1125)
    assert metrics.resolution == pytest.approx(0.25)
    assert metrics.uncertainty == 0.25
    assert metrics.calibration_error == pytest.approx((0.1 + 0.2 + 0.6 + 0.2) / 4)
    assert metrics.auc == 1.0
    assert metrics.average_precision == 1.0
    assert (metrics.p_min, metrics.p_max) == (0.1, 0.8)
    assert metrics.p_05 == pytest.approx(0.115)  # linear between 0.1 and 0.2 at 0.15
    assert metrics.p_95 == pytest.approx(0.74)
    assert metrics.collapse_p_value == pytest.approx(stats.chi2.sf(4.0, 3))


@settings(deadline=None)
@given(two_classes)
def test_murphy_identity_holds_for_binned_probabilities(rows):
    p, y = (np.array(column) for column in zip(*rows, strict=True))
    bins = reliability_curve(p, y)
    order = np.argsort(p, kind="stable")
    binned = np.repeat([b.mean_predicted for b in bins], [b.count for b in bins])

    reliability, resolution, uncertainty = murphy_decomposition(bins)

    assert reliability - resolution + uncertainty == pytest.approx(
        np.mean((binned - y[order]) ** 2), abs=1e-12
    )


@pytest.mark.parametrize("base_rate", [0.14, 0.0, 1.0])
def test_base_rate_has_no_skill_and_is_collapsed(base_rate):
    y = np.array([0, 1, 0, 0, 0, 1, 0])

    metrics = evaluate(np.full(7, base_rate), y, base_rate=base_rate)

    assert metrics.skill == 0.0
    assert metrics.brier_skill == 0.0
    assert metrics.collapsed
    assert metrics.collapse_p_value is None
    assert metrics.resolution == pytest.approx(0.0, abs=1e-30)
    assert metrics.auc == 0.5
    assert metrics.calibration_error == pytest.approx(abs(base_rate - 2 / 7))


def test_predictions_that_differ_by_a_hair_are_collapsed_however_well_ranked():
    y = np.repeat([0, 1], 500)
    p = 0.14 + 1e-4 * y

    metrics = evaluate(p, y, base_rate=0.14)

    assert metrics.auc == 1.0
    assert metrics.collapse_p_value is not None
    assert metrics.collapse_p_value < 1e-10
    assert metrics.collapsed


def test_calibrated_forecaster_is_calibrated_and_has_skill():
    p, y = draw_calibrated(np.random.default_rng(3), 100_000)

    metrics = evaluate(p, y, base_rate=0.15)

    # Noise alone makes some 0.8 sqrt(0.15 * 0.85 / 10,000) = 0.003.
    assert metrics.calibration_error < 0.006
    assert metrics.reliability < 5e-5
    assert metrics.skill > 0.05
    assert not metrics.collapsed


def test_squeezed_probabilities_show_in_the_calibration_error():
    p, y = draw_calibrated(np.random.default_rng(4), 20_000)

    # A second sigmoid: sigmoid of a probability lies between 0.5 and 0.73.
    metrics = evaluate(sigmoid(p), y, base_rate=0.15)

    assert metrics.p_min >= 0.5
    assert metrics.calibration_error > 0.3
    assert metrics.skill < 0.0


def test_noise_is_called_collapsed_in_about_19_of_20_cases():
    rng = np.random.default_rng(5)
    n_runs = 400
    collapsed = sum(
        evaluate(rng.random(500), rng.random(500) < 0.15, base_rate=0.15).collapsed
        for _ in range(n_runs)
    )
    low, high = stats.binom.ppf([0.001, 0.999], n_runs, 0.95)
    assert low <= collapsed <= high  # 382 measured


def test_skill_as_of_simple_baselines_is_never_called_collapsed():
    rng = np.random.default_rng(6)
    for _ in range(200):
        p, y = draw_calibrated(rng, 750)
        metrics = evaluate(p, y, base_rate=0.15)
        assert not metrics.collapsed


def test_one_class_leaves_ranking_scores_undefined():
    metrics = evaluate([0.1, 0.2, 0.3], [0, 0, 0], base_rate=0.0)

    assert metrics.auc is None
    assert metrics.average_precision is None
    assert metrics.collapse_p_value is None
    assert metrics.brier_skill is None
    assert not metrics.collapsed
    text = json.dumps(metrics.as_dict(), allow_nan=False)
    assert json.loads(text)["auc"] is None


@settings(deadline=None)
@given(two_classes, st.floats(0.0, 1.0))
def test_metrics_are_json_safe(rows, base_rate):
    p, y = (np.array(column) for column in zip(*rows, strict=True))
    metrics = evaluate(p, y, base_rate=base_rate)
    assert json.loads(json.dumps(metrics.as_dict(), allow_nan=False)) == metrics.as_dict()


@pytest.mark.parametrize("base_rate", [-0.1, 1.1, float("nan")])
def test_impossible_base_rate_is_refused(base_rate):
    with pytest.raises(ValueError, match="base rate"):
        evaluate([0.5], [1], base_rate=base_rate)


def test_sigmoid_is_stable_and_double():
    logits = np.array([-800.0, -2.0, 0.0, 2.0, 800.0], dtype=np.float32)

    p = sigmoid(logits)

    assert p.dtype == np.float64
    assert p.tolist() == pytest.approx([0.0, 1 / (1 + exp(2)), 0.5, 1 / (1 + exp(-2)), 1.0])
    assert sigmoid([[0.0]]).shape == (1, 1)


def test_hindsight_skill_is_the_skill_of_the_rows_own_rate() -> None:
    y = np.array([1.0] * 3 + [0.0] * 17)
    expected = evaluate(np.full(20, 0.15), y, base_rate=0.25).skill
    assert hindsight_skill(0.15, 0.25) == pytest.approx(expected)
    assert hindsight_skill(0.25, 0.25) == 0.0
    assert hindsight_skill(0.0, 0.25) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="base rate must be within"):
        hindsight_skill(0.2, 0.0)

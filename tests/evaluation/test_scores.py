from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from finscale.evaluation.bootstrap import resample, stationary_indices
from finscale.evaluation.metrics import evaluate
from finscale.evaluation.ranking import rank_samples, rank_scores
from finscale.evaluation.reliability import score_calibration
from finscale.evaluation.scores import score_forecasts

weighted_rows = st.lists(
    st.tuples(st.sampled_from([0.1, 0.14, 0.3, 0.5, 0.9]), st.integers(0, 1), st.integers(0, 3)),
    min_size=2,
    max_size=30,
)


@pytest.fixture(name="rows")
def some_rows():
    rng = np.random.default_rng(3)
    y = (rng.random(300) < 0.3).astype(float)
    p = np.round(np.clip(0.3 + 0.2 * (y - 0.3) + 0.15 * rng.normal(size=300), 0.02, 0.97), 2)
    return p, y, resample(np.arange(300), mean_block=4.0, n_samples=60, seed=1)


@settings(deadline=None, max_examples=60)
@given(weighted_rows)
def test_weighted_ranks_are_those_of_repeated_rows(rows):
    p, y, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    p_N, y_N = np.repeat(p, weight.astype(int)), np.repeat(y, weight.astype(int))

    found = rank_scores(p, y, weight[:, None], quantiles=(0.05, 0.5, 0.95))

    if p_N.size > 0 and 0 < y_N.sum() < y_N.size:
        assert found.auc_S[0] == pytest.approx(reference.roc_auc_score(y_N, p_N))
        assert found.average_precision_S[0] == pytest.approx(
            reference.average_precision_score(y_N, p_N)
        )
    else:
        assert np.isnan([found.auc_S[0], found.average_precision_S[0]]).all()
    if p_N.size > 0:
        expected = np.quantile(p_N, [0.05, 0.5, 0.95], method="inverted_cdf")
        assert found.quantile_QS[:, 0].tolist() == expected.tolist()


def test_precision_at_recall_by_hand():
    # Events at ranks 1, 3, 4 and 6 of 6. Half of the four events: two, found by flagging three.
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    y = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])

    found = rank_scores(p, y, np.ones((6, 1)), recalls=(0.5, 0.75, 0.8))

    assert found.precision_RS[:, 0] == pytest.approx([2 / 3, 3 / 4, 4 / 6])


def test_rank_samples_are_scores_of_the_drawn_rows(rows, monkeypatch):
    p, y, drawn = rows
    monkeypatch.setattr("finscale.evaluation.ranking._CHUNK_VALUES", 300 * 7)

    found = rank_samples(p, y, drawn, recalls=(0.5,))

    index_ST = stationary_indices(300, 4.0, 60, 1)
    expected = [reference.roc_auc_score(y[index], p[index]) for index in index_ST]
    assert found.auc_S == pytest.approx(expected)
    assert found.precision_RS.shape == (1, 60)


def test_samples_of_many_rows_are_of_rounded_forecasts():
    rng = np.random.default_rng(0)
    y = (rng.random(6000) < 0.3).astype(float)
    p = np.clip(0.3 + 0.1 * (y - 0.3) + 0.1 * rng.normal(size=6000), 0.001, 0.999)
    once = replace(
        resample(np.arange(6000) // 6, mean_block=1.0, n_samples=1, seed=1),
        weight_TS=np.ones((1000, 1)),
    )

    rounded = rank_samples(p, y, once, recalls=(0.5,), quantiles=(0.05,))
    exact = rank_scores(p, y, np.ones((6000, 1)), recalls=(0.5,), quantiles=(0.05,))

    assert rounded.auc_S != exact.auc_S
    assert rounded.auc_S == pytest.approx(exact.auc_S, abs=0.001)
    assert rounded.average_precision_S == pytest.approx(exact.average_precision_S, abs=0.005)
    assert rounded.precision_RS[0] == pytest.approx(exact.precision_RS[0], abs=0.005)
    assert rounded.quantile_QS[0] == pytest.approx(exact.quantile_QS[0], abs=0.001)


def test_values_agree_with_the_scores_without_intervals(rows):
    p, y, drawn = rows

    found = score_forecasts(p, y, drawn, base_rate=0.25, benchmark_B=np.full(300, 0.25))
    plain = evaluate(p, y, base_rate=0.25)

    for name in ("log_loss", "skill", "brier", "brier_skill", "auc", "average_precision"):
        assert getattr(found, name).value == pytest.approx(getattr(plain, name)), name
    for name in ("reliability", "resolution", "uncertainty", "calibration_error"):
        assert getattr(found.calibration, name).value == pytest.approx(getattr(plain, name)), name
    assert found.skill_vs_benchmark == found.skill
    assert found.n_rows == found.n_dates == 300


def test_intervals_are_those_of_scoring_every_sample(rows):
    p, y, drawn = rows
    drawn = replace(drawn, confidence=0.9)

    found = score_forecasts(p, y, drawn, base_rate=0.25)

    samples = [
        evaluate(p[index], y[index], base_rate=0.25).skill
        for index in stationary_indices(300, 4.0, 60, 1)
    ]
    low, middle, high = np.quantile(samples, [0.05, 0.5, 0.95])
    assert [found.skill.low, found.skill.high] == pytest.approx(
        [middle - drawn.widening * (middle - low), middle + drawn.widening * (high - middle)]
    )
    assert found.skill_vs_benchmark is None


def test_threshold_table_by_hand(rows):
    _, _, drawn = rows
    four = replace(drawn, date_of_row_B=np.arange(4), weight_TS=np.ones((4, 20)))

    table = score_forecasts(
        [0.1, 0.4, 0.6, 0.8], [0, 1, 0, 1], four, base_rate=0.5, thresholds=(0.5, 0.8, 0.9)
    ).thresholds

    assert [row.flagged_frac.value for row in table] == [0.5, 0.25, 0.0]
    assert [row.precision.value for row in table] == [0.5, 1.0, None]
    assert [row.recall.value for row in table] == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(("shift", "fewest", "most"), [(0.0, 0, 8), (0.12, 55, 60)])
def test_miscalibration_is_found_where_it_is_and_rarely_where_it_is_not(shift, fewest, most):
    rng = np.random.default_rng(8)
    rejected, noise, error = 0, [], []
    for repetition in range(60):
        p = rng.uniform(0.1, 0.6, 400)
        y = (rng.random(400) < p + shift).astype(float)
        drawn = resample(np.arange(400), mean_block=1.0, n_samples=200, seed=repetition)
        found = score_calibration(p, y, drawn)
        rejected += found.calibrated_p_value < 0.05
        noise.append(found.calibration_noise)
        error.append(found.calibration_error.value)

    assert fewest <= rejected <= most
    if shift == 0.0:
        assert np.mean(noise) == pytest.approx(np.mean(error), rel=0.1)


def test_skill_intervals_cover_where_labels_overlap():
    # Labels shared by neighbouring rows: the interval over single rows would be too narrow.
    rng = np.random.default_rng(5)
    covered = 0
    for repetition in range(100):
        shock = rng.random(1004) < 0.15
        y = np.lib.stride_tricks.sliding_window_view(shock, 5).any(axis=1).astype(float)
        rate = 1 - 0.85**5
        drawn = resample(np.arange(1000), mean_block=10.0, n_samples=200, seed=repetition)
        rate_of_events = score_forecasts(np.full(1000, 0.5), y, drawn, base_rate=0.5).event_rate
        covered += rate_of_events.low <= rate <= rate_of_events.high

    assert 87 <= covered <= 100


@pytest.mark.parametrize(
    ("p", "base_rate", "message"),
    [([0.5], 0.3, "resampled rows"), (np.full(300, 0.5), 1.0, "base rate")],
)
def test_mismatches_are_refused(rows, p, base_rate, message):
    _, y, drawn = rows
    with pytest.raises(ValueError, match=message):
        score_forecasts(p, y[: len(p)], drawn, base_rate=base_rate)

"""Models of whole windows: their inputs, their directions, their solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from finscale.baselines import directions, perceptron
from finscale.baselines.contract import Fit
from finscale.baselines.directions import leading_directions
from finscale.baselines.folds import one_thread, total_nats
from finscale.baselines.linear import (
    drawn,
    fit_linear_window,
    window_summaries,
    window_values,
)
from finscale.baselines.path import logistic_path
from finscale.dataset.cell import CellData
from tiny import CELL, tiny_prepared


@pytest.fixture(scope="module")
def data() -> CellData:
    return tiny_prepared().cells[CELL]


def test_window_values_are_the_rows_up_to_the_anchor(data: CellData) -> None:
    rows = data.split.train[[5, 40]]
    found = window_values(data)(rows).numpy()
    assert found.shape == (2, 60 * len(data.feature_names))
    for row, one in zip(rows, found, strict=True):
        assert np.array_equal(one, data.scaled_TF[row - 59 : row + 1].ravel())


def test_window_summaries_by_a_second_way(data: CellData) -> None:
    row = data.split.train[7]
    x_LF = data.scaled_TF[row - 59 : row + 1].astype(np.float64)
    weights = 0.5 ** (np.arange(60)[::-1] / 5)
    expected = np.concatenate(
        [x_LF[-1], np.average(x_LF, axis=0, weights=weights), x_LF.mean(0), x_LF.std(0)]
    )
    assert window_summaries(data)(np.array([row])).numpy()[0] == pytest.approx(expected, abs=1e-5)


def inputs_of(x: np.ndarray) -> directions.Inputs:
    matrix = torch.from_numpy(x.astype(np.float32))
    return lambda rows: matrix[torch.from_numpy(rows)]


def test_few_inputs_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 12)) @ rng.standard_normal((12, 12)) + 3
    # More than one batch has to give the same.
    monkeypatch.setattr(directions, "_BATCH_ROWS", 70)
    z = leading_directions(inputs_of(x), np.arange(300)).coordinates(np.arange(300))
    centred = x - x.mean(0)
    assert z @ z.T == pytest.approx(centred @ centred.T, abs=1e-2)
    covariance = z.T @ z
    assert np.diag(covariance).tolist() == sorted(np.diag(covariance), reverse=True)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-2


def test_of_many_inputs_the_widest_directions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 80)) * np.geomspace(10, 0.1, 80)
    x = x @ np.linalg.qr(rng.standard_normal((80, 80)))[0]
    monkeypatch.setattr(directions, "MAX_DIRECTIONS", 10)
    z = leading_directions(inputs_of(x), np.arange(400)).coordinates(np.arange(400))
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)
    assert z.shape == (400, 10)
    assert (z**2).sum() > 0.96 * (singular[:10] ** 2).sum()


def noisy_labels(x: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random(len(x)) < 1 / (1 + np.exp(1 - x[:, 0]))).astype(np.float32)


def test_the_path_is_what_scikit_learn_finds() -> None:
    z = np.random.default_rng(2).standard_normal((500, 8)) * np.geomspace(20, 0.2, 8)
    y = noisy_labels(z / 20, 3)
    strengths = (1e-4, 1e-2, 1.0)
    for strength, line in zip(strengths, logistic_path(z, y, strengths), strict=True):
        theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(z, y)
        assert line.weights_K == pytest.approx(theirs.coef_[0], abs=1e-4)
        assert line.intercept == pytest.approx(theirs.intercept_[0], abs=1e-4)
        assert line.probabilities(z) == pytest.approx(theirs.predict_proba(z)[:, 1], abs=1e-4)


def test_a_linear_model_reads_what_stands_early_in_the_window(data: CellData) -> None:
    column = data.feature_names.index("log_range")
    past_T = np.roll(data.scaled_TF[:, column], 30)
    middle = np.median(past_T[data.split.train])
    planted = replace(data, labels_T=(past_T > middle).astype(np.float32))
    rows = data.split.validation
    p = fit_linear_window(planted, 0).predict(rows)
    labels = planted.labels_T[rows]
    assert total_nats(p, labels) < 0.6 * total_nats(np.full(len(rows), 0.5), labels)


def test_a_network_finds_what_no_line_can(data: CellData) -> None:
    noise = np.random.default_rng(0).standard_normal((len(data.date), 1)).astype(np.float32)
    labels_T = (noise[:, 0] * np.roll(noise[:, 0], 1) > 0).astype(np.float32)
    # Windows of two rows: whether they have the same sign.
    planted = replace(
        data,
        scaled_TF=noise,
        context_length=2,
        labels_T=labels_T,
        split=replace(data.split, train=np.arange(2, 2500)),
    )
    rows = np.arange(4001, 5000)
    base = total_nats(np.full(len(rows), 0.5), labels_T[rows])
    network = total_nats(perceptron.fit_mlp_window(planted, 0).predict(rows), labels_T[rows])
    line = total_nats(fit_linear_window(planted, 0).predict(rows), labels_T[rows])
    assert network < 0.8 * base
    assert line > 0.98 * base


def test_without_folds_a_network_is_trained_for_one_epoch(data: CellData) -> None:
    few = replace(data.split, train=data.split.train[:3])
    labels_T = data.labels_T.copy()
    labels_T[few.train] = [0, 0, 1]
    fitted = perceptron.fit_mlp_window(replace(data, split=few, labels_T=labels_T), 0)
    assert fitted.chosen == {"epochs": 1}
    assert np.isfinite(fitted.predict(data.split.validation)).all()


@pytest.mark.parametrize("fit", [perceptron.fit_mlp_window, fit_linear_window])
def test_the_number_of_threads_changes_nothing(
    fit: Fit, data: CellData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptron, "MAX_EPOCHS", 3)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            with one_thread():
                found.append(fit(data, 1).predict(data.split.validation))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)


def test_of_many_rows_some_are_drawn_always_the_same() -> None:
    rows = np.arange(1000, 2000)
    found = drawn(rows, 100)
    assert len(np.unique(found)) == 100
    assert set(found) < set(rows)
    assert np.array_equal(found, np.sort(found))
    assert np.array_equal(found, drawn(rows, 100))
    assert drawn(rows, 1000) is rows

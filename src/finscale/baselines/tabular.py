"""Baselines that see the features of row t alone, the last row of the transformer's window."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier

from finscale.baselines.contract import Fitted
from finscale.baselines.folds import Dates, FloatArray, one_thread
from finscale.baselines.strength import choose_strength, exact, logistic
from finscale.baselines.trees import (
    boosting,
    choose_leaf_size,
    choose_n_iterations,
    forest,
    gains_from_threads,
    in_order,
)
from finscale.dataset.cell import CellData
from finscale.splits import IntArray


class Classifier(Protocol):
    """The part of scikit-learn's contract that is used."""

    classes_: NDArray[np.float32]

    def predict_proba(self, x_NF: NDArray[np.float32] | FloatArray) -> FloatArray:
        """Return N × 2 probabilities of labels 0 and 1."""


# The same in every tier, so that skill above volatility means the same in every tier.
VOLATILITY = (
    "log_natr_14",
    "log_range",
    "log_realized_volatility_5",
    "log_realized_volatility_20",
    "log_parkinson_volatility_10",
)


class _Training(NamedTuple):
    """What a model is fitted on."""

    x_NF: NDArray[np.float32]
    y_N: NDArray[np.float32]
    dates_N: Dates
    horizon_bars: int


def fit_base_rate(data: CellData, _: int) -> Fitted:
    """Predict the share of positive labels among the training anchors, whatever the row."""
    training = _training(data, data.feature_names)
    model = DummyClassifier(strategy="prior").fit(training.x_NF, training.y_N)
    return _fitted(model, {}, data, data.feature_names)


def fit_logistic_volatility(data: CellData, _: int) -> Fitted:
    """Fit a logistic regression on five measures of volatility."""
    return _fit_logistic(data, VOLATILITY)


def fit_logistic_all(data: CellData, _: int) -> Fitted:
    """Fit a logistic regression on all features."""
    return _fit_logistic(data, data.feature_names)


def fit_random_forest(data: CellData, seed: int) -> Fitted:
    """Fit a random forest on all features."""
    training = _training(data, data.feature_names)
    leaf_size = choose_leaf_size(*training, seed)
    model = forest(leaf_size, seed, len(training.y_N)).fit(training.x_NF, training.y_N)
    return _fitted(in_order(model), {"min_samples_leaf": leaf_size}, data, data.feature_names)


def fit_gradient_boosting(data: CellData, seed: int) -> Fitted:
    """Fit a gradient boosting on all features."""
    training = _training(data, data.feature_names)
    with one_thread():
        n_iterations = choose_n_iterations(*training, seed)
    threads: AbstractContextManager[object] = (
        nullcontext() if gains_from_threads(len(training.y_N)) else one_thread()
    )
    with threads:
        model = boosting(n_iterations, seed).fit(training.x_NF, training.y_N)
    return _fitted(model, {"max_iter": n_iterations}, data, data.feature_names)


def _fit_logistic(data: CellData, names: tuple[str, ...]) -> Fitted:
    training = _training(data, names)
    strength = choose_strength(*training)
    with one_thread():
        model = logistic(strength).fit(exact(training.x_NF), training.y_N)
    return _fitted(model, {"C": strength}, data, names)


def _training(data: CellData, names: tuple[str, ...]) -> _Training:
    rows = data.split.train
    x_NF = _features(data, names, rows)
    return _Training(x_NF, data.labels_T[rows], data.date[rows], data.cell.horizon_bars)


def _fitted(
    model: Classifier, chosen: Mapping[str, float], data: CellData, names: tuple[str, ...]
) -> Fitted:
    def predict(rows: IntArray) -> FloatArray:
        return model.predict_proba(_features(data, names, rows))[:, 1]

    return Fitted(predict, chosen)


def _features(data: CellData, names: tuple[str, ...], rows: IntArray) -> NDArray[np.float32]:
    columns = np.array([data.feature_names.index(one) for one in names])
    return np.asarray(data.scaled_TF[np.ix_(rows, columns)])

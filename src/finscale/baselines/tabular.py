"""The baselines, under one contract: fitted on training rows, probabilities for any rows.

A baseline sees the features of row t alone (the last row of the transformer's window), scaled the
same way. What it has to choose it chooses inside the training rows, by cross-validation ordered in
time (`finscale.baselines.folds`); none sees a validation or test label.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier

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
from finscale.study import BaselineName


class Classifier(Protocol):
    """The part of scikit-learn's contract that is used."""

    def predict_proba(self, x_NF: NDArray[np.float32]) -> FloatArray:
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
    """What a baseline is fitted on."""

    x_NF: NDArray[np.float32]
    y_N: NDArray[np.float32]
    dates_N: Dates
    horizon_bars: int


_Fitted = tuple[Classifier, dict[str, float]]


def _fit_base_rate(training: _Training, _: int) -> _Fitted:
    return DummyClassifier(strategy="prior").fit(training.x_NF, training.y_N), {}


def _fit_logistic(training: _Training, _: int) -> _Fitted:
    strength = choose_strength(*training)
    with one_thread():
        model = logistic(strength).fit(exact(training.x_NF), training.y_N)
    return model, {"C": strength}


def _fit_forest(training: _Training, seed: int) -> _Fitted:
    leaf_size = choose_leaf_size(*training, seed)
    model = forest(leaf_size, seed, len(training.y_N)).fit(training.x_NF, training.y_N)
    return in_order(model), {"min_samples_leaf": leaf_size}


def _fit_boosting(training: _Training, seed: int) -> _Fitted:
    with one_thread():
        n_iterations = choose_n_iterations(*training, seed)
    threads: AbstractContextManager[object] = (
        nullcontext() if gains_from_threads(len(training.y_N)) else one_thread()
    )
    with threads:
        model = boosting(n_iterations, seed).fit(training.x_NF, training.y_N)
    return model, {"max_iter": n_iterations}


_FIT: dict[BaselineName, Callable[[_Training, int], _Fitted]] = {
    "base_rate": _fit_base_rate,
    "logistic_volatility": _fit_logistic,
    "logistic_all": _fit_logistic,
    "random_forest": _fit_forest,
    "gradient_boosting": _fit_boosting,
}


class FittedBaseline:
    """A baseline fitted on the training anchors of a cell.

    Parameters
    ----------
    name
        Which one.
    data
        The cell.
    seed
        Of the forest's and the boosting's random draws; the others have none.

    Attributes
    ----------
    chosen
        What was chosen inside the training rows: ``C``, the inverse L2 strength, of a logistic
        regression; ``min_samples_leaf`` of the forest; ``max_iter`` of the boosting.
    """

    def __init__(self, name: BaselineName, data: CellData, seed: int) -> None:
        self._data = data
        seen = VOLATILITY if name == "logistic_volatility" else data.feature_names
        self._columns = np.array([data.feature_names.index(one) for one in seen])
        rows = data.split.train
        training = _Training(
            self._features(rows), data.labels_T[rows], data.date[rows], data.cell.horizon_bars
        )
        self.chosen: dict[str, float]
        self._classifier, self.chosen = _FIT[name](training, seed)

    def predict(self, rows: IntArray) -> FloatArray:
        """Return the probability of label 1 at anchor rows."""
        with one_thread():
            probabilities = self._classifier.predict_proba(self._features(rows))[:, 1]
        return probabilities.astype(np.float64)

    def _features(self, rows: IntArray) -> NDArray[np.float32]:
        return np.asarray(self._data.scaled_TF[np.ix_(rows, self._columns)])

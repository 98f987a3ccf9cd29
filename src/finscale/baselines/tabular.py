"""The baselines, under one contract: fitted on training rows, probabilities for any rows.

A baseline sees the features of row t alone (the last row of the transformer's window), scaled the
same way. None is tuned; none sees a validation or test label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from finscale.dataset.cell import CellData
from finscale.splits import IntArray
from finscale.study import BaselineName

FloatArray = NDArray[np.float64]


class Classifier(Protocol):
    """The part of scikit-learn's contract that is used."""

    def fit(self, x_NF: NDArray[np.float32], y_N: NDArray[np.float32]) -> object:
        """Fit on training rows."""

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


def _logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=2000)


_CLASSIFIERS: dict[BaselineName, Callable[[int], Classifier]] = {
    "base_rate": lambda _: DummyClassifier(strategy="prior"),
    "logistic_volatility": lambda _: _logistic(),
    "logistic_all": lambda _: _logistic(),
    "random_forest": lambda seed: RandomForestClassifier(
        n_estimators=500, min_samples_leaf=20, n_jobs=-1, random_state=seed
    ),
    "gradient_boosting": lambda seed: HistGradientBoostingClassifier(
        learning_rate=0.03, max_iter=100, max_leaf_nodes=8, min_samples_leaf=40, random_state=seed
    ),
}


def _one_openmp_thread() -> threadpool_limits:
    """Boosting on a few thousand rows gains nothing from threads, and waits for them when busy."""
    return threadpool_limits(1, user_api="openmp")


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
    """

    def __init__(self, name: BaselineName, data: CellData, seed: int) -> None:
        self._data = data
        chosen = VOLATILITY if name == "logistic_volatility" else data.feature_names
        self._columns = np.array([data.feature_names.index(one) for one in chosen])
        self._classifier = _CLASSIFIERS[name](seed)
        with _one_openmp_thread():
            self._classifier.fit(self._features(data.split.train), data.labels_T[data.split.train])

    def predict(self, rows: IntArray) -> FloatArray:
        """Return the probability of label 1 at anchor rows."""
        probabilities = self._classifier.predict_proba(self._features(rows))[:, 1]
        return probabilities.astype(np.float64)

    def _features(self, rows: IntArray) -> NDArray[np.float32]:
        return np.asarray(self._data.scaled_TF[np.ix_(rows, self._columns)])

"""Baselines of the task ``return``: a distribution over its bins, from the same rows.

They are the forms for many labels of the binary baselines that have one. Those left out: gradient
boosting grows a tree for every bin at every stage, which takes twenty times as long and on a few
thousand rows overfits from the first stages; those on whole windows have a solver for one logit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finscale.baselines.contract import Fit, Fitted
from finscale.baselines.folds import FloatArray, Fold, least_loss, one_thread, ordered_folds
from finscale.baselines.garch import fit_garch
from finscale.baselines.har import fit_har
from finscale.baselines.strength import STRENGTHS, exact, logistic
from finscale.baselines.tabular import VOLATILITY, Classifier
from finscale.baselines.trees import forest, in_order
from finscale.dataset.cell import CellData
from finscale.splits import IntArray
from finscale.study import BaselineName

LEAF_SIZES = (320, 160, 80, 40)
"""Rows of a leaf of the forest: with 20 bins a leaf has to hold more than for two labels."""

_N_TREES_TO_CHOOSE = 50
_EPS = 1e-7

Features = NDArray[np.float32]


class _Rows:
    """Training rows of a cell, seen through some of its features."""

    def __init__(self, data: CellData, names: Sequence[str]) -> None:
        self._data = data
        self._columns = np.array([data.feature_names.index(one) for one in names])
        rows = data.split.train
        self.x_NF, self.y_N = self.features(rows), data.labels_T[rows]
        self.folds = ordered_folds(data.date[rows], self.y_N, data.cell.horizon_bars)
        self.n_bins = len(np.atleast_1d(data.base_rate))

    def features(self, rows: IntArray) -> Features:
        return np.asarray(self._data.scaled_TF[np.ix_(rows, self._columns)])

    def fitted(self, model: Classifier, chosen: dict[str, float]) -> Fitted:
        return Fitted(lambda rows: _shares(model, self.features(rows), self.n_bins), chosen)


def fit_base_rate(data: CellData, _: int) -> Fitted:
    """Predict the share of each bin among the training anchors, whatever the row."""
    share_K = np.asarray(data.base_rate, dtype=np.float64)
    return Fitted(lambda rows: np.tile(share_K, (len(rows), 1)), {})


def fit_logistic_volatility(data: CellData, _: int) -> Fitted:
    """Fit a multinomial logistic regression on five measures of volatility."""
    return _fit_logistic(_Rows(data, VOLATILITY))


def fit_logistic_all(data: CellData, _: int) -> Fitted:
    """Fit a multinomial logistic regression on all features."""
    return _fit_logistic(_Rows(data, data.feature_names))


def fit_random_forest(data: CellData, seed: int) -> Fitted:
    """Fit a random forest on all features."""
    rows = _Rows(data, data.feature_names)

    def losses(fold: Fold) -> list[float]:
        found = []
        for leaf_size in LEAF_SIZES:
            model = forest(leaf_size, seed, len(fold.train), n_trees=_N_TREES_TO_CHOOSE)
            model.fit(rows.x_NF[fold.train], rows.y_N[fold.train])
            found.append(_total_nats(in_order(model), rows, fold, rows.x_NF[fold.validation]))
        return found

    leaf_size = least_loss(rows.folds, LEAF_SIZES, losses)
    model = forest(leaf_size, seed, len(rows.y_N)).fit(rows.x_NF, rows.y_N)
    return rows.fitted(in_order(model), {"min_samples_leaf": leaf_size})


FIT_RETURN: dict[BaselineName, Fit] = {
    "base_rate": fit_base_rate,
    "logistic_volatility": fit_logistic_volatility,
    "logistic_all": fit_logistic_all,
    "random_forest": fit_random_forest,
    "garch": fit_garch,
    "har_range": fit_har,
}


def _fit_logistic(rows: _Rows) -> Fitted:
    def losses(fold: Fold) -> list[float]:
        x_train, x_validation = exact(rows.x_NF[fold.train]), exact(rows.x_NF[fold.validation])
        model = logistic(STRENGTHS[0]).set_params(warm_start=True)
        found = []
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(x_train, rows.y_N[fold.train])
            found.append(_total_nats(model, rows, fold, x_validation))
        return found

    with one_thread():
        strength = least_loss(rows.folds, STRENGTHS, losses)
        model = logistic(strength).fit(exact(rows.x_NF), rows.y_N)
    return rows.fitted(model, {"C": strength})


def _total_nats(model: Classifier, rows: _Rows, fold: Fold, x_NF: Features | FloatArray) -> float:
    """Return the sum of the log-losses over the validation rows of a fold."""
    p_NK = _shares(model, x_NF, rows.n_bins)
    own_N = p_NK[np.arange(len(p_NK)), rows.y_N[fold.validation].astype(np.int64)]
    return float(-np.log(np.maximum(own_N, _EPS)).sum())


def _shares(model: Classifier, x_NF: Features | FloatArray, n_bins: int) -> FloatArray:
    """Return the probability of every bin, zero for those that the model has not seen."""
    p_NK = np.zeros((len(x_NF), n_bins))
    p_NK[:, model.classes_.astype(np.int64)] = model.predict_proba(x_NF)
    return p_NK

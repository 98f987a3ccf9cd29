"""Random forest and gradient boosting, each with the one setting that matters most chosen.

The forest's is how many rows a leaf must hold, the boosting's how many trees it takes. Both are
chosen as a logistic regression's strength is; the other settings are conventional.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from finscale.baselines.folds import (
    MAX_ROWS,
    Dates,
    Fold,
    least_loss,
    ordered_folds,
    total_nats,
)

LEAF_SIZES = (160, 80, 40, 20)
N_ITERATIONS = (50, 100, 200, 400)

N_TREES = 500
# Enough to rank leaf sizes: their order settles long before the forecast does.
_N_TREES_TO_CHOOSE = 50
MAX_ROWS_OF_TREE = 20_000
"""Each tree of a forest draws at most so many rows, so that panels take minutes, not hours."""

Features = NDArray[np.float32]
Labels = NDArray[np.float32]


def choose_leaf_size(
    x_NF: Features, y_N: Labels, dates_N: Dates, horizon_bars: int, seed: int
) -> int:
    """Choose how many rows a leaf of the forest holds; see `choose_strength` for the parameters."""

    def losses(fold: Fold) -> list[float]:
        found = []
        for leaf_size in LEAF_SIZES:
            model = forest(leaf_size, seed, len(fold.train), n_trees=_N_TREES_TO_CHOOSE)
            model.fit(x_NF[fold.train], y_N[fold.train])
            p_N = in_order(model).predict_proba(x_NF[fold.validation])[:, 1]
            found.append(total_nats(p_N, y_N[fold.validation]))
        return found

    return least_loss(ordered_folds(dates_N, y_N, horizon_bars), LEAF_SIZES, losses)


def choose_n_iterations(
    x_NF: Features, y_N: Labels, dates_N: Dates, horizon_bars: int, seed: int
) -> int:
    """Choose how many trees the boosting takes; see `choose_strength` for the parameters."""

    def losses(fold: Fold) -> list[float]:
        model = boosting(N_ITERATIONS[-1], seed).fit(x_NF[fold.train], y_N[fold.train])
        stages = enumerate(model.staged_predict_proba(x_NF[fold.validation]), start=1)
        return [
            total_nats(p_N2[:, 1], y_N[fold.validation])
            for number, p_N2 in stages
            if number in N_ITERATIONS
        ]

    return least_loss(ordered_folds(dates_N, y_N, horizon_bars), N_ITERATIONS, losses)


def forest(
    leaf_size: int, seed: int, n_rows: int, *, n_trees: int = N_TREES
) -> RandomForestClassifier:
    """Return a forest, not fitted, for so many training rows."""
    return RandomForestClassifier(
        n_estimators=n_trees,
        min_samples_leaf=leaf_size,
        max_samples=min(n_rows, MAX_ROWS_OF_TREE),
        n_jobs=-1,
        random_state=seed,
    )


def in_order(model: RandomForestClassifier) -> RandomForestClassifier:
    """Let a fitted forest add up its trees one after another: in threads their order varies."""
    return model.set_params(n_jobs=1)


def boosting(n_iterations: int, seed: int) -> HistGradientBoostingClassifier:
    """Return a boosting, not fitted.

    Its own early stopping, which comes into play above 10,000 rows, is off: it holds out rows drawn
    at random, whose labels overlap those of the rows beside them.
    """
    return HistGradientBoostingClassifier(
        learning_rate=0.03,
        max_iter=n_iterations,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        early_stopping=False,
        random_state=seed,
    )


def gains_from_threads(n_rows: int) -> bool:
    """Whether boosting is worth threads, which do not change its result."""
    return n_rows > MAX_ROWS

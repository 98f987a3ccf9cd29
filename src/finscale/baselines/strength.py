"""Logistic regression with an L2 strength that is chosen, not given.

At one fixed strength the model is a straw man on many features: with C = 1, 200 features of the
S&P 500 score no skill on test, and with a C chosen here as much as 25 do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from finscale.baselines.folds import (
    MAX_ROWS,
    Dates,
    Fold,
    least_loss,
    one_thread,
    ordered_folds,
    total_nats,
)

STRENGTHS: tuple[float, ...] = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 1))
"""Inverse strengths C, from 1e-4 (the strongest regularisation) to 1, two to a decade.

C is the variance of a normal prior on the coefficients, so the grid suits any number of rows.
"""


def choose_strength(
    x_NF: NDArray[np.float32], y_N: NDArray[np.float32], dates_N: Dates, horizon_bars: int
) -> float:
    """Choose the C of a logistic regression by ordered cross-validation inside training rows.

    The C with the lowest log-loss over the validation rows of all folds
    (`finscale.baselines.folds.ordered_folds`) is chosen. Nothing is drawn at random, and BLAS is
    held to one thread, so the choice does not depend on the machine's cores.

    Parameters
    ----------
    x_NF
        Scaled features of the training rows.
    y_N
        Their labels, 0 or 1.
    dates_N
        Session of each row; symbols are stacked one after another.
    horizon_bars
        How far a label reaches.

    Returns
    -------
    float
        One of `STRENGTHS`; the strongest where the rows are too few for a fold.
    """

    def losses(fold: Fold) -> list[float]:
        x_train, x_validation = (exact(x_NF[rows]) for rows in (fold.train, fold.validation))
        # From strong to weak, each starts where the one before it ended.
        model = logistic(STRENGTHS[0]).set_params(warm_start=True)
        found = []
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(x_train, y_N[fold.train])
            p_N = model.predict_proba(x_validation)[:, 1]
            found.append(total_nats(p_N, y_N[fold.validation]))
        return found

    with one_thread():
        return least_loss(ordered_folds(dates_N, y_N, horizon_bars), STRENGTHS, losses)


def logistic(strength: float) -> LogisticRegression:
    """Return the model, not fitted, with its intercept free of the penalty."""
    return LogisticRegression(C=strength, max_iter=2000)


def exact(x_NF: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return float64 where the rows are few; a panel of millions would not fit twice."""
    return x_NF.astype(np.float64) if len(x_NF) <= MAX_ROWS else x_NF

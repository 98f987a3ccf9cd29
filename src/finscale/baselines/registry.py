"""The baselines, under one contract: fitted on training rows, probabilities for any rows.

They see what the transformer sees, scaled the same way: the last row of its window, summaries of
the window, or all of it; GARCH and HAR see the bars themselves. What a baseline has to choose it
chooses inside the training rows, in the order of time (`finscale.baselines.folds`); none sees a
validation or test label, or a bar after those that the training labels read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finscale.baselines.contract import Fit
from finscale.baselines.folds import FloatArray, one_thread
from finscale.baselines.garch import fit_garch
from finscale.baselines.har import fit_har
from finscale.baselines.linear import fit_linear_window, fit_logistic_window
from finscale.baselines.perceptron import fit_mlp_window
from finscale.baselines.returns import FIT_RETURN
from finscale.baselines.tabular import (
    fit_base_rate,
    fit_gradient_boosting,
    fit_logistic_all,
    fit_logistic_volatility,
    fit_random_forest,
)
from finscale.dataset.cell import CellData
from finscale.splits import IntArray
from finscale.study import BaselineName
from finscale.tasks import Task

FIT: dict[BaselineName, Fit] = {
    "base_rate": fit_base_rate,
    "logistic_volatility": fit_logistic_volatility,
    "logistic_all": fit_logistic_all,
    "logistic_window": fit_logistic_window,
    "random_forest": fit_random_forest,
    "gradient_boosting": fit_gradient_boosting,
    "garch": fit_garch,
    "har_range": fit_har,
    "linear_window": fit_linear_window,
    "mlp_window": fit_mlp_window,
}


def offered(names: Sequence[BaselineName], task: Task) -> tuple[BaselineName, ...]:
    """Return those of some baselines that there are for a task; the base rate is always one."""
    return tuple(name for name in names if not task.is_return or name in FIT_RETURN)


class FittedBaseline:
    """A baseline fitted on the training anchors of a cell.

    Parameters
    ----------
    name
        Which one.
    data
        The cell.
    seed
        Of the random draws of forest, boosting, perceptrons, and of GARCH's paths; the others have
        none.

    Attributes
    ----------
    chosen
        What was chosen inside the training rows: ``C``, the inverse L2 strength, of a logistic
        regression; ``min_samples_leaf`` of the forest; ``max_iter`` of the boosting; ``gjr_frac``,
        the share of symbols whose GARCH is asymmetric; and the ``epochs`` of the perceptrons.
    """

    def __init__(self, name: BaselineName, data: CellData, seed: int) -> None:
        fits = FIT if data.bins is None else FIT_RETURN
        self._fitted = fits[name](data, seed)
        self.chosen: dict[str, float] = dict(self._fitted.chosen)

    def predict(self, rows: IntArray) -> FloatArray:
        """Return the probability of label 1 at anchor rows, or of every bin of the return."""
        with one_thread():
            return self._fitted.predict(rows).astype(np.float64)

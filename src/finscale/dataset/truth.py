"""What is known of a cell beyond its data: the true probabilities, or that there is nothing.

Only of simulated markets and of shuffled labels; of a real market nobody knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finscale.market.sources.simulated import law_settings, simulated_market
from finscale.seeds import derive_seed
from finscale.study import Study
from finscale.study_data import SimulatedData
from finscale.tasks import Task


def true_probabilities(study: Study, task: Task, horizon_bars: int) -> NDArray[np.float64] | None:
    """Return the exact probability of label 1 given the bars so far, for the rows of all symbols.

    Returns
    -------
    ndarray or None
        Rows stacked symbol after symbol, as in a cell; None where it is not known: real bars,
        shuffled labels, bars made of several days, a law without a closed form at this horizon, or
        a task that is not binary.
    """
    data = study.data
    if not isinstance(data, SimulatedData) or (data.null, data.time_scale) != ("none", "daily"):
        return None
    if task.is_return:
        return None
    found = [
        one.probability(task.threshold_frac, task.price, horizon_bars)
        for one in simulated_market(law_settings(data))
    ]
    known = [one for one in found if one is not None]
    return np.concatenate(known) if len(known) == len(found) else None


def shuffle_labels(
    labels_T: NDArray[Any], horizon_bars: int, seed: int, symbol: str
) -> NDArray[Any]:
    """Return a symbol's labels, or returns, in random order, in blocks as long as a label reaches.

    Neighbouring labels of more than one bar overlap; within a block they keep their order, so that
    the labels depend on each other about as before, and on the features not at all. Rows without a
    label keep their place at the end.
    """
    shuffled = labels_T.copy()
    n_labelled = int(np.isfinite(labels_T).sum())
    blocks = np.array_split(
        np.arange(n_labelled), np.arange(horizon_bars, n_labelled, horizon_bars)
    )
    rng = np.random.default_rng(derive_seed(seed, "shuffled labels", symbol))
    order = np.concatenate([blocks[at] for at in rng.permutation(len(blocks))])
    shuffled[:n_labelled] = labels_T[order]
    return shuffled

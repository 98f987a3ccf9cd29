from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from finscale.baselines import trees
from finscale.baselines.trees import (
    LEAF_SIZES,
    MAX_ROWS_OF_TREE,
    N_ITERATIONS,
    boosting,
    choose_leaf_size,
    choose_n_iterations,
    forest,
    gains_from_threads,
    in_order,
)

N = 1500
DATES = np.datetime64("2001-01-01") + np.arange(N)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer trees rank the candidates of these tests as well."""
    monkeypatch.setattr(trees, "_N_TREES_TO_CHOOSE", 10)


def labels_of(seed: int, *, noise_frac: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels that alternate along the first feature in sixteen steps, some replaced by noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(N, 3)).astype(np.float32)
    y = np.floor(16 * x[:, 0]) % 2
    noise = rng.random(N) < noise_frac
    return x, np.where(noise, rng.integers(0, 2, N), y).astype(np.float32)


def test_noise_asks_for_large_leaves_and_few_trees() -> None:
    x, y = labels_of(0, noise_frac=1.0)
    assert choose_leaf_size(x, y, DATES, 1, seed=0) == LEAF_SIZES[0] == 160
    assert choose_n_iterations(x, y, DATES, 1, seed=0) == N_ITERATIONS[0] == 50


def test_fine_structure_asks_for_small_leaves_and_many_trees() -> None:
    x, y = labels_of(0, noise_frac=0.05)
    assert choose_leaf_size(x, y, DATES, 1, seed=0) == LEAF_SIZES[-1] == 20
    assert choose_n_iterations(x, y, DATES, 1, seed=0) == N_ITERATIONS[-1] == 400


def test_boosting_is_the_same_with_any_number_of_threads() -> None:
    x, y = labels_of(1, noise_frac=0.5)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            found.append(boosting(50, 0).fit(x, y).predict_proba(x))
    assert np.array_equal(*found)
    assert not gains_from_threads(N)
    assert gains_from_threads(1_000_000)


def test_boosting_takes_as_many_trees_as_it_is_given_on_many_rows() -> None:
    # scikit-learn stops early by itself above 10,000 rows, on rows held out at random.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10_500, 1)).astype(np.float32)
    y = (rng.random(len(x)) < 0.5).astype(np.float32)
    assert boosting(50, 0).fit(x, y).n_iter_ == 50


def test_a_tree_draws_a_limited_number_of_rows() -> None:
    assert forest(20, 0, 3000).max_samples == 3000
    assert forest(20, 0, 1_000_000).max_samples == MAX_ROWS_OF_TREE
    assert forest(20, 0, 3000).n_estimators == 500


def test_a_forest_in_order_adds_up_the_same_each_time() -> None:
    x, y = labels_of(2, noise_frac=0.5)
    model = in_order(forest(20, 0, N, n_trees=60).fit(x, y))
    by_hand = np.zeros((N, 2))
    for tree in model.estimators_:
        by_hand += tree.predict_proba(x)
    assert np.array_equal(model.predict_proba(x), by_hand / 60)

"""Baselines of the task return: distributions over its bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finscale.baselines import returns
from finscale.baselines.barrier import shares_between
from finscale.baselines.registry import FittedBaseline, offered
from finscale.baselines.returns import FIT_RETURN
from finscale.dataset.cell import CellData
from finscale.evaluation.return_metrics import ReturnMetrics, evaluate_returns
from finscale.study import BaselineName
from finscale.tasks import get_task
from tiny import tiny_prepared

SETTINGS = {"tasks": ["return"], "horizons": [1, 3], "split.train_frac": 0.5}
NAMES: tuple[BaselineName, ...] = tuple(FIT_RETURN)
LEARNING = tuple(name for name in NAMES if name != "base_rate")


@pytest.fixture(scope="module", params=["h1_return", "h3_return"])
def data(request: pytest.FixtureRequest) -> CellData:
    return tiny_prepared(SETTINGS).cells[request.param]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few strengths and trees keep the contract as many do."""
    monkeypatch.setattr(returns, "STRENGTHS", (1e-3, 1e-2))
    monkeypatch.setattr(returns, "LEAF_SIZES", (160,))
    few = returns.forest
    monkeypatch.setattr(
        returns, "forest", lambda leaf, seed, n, **_: few(leaf, seed, n, n_trees=20)
    )


def scores(name: BaselineName, data: CellData) -> ReturnMetrics:
    rows = data.split.test
    p_BK = FittedBaseline(name, data, 1).predict(rows)
    assert p_BK.shape == (len(rows), 20)
    assert p_BK.dtype == np.float64
    np.testing.assert_allclose(p_BK.sum(axis=1), 1.0)
    assert data.returns_T is not None
    assert data.bins is not None
    return evaluate_returns(p_BK, data.returns_T[rows], data.bins)


@pytest.mark.parametrize("name", LEARNING)
def test_volatility_gives_skill_on_test(name: BaselineName, data: CellData) -> None:
    found = scores(name, data)
    assert found.skill > 0.01
    assert found.crps_skill > 0.02
    assert not found.collapsed


def test_the_base_rate_is_the_share_of_every_bin(data: CellData) -> None:
    assert scores("base_rate", data).skill == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_depends_on_training_labels_and_its_own_row(
    name: BaselineName, data: CellData
) -> None:
    rows = data.split.test[:7]
    whole = FittedBaseline(name, data, 1).predict(rows)
    np.testing.assert_allclose(FittedBaseline(name, data, 1).predict(rows[3:4])[0], whole[3])
    unseen = np.concatenate([data.split.validation, data.split.test])
    assert data.returns_T is not None
    labels_T, returns_T = data.labels_T.copy(), data.returns_T.copy()
    labels_T[unseen], returns_T[unseen] = 0.0, -0.5
    other = replace(data, labels_T=labels_T, returns_T=returns_T)
    np.testing.assert_allclose(FittedBaseline(name, other, 1).predict(rows), whole)


def test_what_there_is_for_a_task_is_offered() -> None:
    names: tuple[BaselineName, ...] = ("base_rate", "gradient_boosting", "garch")
    assert offered(names, get_task("return")) == ("base_rate", "garch")
    assert offered(names, get_task("direction")) == names


def test_shares_between_edges_by_hand() -> None:
    # Of 1 … 4, one is below 2 and one lies in 2 … 3: (1 + ½, 1 + ½, 2 + ½) / (4 + 1½)
    np.testing.assert_allclose(
        shares_between(np.array([3.0, 1.0, 4.0, 2.0]), np.array([[2.0, 3.0], [9.0, 9.5]])),
        [[1.5 / 5.5, 1.5 / 5.5, 2.5 / 5.5], [4.5 / 5.5, 0.5 / 5.5, 0.5 / 5.5]],
    )

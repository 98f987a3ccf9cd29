"""The contract every baseline keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from finscale.baselines import trees
from finscale.baselines.strength import STRENGTHS
from finscale.baselines.tabular import VOLATILITY, FittedBaseline
from finscale.dataset.cell import CellData
from finscale.evaluation.metrics import evaluate, log_loss
from finscale.study import BaselineName
from tiny import CELL, tiny_prepared

NAMES: tuple[BaselineName, ...] = get_args(BaselineName)


@pytest.fixture(scope="module")
def data() -> CellData:
    return tiny_prepared().cells[CELL]


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trees keep the contract as five hundred do, in a fraction of the time."""
    grow = trees.RandomForestClassifier

    def grow_small(**options: Any) -> Any:
        n_trees = min(options["n_estimators"], 40)
        return grow(**(options | {"n_estimators": n_trees, "n_jobs": 1}))

    monkeypatch.setattr(trees, "RandomForestClassifier", grow_small)
    monkeypatch.setattr(trees, "_N_TREES_TO_CHOOSE", 5)
    monkeypatch.setattr(trees, "N_ITERATIONS", (30, 60))


def scored_rows(data: CellData) -> np.ndarray:
    return np.concatenate([data.split.validation, data.split.test])


def predictions(name: BaselineName, data: CellData, seed: int = 1) -> np.ndarray:
    return FittedBaseline(name, data, seed).predict(scored_rows(data))


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_for_every_row(name: BaselineName, data: CellData) -> None:
    rows = scored_rows(data)
    p = predictions(name, data)
    assert p.shape == rows.shape
    assert p.dtype == np.float64
    assert np.isfinite(p).all()
    assert 0 <= p.min() <= p.max() <= 1
    assert p.std() > 0.01 or name == "base_rate"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_predictions(name: BaselineName, data: CellData) -> None:
    assert np.array_equal(predictions(name, data), predictions(name, data))


def test_another_seed_grows_another_forest(data: CellData) -> None:
    one, other = (predictions("random_forest", data, seed) for seed in (1, 2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_no_label_outside_of_training_is_used(name: BaselineName, data: CellData) -> None:
    labels_T = np.full_like(data.labels_T, np.nan)
    labels_T[data.split.train] = data.labels_T[data.split.train]
    blind = replace(data, labels_T=labels_T)
    assert np.array_equal(predictions(name, blind), predictions(name, data))


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_does_not_depend_on_other_rows(name: BaselineName, data: CellData) -> None:
    scaled_TF = data.scaled_TF.copy()
    scaled_TF[data.split.test] = 0.0
    fitted, other = (
        FittedBaseline(name, one, 1) for one in (data, replace(data, scaled_TF=scaled_TF))
    )
    rows = data.split.validation
    assert np.array_equal(fitted.predict(rows), other.predict(rows))
    assert fitted.predict(rows[7:8]) == pytest.approx(fitted.predict(rows)[7:8], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "setting", "candidates"),
    [
        ("logistic_volatility", "C", STRENGTHS),
        ("logistic_all", "C", STRENGTHS),
        ("random_forest", "min_samples_leaf", trees.LEAF_SIZES),
        ("gradient_boosting", "max_iter", (30, 60)),
    ],
)
def test_what_was_chosen_is_told_and_used(
    name: BaselineName, setting: str, candidates: tuple[float, ...], data: CellData
) -> None:
    fitted = FittedBaseline(name, data, 1)
    assert list(fitted.chosen) == [setting]
    assert fitted.chosen[setting] in candidates
    assert fitted._classifier.get_params()[setting] == fitted.chosen[setting]


def test_the_base_rate_chooses_nothing(data: CellData) -> None:
    assert FittedBaseline("base_rate", data, 1).chosen == {}


@pytest.mark.parametrize("name", sorted({*NAMES} - {"base_rate"}))
def test_training_labels_are_used(name: BaselineName, data: CellData) -> None:
    flipped = replace(data, labels_T=1 - data.labels_T)
    assert not np.allclose(predictions(name, flipped), predictions(name, data), atol=0.05)


def test_the_base_rate_is_the_training_parts_whatever_the_row(data: CellData) -> None:
    rate = data.labels_T[data.split.train].mean()
    assert 0.05 < rate < 0.5
    assert predictions("base_rate", data) == pytest.approx(float(rate), abs=1e-7)


def test_logistic_volatility_sees_volatility_and_nothing_else(data: CellData) -> None:
    volatility = np.array([name in VOLATILITY for name in data.feature_names])
    assert 0 < volatility.sum() < len(volatility)
    noise_TF = np.random.default_rng(0).standard_normal(data.scaled_TF.shape).astype(np.float32)
    others = replace(data, scaled_TF=np.where(volatility, data.scaled_TF, noise_TF))
    itself = replace(data, scaled_TF=np.where(volatility, noise_TF, data.scaled_TF))
    plain = predictions("logistic_volatility", data)
    assert np.array_equal(predictions("logistic_volatility", others), plain)
    assert not np.allclose(predictions("logistic_volatility", itself), plain, atol=0.05)
    assert not np.allclose(
        predictions("logistic_all", others), predictions("logistic_all", data), atol=0.05
    )


@pytest.mark.parametrize("name", sorted({*NAMES} - {"base_rate"}))
def test_a_planted_signal_is_found(name: BaselineName, data: CellData) -> None:
    column = data.feature_names.index(VOLATILITY[0])
    signal_T = data.scaled_TF[:, column]
    middle = np.median(signal_T[data.split.train])
    planted = replace(data, labels_T=(signal_T > middle).astype(np.float32))
    rows = data.split.validation
    p = FittedBaseline(name, planted, 1).predict(rows)
    labels = planted.labels_T[rows]
    assert log_loss(p, labels) < 0.5 * log_loss(np.full(len(rows), 0.5), labels)


@pytest.mark.parametrize(
    ("name", "expected"),
    # Measured elsewhere, with features and code of their own: skill on validation and on test.
    [("logistic_volatility", (0.147, 0.206)), ("logistic_all", (0.186, 0.250))],
)
def test_skill_on_the_index_is_what_it_is_known_to_be(
    name: BaselineName, expected: tuple[float, float]
) -> None:
    split = {"by": "date", "train_end": "2011-12-31", "validation_end": "2014-12-31"}
    data = tiny_prepared({"split": split}).cells[CELL]
    fitted = FittedBaseline(name, data, 1)
    for rows, skill in zip((data.split.validation, data.split.test), expected, strict=True):
        found = evaluate(fitted.predict(rows), data.labels_T[rows], base_rate=data.base_rate)
        assert found.skill == pytest.approx(skill, abs=0.03)

"""The one loss, of one logit and of one per class."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import N_ROWS, SHAPE, SPLIT, make_job

from finscale.errors import StopRequestedError
from finscale.evaluation.outcomes import base_loss, row_loss, to_probabilities
from finscale.training.loop import build_model, score, train
from finscale.training.objective import first_outputs, mean_loss, summed_loss
from finscale.training.recipe import TrainingJob
from finscale.windows import Windows

N_CLASSES = 4
SHARES = (0.25,) * N_CLASSES


def windows() -> Windows:
    """Return noise whose class is the quarter that the last row's first feature lies in."""
    values_TF = np.random.default_rng(0).standard_normal((N_ROWS, 3)).astype(np.float32)
    edges = np.quantile(values_TF[:, 0], [0.25, 0.5, 0.75])
    labels_T = np.searchsorted(edges, values_TF[:, 0]).astype(np.float32)
    return Windows(values_TF, labels_T, context_length=12, device=torch.device("cpu"))


DATA = windows()


def job(**changes: object) -> TrainingJob:
    made = make_job(DATA, learning_rate=1e-2, dropout=0.0, **changes)
    return replace(made, shape=replace(SHAPE, n_outputs=N_CLASSES), base_rate=SHARES)


def test_losses_are_those_that_are_scored() -> None:
    outputs_BK, labels_B = torch.randn(6, 3), torch.tensor([0.0, 1.0, 2.0, 2.0, 1.0, 0.0])
    for outputs, labels in ((outputs_BK, labels_B), (outputs_BK[:, 0], (labels_B > 0).float())):
        expected = row_loss(to_probabilities(outputs.numpy()), labels.numpy())
        assert summed_loss(outputs, labels).item() == pytest.approx(expected.sum(), rel=1e-6)
        assert mean_loss(outputs, labels) == pytest.approx(expected.mean(), rel=1e-6)


def test_the_first_outputs_give_the_base_rate_back() -> None:
    assert first_outputs(0.25) == (pytest.approx(-math.log(3.0)),)
    shares = (0.5, 0.3, 0.2)
    np.testing.assert_allclose(to_probabilities([first_outputs(shares)]), [shares])


def test_the_untrained_model_scores_the_base_rate() -> None:
    rows = SPLIT.validation
    outputs_BK = score(build_model(job(), torch.device("cpu")), DATA, torch.from_numpy(rows))
    assert outputs_BK.shape == (len(rows), N_CLASSES)
    labels = DATA.labels(torch.from_numpy(rows))
    assert mean_loss(outputs_BK, labels) == pytest.approx(base_loss(SHARES, labels.numpy()))


def test_a_planted_class_is_learned() -> None:
    result = train(DATA, SPLIT, job(epochs=12))
    assert result.validation_loss < 0.6 * math.log(N_CLASSES)


def test_micro_batches_do_not_change_what_is_trained() -> None:
    whole = train(DATA, SPLIT, job(epochs=2))
    cut = train(DATA, SPLIT, job(epochs=2, micro_batch=16))
    assert cut.validation_loss == pytest.approx(whole.validation_loss, rel=1e-5)


def test_an_interrupted_run_is_the_run(tmp_path: Path) -> None:
    whole = train(DATA, SPLIT, job(epochs=3))
    file = tmp_path / "run.safetensors"
    with pytest.raises(StopRequestedError):
        train(DATA, SPLIT, job(epochs=3), checkpoint=file, should_stop=lambda: True)
    resumed = train(DATA, SPLIT, job(epochs=3), checkpoint=file)
    assert resumed.curve == whole.curve
    assert all(torch.equal(resumed.weights[k], whole.weights[k]) for k in whole.weights)

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from planted import SPLIT, make_job, make_windows
from torch import Tensor
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from finscale.evaluation.metrics import log_loss, sigmoid, skill
from finscale.training import loop, run
from finscale.training.loop import (
    DivergedError,
    TrainingResult,
    build_model,
    score,
    train,
)
from finscale.training.recipe import TrainingJob
from finscale.windows import Windows

VALIDATION = torch.from_numpy(SPLIT.validation)


@pytest.fixture(scope="module")
def planted() -> Windows:
    return make_windows(signal=True)


@pytest.fixture(scope="module")
def noise() -> Windows:
    return make_windows(signal=False)


def validation_log_loss(windows: Windows, job: TrainingJob, weights: dict[str, Tensor]) -> float:
    """Return the loss by the evaluation's formula, not by the one of the training loop."""
    model = build_model(job, windows.device)
    model.load_state_dict(weights)
    logits = score(model, windows, VALIDATION).numpy()
    return log_loss(sigmoid(logits), windows.labels(VALIDATION).numpy())


def losses(result: TrainingResult) -> list[float]:
    return [x for point in result.curve for x in (point.train_loss, point.validation_loss)]


def largest_difference(one: TrainingResult, other: TrainingResult) -> float:
    return max(
        (tensor - other.weights[name]).abs().max().item() for name, tensor in one.weights.items()
    )


# --- Accumulation -------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batch", [32, 7])
def test_a_batch_cut_into_micro_batches_is_the_same_batch(
    planted: Windows, micro_batch: int
) -> None:
    whole = train(planted, SPLIT, make_job(planted, micro_batch=64))
    cut = train(planted, SPLIT, make_job(planted, micro_batch=micro_batch))
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-4)
    assert largest_difference(whole, cut) < 2e-4


def test_the_comparison_of_micro_batches_sees_a_wrong_normalisation(
    planted: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(planted, SPLIT, make_job(planted, micro_batch=64))
    right = functional.binary_cross_entropy_with_logits

    def mean_of_means(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
        # 300 samples make 5 batches of 60: eight micro-batches of 7 and one of 4.
        weight = 60 / (9 * len(labels)) if options else 1.0
        return right(logits, labels, **options) * weight

    monkeypatch.setattr(functional, "binary_cross_entropy_with_logits", mean_of_means)
    wrong = train(planted, SPLIT, make_job(planted, micro_batch=7))
    assert largest_difference(whole, wrong) > 2e-3


def test_batches_differ_by_at_most_one_sample_and_cover_every_anchor_once() -> None:
    calls: list[np.ndarray] = []

    class Watched(Windows):
        def labels(self, rows_B: Tensor) -> Tensor:
            calls.append(rows_B.numpy())
            return super().labels(rows_B)

    watched = make_windows(signal=True, kind=Watched)
    job = make_job(watched, epochs=2, effective_batch=70)
    calls.clear()
    train(watched, SPLIT, job)
    assert np.array_equal(calls.pop(0), SPLIT.validation)
    assert [len(call) for call in calls] == [60] * 10
    first, second = np.concatenate(calls[:5]), np.concatenate(calls[5:])
    assert np.array_equal(np.sort(first), SPLIT.train)
    assert np.array_equal(np.sort(second), SPLIT.train)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, SPLIT.train)


# --- The recipe's knobs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"weight_decay": 0.5},
        {"dropout": 0.5},
        {"warmup_steps": 10},
        {"epochs": 5},
        {"max_grad_norm": 0.01},
        {"effective_batch": 32},
        {"seed": 6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_knob_changes_the_weights(planted: Windows, change: dict[str, Any]) -> None:
    plain = train(planted, SPLIT, make_job(planted))
    changed = train(planted, SPLIT, make_job(planted, **change))
    assert largest_difference(plain, changed) > 1e-5


def gradient_norms(windows: Windows, max_grad_norm: float) -> list[float]:
    norms: list[float] = []

    def watch(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(math.sqrt(sum(g.square().sum().item() for g in gradients)))

    handle = register_optimizer_step_pre_hook(watch)
    try:
        train(windows, SPLIT, make_job(windows, epochs=2, max_grad_norm=max_grad_norm))
    finally:
        handle.remove()
    return norms


def test_gradients_are_clipped_to_the_norm(planted: Windows) -> None:
    free = gradient_norms(planted, 1e9)
    assert len(free) == 10
    assert min(free) > 0.02
    assert max(gradient_norms(planted, 0.01)) <= 0.01 * (1 + 1e-5)


def test_steps_follow_the_schedule(planted: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def rate(step: int, *, n_steps: int, recipe: Any) -> float:
        asked.append((step, n_steps))
        return float(recipe.learning_rate)

    monkeypatch.setattr(run, "learning_rate_at", rate)
    result = train(planted, SPLIT, make_job(planted, epochs=3))
    assert sorted(set(asked)) == [(step, 15) for step in range(15)]
    assert result.n_steps == 15


# --- Early stopping -----------------------------------------------------------------------------


def test_the_best_weights_come_back_when_later_epochs_are_worse(noise: Windows) -> None:
    # 300 coin tosses can be learned by heart, and nothing else can.
    job = make_job(noise, learning_rate=1e-2, dropout=0.0, epochs=15, patience=15)
    result = train(noise, SPLIT, job)
    curve = [point.validation_loss for point in result.curve]
    assert len(curve) == 15
    assert curve[-1] > min(curve) + 0.05
    assert result.best_epoch == 1 + int(np.argmin(curve))
    assert result.validation_loss == min(curve)
    assert validation_log_loss(noise, job, result.weights) == pytest.approx(min(curve), rel=1e-12)
    assert result.train_loss == result.curve[result.best_epoch - 1].train_loss


def test_the_best_weights_are_no_view_of_the_last(noise: Windows) -> None:
    job = make_job(noise, learning_rate=1e-2, dropout=0.0, epochs=15, patience=15)
    best = train(noise, SPLIT, job)
    short = make_job(noise, learning_rate=1e-2, dropout=0.0, epochs=15, patience=1)
    stopped = train(noise, SPLIT, short)
    assert len(stopped.curve) < 15
    assert stopped.best_epoch == best.best_epoch
    assert largest_difference(best, stopped) == 0.0


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let the validation losses of the next run be those of a script."""

    def script(*values: float) -> None:
        coming = iter(values)
        monkeypatch.setattr(loop.TrainingRun, "_validation_loss", lambda _: next(coming))

    return script


def test_patience_counts_epochs_without_an_improvement_of_min_delta(
    planted: Windows, scripted: Any
) -> None:
    # 0.90 is the mark; 0.85 and 0.81 are better by less than 0.1, so the third in a row ends it.
    scripted(1.0, 0.9, 0.85, 0.81, 0.9)
    result = train(planted, SPLIT, make_job(planted, epochs=9, patience=3, min_delta=0.0999))
    assert len(result.curve) == 5
    assert result.stop_reason == "patience"
    # The best epoch is the lowest loss, however small the step to it.
    assert result.best_epoch == 4


def test_small_steps_that_add_up_to_min_delta_reset_the_patience(
    planted: Windows, scripted: Any
) -> None:
    scripted(1.0, 0.95, 0.9, 0.85, 0.95, 0.95, 0.95)
    result = train(planted, SPLIT, make_job(planted, epochs=9, patience=3, min_delta=0.12))
    # 0.85 is below 1.0 - 0.12: counting starts anew there.
    assert [len(result.curve), result.best_epoch] == [7, 4]


def test_an_improvement_of_exactly_min_delta_is_none(planted: Windows, scripted: Any) -> None:
    scripted(1.0, 0.75, 0.75)
    result = train(planted, SPLIT, make_job(planted, epochs=9, patience=2, min_delta=0.25))
    assert [len(result.curve), result.best_epoch, result.stop_reason] == [3, 2, "patience"]


def test_without_losing_patience_all_epochs_are_run(planted: Windows, scripted: Any) -> None:
    scripted(1.0, 0.9, 0.95, 0.8)
    result = train(planted, SPLIT, make_job(planted, epochs=4, patience=2))
    assert [len(result.curve), result.best_epoch, result.stop_reason] == [4, 4, "epochs"]


def test_of_equal_losses_the_first_is_the_best(planted: Windows, scripted: Any) -> None:
    scripted(0.9, 0.8, 0.8)
    assert train(planted, SPLIT, make_job(planted, epochs=3)).best_epoch == 2


# --- Start, seeds and failure -------------------------------------------------------------------


def test_the_untrained_model_scores_the_base_rate(planted: Windows) -> None:
    job = make_job(planted)
    model = build_model(job, planted.device)
    labels = planted.labels(VALIDATION).numpy()
    p = sigmoid(score(model, planted, VALIDATION).numpy())
    assert log_loss(p, labels) == pytest.approx(
        log_loss([job.base_rate] * len(labels), labels), rel=1e-6
    )


def test_a_seed_decides_a_run_to_the_last_bit(planted: Windows) -> None:
    first, second, other = (
        train(planted, SPLIT, make_job(planted, seed=seed)) for seed in (5, 5, 6)
    )
    assert losses(first) == losses(second)
    assert largest_difference(first, second) == 0.0
    assert losses(first) != losses(other)


def test_the_random_state_outside_is_left_alone_and_does_not_matter(planted: Windows) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    model = build_model(make_job(planted), planted.device)
    first = train(planted, SPLIT, make_job(planted))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again = build_model(make_job(planted), planted.device)
    second = train(planted, SPLIT, make_job(planted))
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert largest_difference(first, second) == 0.0


def test_a_loss_that_is_no_number_is_noticed_at_its_step(
    planted: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[bool] = []
    monkeypatch.setattr(loop.TrainingRun, "_validation_loss", lambda _: scored.append(True) or 1.0)
    with pytest.raises(DivergedError, match=r"^train_loss is nan in epoch 1, step 2 of 5$"):
        train(planted, SPLIT, make_job(planted, learning_rate=1e30, warmup_steps=0))
    assert not scored


@pytest.mark.parametrize(("effective_batch", "step"), [(5, 32), (20, None)])
def test_a_device_that_would_have_to_wait_is_looked_at_now_and_then(
    planted: Windows, monkeypatch: pytest.MonkeyPatch, effective_batch: int, step: int | None
) -> None:
    # 60 steps an epoch, or 15: the loss is looked at every 32 steps and at the end.
    job = make_job(planted, learning_rate=1e30, warmup_steps=0, effective_batch=effective_batch)
    training = loop.TrainingRun(planted, SPLIT, job)
    monkeypatch.setattr(training, "_loss_is_free", False)
    place = f"epoch 1, step {step} of 60" if step else "epoch 1"
    with pytest.raises(DivergedError, match=rf"^train_loss is nan in {place}$"):
        training.epoch()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_an_infinite_validation_loss_ends_the_run(
    planted: Windows, scripted: Any, loss: float
) -> None:
    scripted(1.0, loss)
    seen: list[int] = []
    with pytest.raises(DivergedError, match=rf"validation_loss is {loss} in epoch 2"):
        train(planted, SPLIT, make_job(planted), on_epoch=lambda point: seen.append(point.epoch))
    assert seen == [1]


# --- Learning -----------------------------------------------------------------------------------


def reached_skill(windows: Windows, **changes: Any) -> float:
    job = make_job(windows, **changes)
    labels = windows.labels(VALIDATION).numpy()
    base = log_loss([job.base_rate] * len(labels), labels)
    return skill(train(windows, SPLIT, job).validation_loss, base)


def test_a_planted_signal_is_learned(planted: Windows) -> None:
    assert reached_skill(planted, learning_rate=1e-2, dropout=0.0, epochs=15) > 0.5


def test_no_skill_is_found_in_noise(noise: Windows) -> None:
    # The best of 15 epochs on 140 coin tosses is a little above nothing by luck.
    assert -0.05 < reached_skill(noise, learning_rate=1e-2, dropout=0.0, epochs=15) < 0.05

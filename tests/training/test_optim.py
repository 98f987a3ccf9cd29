from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import make_job, make_windows

from finscale.training.loop import build_model
from finscale.training.optim import learning_rate_at, make_optimizer
from finscale.training.recipe import Recipe

RECIPE = Recipe(learning_rate=0.01, weight_decay=0.5, dropout=0.0, warmup_steps=4, epochs=3)

DECAYED = {
    "embedding.weight",
    *(
        f"blocks.{layer}.{name}.weight"
        for layer in (0, 1)
        for name in ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.out")
    ),
    "head.weight",
}


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0025),  # first step of the warm-up
        (3, 0.01),  # its last: the peak
        (4, 0.01),  # the cosine starts at the peak
        (6, 0.00853553390593274),  # a quarter down: (1 + √½) / 2
        (8, 0.005),  # halfway down
        (11, 0.000380602337443566),  # the last step: (1 + cos 7π/8) / 2
    ],
)
def test_learning_rate(step: int, rate: float) -> None:
    assert learning_rate_at(step, n_steps=12, recipe=RECIPE) == pytest.approx(rate, rel=1e-12)


def test_learning_rate_would_be_zero_just_after_the_last_step() -> None:
    assert learning_rate_at(12, n_steps=12, recipe=RECIPE) == 0.0


def test_only_weight_matrices_of_linear_layers_decay() -> None:
    windows = make_windows(signal=True)
    model = build_model(make_job(windows), torch.device("cpu"))
    optimizer = make_optimizer(model, RECIPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = {name: parameter.flatten()[0].item() for name, parameter in model.named_parameters()}
    assert {name for name, value in after.items() if value != 1.0} == DECAYED
    # Decoupled: 1 - learning rate × decay, whatever the gradient.
    assert {round(after[name], 6) for name in DECAYED} == {0.995}


def test_no_parameter_is_left_out() -> None:
    windows = make_windows(signal=True)
    model = build_model(make_job(windows), torch.device("cpu"))
    optimizer = make_optimizer(model, replace(RECIPE, weight_decay=0.0))
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())

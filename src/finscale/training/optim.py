"""The optimiser and its schedule."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

from finscale.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> AdamW:
    """Return AdamW with decoupled decay on the weight matrices of linear layers only.

    Biases, norms and positions are not decayed (Loshchilov & Hutter 2019 for the decay; the
    exemption as in GPT-2 and its successors).
    """
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    parameters = list(model.parameters())
    return AdamW(
        [
            {
                "params": [p for p in parameters if id(p) in matrices],
                "weight_decay": recipe.weight_decay,
            },
            {"params": [p for p in parameters if id(p) not in matrices], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        fused=True,
    )


def learning_rate_at(step: int, *, n_steps: int, recipe: Recipe) -> float:
    """Return the learning rate of optimiser step ``step``, counted from 0.

    Linear warm-up from peak / warmup_steps to the peak, then half a cosine down to zero just after
    the last step (Loshchilov & Hutter 2017, eq. 5, one cycle). A pure function of the step, so
    that a resumed run needs nothing but its number.
    """
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(n_steps - recipe.warmup_steps, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

"""The search space: architectures of a budget's grid, and recipes.

The grid is not a product: which depths fit depends on the width, and so on. It is therefore a
conditional space in which each name has one static list of choices: ``d_model``, then
``n_layers@d64``, then ``d_ff@d64,L3`` and ``n_heads@d64``. Forced configurations are ordinary
parameters of this space. What is suggested is what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from optuna.trial import BaseTrial

from finscale.models.architecture import Architecture
from finscale.study import LogRange, Space
from finscale.training.recipe import Recipe

Parameters = dict[str, int | float]
_Number = TypeVar("_Number", int, float)


def suggest(
    trial: BaseTrial, architectures: Sequence[Architecture], space: Space
) -> tuple[Architecture, Recipe]:
    """Draw an architecture and a recipe; a trial with forced parameters gets those."""
    cells: Sequence[Architecture] = architectures
    chosen: dict[str, int] = {}
    for name in ("d_model", "n_layers", "d_ff", "n_heads"):
        choices = sorted({getattr(cell, name) for cell in cells})
        chosen[name] = trial.suggest_categorical(_conditional_name(name, chosen), choices)
        cells = [cell for cell in cells if getattr(cell, name) == chosen[name]]
    recipe = Recipe(
        learning_rate=_suggest_log(trial, "learning_rate", space.learning_rate),
        weight_decay=_suggest_log(trial, "weight_decay", space.weight_decay),
        dropout=trial.suggest_categorical("dropout", space.dropout),
        warmup_steps=trial.suggest_categorical("warmup_steps", space.warmup_steps),
        epochs=trial.suggest_categorical("epochs", space.epochs),
    )
    return Architecture(**chosen), recipe


def forced_parameters(architecture: Architecture, recipe: Recipe) -> Parameters:
    """Return the parameters that make :func:`suggest` return exactly these two."""
    chosen: dict[str, int] = {}
    parameters: Parameters = {}
    for name in ("d_model", "n_layers", "d_ff", "n_heads"):
        value = getattr(architecture, name)
        parameters[_conditional_name(name, chosen)] = value
        chosen[name] = value
    return parameters | recipe.as_dict()


def central_recipe(space: Space) -> Recipe:
    """Return the middle of the space: what an extreme architecture is tried with.

    The geometric mean of a log range, the lower middle of choices.
    """
    return Recipe(
        learning_rate=math.sqrt(space.learning_rate.low * space.learning_rate.high),
        weight_decay=math.sqrt(space.weight_decay.low * space.weight_decay.high),
        dropout=_middle(space.dropout),
        warmup_steps=_middle(space.warmup_steps),
        epochs=_middle(space.epochs),
    )


def _conditional_name(name: str, chosen: dict[str, int]) -> str:
    """Name a parameter after the choices that its own list of choices depends on."""
    if name == "n_layers":
        return f"n_layers@d{chosen['d_model']}"
    if name == "d_ff":
        return f"d_ff@d{chosen['d_model']},L{chosen['n_layers']}"
    if name == "n_heads":
        # The parameter count does not depend on the heads, so their choices follow from the width.
        return f"n_heads@d{chosen['d_model']}"
    return name


def _suggest_log(trial: BaseTrial, name: str, span: LogRange) -> float:
    return trial.suggest_float(name, span.low, span.high, log=True)


def _middle(choices: Sequence[_Number]) -> _Number:
    return sorted(choices)[(len(choices) - 1) // 2]

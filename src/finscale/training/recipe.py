"""What one training run is made of, beside the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from finscale.ladder.batching import Batching
from finscale.models.architecture import Architecture, InputShape
from finscale.study import Training
from finscale.tasks import BaseRate


@dataclass(frozen=True)
class Recipe:
    """What is searched over beside the architecture. What was sampled is what is trained.

    Attributes
    ----------
    learning_rate
        Peak of the schedule.
    weight_decay
        Decoupled decay of the weight matrices, per step and unit of learning rate.
    dropout
        Probability of dropping a value, in [0, 1).
    warmup_steps
        Optimiser steps of linear warm-up.
    epochs
        Passes over the training windows that the schedule is laid out for.
    """

    learning_rate: float
    weight_decay: float
    dropout: float
    warmup_steps: int
    epochs: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the recipe as JSON-ready values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, float | int]) -> Recipe:
        """Return the recipe of a record."""
        return Recipe(
            learning_rate=float(values["learning_rate"]),
            weight_decay=float(values["weight_decay"]),
            dropout=float(values["dropout"]),
            warmup_steps=int(values["warmup_steps"]),
            epochs=int(values["epochs"]),
        )


@dataclass(frozen=True)
class TrainingJob:
    """Everything that decides a training run's outcome, beside the windows and the split.

    Attributes
    ----------
    base_rate
        Share of positive labels among the training anchors; of a task with more than two labels
        the share of each.
    precision
        Of matrix products while training; weights, losses and validation are float32.
    """

    architecture: Architecture
    shape: InputShape
    recipe: Recipe
    settings: Training
    batching: Batching
    seed: int
    base_rate: BaseRate
    precision: Literal["fp32", "bf16"]

"""Settings of what a model is shown: labels, features, how much of the data, its parts, windows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from finscale.study_data import PositiveInt, Settings

TierName = Literal["a25", "a50", "a100", "a200", "a500"]
TaskName = Literal[
    "threshold_0.5pct",
    "threshold_1pct",
    "threshold_2pct",
    "threshold_3pct",
    "threshold_5pct",
    "threshold_0.5pct_close",
    "threshold_1pct_close",
    "threshold_2pct_close",
    "threshold_3pct_close",
    "threshold_5pct_close",
    "direction",
    "return",
]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class DataSize(Settings):
    """How much of the study's data an experiment trains on; what it is scored on is the same."""

    history_frac: float = Field(default=1.0, gt=0, le=1, description="most recent part of training")
    n_symbols: PositiveInt | None = Field(default=None, description="the first so many; null: all")

    @property
    def label(self) -> str:
        """``history0.5_symbols2``; empty for all there is."""
        parts = [f"history{self.history_frac!r}"] if self.history_frac < 1 else []
        parts += [f"symbols{self.n_symbols}"] if self.n_symbols is not None else []
        return "_".join(parts)


ALL_DATA = DataSize()


def cell_name(horizon_bars: int, task: str, size: DataSize) -> str:
    """Name what experiments of all budgets share, a horizon, task and data size.

    ``h1_threshold_1pct``, or ``h1_threshold_1pct_history0.5`` with half of the training history.
    """
    return "_".join(filter(None, [f"h{horizon_bars}", task, size.label]))


class Features(Settings):
    """What the models see."""

    tier: TierName = Field(default="a25", description="named feature set")
    modules: tuple[Path, ...] = Field(
        default=(), description="Python files that register features of one's own"
    )
    extra: tuple[str, ...] = Field(
        default=(), description="features beside the tier's, from modules or other tiers"
    )


class DataSizes(Settings):
    """Data size as an axis of the matrix: every combination is an experiment of its own."""

    history_frac: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(1.0,), min_length=1, description="shares of the training history, the most recent"
    )
    n_symbols: tuple[PositiveInt, ...] | None = Field(
        default=None, min_length=1, description="numbers of symbols to train on; null: all"
    )


N_FOLDS = Field(
    default=1,
    description="walk-forward folds that a trial is scored on, each as long as validation; 1: "
    "validation alone",
)


class DateSplit(Settings):
    """Train, validation and test parts cut at dates."""

    by: Literal["date"]
    train_end: dt.date = Field(description="last session of the training part, inclusive")
    validation_end: dt.date = Field(description="last session of validation, inclusive")
    n_folds: PositiveInt = N_FOLDS

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.train_end >= self.validation_end:
            raise ValueError("train_end must be before validation_end")
        return self


class FractionSplit(Settings):
    """Train, validation and test parts cut at fractions of the usable rows; test is the rest."""

    by: Literal["fraction"] = "fraction"
    train_frac: Fraction = Field(default=0.65, description="share of rows for training")
    validation_frac: Fraction = Field(default=0.15, description="share of rows for validation")
    n_folds: PositiveInt = N_FOLDS

    @model_validator(mode="after")
    def _leaves_a_test_part(self) -> Self:
        if self.train_frac + self.validation_frac >= 1:
            raise ValueError("train_frac + validation_frac must leave a test part (sum below 1)")
        return self


class Windows(Settings):
    """The model's input: the rows that end at the row of the prediction."""

    context_length: PositiveInt = Field(default=60, description="rows in a window")
    clip: float = Field(
        default=5.0, gt=0, description="scaled features are clipped to ± this many IQRs"
    )
    scaling: Literal["pooled", "per_symbol"] = Field(
        default="pooled", description="training statistics over all symbols, or of each"
    )


class Patches(Settings):
    """How a window is cut into the transformer's tokens."""

    patch_length: PositiveInt = Field(default=10, description="rows in a patch")
    patch_stride: PositiveInt = Field(default=5, description="rows between the starts of patches")

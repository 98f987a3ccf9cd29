"""Windows with a planted signal, and jobs to train on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from finscale.ladder.batching import Batching
from finscale.models.architecture import Architecture, InputShape
from finscale.splits import Split
from finscale.study import Training
from finscale.training.recipe import Recipe, TrainingJob
from finscale.windows import Windows

SHAPE = InputShape(n_features=3, context_length=12, patch_length=6, patch_stride=3)
ARCHITECTURE = Architecture(d_model=8, n_layers=2, n_heads=2, d_ff=16)
N_ROWS = 600
SPLIT = Split(
    train=np.arange(11, 311),
    validation=np.arange(311, 451),
    test=np.arange(451, 600),
    train_start=np.datetime64("2000-01-12"),
    validation_start=np.datetime64("2000-11-07"),
    test_start=np.datetime64("2001-03-27"),
)


def make_windows(*, signal: bool, seed: int = 0, kind: type[Windows] = Windows) -> Windows:
    """Return noise whose label is the sign of the last row's first feature, or a coin toss."""
    rng = np.random.default_rng(seed)
    values_TF = rng.standard_normal((N_ROWS, SHAPE.n_features)).astype(np.float32)
    decides_T = values_TF[:, 0] if signal else rng.standard_normal(N_ROWS)
    return kind(
        values_TF,
        (decides_T > 0.3).astype(np.float32),
        context_length=SHAPE.context_length,
        device=torch.device("cpu"),
    )


def base_rate(windows: Windows) -> float:
    return float(windows.labels(torch.from_numpy(SPLIT.train)).mean())


def make_job(windows: Windows, *, micro_batch: int = 64, **changes: Any) -> TrainingJob:
    """Return a job; changes may be of the job, its recipe or its settings."""
    recipe = Recipe(learning_rate=3e-3, weight_decay=0.01, dropout=0.2, warmup_steps=3, epochs=4)
    settings = Training(effective_batch=64, patience=10, min_delta=0.0, precision="fp32")
    recipe = replace(recipe, **{k: v for k, v in changes.items() if hasattr(recipe, k)})
    settings = settings.model_copy(
        update={k: v for k, v in changes.items() if k in Training.model_fields}
    )
    return TrainingJob(
        architecture=ARCHITECTURE,
        shape=SHAPE,
        recipe=recipe,
        settings=settings,
        batching=Batching(micro_batch, -(-settings.effective_batch // micro_batch)),
        seed=changes.get("seed", 5),
        base_rate=base_rate(windows),
        precision="fp32",
    )

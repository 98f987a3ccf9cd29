"""Budgets against baselines on the same rows, for forecasts of a return: paired log-losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from finscale.evaluation.bootstrap import block_length, resample
from finscale.evaluation.comparisons import RowLosses, model_confidence_set, paired_difference
from finscale.evaluation.estimate import plain
from finscale.evaluation.return_frames import ReturnFrame
from finscale.seeds import derive_seed


def compare_returns(
    frame: ReturnFrame,
    budgets: Sequence[str],
    *,
    horizon_bars: int,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Compare every budget with every baseline on test, as JSON can hold it.

    Models are compared by their forecasts without a seed: of a budget the average of its seeds.

    Returns
    -------
    dict
        ``best_budget`` (of the lowest log-loss on validation, or None), ``differences`` (see
        `finscale.evaluation.comparisons.Difference`) and ``confidence_set``.
    """
    averaged = frame.filter(pl.col("seed").is_null()).sort("date", "symbol", "row")
    test = averaged.filter(pl.col("part") == "test")
    losses = {
        str(model): RowLosses(
            str(model), rows["row"].to_numpy(), rows["log_loss"].to_numpy().astype(np.float64)
        )
        for (model,), rows in test.group_by("model", maintain_order=True)
    }
    on_validation = {
        str(model): float(loss)
        for model, loss in averaged.filter(pl.col("part") == "validation")
        .group_by("model", maintain_order=True)
        .agg(pl.col("log_loss").mean())
        .iter_rows()
    }
    present = [label for label in budgets if label in losses]
    rivals = [model for model in losses if model not in budgets]
    if not present or not rivals:
        return {"best_budget": None, "differences": [], "confidence_set": None}
    dates = test.filter(pl.col("model") == present[0])["date"].to_numpy()
    _, date_B = np.unique(dates, return_inverse=True)
    gaps_BP = np.column_stack(
        [losses[own].loss_B - losses[rival].loss_B for own in present for rival in rivals]
    )
    n_B = np.bincount(date_B)
    by_date_TP = np.column_stack([np.bincount(date_B, weights=gap) / n_B for gap in gaps_BP.T])
    resampling = resample(
        date_B,
        mean_block=block_length(by_date_TP, horizon_bars=horizon_bars),
        n_samples=n_bootstrap,
        seed=derive_seed(seed, "return comparison"),
        confidence=confidence,
    )
    return {
        "best_budget": min(present, key=on_validation.__getitem__),
        "differences": [
            plain(paired_difference(losses[own], losses[rival], resampling))
            for own in present
            for rival in rivals
        ],
        "confidence_set": plain(model_confidence_set(list(losses.values()), resampling)),
    }

"""Budgets against baselines on the same rows, for forecasts of a return: paired log-losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from finscale.evaluation.bootstrap import resample_dependent
from finscale.evaluation.comparisons import (
    RowLosses,
    best_other_baseline,
    correct_differences,
    model_confidence_set,
    paired_difference,
    superior_ability,
)
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
    n_experiments: int = 1,
    volatility_baseline: str = "logistic_volatility",
) -> dict[str, Any]:
    """Compare every budget with every baseline on test, as JSON can hold it.

    Models are compared by their forecasts without a seed: of a budget the average of its seeds.

    Parameters
    ----------
    budgets
        Names of the models whose scaling is studied, smallest first; all others are baselines.
    n_experiments
        Experiments of the study, all of which count as tried.
    volatility_baseline
        Name of the baseline that knows the level of volatility alone.

    Returns
    -------
    dict
        ``budgets``, ``baselines``, ``volatility_baseline``, ``best_budget``,
        ``best_other_baseline``, ``differences``, ``superior_ability``, ``confidence_set``,
        ``correction``, ``confidence``, ``n_samples`` and ``comparison_block`` (as long as any
        difference of a budget and a baseline needs), which otherwise mean what they do in
        `finscale.evaluation.evidence.Evidence`. Without a budget or a baseline nothing is compared.
    """
    averaged = frame.filter(pl.col("seed").is_null())
    test = averaged.filter(pl.col("part") == "test")
    losses = {
        str(model): RowLosses(
            str(model), rows["row"].to_numpy(), rows["log_loss"].to_numpy().astype(np.float64)
        )
        for (model,), rows in test.sort("date", "symbol", "row").group_by("model")
    }
    names = [str(model) for model in averaged["model"].unique(maintain_order=True)]
    present = [label for label in budgets if label in losses]
    rivals = [model for model in names if model in losses and model not in budgets]
    volatility = volatility_baseline if volatility_baseline in rivals else None
    on_validation = _mean_losses(averaged.filter(pl.col("part") == "validation"))
    other = best_other_baseline(rivals, volatility, on_validation.__getitem__)
    found: dict[str, Any] = {
        "budgets": present,
        "baselines": rivals,
        "volatility_baseline": volatility,
        "best_budget": min(present, key=on_validation.__getitem__, default=None),
        "best_other_baseline": other,
        "differences": [],
        "superior_ability": [],
        "confidence_set": None,
        "correction": None,
        "confidence": confidence,
        "n_samples": n_bootstrap,
        "comparison_block": None,
    }
    if not present or not rivals:
        return found
    gaps_BP = np.column_stack(
        [losses[own].loss_B - losses[rival].loss_B for own in present for rival in rivals]
    )
    dates = test.filter(pl.col("model") == present[0]).sort("date", "symbol", "row")["date"]
    resampling = resample_dependent(
        dates.to_numpy(),
        gaps_BP,
        horizon_bars=horizon_bars,
        n_samples=n_bootstrap,
        confidence=confidence,
        seed=derive_seed(seed, "return comparison"),
    )
    differences = [
        paired_difference(losses[own], losses[rival], resampling)
        for own in present
        for rival in rivals
    ]
    return found | {
        "differences": [plain(one) for one in differences],
        "superior_ability": [
            plain(superior_ability([losses[own] for own in present], losses[rival], resampling))
            for rival in (volatility, other)
            if rival is not None
        ],
        "confidence_set": plain(
            model_confidence_set([losses[name] for name in (*present, *rivals)], resampling)
        ),
        "correction": plain(
            correct_differences(
                differences, volatility, n_tried=n_experiments, confidence=confidence
            )
        ),
        "comparison_block": resampling.mean_block,
    }


def _mean_losses(frame: ReturnFrame) -> Mapping[str, float]:
    means = frame.group_by("model").agg(pl.col("log_loss").mean())
    return {str(model): float(loss) for model, loss in means.iter_rows()}

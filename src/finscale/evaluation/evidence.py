"""All the evidence on one cell: scores, comparisons, calibration, stability and economics."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from finscale.evaluation.bootstrap import Resampling, resample_dependent
from finscale.evaluation.closes import grid_closes
from finscale.evaluation.comparisons import (
    ConfidenceSet,
    Difference,
    SuperiorAbility,
    best_other_baseline,
    correct_differences,
    model_confidence_set,
    paired_difference,
    superior_ability,
)
from finscale.evaluation.economics import Economics, Trading, measure_economics
from finscale.evaluation.estimate import plain
from finscale.evaluation.forecasts import Forecasts, gather_forecasts
from finscale.evaluation.metrics import row_log_loss
from finscale.evaluation.multiplicity import Correction
from finscale.evaluation.predictions import Predictions
from finscale.evaluation.recalibrated import Recalibrated, score_recalibrated
from finscale.evaluation.scores import ModelScores, score_forecasts
from finscale.evaluation.stability import Stability, regimes_of, skill_by_year_and_regime
from finscale.seeds import derive_seed


@dataclass(frozen=True)
class EvidenceInputs:
    """What the evidence on one cell is drawn from.

    Attributes
    ----------
    predictions
        Of every model, on validation and test.
    budgets
        Names of the models whose scaling is studied, smallest first; all others are baselines.
    base_rate
        Event rate of the training rows, within (0, 1).
    horizon_bars
        Bars that a label reaches ahead.
    closes
        Columns symbol, date and close, of all bars of the cell's symbols, training included; None
        leaves out regimes and economics.
    """

    predictions: Predictions
    budgets: tuple[str, ...]
    base_rate: float
    horizon_bars: int
    closes: pl.DataFrame | None = None


@dataclass(frozen=True)
class EvidenceSettings:
    """How the evidence is drawn.

    Attributes
    ----------
    n_bootstrap, confidence, seed
        Samples, confidence of all intervals and sets, and the study's seed.
    volatility_baseline
        Name of the baseline that knows the level of volatility alone.
    n_experiments
        Experiments of the study, all of which count as tried; at least the number of budgets.
    trading
        Costs, lag and trials of the backtest.
    """

    n_bootstrap: int = 1000
    confidence: float = 0.95
    seed: int = 0
    volatility_baseline: str = "logistic_volatility"
    n_experiments: int = 1
    trading: Trading = field(default_factory=Trading)


@dataclass(frozen=True)
class Evidence:
    """The evidence on one cell, from its test rows; see `cell_evidence`.

    Attributes
    ----------
    n_rows, n_dates, n_symbols, first, last
        What was scored.
    n_samples, mean_block, comparison_block
        Of the bootstrap: samples, and the block lengths, in dates, of the scores and of the
        comparisons. Losses rise and fall with the market's volatility, their differences less so.
    best_budget, best_other_baseline
        Chosen on validation; see `finscale.evaluation.comparisons.best_other_baseline`.
    scores, recalibration, stability
        By model.
    differences
        Of every budget against every baseline.
    superior_ability
        Of all budgets together against the volatility baseline and against the best other one.
    confidence_set
        Over budgets and baselines.
    correction
        Of the budgets' p-values against the volatility baseline; None without one.
    economics
        None without closes.
    """

    n_rows: int
    n_dates: int
    n_symbols: int
    first: date
    last: date
    base_rate: float
    horizon_bars: int
    confidence: float
    n_samples: int
    mean_block: float
    comparison_block: float
    budgets: tuple[str, ...]
    baselines: tuple[str, ...]
    volatility_baseline: str | None
    best_budget: str | None
    best_other_baseline: str | None
    scores: dict[str, ModelScores]
    differences: tuple[Difference, ...]
    superior_ability: tuple[SuperiorAbility, ...]
    confidence_set: ConfidenceSet | None
    correction: Correction | None
    recalibration: dict[str, dict[str, Recalibrated | None]]
    stability: dict[str, Stability]
    economics: Economics | None

    def as_dict(self) -> dict[str, Any]:
        """Return the evidence as JSON can hold it: finite numbers, or None."""
        return {one.name: plain(getattr(self, one.name)) for one in fields(self)}


def cell_evidence(
    inputs: EvidenceInputs, settings: EvidenceSettings = EvidenceSettings()
) -> Evidence:
    """Draw all the evidence on one cell.

    One resampling of the test dates serves all scores, another all comparisons. What is chosen
    (the best budget and baseline, calibration, thresholds) is chosen on validation. Regimes are
    cut on the dates before validation begins.

    Raises
    ------
    ValueError
        If a part is missing, a model lacks rows that another has, a budget has no predictions, or
        a row has no close.
    """
    validation = gather_forecasts(inputs.predictions, "validation")
    test = gather_forecasts(inputs.predictions, "test")
    missing = set(inputs.budgets) - set(test.models)
    if missing or set(validation.models) != set(test.models):
        different = missing or set(validation.models) ^ set(test.models)
        raise ValueError(f"no predictions on validation and test of {', '.join(sorted(different))}")
    baselines = tuple(name for name in test.models if name not in inputs.budgets)
    volatility = settings.volatility_baseline if settings.volatility_baseline in baselines else None
    best_budget = min(inputs.budgets, key=validation.mean_loss, default=None)
    other = best_other_baseline(baselines, volatility, validation.mean_loss)
    resampling = _resample(test, test.models, None, inputs.horizon_bars, settings)
    compared = (*inputs.budgets, *baselines)
    rival = volatility or other or next(iter(baselines), None)
    pairs = _resample(test, compared, rival, inputs.horizon_bars, settings)
    closes = None if inputs.closes is None else grid_closes(inputs.closes)
    differences = tuple(
        paired_difference(test.losses(budget), test.losses(baseline), pairs)
        for budget in inputs.budgets
        for baseline in baselines
    )
    regimes = None if closes is None else regimes_of(validation, test, closes)
    return Evidence(
        n_rows=test.y_B.size,
        n_dates=resampling.n_dates,
        n_symbols=np.unique(test.symbol_B).size,
        first=test.date_B.min().item(),
        last=test.date_B.max().item(),
        base_rate=inputs.base_rate,
        horizon_bars=inputs.horizon_bars,
        confidence=settings.confidence,
        n_samples=resampling.n_samples,
        mean_block=resampling.mean_block,
        comparison_block=pairs.mean_block,
        budgets=inputs.budgets,
        baselines=baselines,
        volatility_baseline=volatility,
        best_budget=best_budget,
        best_other_baseline=other,
        scores={
            model: score_forecasts(
                test.of(model),
                test.y_B,
                resampling,
                base_rate=inputs.base_rate,
                benchmark_B=None if volatility is None else test.of(volatility),
            )
            for model in test.models
        },
        differences=differences,
        superior_ability=_superior(test, inputs.budgets, (volatility, other), pairs),
        confidence_set=model_confidence_set([test.losses(one) for one in compared], pairs)
        if compared
        else None,
        correction=correct_differences(
            differences,
            volatility,
            n_tried=settings.n_experiments,
            confidence=settings.confidence,
        ),
        recalibration={
            model: score_recalibrated(
                validation, test, model, resampling, base_rate=inputs.base_rate
            )
            for model in test.models
        },
        stability={
            model: _stability(
                test,
                model,
                resampling,
                base_rate=inputs.base_rate,
                volatility=volatility,
                regimes=regimes,
            )
            for model in test.models
        },
        economics=None
        if closes is None
        else measure_economics(
            validation.signals(),
            test.signals(),
            closes,
            settings.trading,
            volatility_baseline=volatility,
            n_samples=settings.n_bootstrap,
            seed=derive_seed(settings.seed, "backtest"),
            confidence=settings.confidence,
        ),
    )


def _resample(
    test: Forecasts,
    models: tuple[str, ...],
    benchmark: str | None,
    horizon_bars: int,
    settings: EvidenceSettings,
) -> Resampling:
    """Draw test dates in blocks as long as the losses, or their differences, depend on the past."""
    loss_BM = np.column_stack([test.losses(model).loss_B for model in models])
    if benchmark is not None:
        loss_BM -= test.losses(benchmark).loss_B[:, None]
    return resample_dependent(
        test.date_B,
        loss_BM,
        horizon_bars=horizon_bars,
        n_samples=settings.n_bootstrap,
        seed=derive_seed(settings.seed, "evidence", "losses" if benchmark is None else "pairs"),
        confidence=settings.confidence,
    )


def _superior(
    test: Forecasts,
    budgets: tuple[str, ...],
    benchmarks: tuple[str | None, ...],
    resampling: Resampling,
) -> tuple[SuperiorAbility, ...]:
    if not budgets:
        return ()
    losses = [test.losses(budget) for budget in budgets]
    return tuple(
        superior_ability(losses, test.losses(benchmark), resampling)
        for benchmark in benchmarks
        if benchmark is not None
    )


def _stability(
    test: Forecasts,
    model: str,
    resampling: Resampling,
    *,
    base_rate: float,
    volatility: str | None,
    regimes: list[str] | None,
) -> Stability:
    return skill_by_year_and_regime(
        test.losses(model).loss_B,
        row_log_loss(np.full_like(test.y_B, base_rate), test.y_B),
        test.y_B,
        test,
        resampling,
        regimes=regimes,
        benchmark_loss_B=None if volatility is None else test.losses(volatility).loss_B,
    )

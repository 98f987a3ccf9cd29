"""What the forecasts of a return are evidence of: scores, comparisons, stability, positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from finscale.dataset.cell import CellData
from finscale.evaluation.bootstrap import FloatArray
from finscale.evaluation.closes import grid_closes
from finscale.evaluation.economics import measure_economics
from finscale.evaluation.estimate import plain
from finscale.evaluation.return_comparison import compare_returns
from finscale.evaluation.return_evidence import return_evidence
from finscale.evaluation.return_frames import gather_returns
from finscale.evaluation.return_metrics import QUANTILE_LEVELS
from finscale.evaluation.return_stability import return_stability
from finscale.evaluation.signals import gather_means
from finscale.pipeline.book import RecordBook
from finscale.pipeline.evidence import closes_of, trading_of, walked_forward
from finscale.pipeline.kept import kept_return_forecasts
from finscale.pipeline.prepare import PreparedStudy
from finscale.records import BASE_RATE
from finscale.rundir import RunDirectory
from finscale.seeds import derive_seed


def describe_returns(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    cells: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Return the evidence on the forecasts of every cell of the task ``return`` that has some.

    Parameters
    ----------
    cells
        Of the summary; what is best on validation is taken from there.

    Returns
    -------
    dict
        Cell name to model to `finscale.evaluation.return_evidence.ReturnEvidence`, JSON-ready: of
        the base rate, the best baseline, and of every budget's seed average. CRPS skill is against
        the training distribution.
    """
    kept = kept_return_forecasts(prepared, directory, book)
    return {
        cell["cell"]: _describe(prepared, cell, kept[cell["cell"]])
        for cell in cells
        if cell["cell"] in kept
    }


def draw_return_evidence(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> dict[str, dict[str, Any]]:
    """Draw the evidence on every cell of the task ``return`` that has forecasts.

    Returns
    -------
    dict
        Cell name to what `finscale.evaluation.return_comparison.compare_returns` returns, and to
        ``stability``, ``economics`` (by positions in the forecast mean) and ``walk_forward``, as in
        `finscale.pipeline.evidence.draw_evidence`; their losses and skill are of the CRPS, as
        ``skill_measure`` says.
    """
    study = prepared.study
    by_size = sorted(prepared.experiments, key=lambda one: one.budget.n_parameters)
    found = {}
    for name, frame in kept_return_forecasts(prepared, directory, book).items():
        data = prepared.cells[name]
        sampling: dict[str, Any] = {
            "confidence": study.scaling.confidence,
            "seed": derive_seed(study.seed, "evidence", name),
        }
        horizon: dict[str, Any] = {
            "horizon_bars": data.cell.horizon_bars,
            "n_bootstrap": study.evidence.n_bootstrap,
        }
        compared = compare_returns(
            frame,
            [one.budget.label for one in by_size if one.cell_name == name],
            n_experiments=len(prepared.experiments),
            **horizon,
            **sampling,
        )
        closes = grid_closes(closes_of(data))
        stability = return_stability(
            frame,
            [*compared["budgets"], *compared["baselines"]],
            closes,
            reference_Q=_training_quantiles(data),
            **horizon,
            **sampling,
        )
        economics = measure_economics(
            gather_means(frame, "validation"),
            gather_means(frame, "test"),
            closes,
            trading_of(prepared, book, name, n_baselines=len(compared["baselines"])),
            volatility_baseline=compared["volatility_baseline"],
            n_samples=study.evidence.n_bootstrap,
            **sampling,
        )
        found[name] = compared | {
            "skill_measure": "crps",
            "stability": plain(stability),
            "economics": plain(economics),
            "walk_forward": walked_forward(prepared, directory, book, name),
        }
    return found


def _describe(
    prepared: PreparedStudy, cell: Mapping[str, Any], frame: pl.DataFrame
) -> dict[str, Any]:
    data = prepared.cells[cell["cell"]]
    reference_Q = _training_quantiles(data)
    averaged = set(frame.filter(pl.col("seed").is_null())["model"])
    names = [BASE_RATE, cell["best_baseline"], *cell["budgets"]]
    return {
        name: return_evidence(
            gather_returns(frame, name, "validation"),
            gather_returns(frame, name, "test"),
            QUANTILE_LEVELS,
            horizon_bars=cell["horizon_bars"],
            reference_Q=reference_Q,
            historical_mean=None if data.bins is None else data.bins.historical_mean,
            n_bootstrap=prepared.study.evidence.n_bootstrap,
            confidence=prepared.study.scaling.confidence,
            seed=derive_seed(prepared.study.seed, "evidence", cell["cell"]),
        ).as_dict()
        for name in dict.fromkeys(names)
        if name in averaged
    }


def _training_quantiles(data: CellData) -> FloatArray:
    if data.bins is None:
        raise ValueError(f"{data.cell.name} is no cell of the task return")
    return np.asarray(data.bins.quantiles(data.bins.share_K[None], QUANTILE_LEVELS)[0])

"""What is known of the forecasts of a return beyond their records: intervals, and coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from finscale.evaluation.return_comparison import compare_returns
from finscale.evaluation.return_evidence import return_evidence
from finscale.evaluation.return_frames import gather_returns
from finscale.evaluation.return_metrics import QUANTILE_LEVELS
from finscale.pipeline.book import RecordBook
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


def compare_return_cells(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook
) -> dict[str, dict[str, Any]]:
    """Return the paired comparisons on every cell of the task ``return`` that has forecasts.

    Returns
    -------
    dict
        Cell name to what `finscale.evaluation.return_comparison.compare_returns` returns.
    """
    study = prepared.study
    by_size = sorted(prepared.experiments, key=lambda one: one.budget.n_parameters)
    return {
        name: compare_returns(
            frame,
            [one.budget.label for one in by_size if one.cell_name == name],
            horizon_bars=next(one.horizon_bars for one in by_size if one.cell_name == name),
            n_bootstrap=study.evidence.n_bootstrap,
            confidence=study.scaling.confidence,
            seed=derive_seed(study.seed, "evidence", name),
            n_experiments=len(prepared.experiments),
        )
        for name, frame in kept_return_forecasts(prepared, directory, book).items()
    }


def _describe(
    prepared: PreparedStudy, cell: Mapping[str, Any], frame: pl.DataFrame
) -> dict[str, Any]:
    data = prepared.cells[cell["cell"]]
    if data.bins is None:
        raise ValueError(f"{cell['cell']} is no cell of the task return")
    reference_Q = data.bins.quantiles(data.bins.share_K[None], QUANTILE_LEVELS)[0]
    averaged = set(frame.filter(pl.col("seed").is_null())["model"])
    names = [BASE_RATE, cell["best_baseline"], *cell["budgets"]]
    return {
        name: return_evidence(
            gather_returns(frame, name, "validation"),
            gather_returns(frame, name, "test"),
            QUANTILE_LEVELS,
            horizon_bars=cell["horizon_bars"],
            reference_Q=reference_Q,
            historical_mean=data.bins.historical_mean,
            n_bootstrap=prepared.study.evidence.n_bootstrap,
            confidence=prepared.study.scaling.confidence,
            seed=derive_seed(prepared.study.seed, "evidence", cell["cell"]),
        ).as_dict()
        for name in dict.fromkeys(names)
        if name in averaged
    }

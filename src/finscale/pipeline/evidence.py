"""What the predictions of every cell are evidence of, drawn once for the verdict and the report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from finscale.dataset.cell import CellData
from finscale.evaluation.backtest import TRADING_DAYS
from finscale.evaluation.economics import Trading
from finscale.evaluation.estimate import plain
from finscale.evaluation.evidence import EvidenceInputs, EvidenceSettings, cell_evidence
from finscale.evaluation.walk_forward import PeriodScore, summarise_walk_forward
from finscale.pipeline.book import RecordBook
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.walk_forward import blocks_of
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from finscale.seeds import derive_seed
from finscale.study_data import TimeScale

DATES_PER_YEAR: dict[TimeScale, float] = {
    "daily": TRADING_DAYS,
    "2d": TRADING_DAYS / 2,
    "3d": TRADING_DAYS / 3,
    "5d": TRADING_DAYS / 5,
    "weekly": 52.0,
    "monthly": 12.0,
}
"""Bars in a year on every time scale."""


def draw_evidence(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    predictions: Mapping[str, pl.DataFrame],
) -> dict[str, Any]:
    """Draw the evidence on every cell that has predictions.

    Returns
    -------
    dict
        Cell name to `finscale.evaluation.evidence.Evidence.as_dict`, and in ``walk_forward`` budget
        to ``blocks`` (see `finscale.pipeline.walk_forward.blocks_of`) and ``summary``
        (`finscale.evaluation.walk_forward.WalkForward`).
    """
    found = {}
    for name, frame in predictions.items():
        present = set(frame["model"].unique().to_list())
        budgets = tuple(
            one.budget.label
            for one in sorted(prepared.experiments, key=lambda one: one.budget.n_parameters)
            if one.cell_name == name and one.budget.label in present
        )
        data = prepared.cells[name]
        if not isinstance(data.base_rate, float):
            raise TypeError(f"{name}: evidence of this kind is on a binary task")
        inputs = EvidenceInputs(
            predictions=frame,
            budgets=budgets,
            base_rate=data.base_rate,
            horizon_bars=data.cell.horizon_bars,
            closes=closes_of(data),
        )
        settings = _settings(prepared, book, name, n_baselines=len(present - set(budgets)))
        drawn = cell_evidence(inputs, settings).as_dict()
        found[name] = drawn | {"walk_forward": walked_forward(prepared, directory, book, name)}
    return found


def walked_forward(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook, cell: str
) -> dict[str, Any]:
    """Return what was walked forward of a cell, by budget: ``blocks`` and ``summary``."""
    found = {}
    for one in prepared.experiments:
        best = book.best_trial(one.name)
        if one.cell_name != cell or best is None:
            continue
        files = directory.experiment(one.name)
        blocks = blocks_of(
            files,
            book.identities[one.name].fingerprint,
            best.trial,
            prepared.study.evidence.walk_forward_blocks,
        )
        if blocks:
            periods = [
                PeriodScore(
                    first=date.fromisoformat(block["first"]),
                    last=date.fromisoformat(block["last"]),
                    n_rows=block["n_rows"],
                    loss=block["loss"],
                    base_loss=block["base_loss"],
                )
                for block in blocks
            ]
            summary = summarise_walk_forward(periods, confidence=prepared.study.scaling.confidence)
            found[one.budget.label] = {"blocks": blocks, "summary": plain(summary)}
    return found


def _settings(
    prepared: PreparedStudy, book: RecordBook, cell: str, *, n_baselines: int
) -> EvidenceSettings:
    study = prepared.study
    return EvidenceSettings(
        n_bootstrap=study.evidence.n_bootstrap,
        confidence=study.scaling.confidence,
        seed=derive_seed(study.seed, "evidence", cell),
        n_experiments=len(prepared.experiments),
        trading=trading_of(prepared, book, cell, n_baselines=n_baselines),
    )


def trading_of(
    prepared: PreparedStudy, book: RecordBook, cell: str, *, n_baselines: int
) -> Trading:
    """Return how the models of a cell are traded: every trial of its searches was tried."""
    study = prepared.study
    n_trials = sum(isinstance(r, TrialRecord) and r.cell_name == cell for r in book.all)
    return Trading(
        cost_bps=study.evidence.cost_bps,
        lag=study.evidence.lag_bars,
        n_models=n_trials + n_baselines,
        dates_per_year=DATES_PER_YEAR[study.data.time_scale],
    )


def closes_of(data: CellData) -> pl.DataFrame:
    """Return the closes of a cell's symbols: columns symbol, date and close."""
    return pl.concat(
        pl.DataFrame({"date": bars.date, "close": bars.close}).select(
            symbol=pl.lit(symbol), date=pl.col("date").cast(pl.Date), close="close"
        )
        for symbol, bars in zip(data.symbols, data.bars, strict=True)
    )

"""What the predictions of every cell are evidence of, drawn once for the verdict and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from finscale.dataset.cell import CellData
from finscale.evaluation.economics import Trading
from finscale.evaluation.evidence import EvidenceInputs, EvidenceSettings, cell_evidence
from finscale.files import write_json_atomic
from finscale.pipeline.book import RecordBook
from finscale.pipeline.prepare import PreparedStudy
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from finscale.seeds import derive_seed


def draw_evidence(
    prepared: PreparedStudy,
    directory: RunDirectory,
    book: RecordBook,
    predictions: Mapping[str, pl.DataFrame],
) -> dict[str, Any]:
    """Draw the evidence on every cell that has predictions, and write ``evidence.json``.

    Returns
    -------
    dict
        Cell name to `finscale.evaluation.evidence.Evidence.as_dict`.
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
        inputs = EvidenceInputs(
            predictions=frame,
            budgets=budgets,
            base_rate=data.base_rate,
            horizon_bars=data.cell.horizon_bars,
            closes=_closes(data),
        )
        found[name] = cell_evidence(inputs, _settings(prepared, book, name)).as_dict()
    write_json_atomic(directory.evidence, found)
    return found


def _settings(prepared: PreparedStudy, book: RecordBook, cell: str) -> EvidenceSettings:
    study = prepared.study
    n_tried = sum(isinstance(r, TrialRecord) and r.cell_name == cell for r in book.current)
    return EvidenceSettings(
        n_bootstrap=study.evidence.n_bootstrap,
        confidence=study.scaling.confidence,
        seed=derive_seed(study.seed, "evidence", cell),
        n_experiments=len(prepared.experiments),
        trading=Trading(
            cost_bps=study.evidence.cost_bps,
            lag=study.evidence.lag_bars,
            n_trials=max(n_tried, 1),
        ),
    )


def _closes(data: CellData) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame({"date": bars.date, "close": bars.close}).select(
            symbol=pl.lit(symbol), date=pl.col("date").cast(pl.Date), close="close"
        )
        for symbol, bars in zip(data.symbols, data.bars, strict=True)
    )

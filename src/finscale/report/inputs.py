"""What the report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from finscale.imported.record import ImportedLine
from finscale.records import Record
from finscale.search.coverage import Coverage
from finscale.study import Study


@dataclass(frozen=True)
class ReportInput:
    """What the page is made from.

    Attributes
    ----------
    study, study_yaml
        The study, and its text with every default written out.
    summary
        Of `finscale.report.summary.build_summary`.
    scaling
        Of `finscale.scaling.ledger.judge_cells`.
    evidence
        Cell name to `finscale.evaluation.evidence.Evidence.as_dict`, of binary tasks.
    return_evidence
        Cell name to what `finscale.pipeline.returns.draw_return_evidence` returns, of the task
        ``return``.
    axes
        Of `finscale.scaling.axis_laws.axis_laws`.
    surfaces
        Of `finscale.scaling.surfaces.surfaces`.
    measures
        Of `finscale.scaling.averages.measure_lines`.
    data
        As in data.json: the bars, and the parts of every cell.
    environment
        As in environment.json: versions, hashes and the machine.
    records
        Current records, in the order of the ledger.
    predictions
        Predictions by cell, such as ``h1_threshold_1pct``; a budget's seed average and the
        baselines have a null seed.
    coverage
        Experiment name to what was tried of its grid.
    imported
        Past results that were imported into the run.
    """

    study: Study
    study_yaml: str
    summary: Mapping[str, Any]
    scaling: Mapping[str, Any]
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
    records: Sequence[Record]
    predictions: Mapping[str, pl.DataFrame]
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    return_evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    axes: Sequence[Mapping[str, Any]] = ()
    surfaces: Sequence[Mapping[str, Any]] = ()
    measures: Sequence[Mapping[str, Any]] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    imported: Sequence[ImportedLine] = ()

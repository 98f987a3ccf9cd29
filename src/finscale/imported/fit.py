"""Laws fitted to imported results, a cell at a time, and how many of them show no skill.

Nothing here is comparable with a run's own fit: other data and code, one seed, and the best of a
search taken at face value. So there is no verdict, only fits and what stands against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from finscale.errors import FitError
from finscale.imported.record import ImportedBaseLoss, ImportedLine, ImportedRecord
from finscale.scaling.fit import compare_laws


def base_losses(lines: Iterable[ImportedLine]) -> dict[str, float]:
    """Return the base rate's log-loss in every cell that has one; of several the last."""
    return {line.cell: line.log_loss for line in lines if isinstance(line, ImportedBaseLoss)}


def results(lines: Iterable[ImportedLine]) -> dict[str, list[ImportedRecord]]:
    """Return the imported results by cell, in the order in which cells first appear."""
    cells: dict[str, list[ImportedRecord]] = {}
    for line in lines:
        if isinstance(line, ImportedRecord):
            cells.setdefault(line.cell, []).append(line)
    return cells


def fit_imported(lines: Sequence[ImportedLine]) -> dict[str, dict[str, Any]]:
    """Fit the laws to every cell's results.

    A budget's point is its lowest validation loss among the complete results whose architecture
    is known, at the count of that architecture. A label is not a size.

    Returns
    -------
    dict
        Cell name to ``n_results`` (all), ``n_scored`` (complete, with a loss), ``n_uncounted``
        (of those, without an architecture to count), ``base_log_loss`` (None where not
        known), ``n_without_skill`` (scored results whose loss is not below it; None
        where it is not known), ``points``, ``comparison`` (`Comparison.as_dict`, or None) and
        ``error`` (why there is no fit, or None). JSON-ready.
    """
    bases = base_losses(lines)
    return {cell: _fit_cell(found, bases.get(cell)) for cell, found in results(lines).items()}


def _fit_cell(records: Sequence[ImportedRecord], base: float | None) -> dict[str, Any]:
    scored = [(loss, record) for record in records if (loss := scored_loss(record)) is not None]
    points = _points(scored)
    result: dict[str, Any] = {
        "n_results": len(records),
        "n_scored": len(scored),
        "n_uncounted": sum(record.n_parameters is None for _, record in scored),
        "base_log_loss": base,
        "n_without_skill": None if base is None else sum(loss >= base for loss, _ in scored),
        "points": list(points.values()),
        "comparison": None,
        "error": None,
    }
    try:
        comparison = compare_laws(
            [point["n_parameters"] for point in points.values()],
            [point["validation_loss"] for point in points.values()],
        )
    except FitError:
        return result | {
            "error": "no complete result has an architecture whose size can be counted"
        }
    return result | {"comparison": comparison.as_dict()}


def scored_loss(record: ImportedRecord) -> float | None:
    """Return the validation loss of a result that is complete; None for all others."""
    return record.validation_loss if record.status == "complete" else None


def _points(scored: Iterable[tuple[float, ImportedRecord]]) -> Mapping[str, dict[str, Any]]:
    """Return the best counted result of every budget, by ascending size."""
    best: dict[str, dict[str, Any]] = {}
    for loss, record in scored:
        if record.n_parameters is None:
            continue
        label = record.budget or "?"
        if label not in best or loss < best[label]["validation_loss"]:
            best[label] = {
                "budget": label,
                "n_parameters": record.n_parameters,
                "validation_loss": loss,
                "architecture": record.architecture,
                "uid": record.uid,
            }
    return dict(sorted(best.items(), key=lambda item: item[1]["n_parameters"]))

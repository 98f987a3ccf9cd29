"""Every measured point with all that a law may be fitted against, one row per final run or epoch.

Sizes: built parameters, training FLOPs (at the end, and along the run), training rows, features.
The table is what ``points.csv`` of a run holds, and what ``finscale fit-law`` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finscale.records import FinalRecord, Record
from finscale.scaling.ledger import by_cell, finals_by_budget, metrics_of
from finscale.study import Study

COLUMNS = (
    *("study", "cell", "horizon_bars", "task", "history_frac", "n_symbols", "tier", "budget"),
    *("kind", "seed", "epoch", "params", "features", "rows", "samples", "flops"),
    *("train_loss", "validation_loss", "validation_skill", "test_loss", "test_skill"),
    *("validation_crps", "test_crps", "test_r2"),
)
"""Columns of the table; ``kind`` is ``final`` or ``epoch``, losses are log-losses in nats. The last
three are those of a return, in units of the log return and of its variance, and empty elsewhere."""


def point_rows(
    study: Study, records: Sequence[Record], data: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the points of a run, final runs and the epochs of each.

    Parameters
    ----------
    records
        Current records, in the order of the ledger; the final runs of each budget's current winner
        are used.
    data
        As in data.json: ``feature_names``, and for each cell the size of its training part.

    Returns
    -------
    list of dict
        Keys are `COLUMNS`. ``samples`` and ``flops`` are those spent up to the epoch, of the whole
        run for a final row. An epoch has no test loss, and for a final row ``validation_loss`` is
        that of the weights that were kept.
    """
    rows = []
    for cell, runs in by_cell(records).items():
        if cell not in data["cells"]:
            continue
        shared = cell_columns(study, data, cell)
        for finals in finals_by_budget(runs).values():
            for final in finals:
                rows += _rows_of(final, shared)
    return rows


def cell_columns(study: Study, data: Mapping[str, Any], cell: str) -> dict[str, Any]:
    """Return the columns that all points of one cell share; ``data`` is that of data.json."""
    described = data["cells"][cell]
    return {
        "study": study.name,
        "cell": cell,
        "horizon_bars": described["horizon_bars"],
        "task": described["task"],
        "history_frac": described["data_size"]["history_frac"],
        "n_symbols": described["parts"]["train"]["n_symbols"],
        "tier": study.features.tier,
        "features": len(data["feature_names"]),
        "rows": described["parts"]["train"]["n"],
    }


def _rows_of(final: FinalRecord, shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    n_epochs = len(final.curve)
    own = {
        **shared,
        "budget": final.budget,
        "seed": final.seed,
        "params": final.n_parameters,
    }
    epochs = [
        {
            **own,
            "kind": "epoch",
            "epoch": point.epoch,
            "samples": point.epoch * shared["rows"],
            "flops": final.flops * point.epoch / n_epochs,
            "train_loss": point.train_loss,
            "validation_loss": point.validation_loss,
        }
        for point in final.curve
    ]
    validation, test = (metrics_of(final.scores, part) for part in ("validation", "test"))
    whole = {
        **own,
        "kind": "final",
        "epoch": n_epochs,
        "samples": n_epochs * shared["rows"],
        "flops": final.flops,
        "train_loss": final.curve[final.best_epoch - 1].train_loss,
        "validation_loss": validation["log_loss"],
        "validation_skill": validation["skill"],
        "test_loss": test["log_loss"],
        "test_skill": test["skill"],
        "validation_crps": validation.get("crps"),
        "test_crps": test.get("crps"),
        "test_r2": test.get("r2"),
    }
    return [{name: row.get(name) for name in COLUMNS} for row in (*epochs, whole)]


def compute_frontier(
    rows: Sequence[Mapping[str, Any]], *, n_bins: int = 12
) -> tuple[list[float], list[float]]:
    """Return the lowest validation loss of any epoch within equal steps of log compute.

    Of each bin of training FLOPs the epoch of the lowest loss is taken, with the FLOPs that it had
    cost, and only if it is below all that cost less: the envelope of the learning curves (Kaplan
    et al. 2020, "Scaling laws for neural language models", section 3.3). A minimum over epochs and
    seeds is optimistic, and its points share runs: they describe, and are not independent.

    Parameters
    ----------
    rows
        Epochs of one cell.
    n_bins
        Steps between the lowest and the highest FLOPs.
    """
    epochs = [row for row in rows if row["kind"] == "epoch" and row["flops"] > 0.0]
    if not epochs:
        return [], []
    log_flops = np.log([row["flops"] for row in epochs])
    losses = np.array([row["validation_loss"] for row in epochs])
    edges = np.linspace(log_flops.min(), log_flops.max(), n_bins + 1)
    bin_of = np.clip(np.digitize(log_flops, edges[1:-1]), 0, n_bins - 1)
    flops: list[float] = []
    frontier: list[float] = []
    for number in range(n_bins):
        inside = np.flatnonzero(bin_of == number)
        if inside.size == 0:
            continue
        best = inside[np.argmin(losses[inside])]
        if not frontier or losses[best] < frontier[-1]:
            flops.append(float(np.exp(log_flops[best])))
            frontier.append(float(losses[best]))
    return flops, frontier

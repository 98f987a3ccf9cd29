"""Loss against what else may scale: training compute, along the runs too, and training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finscale.errors import FitError
from finscale.scaling.axes import compute_frontier
from finscale.scaling.weighing import Weighed, weigh

Row = Mapping[str, Any]


def axis_laws(rows: Sequence[Row], **settings: Any) -> list[dict[str, Any]]:
    """Fit loss against every axis that the points of a run vary along, but parameters.

    Parameters
    ----------
    rows
        Of `finscale.scaling.axes.point_rows`.
    settings
        Of `finscale.scaling.weighing.weigh`.

    Returns
    -------
    list of dict
        ``axis``, ``of`` (the cell, or the horizon, task and budget that have several data sizes),
        ``part``, ``n_points``, ``span_ratio``, ``kind`` ("descriptive" along the runs, where a
        running minimum can only fall), ``law`` (that AICc prefers), ``alpha``,
        ``alpha_low``, ``alpha_high``, ``delta_aicc``, ``loss_difference`` (estimate, low, high);
        None where there is no such number.
    """
    found = []
    finals = [row for row in rows if row["kind"] == "final"]
    for cell in dict.fromkeys(row["cell"] for row in rows):
        own = [row for row in finals if row["cell"] == cell]
        found.append(
            _weighed(_means(own, "flops", by="budget"), settings, axis="training FLOPs", of=cell)
        )
        along = compute_frontier([row for row in rows if row["cell"] == cell])
        described = _weighed(
            along, settings, axis="FLOPs along the runs", of=cell, part="validation"
        )
        # A running minimum can only fall, so that it would be found to do so in noise as well.
        found.append(described and described | {"kind": "descriptive"})
    for place in dict.fromkeys(_place(row) for row in finals):
        own = [row for row in finals if _place(row) == place]
        points = _means(own, "rows", by="cell")
        if len(set(points[0])) > 1:
            found.append(_weighed(points, settings, axis="training rows", of=place))
    return [one for one in found if one is not None]


def _place(row: Row) -> str:
    return f"{row['budget']}_h{row['horizon_bars']}_{row['task']}"


def _means(rows: Sequence[Row], size: str, *, by: str) -> tuple[list[float], list[float]]:
    """Return sizes and test losses averaged over seeds, which are no independent measurements."""
    sizes, losses = [], []
    for key in dict.fromkeys(row[by] for row in rows):
        own = [row for row in rows if row[by] == key]
        sizes.append(float(np.mean([row[size] for row in own])))
        losses.append(float(np.mean([row["test_loss"] for row in own])))
    return sizes, losses


def _weighed(
    points: tuple[list[float], list[float]],
    settings: Mapping[str, Any],
    *,
    axis: str,
    of: str,
    part: str = "test",
) -> dict[str, Any] | None:
    sizes, losses = points
    try:
        weighed = weigh(sizes, losses, **settings)
    except FitError:
        return None
    return {
        "axis": axis,
        "of": of,
        "part": part,
        "n_points": len(sizes),
        "span_ratio": max(sizes) / min(sizes),
        "kind": weighed.kind,
        "delta_aicc": weighed.delta_aicc,
        **_law(weighed),
    }


def _law(weighed: Weighed) -> dict[str, Any]:
    intervals = {one.law: one for one in weighed.intervals}
    chosen = intervals.get(weighed.comparison.chosen or "")
    alpha = None if chosen is None else chosen.alpha
    difference = weighed.change
    return {
        "law": weighed.comparison.chosen,
        "alpha": None if alpha is None else alpha.estimate,
        "alpha_low": None if alpha is None else alpha.low,
        "alpha_high": None if alpha is None else alpha.high,
        "loss_difference": None
        if difference is None
        else [difference.estimate, difference.low, difference.high],
    }

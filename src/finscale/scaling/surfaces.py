"""The surface L(N, D) of a run that has several budgets and several data sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finscale.errors import FitError
from finscale.scaling.allocation import allocate
from finscale.scaling.fit_points import fit_law
from finscale.scaling.laws import Surface

Row = Mapping[str, Any]

MIN_POINTS = len(Surface.parameters) + 2
"""Budgets times data sizes below which no surface is fitted: it has five parameters."""


def surfaces(
    rows: Sequence[Row], *, n_bootstrap: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Fit the surface to every horizon and task that has several budgets and data sizes.

    A point is a budget on a data size, its test loss the mean over seeds, N its built parameters
    and D its training rows, of which there have to be three each. Where the fit converged off its
    bounds, the sizes that the largest budget's compute would be spent best on are given (Hoffmann
    et al. 2022, eq. 4), with the FLOPs per parameter and row that these runs took on average.

    Parameters
    ----------
    rows
        Of `finscale.scaling.axes.point_rows`.

    Returns
    -------
    list of dict
        ``of``, ``n_points``, ``fit`` (as `finscale.scaling.fit_points.FittedPoints.as_dict`; None
        where there are too few points), ``why`` (why there is no fit, or None), and
        ``allocation`` (`finscale.scaling.allocation.Allocation.as_dict`, or None).
    """
    finals = [row for row in rows if row["kind"] == "final"]
    places: dict[str, list[Row]] = {}
    for row in finals:
        places.setdefault(f"h{row['horizon_bars']}_{row['task']}", []).append(row)
    found = []
    for place, own in places.items():
        if len({row["rows"] for row in own}) < 2 or len({row["params"] for row in own}) < 2:
            continue
        found.append(
            {"of": place} | _surface(own, n_bootstrap=n_bootstrap, confidence=confidence, seed=seed)
        )
    return found


def _surface(
    rows: Sequence[Row], *, n_bootstrap: int, confidence: float, seed: int
) -> dict[str, Any]:
    points: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        points.setdefault((row["budget"], row["cell"]), []).append(row)
    n_P, d_P, flops_P, loss_P = (
        np.array([np.mean([one[name] for one in seeds]) for seeds in points.values()])
        for name in ("params", "rows", "flops", "test_loss")
    )
    result: dict[str, Any] = {"n_points": n_P.size, "fit": None, "why": None, "allocation": None}
    if n_P.size < MIN_POINTS:
        return result | {"why": f"{n_P.size} points, and a surface needs {MIN_POINTS}"}
    try:
        fitted = fit_law(
            loss=loss_P, n=n_P, d=d_P, bootstrap=n_bootstrap, seed=seed, confidence=confidence
        )
    except FitError as error:
        return result | {"why": str(error)}
    result["fit"] = fitted.as_dict()
    if fitted.estimate.converged and not fitted.estimate.at_bound and fitted.resampled is not None:
        result["allocation"] = allocate(
            fitted.parameters,
            fitted.resampled,
            float(flops_P.max()),
            coefficient=float(np.mean(flops_P / (n_P * d_P))),
            confidence=confidence,
        ).as_dict()
    return result

"""The fitted law between the smallest and the largest size, with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.scaling.fit import fit_law
from finscale.scaling.laws import PowerLaw, PowerLawWithFloor
from finscale.scaling.line import Line, fit_line
from finscale.scaling.projection import fit_exponents, project
from finscale.scaling.uncertainty import simulate_losses

_N_SIZES = 60

LINE_OF_LOSS = "L = a + b ln N"


@dataclass(frozen=True)
class Band:
    """A law at sizes evenly spaced in log N, and the pointwise interval around it; nats."""

    formula: str
    n_parameters: tuple[float, ...]
    loss: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def law_band(points: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any], part: str) -> Band:
    """Return what a verdict prefers to a constant, with the interval it was judged by.

    The bootstrap samples are drawn again with the verdict's own seed, so that at the smallest and
    the largest size the band ends at the intervals that the verdict reports.

    Parameters
    ----------
    points
        Of `finscale.scaling.ledger.judge_cells`.
    verdict
        `Verdict.as_dict` of the part, with intervals.
    part
        "validation" or "test".
    """
    ordered = sorted(points, key=lambda point: point["n_parameters"])
    sizes_P = np.array([point["n_parameters"] for point in ordered], dtype=np.float64)
    loss_P = np.array([np.mean(point["losses"][part]) for point in ordered])
    grid_N = np.geomspace(sizes_P[0], sizes_P[-1], _N_SIZES)
    if verdict["prefers_line"]:
        return _line_band(fit_line(x=sizes_P, y=loss_P, confidence=verdict["confidence"]), grid_N)
    delta = verdict["comparison"]["delta_aicc"]
    law = min((PowerLaw, PowerLawWithFloor), key=lambda law: delta[law.name])
    interval = next(i for i in verdict["intervals"] if i["law"] == law.name)
    fit = fit_law(sizes_P, loss_P, law)
    samples_SP = simulate_losses(
        fit, sizes_P, n_samples=interval["n_samples"], seed=interval["seed"]
    )
    centre = np.log(sizes_P).mean()
    log_x_P = np.log(sizes_P) - centre
    alpha_S = fit_exponents(samples_SP, log_x_P, has_floor=law.has_floor)
    refit = project(samples_SP, log_x_P, alpha_S, has_floor=law.has_floor)
    power_SN = np.exp(-alpha_S[:, None] * (np.log(grid_N) - centre))
    losses_SN = refit.floor_S[:, None] + refit.amplitude_S[:, None] * power_SN
    tail = (1.0 - interval["confidence"]) / 2.0
    low_N, high_N = np.quantile(losses_SN, [tail, 1.0 - tail], axis=0)
    return Band(
        formula=law.formula,
        n_parameters=tuple(grid_N.tolist()),
        loss=tuple(fit.predict(grid_N).tolist()),
        low=tuple(low_N.tolist()),
        high=tuple(high_N.tolist()),
    )


def _line_band(line: Line, grid_N: npt.NDArray[np.float64]) -> Band:
    low_N, high_N = line.interval(grid_N)
    return Band(
        formula=LINE_OF_LOSS,
        n_parameters=tuple(grid_N.tolist()),
        loss=tuple(line.predict(grid_N).tolist()),
        low=tuple(low_N.tolist()),
        high=tuple(high_N.tolist()),
    )

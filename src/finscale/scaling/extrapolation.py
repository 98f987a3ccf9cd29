"""What a law predicts for a budget it has not seen: the test that a fit cannot pass by bending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError
from finscale.scaling.estimate import count_distinct, estimate_law
from finscale.scaling.laws import Constant, Law, PowerLaw, PowerLawWithFloor, short_name
from finscale.scaling.objective import FloatArray, Objective
from finscale.scaling.points import check_points


@dataclass(frozen=True)
class LeftOut:
    """One budget, predicted from the others.

    Attributes
    ----------
    n : float
        Size of the budget.
    predicted, actual : float
        Loss under the law fitted to the other budgets, and the mean loss measured.
    error : float
        Predicted less actual.
    """

    n: float
    predicted: float
    actual: float
    error: float


@dataclass(frozen=True)
class Extrapolation:
    """How well one law predicts budgets it has not seen.

    Attributes
    ----------
    law : str
        Short name of the law.
    left_out : tuple of LeftOut
        Every budget in turn, by ascending size; empty if the others cannot determine the law.
    largest : LeftOut or None
        The largest budget: the one case that extrapolates upwards.
    rms_error : float or None
        Root mean square of the errors over all budgets.
    """

    law: str
    left_out: tuple[LeftOut, ...]
    largest: LeftOut | None
    rms_error: float | None

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return asdict(self)


def leave_one_out_extrapolation(
    n: npt.ArrayLike,
    loss: npt.ArrayLike,
    laws: Sequence[Law] = (Constant, PowerLaw, PowerLawWithFloor),
    *,
    objective: Objective | None = None,
) -> dict[str, Extrapolation]:
    """Leave each budget out, fit the laws to the others, and predict its loss.

    All points of equal size are one budget and are left out together.

    Parameters
    ----------
    n, loss : array_like
        Sizes and losses, shape (P,), positive.
    laws : sequence of Law
        Laws in one variable.
    objective : Objective, optional
        What the fits minimise; see `finscale.scaling.estimate.default_objective`.

    Returns
    -------
    dict
        By the law's short name.

    Raises
    ------
    FitError
        If the points are not positive finite numbers, or there is a single budget.
    """
    size_P, loss_P = check_points(n, loss)
    budgets = np.unique(size_P)
    if budgets.size < 2:
        raise FitError("a single budget: nothing is left to predict it from; measure another")
    return {short_name(law): _leave_out(law, size_P, loss_P, objective) for law in laws}


def _leave_out(
    law: Law, size_P: FloatArray, loss_P: FloatArray, objective: Objective | None
) -> Extrapolation:
    left_out = []
    for budget in np.unique(size_P):
        out_P = size_P == budget
        rest_P = size_P[~out_P]
        if count_distinct(law, [rest_P]) < law.n_parameters:
            return Extrapolation(short_name(law), (), None, None)
        fit = estimate_law(law, [rest_P], loss_P[~out_P], objective)
        predicted = float(fit.predict(np.array([budget]))[0])
        actual = float(loss_P[out_P].mean())
        left_out.append(LeftOut(float(budget), predicted, actual, predicted - actual))
    squares = [one.error**2 for one in left_out]
    return Extrapolation(
        law=short_name(law),
        left_out=tuple(left_out),
        largest=left_out[-1],
        rms_error=float(np.sqrt(np.mean(squares))),
    )

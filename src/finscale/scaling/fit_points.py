"""A scaling law fitted to anyone's points: what ``finscale fit-law`` and `finscale.fit_law` do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError
from finscale.scaling.estimate import Estimate, default_objective, estimate_law
from finscale.scaling.fit_notes import AgainstConstant, against_constant, notes_on
from finscale.scaling.laws import Constant, Law, find_law, short_name
from finscale.scaling.objective import FloatArray, Kind, Objective
from finscale.scaling.point_table import PointTable, read_values, table_of
from finscale.scaling.resampling import (
    N_SAMPLES,
    Resampled,
    group_points,
    resample_noise,
    resample_points,
)
from finscale.scaling.uncertainty import check_confidence

OBJECTIVES: tuple[Kind, ...] = ("huber", "log-least-squares", "least-squares")

# Two expressions of columns for the same number differ by as much.
_ROUNDING = 1.0 + 1e-9

Values = str | npt.ArrayLike
"""A column or an expression of columns, or the numbers themselves."""


@dataclass(frozen=True)
class FittedPoints:
    """A law fitted to points, with its uncertainty.

    Attributes
    ----------
    estimate : Estimate
        The fit.
    resampled : Resampled or None
        Refits of resampled points; None if no bootstrap was asked for, or the points do not tell
        the parameters apart (see `Estimate.is_identified`): intervals would mean nothing.
    resampling : str or None
        "points" drawn with replacement, or "noise" drawn around the law; None if neither was.
    confidence : float
        Nominal coverage of the intervals.
    variables : dict
        What was fitted against, by the law's names, each of shape (P,).
    loss_P : ndarray
        The losses that were fitted.
    constant : AgainstConstant or None
        How a constant fits the same points; None where the law is one.
    n_rows : int
        Rows that they are the means of; as many as points where no two share their variables.
    dropped : tuple of int
        Rows (lines of a CSV file) that were left out for their high loss.
    """

    estimate: Estimate
    resampled: Resampled | None
    resampling: str | None
    confidence: float
    variables: dict[str, FloatArray]
    loss_P: FloatArray
    constant: AgainstConstant | None
    n_rows: int
    dropped: tuple[int, ...]

    @property
    def law(self) -> Law:
        """The law that was fitted."""
        return self.estimate.law

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters of the law."""
        return self.estimate.parameters

    @property
    def standard_errors(self) -> dict[str, float | None] | None:
        """Standard error of each parameter; None where nothing was resampled."""
        return None if self.resampled is None else self.resampled.standard_errors()

    @property
    def intervals(self) -> dict[str, tuple[float, float]] | None:
        """Percentile interval of each parameter; None where nothing was resampled."""
        return None if self.resampled is None else self.resampled.intervals(self.confidence)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers do not show by themselves, such as that a constant fits as well."""
        return notes_on(self.estimate, self.constant, self.resampled, self.confidence)

    def predict(self, *variables: npt.ArrayLike) -> FloatArray:
        """Loss under the fitted law, one array per variable of the law."""
        return self.estimate.predict(*variables)

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        fit = self.estimate.as_dict()
        objective = self.estimate.objective
        boot = self.resampled
        spread = {} if boot is None else boot.as_dict(self.confidence)
        head = {
            "law": fit["law"],
            "parameters": fit["parameters"],
            "standard_errors": spread.pop("standard_errors", None),
            "intervals": spread.pop("intervals", None),
            "objective": fit["objective"],
            "n_points": fit["n_points"],
            "converged": fit["converged"],
        }
        return (
            head
            | {name: value for name, value in fit.items() if name not in head}
            | {
                "objective_kind": objective.kind,
                "huber": objective.delta if objective.kind == "huber" else None,
                "constant": None if self.constant is None else asdict(self.constant),
                "notes": list(self.notes),
                "n_rows": self.n_rows,
                "dropped": list(self.dropped),
                "resampling": self.resampling,
            }
            | spread
        )


def fit_law(
    points: Any = None,
    *,
    loss: Values,
    law: str | Law = "surface",
    x: Values | None = None,
    n: Values | None = None,
    d: Values | None = None,
    unique_d: Values | None = None,
    objective: Kind | None = None,
    huber: float | None = None,
    drop_highest: int = 0,
    bootstrap: int = N_SAMPLES,
    resampling: str | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    where: Mapping[str, Any] | None = None,
) -> FittedPoints:
    """Fit a scaling law to points, with standard errors and intervals by bootstrap.

    Rows of one size (that share all variables), such as seeds of one budget, share whatever is
    peculiar to that size, and are no independent measurements of what size does. Where noise is
    drawn around the law they are averaged first; where points are drawn they are drawn together.

    Parameters
    ----------
    points : path, data frame or mapping, optional
        A CSV or Parquet file, a polars or pandas frame, or arrays by name; not needed where all
        variables are arrays.
    loss : str or array_like
        The losses: a column, an expression of columns such as ``"flops / (6 * params)"`` (see
        `finscale.scaling.expressions`), or P numbers. So are the variables.
    law : str or Law
        "constant", "power", "power-floor", "broken" (of ``x``, or of one of ``n`` and ``d``),
        "surface" (of ``n`` and ``d``) or "data-constrained" (of ``n``, ``d`` and ``unique_d``).
    x, n, d, unique_d : str or array_like
        The variables: any one; parameters; samples seen; and distinct samples among them.
    objective : str, optional
        "huber" of the residuals of log loss, "log-least-squares", or "least-squares" of the loss.
        Huber for laws of more than one variable and broken ones, least squares for the others.
    huber : float, optional
        Width δ of the Huber loss, 1e-3 by default; it implies the objective "huber".
    drop_highest : int
        Points of highest loss to leave out.
    bootstrap : int
        Bootstrap samples; 0 for none.
    resampling : str, optional
        "points" with replacement, or "noise" around the law, which needs least squares. The default
        is noise for least squares and points for everything else; see docs/decisions.
    seed : int
        Seed of the bootstrap.
    confidence : float
        Nominal coverage of the intervals.
    where : mapping, optional
        Columns to the values that rows must have to be fitted, such as one cell of a run.

    Returns
    -------
    FittedPoints

    Raises
    ------
    FitError
        If points, expressions or settings cannot be used; the message names place and fix.
    """
    chosen = find_law(law) if isinstance(law, str) else law
    criterion = _objective(chosen, objective, huber)
    how = _resampling(criterion, resampling)
    _check_settings(drop_highest, bootstrap, seed, confidence)
    table = None if points is None else table_of(points, where)
    given = {"x": x, "n": n, "d": d, "unique_d": unique_d}
    loss_P = read_values(table, loss, "loss")
    variables = {
        name: read_values(table, values, option)
        for name, (option, values) in _variables(chosen, given).items()
    }
    if not variables:
        variables = {"N": np.ones_like(loss_P)}
    keep_P = _all_but_highest(loss_P, drop_highest)
    rows = range(1, loss_P.size + 1) if table is None else table.rows
    variables = {name: _same_length(name, x_P, loss_P) for name, x_P in variables.items()}
    if "U_D" in variables:
        _check_distinct(table, variables["D"], variables["U_D"])
    variables = {name: x_P[keep_P] for name, x_P in variables.items()}
    loss_P = loss_P[keep_P]
    n_rows = loss_P.size
    if how == "noise":
        variables, loss_P = _averaged(variables, loss_P)
    source = "points" if table is None else table.source
    try:
        fit = estimate_law(chosen, list(variables.values()), loss_P, criterion)
        refits = None
        if bootstrap and fit.is_identified:
            refits = (
                resample_noise(fit, n_samples=bootstrap, seed=seed)
                if how == "noise"
                else resample_points(fit, loss_P, n_samples=bootstrap, seed=seed)
            )
    except FitError as error:
        raise FitError(f"{source}: {error}") from None
    return FittedPoints(
        estimate=fit,
        resampled=refits,
        resampling=None if refits is None else how,
        confidence=confidence,
        variables=variables,
        loss_P=loss_P,
        constant=against_constant(fit, loss_P),
        n_rows=n_rows,
        dropped=tuple(row for row, kept in zip(rows, keep_P, strict=True) if not kept),
    )


def _objective(law: Law, kind: Kind | None, huber: float | None) -> Objective:
    if kind is not None and kind not in OBJECTIVES:
        raise FitError(
            f"objective {kind}: no such objective; choose one of {', '.join(OBJECTIVES)}"
        )
    if huber is not None:
        if kind not in {None, "huber"}:
            raise FitError(f"huber {huber:g}: a width belongs to objective huber, not to {kind}")
        return Objective("huber", huber)
    return default_objective(law) if kind is None else Objective(kind)


def _resampling(objective: Objective, wanted: str | None) -> str:
    if wanted is None:
        return "noise" if objective.kind != "huber" else "points"
    if wanted not in {"points", "noise"}:
        raise FitError(f"resampling {wanted}: no such way; choose points or noise")
    if wanted == "noise" and objective.kind == "huber":
        raise FitError(
            "resampling noise: a Huber fit says nothing of how its noise is spread; "
            "choose points, or a least-squares objective"
        )
    return wanted


def _check_settings(drop_highest: int, bootstrap: int, seed: int, confidence: float) -> None:
    if drop_highest < 0:
        raise FitError(f"drop-highest {drop_highest}: give a number of points, 0 or more")
    if bootstrap < 0 or bootstrap == 1:
        raise FitError(f"bootstrap {bootstrap}: give 0 for none, or 2 samples or more")
    if seed < 0:
        raise FitError(f"seed {seed}: give a whole number, 0 or more")
    check_confidence(confidence)


def _variables(law: Law, given: dict[str, Values | None]) -> dict[str, tuple[str, Values]]:
    """Match what was given with what the law needs: its variable, the option and the values."""
    options = {name: values for name, values in given.items() if values is not None}
    if law is Constant and not options:
        return {}
    if len(law.variables) == 1:
        if len(options) != 1 or "unique_d" in options:
            told = " and ".join(options) or "none"
            raise FitError(
                f"{short_name(law)} is a law of one variable, got {told}; give x, or n, or d"
            )
        option, values = next(iter(options.items()))
        return {"N": (option, values)}
    needed = {"N": "n", "D": "d", "U_D": "unique_d"}
    wanted = {name: needed[name] for name in law.variables}
    if set(options) != set(wanted.values()):
        told = ", ".join(options) or "none"
        raise FitError(
            f"{short_name(law)} is a law of {', '.join(wanted.values())}, got {told}; "
            f"give exactly these, or another law, such as power of one of them"
        )
    return {name: (option, options[option]) for name, option in wanted.items()}


def _same_length(name: str, x_P: FloatArray, loss_P: FloatArray) -> FloatArray:
    if x_P.size != loss_P.size:
        raise FitError(f"points: {name} has {x_P.size} values and the loss {loss_P.size}")
    return x_P


def _check_distinct(table: PointTable | None, seen_P: FloatArray, distinct_P: FloatArray) -> None:
    """Refuse points of which more samples are distinct than were seen."""
    for index in np.flatnonzero(distinct_P > seen_P * _ROUNDING)[:1]:
        place = f"points, number {index + 1}" if table is None else table.place(int(index))
        raise FitError(
            f"{place}: unique_d is {distinct_P[index]:.12g} and d {seen_P[index]:.12g}; "
            "unique_d counts the distinct samples among d, at most as many"
        )


def _averaged(
    variables: dict[str, FloatArray], loss_P: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Return one point for each size, with the mean of its losses, in the order they come."""
    group_P = group_points(np.stack(list(variables.values())))
    _, first_G = np.unique(group_P, return_index=True)
    mean_G = np.bincount(group_P, weights=loss_P) / np.bincount(group_P)
    return {name: x_P[first_G] for name, x_P in variables.items()}, mean_G


def _all_but_highest(loss_P: FloatArray, n_dropped: int) -> npt.NDArray[np.bool_]:
    """Mark all but the highest losses; of equal ones the first are kept."""
    if n_dropped >= loss_P.size:
        raise FitError(
            f"drop-highest {n_dropped}: there are {loss_P.size} points; leave some to be fitted"
        )
    keep_P = np.ones(loss_P.size, dtype=np.bool_)
    keep_P[np.argsort(loss_P, kind="stable")[loss_P.size - n_dropped :]] = False
    return keep_P

"""A measure of either sign against a size: a straight line in its logarithm, y = a + b ln x.

Skill, Sharpe ratios and R² may be negative, so that no power law fits them. Whether they depend on
a size at all is asked by the same rules as of a loss (see `finscale.scaling.verdict.judge`). With
Gaussian noise of one spread, intervals from Student's t are exact for any number of points (Seber
and Lee 2003, "Linear regression analysis", section 6.1), so that nothing has to be resampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from finscale.errors import FitError
from finscale.scaling.fit import MIN_DELTA_AICC, aicc
from finscale.scaling.point_table import PointTable, table_of
from finscale.scaling.uncertainty import Interval

FORMULA = "y = a + b ln x"

Direction = Literal["rises", "falls", "no_evidence", "too_few_points"]

_FEWEST_SIZES = 6  # as for a power law with a floor, so that both are asked of the same points


@dataclass(frozen=True)
class Line:
    """A straight line in the logarithm of a size, fitted by least squares.

    Attributes
    ----------
    kind : str
        "rises" or "falls" if AICc prefers the line to a constant by 2 or more and the interval of
        b leaves 0 out; otherwise "no_evidence", below six distinct sizes "too_few_points".
    n_points : int
    span_ratio : float
        Largest over smallest size.
    a, b : Interval
        In the measure's own unit; b per factor of e in size.
    standard_errors : dict
        Of a and b.
    change : Interval
        From the smallest size to the largest: b ln(span).
    rss : float
        Residual sum of squares.
    delta_aicc : float or None
        AICc of the constant less that of the line; None where either is undefined.
    confidence : float
        Nominal coverage of the intervals.
    """

    kind: Direction
    n_points: int
    span_ratio: float
    a: Interval
    b: Interval
    standard_errors: Mapping[str, float]
    change: Interval
    rss: float
    delta_aicc: float | None
    confidence: float

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Measure on the line at sizes ``x``."""
        return np.asarray(self.a.estimate + self.b.estimate * np.log(np.asarray(x, dtype=float)))

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON, the first ones as `finscale fit-law` prints them."""
        return {
            "law": "line",
            "parameters": {"a": self.a.estimate, "b": self.b.estimate},
            "standard_errors": dict(self.standard_errors),
            "intervals": {"a": [self.a.low, self.a.high], "b": [self.b.low, self.b.high]},
            "objective": self.rss,
            "n_points": self.n_points,
            "formula": FORMULA,
            "kind": self.kind,
            "span_ratio": self.span_ratio,
            "change": [self.change.estimate, self.change.low, self.change.high],
            "delta_aicc": self.delta_aicc,
            "confidence": self.confidence,
        }


def fit_line(
    points: Any = None,
    *,
    x: str | npt.ArrayLike,
    y: str | npt.ArrayLike,
    confidence: float = 0.95,
) -> Line:
    """Fit a measure that may have either sign against the logarithm of a size.

    Parameters
    ----------
    points : path, data frame or mapping, optional
        As for `finscale.scaling.fit_points.fit_law`; not needed where both are arrays.
    x : str or array_like
        The size, positive: a column, an expression of columns, or P numbers.
    y : str or array_like
        The measure, likewise.
    confidence : float
        Nominal coverage of the intervals, within (0, 1).

    Raises
    ------
    FitError
        If there are fewer than three points or all sizes are equal, or the points cannot be used.
    """
    if not 0.0 < confidence < 1.0:
        raise FitError(f"confidence {confidence:g}: give a share between 0 and 1, such as 0.95")
    table = None if points is None else table_of(points)
    x_P, y_P = _numbers(table, x, "x"), _numbers(table, y, "y", may_be_negative=True)
    source = "points" if table is None else table.source
    if x_P.size != y_P.size:
        raise FitError(f"{source}: x has {x_P.size} values and y {y_P.size}")
    n_distinct = np.unique(x_P).size
    if x_P.size < 3 or n_distinct < 2:
        raise FitError(
            f"{source}: a line needs three points of two sizes, got {x_P.size} of {n_distinct}; "
            f"measure more"
        )
    log_P = np.log(x_P)
    off_P = log_P - log_P.mean()
    squares = float(off_P @ off_P)
    slope = float(off_P @ y_P) / squares
    level = float(y_P.mean())
    rss = float(np.sum((y_P - level - slope * off_P) ** 2))
    # scipy.stats.linregress has the same numbers, but none for a measure that is 0 everywhere.
    sigma = float(np.sqrt(rss / (x_P.size - 2)))
    errors = {
        "a": sigma * float(np.sqrt(1.0 / x_P.size + log_P.mean() ** 2 / squares)),
        "b": sigma / float(np.sqrt(squares)),
    }
    reach = float(stats.t.ppf(0.5 + confidence / 2.0, x_P.size - 2))
    b = _interval(slope, reach * errors["b"])
    span = float(np.ptp(log_P))
    delta_aicc = _gain_over_constant(y_P, rss)
    return Line(
        kind=_kind(n_distinct, delta_aicc, b),
        n_points=x_P.size,
        span_ratio=float(np.exp(span)),
        a=_interval(level - slope * float(log_P.mean()), reach * errors["a"]),
        b=b,
        standard_errors=errors,
        change=Interval(b.estimate * span, b.low * span, b.high * span),
        rss=rss,
        delta_aicc=delta_aicc,
        confidence=confidence,
    )


def _numbers(
    table: PointTable | None,
    values: str | npt.ArrayLike,
    option: str,
    *,
    may_be_negative: bool = False,
) -> npt.NDArray[np.float64]:
    if not isinstance(values, str):
        table = table_of({option: np.asarray(values, dtype=object)})
        values = option
    elif table is None:
        raise FitError(f"{option} {values}: a column needs points to be one of; give them first")
    return table.numbers(values, option, may_be_negative=may_be_negative)


def _interval(estimate: float, reach: float) -> Interval:
    return Interval(estimate, estimate - reach, estimate + reach)


def _gain_over_constant(y_P: npt.NDArray[np.float64], rss: float) -> float | None:
    # What rounding leaves of a perfect fit has a logarithm, and 0 has none.
    least = y_P.size * float(np.finfo(np.float64).eps * np.abs(y_P).max()) ** 2
    least = max(least, float(np.finfo(np.float64).tiny))
    constant = aicc(max(float(np.sum((y_P - y_P.mean()) ** 2)), least), y_P.size, 1)
    line = aicc(max(rss, least), y_P.size, 2)
    return None if constant is None or line is None else constant - line


def _kind(n_distinct: int, delta_aicc: float | None, b: Interval) -> Direction:
    if n_distinct < _FEWEST_SIZES or delta_aicc is None:
        return "too_few_points"
    if delta_aicc < MIN_DELTA_AICC:
        return "no_evidence"
    if b.high < 0.0:
        return "falls"
    return "rises" if b.low > 0.0 else "no_evidence"

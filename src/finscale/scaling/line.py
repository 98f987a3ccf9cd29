"""A measure of either sign against a size: a straight line in its logarithm, y = a + b ln x.

Skill, Sharpe ratios and R² may be negative, so that no power law fits them. Whether they depend on
a size at all is asked by the same rule as of a loss: `finscale.scaling.uncertainty.direction`. With
Gaussian noise of one spread, intervals from Student's t are exact for any number of points (Seber
and Lee 2003, "Linear regression analysis", section 6.1), so that nothing has to be resampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from finscale.errors import FitError
from finscale.scaling.fit import aicc, points_needed
from finscale.scaling.laws import PowerLawWithFloor
from finscale.scaling.point_table import read_values, table_of
from finscale.scaling.points import mean_by_size
from finscale.scaling.uncertainty import Interval, Kind, check_confidence, direction

FORMULA = "y = a + b ln x"

_FEWEST_SIZES = points_needed(PowerLawWithFloor)
"""As for a verdict on loss, so that both are asked of the same points."""

_LARGEST = 1e50
"""What is larger, or a size below its inverse, is in no unit that anything is measured in."""


@dataclass(frozen=True)
class Line:
    """A straight line in the logarithm of a size, fitted by least squares.

    Attributes
    ----------
    kind : str
        "rises" or "falls" if AICc prefers the line to a constant by 2 or more and the interval of
        b leaves 0 out; otherwise "no_evidence", below six sizes "too_few_points".
    n_points : int
        Sizes; points of one size are averaged.
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
    centre : float
        Mean logarithm of the sizes, where the line is known best.
    """

    kind: Kind
    n_points: int
    span_ratio: float
    a: Interval
    b: Interval
    standard_errors: Mapping[str, float]
    change: Interval
    rss: float
    delta_aicc: float | None
    confidence: float
    centre: float

    @property
    def parameters(self) -> dict[str, float]:
        """Values of a and b."""
        return {"a": self.a.estimate, "b": self.b.estimate}

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Measure on the line at sizes ``x``."""
        return np.asarray(self.a.estimate + self.b.estimate * np.log(np.asarray(x, dtype=float)))

    def interval(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the ends of the pointwise interval of the line at sizes ``x``, shape (2, X)."""
        error_b = self.standard_errors["b"]
        reach = (self.b.high - self.b.estimate) / error_b if error_b > 0.0 else 0.0
        off = np.log(np.asarray(x, dtype=float)) - self.centre
        variance = self.rss / (self.n_points - 2) / self.n_points + (error_b * off) ** 2
        margin = reach * np.sqrt(variance)
        return np.stack([self.predict(x) - margin, self.predict(x) + margin])

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON, the first ones as `finscale fit-law` prints them."""
        return {
            "law": "line",
            "parameters": self.parameters,
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
    where: Mapping[str, Any] | None = None,
) -> Line:
    """Fit a measure that may have either sign against the logarithm of a size.

    Points of one size are averaged first: they share whatever is peculiar to that size, its
    architecture and recipe, and are no independent measurements of what size does.

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
    where : mapping, optional
        Columns to the values that rows must have to be fitted, such as one cell of a run.

    Raises
    ------
    FitError
        If there are fewer than three sizes, or the points cannot be used.
    """
    check_confidence(confidence)
    table = None if points is None else table_of(points, where)
    x_P = read_values(table, x, "x")
    y_P = read_values(table, y, "y", may_be_negative=True)
    source = "points" if table is None else table.source
    if x_P.size != y_P.size:
        raise FitError(f"{source}: x has {x_P.size} values and y {y_P.size}")
    if max(x_P.max(), 1.0 / x_P.min(), np.abs(y_P).max()) > _LARGEST:
        raise FitError(f"{source}: numbers beyond {_LARGEST:g}; choose another unit")
    x_P, y_P = mean_by_size(x_P, y_P)
    if x_P.size < 3:
        raise FitError(f"{source}: a line needs three sizes, got {x_P.size}; measure more")
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
        kind=_kind(x_P.size, delta_aicc, b),
        n_points=x_P.size,
        span_ratio=float(np.exp(span)),
        a=_interval(level - slope * float(log_P.mean()), reach * errors["a"]),
        b=b,
        standard_errors=errors,
        change=Interval(b.estimate * span, b.low * span, b.high * span),
        rss=rss,
        delta_aicc=delta_aicc,
        confidence=confidence,
        centre=float(log_P.mean()),
    )


def _interval(estimate: float, reach: float) -> Interval:
    return Interval(estimate, estimate - reach, estimate + reach)


def _gain_over_constant(y_P: npt.NDArray[np.float64], rss: float) -> float | None:
    # What rounding leaves of a perfect fit has a logarithm, and 0 has none.
    least = y_P.size * float(np.finfo(np.float64).eps * np.abs(y_P).max()) ** 2
    least = max(least, float(np.finfo(np.float64).tiny))
    constant = aicc(max(float(np.sum((y_P - y_P.mean()) ** 2)), least), y_P.size, 1)
    line = aicc(max(rss, least), y_P.size, 2)
    return None if constant is None or line is None else constant - line


def _kind(n_sizes: int, delta_aicc: float | None, b: Interval) -> Kind:
    if n_sizes < _FEWEST_SIZES or delta_aicc is None:
        return "too_few_points"
    return direction(delta_aicc, b)

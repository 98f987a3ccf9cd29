"""A number with its interval, and how both become JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

IntervalMethod = Literal["percentile", "basic"]

# A statistic that many samples leave undefined has no distribution worth an interval.
_LEAST_DEFINED_FRAC = 0.9


@dataclass(frozen=True)
class Estimate:
    """A statistic and the ends of its confidence interval; None where one is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


def estimate(
    value: float | None,
    samples_S: npt.ArrayLike,
    confidence: float,
    *,
    widening: float = 1.0,
    method: IntervalMethod = "percentile",
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Return a statistic with a bootstrap interval.

    ``percentile`` takes the quantiles of the samples: right for means, ratios of means and ranks,
    and within the statistic's own range. ``basic`` reflects them about the value (2 value - q):
    for statistics that noise pushes one way, such as a calibration error, whose samples carry the
    push twice.

    Parameters
    ----------
    value
        The statistic on the rows themselves; None or NaN where it is undefined.
    samples_S
        The statistic on each bootstrap sample, NaN where undefined.
    confidence
        Share of the samples inside, in (0, 1).
    widening
        Factor on the distances between the median of the samples and the ends of the interval;
        see `finscale.evaluation.bootstrap.Resampling.widening`.
    method, bounds
        See above; ``bounds`` cut any interval.

    Returns
    -------
    Estimate
        Without an interval where a tenth of the samples or more leave the statistic undefined.
    """
    if value is None or not np.isfinite(value):
        return Estimate(None)
    samples = np.asarray(samples_S, dtype=np.float64)
    defined = samples[np.isfinite(samples)]
    if defined.size < _LEAST_DEFINED_FRAC * samples.size or defined.size == 0:
        return Estimate(float(value))
    tail = (1.0 - confidence) / 2.0
    low, middle, high = np.quantile(defined, [tail, 0.5, 1.0 - tail])
    low, high = middle - widening * (middle - low), middle + widening * (high - middle)
    if method == "basic":
        low, high = 2.0 * value - high, 2.0 * value - low
    low, high = np.clip([low, high], *bounds)
    return Estimate(float(value), float(low), float(high))


def estimate_share(
    hits: float,
    n: float,
    samples_S: npt.ArrayLike,
    confidence: float,
    *,
    widening: float,
    rows_per_block: float,
) -> Estimate:
    """Return the share ``hits / n`` with a percentile interval that is never a point at 0 or 1.

    Rows that all agree agree in every sample. There the interval reaches as far as the exact one
    of Clopper and Pearson (1934) for m = n / rows_per_block independent rows: 1 - tail^(1 / m).
    """
    if n <= 0.0:
        return Estimate(None)
    share = estimate(hits / n, samples_S, confidence, widening=widening, bounds=(0.0, 1.0))
    reach = 1.0 - ((1.0 - confidence) / 2.0) ** (1.0 / max(1.0, n / rows_per_block))
    if hits == 0.0:
        return Estimate(0.0, 0.0, reach)
    return Estimate(1.0, 1.0 - reach, 1.0) if hits == n else share


def plain(value: Any) -> Any:
    """Return dataclasses, tuples, mappings and numpy values as JSON can hold them.

    Numbers that are not finite become None; dates become ISO text.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value

"""Whether skill holds across all history: what the periods of a walk forward say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
from scipy import stats

from finscale.evaluation.bootstrap import FloatArray
from finscale.evaluation.estimate import Estimate


@dataclass(frozen=True)
class PeriodScore:
    """Losses of one model in one period of a walk forward, trained on rows before it only.

    Losses are of any kind of which less is better and none is below 0, such as log-loss or CRPS.

    Attributes
    ----------
    first, last
        Dates of the period, both inside.
    loss, base_loss, benchmark_loss
        Means over its rows; the last is None without a benchmark.
    """

    first: date
    last: date
    n_rows: int
    loss: float
    base_loss: float
    benchmark_loss: float | None = None


@dataclass(frozen=True)
class WalkForward:
    """Skill across periods; see `summarise_walk_forward`.

    Attributes
    ----------
    n_periods, n_rows
        Periods and rows in all.
    pooled_skill, pooled_skill_vs_benchmark
        From the losses of all rows together.
    mean_skill
        Mean over periods, with a t interval that takes periods as independent (None under 2).
    n_positive, sign_p_value
        Periods with a positive skill, and the one-sided probability of as many by chance.
    worst, best
        Skill of the worst and best period.
    skills
        Skill of each period, in time.
    """

    n_periods: int
    n_rows: int
    pooled_skill: float
    pooled_skill_vs_benchmark: float | None
    mean_skill: Estimate
    n_positive: int
    sign_p_value: float
    worst: float
    best: float
    skills: tuple[float, ...]


def summarise_walk_forward(
    periods: Sequence[PeriodScore], *, confidence: float = 0.95
) -> WalkForward:
    """Summarise the periods of a walk forward.

    Raises
    ------
    ValueError
        If there are none, they overlap or are out of order, one has no rows, or only some have a
        benchmark.
    """
    if not periods or any(one.n_rows < 1 for one in periods):
        raise ValueError("a walk forward has periods, and each has rows")
    for earlier, later in pairwise(periods):
        if later.first <= earlier.last:
            raise ValueError(f"the period from {later.first} begins before {earlier.last} is over")
    rows_P = np.array([one.n_rows for one in periods], dtype=np.float64)
    loss_P = np.array([one.loss for one in periods])
    base_P = np.array([one.base_loss for one in periods])
    skill_P = 1.0 - loss_P / base_P
    benchmarks = [one.benchmark_loss for one in periods if one.benchmark_loss is not None]
    if len(benchmarks) not in (0, len(periods)):
        raise ValueError("some periods have a benchmark and some have none")
    n_positive = int(np.sum(skill_P > 0.0))
    return WalkForward(
        n_periods=len(periods),
        n_rows=int(rows_P.sum()),
        pooled_skill=float(1.0 - rows_P @ loss_P / (rows_P @ base_P)),
        pooled_skill_vs_benchmark=float(1.0 - rows_P @ loss_P / (rows_P @ np.array(benchmarks)))
        if benchmarks
        else None,
        mean_skill=_t_interval(skill_P, confidence),
        n_positive=n_positive,
        sign_p_value=float(stats.binom.sf(n_positive - 1, len(periods), 0.5)),
        worst=float(skill_P.min()),
        best=float(skill_P.max()),
        skills=tuple(skill_P.tolist()),
    )


def _t_interval(values: FloatArray, confidence: float) -> Estimate:
    mean = float(values.mean())
    if values.size < 2:
        return Estimate(mean)
    reach = float(stats.t.ppf((1.0 + confidence) / 2.0, values.size - 1))
    reach *= float(values.std(ddof=1)) / np.sqrt(values.size)
    return Estimate(mean, mean - reach, mean + reach)

"""Whether skill holds in every year, in calm and in turmoil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import FloatArray, Resampling
from finscale.evaluation.closes import Closes
from finscale.evaluation.estimate import Estimate
from finscale.evaluation.forecasts import Forecasts
from finscale.evaluation.return_forecasts import ReturnForecasts

Rows = Forecasts | ReturnForecasts

FEW_ROWS = 60

REGIMES = ("calm", "middling", "turbulent")


@dataclass(frozen=True)
class GroupSkill:
    """Skill of one model on the rows of a group: a year, a regime.

    Attributes
    ----------
    n_rows
        Rows in the group.
    few_rows
        Whether they are under 60: read nothing into the skill then.
    skill, skill_vs_benchmark
        Against the base rate and against the benchmark (None without one).
    """

    group: str
    n_rows: int
    few_rows: bool
    event_rate: float
    skill: Estimate
    skill_vs_benchmark: Estimate | None


@dataclass(frozen=True)
class Stability:
    """Skill of a model by calendar year and by regime of volatility (empty without closes)."""

    by_year: tuple[GroupSkill, ...]
    by_regime: tuple[GroupSkill, ...]


def skill_by_year_and_regime(
    loss_B: FloatArray,
    base_loss_B: FloatArray,
    y_B: FloatArray,
    rows: Rows,
    resampling: Resampling,
    *,
    regimes: Sequence[str] | None,
    benchmark_loss_B: FloatArray | None = None,
) -> Stability:
    """Return the skill of a model within every year and every regime; see `skill_by_group`."""
    years = [str(day.year) for day in rows.date_B.tolist()]
    by_year, by_regime = (
        ()
        if groups is None
        else skill_by_group(
            loss_B, base_loss_B, y_B, groups, resampling, benchmark_loss_B=benchmark_loss_B
        )
        for groups in (years, regimes)
    )
    return Stability(by_year, by_regime)


def skill_by_group(
    loss_B: FloatArray,
    base_loss_B: FloatArray,
    y_B: FloatArray,
    group_B: npt.ArrayLike,
    resampling: Resampling,
    *,
    benchmark_loss_B: FloatArray | None = None,
) -> tuple[GroupSkill, ...]:
    """Skill within each group of rows, with intervals.

    The dates of all rows are resampled together, and each sample is scored on the rows of the
    group it happened to draw.

    Parameters
    ----------
    loss_B, base_loss_B, benchmark_loss_B
        Losses by row of the model, the training distribution, and the benchmark: log-losses, or
        CRPS of a return.
    y_B
        Labels; of a return whether it is positive.
    group_B
        Name of each row's group; an empty name belongs to none. Groups come back in sorted order,
        regimes from calm to turbulent.
    resampling
        Of the same rows.
    """
    group_B = np.asarray(group_B, dtype=np.str_)
    names = sorted(set(group_B.tolist()) - {""}, key=_rank)
    if not names:
        return ()
    other_B = base_loss_B if benchmark_loss_B is None else benchmark_loss_B
    member_BG = (group_B[:, None] == np.array(names)).astype(np.float64)
    columns_BM = np.column_stack(
        [member_BG * one[:, None] for one in (loss_B, base_loss_B, other_B)]
    )
    sum_GM = columns_BM.sum(axis=0).reshape(3, -1)
    sum_SGM = resampling.sums(columns_BM).reshape(resampling.n_samples, 3, -1)

    def skill(group: int, reference: int) -> Estimate:
        drawn_S = sum_SGM[:, reference, group]
        samples_S = 1.0 - sum_SGM[:, 0, group] / np.where(drawn_S > 0.0, drawn_S, np.nan)
        here = float(sum_GM[reference, group])
        value = 1.0 - float(sum_GM[0, group]) / here if here > 0.0 else None
        return resampling.estimate(value, samples_S)

    counts_G = member_BG.sum(axis=0)
    return tuple(
        GroupSkill(
            group=name,
            n_rows=int(counts_G[k]),
            few_rows=bool(counts_G[k] < FEW_ROWS),
            event_rate=float(y_B @ member_BG[:, k] / counts_G[k]),
            skill=skill(k, 1),
            skill_vs_benchmark=None if benchmark_loss_B is None else skill(k, 2),
        )
        for k, name in enumerate(names)
    )


def realised_volatility(close_T: npt.ArrayLike, *, window: int = 21) -> FloatArray:
    """Return the standard deviation of the last log returns of one symbol, up to each close.

    Per day, not annualised; NaN in the first ``window`` rows.
    """
    log_close_T = np.log(np.asarray(close_T, dtype=np.float64))
    volatility_T = np.full(log_close_T.size, np.nan)
    if log_close_T.size > window:
        windows = np.lib.stride_tricks.sliding_window_view(np.diff(log_close_T), window)
        volatility_T[window:] = windows.std(axis=1)
    return volatility_T


def volatility_regimes(volatility_B: npt.ArrayLike, training: npt.ArrayLike) -> list[str]:
    """Regime of each row: terciles of volatility, cut where the *training* rows are cut.

    Rows whose volatility is unknown, and all rows where the training rows have none, get an
    empty name.
    """
    known = np.asarray(training, dtype=np.float64)
    known = known[np.isfinite(known)]
    volatility = np.asarray(volatility_B, dtype=np.float64)
    if known.size == 0:
        return [""] * volatility.size
    cuts = np.quantile(known, [1.0 / 3.0, 2.0 / 3.0])
    place_B = np.searchsorted(cuts, np.nan_to_num(volatility), side="right")
    return [
        REGIMES[place] if np.isfinite(value) else ""
        for place, value in zip(place_B.tolist(), volatility.tolist(), strict=True)
    ]


def regimes_of(validation: Rows, test: Rows, closes: Closes) -> list[str]:
    """Regime of every test row, cut on the dates before validation begins.

    Raises
    ------
    ValueError
        If a row has no close.
    """
    volatility_TN = np.full(closes.close_TN.shape, np.nan)
    for column in range(len(closes.symbols)):
        traded = np.flatnonzero(~np.isnan(closes.close_TN[:, column]))
        volatility_TN[traded, column] = realised_volatility(closes.close_TN[traded, column])
    training_TN = volatility_TN[closes.date_T < validation.date_B.min()]
    return volatility_regimes(
        volatility_TN[closes.places(test.date_B, test.symbol_B)], training_TN.ravel()
    )


def _rank(name: str) -> tuple[int, str]:
    return (REGIMES.index(name), name) if name in REGIMES else (-1, name)

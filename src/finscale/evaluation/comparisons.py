"""Which model is better than which, on the same rows and after accounting for the choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.evaluation.bootstrap import FloatArray, IntArray, Resampling
from finscale.evaluation.estimate import Estimate
from finscale.evaluation.multiplicity import Correction, correct_for_tries, rejects
from finscale.records import BASE_RATE

# Two models whose losses differ by rounding alone are one model.
_SAME_LOSS = 1e-12


@dataclass(frozen=True)
class RowLosses:
    """Loss of one model on each row, and which rows these are.

    Attributes
    ----------
    model
        Its name.
    row_B
        Row numbers, as in a predictions frame.
    loss_B
        Losses in the same order; lower is better.
    """

    model: str
    row_B: IntArray
    loss_B: FloatArray


@dataclass(frozen=True)
class Difference:
    """Mean loss of a model minus that of a benchmark on the same rows; below 0 it is better.

    Attributes
    ----------
    p_value
        Of "no better than the benchmark", one-sided, for this one comparison.
    """

    model: str
    benchmark: str
    difference: Estimate
    p_value: float


@dataclass(frozen=True)
class SuperiorAbility:
    """Test that no model of a set is better than the benchmark; see `superior_ability`.

    Attributes
    ----------
    benchmark, models
        What was compared; models whose losses are the benchmark's own are left out.
    best
        Model with the largest studentised gain; None where none is left.
    statistic
        That gain, or 0 where no model gains.
    p_value, p_lower, p_upper
        Hansen's consistent p-value, and his bounds for it (the upper is White's reality check).
    """

    benchmark: str
    models: tuple[str, ...]
    best: str | None
    statistic: float
    p_value: float
    p_lower: float
    p_upper: float


@dataclass(frozen=True)
class ConfidenceSet:
    """Models among which the best lies with the confidence given.

    Attributes
    ----------
    included
        Names, in the order given.
    p_values
        Per model: it is in every set of a confidence above one minus this.
    """

    confidence: float
    included: tuple[str, ...]
    p_values: dict[str, float]


def paired_difference(model: RowLosses, benchmark: RowLosses, resampling: Resampling) -> Difference:
    """Mean difference of losses with a percentile interval.

    Raises
    ------
    ValueError
        If the two were scored on different rows.
    """
    loss_BM = _aligned([model, benchmark], resampling)
    gap_B1 = loss_BM[:, :1] - loss_BM[:, 1:]
    samples_S = resampling.means(gap_B1)[:, 0]
    return Difference(
        model=model.model,
        benchmark=benchmark.model,
        difference=resampling.estimate(float(gap_B1.mean()), samples_S),
        p_value=superior_ability([model], benchmark, resampling).p_value,
    )


def best_other_baseline(
    baselines: Iterable[str], volatility: str | None, validation_loss: Callable[[str], float]
) -> str | None:
    """Return the best on validation of the baselines that are neither base rate nor volatility.

    The rival beside the volatility baseline in tests of superior ability; None if there is none.
    """
    others = [name for name in baselines if name not in {BASE_RATE, volatility}]
    return min(others, key=validation_loss, default=None)


def correct_differences(
    differences: Sequence[Difference], benchmark: str | None, *, n_tried: int, confidence: float
) -> Correction | None:
    """Correct the p-values of the differences to one benchmark; None where there are none.

    Parameters
    ----------
    n_tried
        Experiments tried; as many as there are p-values count at least.
    confidence
        One minus the level at which the statement counts what remains.
    """
    p_values = {one.model: one.p_value for one in differences if one.benchmark == benchmark}
    if not p_values:
        return None
    return correct_for_tries(p_values, n_tried=max(n_tried, len(p_values)), level=1.0 - confidence)


def superior_ability(
    models: Sequence[RowLosses], benchmark: RowLosses, resampling: Resampling
) -> SuperiorAbility:
    """Test superior predictive ability (Hansen 2005, "A test for superior predictive ability").

    With d_k the mean gain of model k over the benchmark and w_k its standard error, the statistic
    is max(0, max_k d_k / w_k), against its distribution over the samples re-centred at
    g_k = d_k where d_k >= -w_k sqrt(2 log log T), and at 0 for models worse than that (eq. 10
    there); p_lower re-centres at max(0, d_k), p_upper at d_k. The re-centred samples are widened by
    the resampling's factor for few blocks. ``arch.bootstrap.SPA`` compares the
    gains without dividing by w_k, which lets one noisy model hide a small, certain gain of
    another; with one model the two are the same test. The standard errors are the samples' own.

    Parameters
    ----------
    models
        One or more, all of which count as tried.
    benchmark
        Scored on the same rows.
    resampling
        Of these rows.

    Raises
    ------
    ValueError
        If there are no models, or they were scored on different rows.
    """
    if not models:
        raise ValueError("no models to compare with the benchmark")
    loss_BM = _aligned([benchmark, *models], resampling)
    gain_BK = loss_BM[:, :1] - loss_BM[:, 1:]
    other_K = np.abs(gain_BK).max(axis=0) > _SAME_LOSS
    names = tuple(one.model for one, other in zip(models, other_K, strict=True) if other)
    if not names:
        return SuperiorAbility(benchmark.model, (), None, 0.0, 1.0, 1.0, 1.0)
    mean_K = gain_BK[:, other_K].mean(axis=0)
    drawn_SK = resampling.means(gain_BK[:, other_K])
    # A gain that is the same in every sample is certain.
    error_K = np.maximum(drawn_SK.std(axis=0), _SAME_LOSS)
    gain_K = mean_K / error_K
    statistic = float(max(0.0, gain_K.max()))
    far_below_K = gain_K < -np.sqrt(2.0 * np.log(np.log(max(resampling.n_dates, 3))))

    def p_value(centre_K: FloatArray) -> float:
        moved_SK = (drawn_SK - centre_K) / error_K
        highest_S = resampling.widening * np.maximum(moved_SK.max(axis=1), 0.0)
        return float((1 + np.sum(highest_S >= statistic)) / (1 + highest_S.size))

    return SuperiorAbility(
        benchmark=benchmark.model,
        models=names,
        best=names[int(gain_K.argmax())],
        statistic=statistic,
        p_value=p_value(np.where(far_below_K, 0.0, mean_K)),
        p_lower=p_value(np.maximum(mean_K, 0.0)),
        p_upper=p_value(mean_K),
    )


def model_confidence_set(losses: Sequence[RowLosses], resampling: Resampling) -> ConfidenceSet:
    """Model confidence set by the range statistic (Hansen, Lunde and Nason 2011, section 3.1.2).

    While models are left, the largest studentised difference between two of them is compared with
    its distribution over the samples, centred, and the worse of the two is dropped; a model's
    p-value is the largest up to its own step. ``arch.bootstrap.MCS`` does the same on draws of its
    own; here the draws are those of the other comparisons, and are widened for few blocks. Models
    of equal losses are one model.

    Raises
    ------
    ValueError
        If there are no models, or they were scored on different rows.
    """
    if not losses:
        raise ValueError("no models to compare")
    loss_BM = _aligned(losses, resampling)
    twin_M = _first_twin(loss_BM)
    distinct = sorted(set(twin_M))
    steps = _eliminate(
        loss_BM[:, distinct].mean(axis=0),
        resampling.means(loss_BM[:, distinct]),
        resampling.widening,
    )
    p_of = {distinct[model]: p for model, p in steps.items()}
    p_values = {one.model: p_of[twin] for one, twin in zip(losses, twin_M, strict=True)}
    level = 1.0 - resampling.confidence
    included = tuple(name for name, p in p_values.items() if not rejects(p, level))
    return ConfidenceSet(resampling.confidence, included, p_values)


def _eliminate(mean_M: FloatArray, drawn_SM: FloatArray, widening: float) -> dict[int, float]:
    """Return the p-value of each model, worst first."""
    gap_MM = mean_M[:, None] - mean_M
    off_SM = drawn_SM - mean_M
    off_SMM = off_SM[:, :, None] - off_SM[:, None, :]
    # A difference that is the same in every sample is certain.
    error_MM = np.maximum(np.sqrt(np.mean(off_SMM**2, axis=0)), _SAME_LOSS)
    t_MM, drawn_t_SMM = gap_MM / error_MM, widening * off_SMM / error_MM
    left = list(range(mean_M.size))
    p_values: dict[int, float] = {}
    p_value = 0.0
    while len(left) > 1:
        among = np.ix_(left, left)
        highest_S = drawn_t_SMM[:, among[0], among[1]].max(axis=(1, 2))
        statistic = t_MM[among].max()
        here = float((1 + np.sum(highest_S >= statistic)) / (1 + highest_S.size))
        p_value = max(p_value, here)
        worse = left[int(np.unravel_index(t_MM[among].argmax(), t_MM[among].shape)[0])]
        p_values[worse] = p_value
        left.remove(worse)
    return {**p_values, left[0]: 1.0}


def _first_twin(loss_BM: npt.NDArray[np.float64]) -> list[int]:
    """Return, for each model, the first one with the same losses."""
    n_models = loss_BM.shape[1]
    return [
        next(k for k in range(m + 1) if np.abs(loss_BM[:, k] - loss_BM[:, m]).max() <= _SAME_LOSS)
        for m in range(n_models)
    ]


def _aligned(losses: Sequence[RowLosses], resampling: Resampling) -> FloatArray:
    first = losses[0]
    for one in losses:
        if one.loss_B.shape != one.row_B.shape or not np.array_equal(one.row_B, first.row_B):
            raise ValueError(
                f"{one.model} and {first.model} were not scored on the same rows in the same order"
            )
        if one.loss_B.size != resampling.date_of_row_B.size:
            raise ValueError(
                f"{one.model} has {one.loss_B.size} rows, "
                f"the resampling {resampling.date_of_row_B.size}"
            )
    return np.column_stack([one.loss_B for one in losses])

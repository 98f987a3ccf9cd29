"""How far a search has come: the best loss against the number of independent random trials.

A trial that a model of the earlier ones proposed is no draw from a fixed distribution, so the
curves are computed on the trials that were drawn at random alone, of which every search keeps a
stated share (``search.random_share``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from opda.nonparametric import EmpiricalDistribution

from finscale.scaling.uncertainty import Interval

FloatArray = npt.NDArray[np.float64]

Tuned = Literal["fully_tuned", "still_falling", "undecided", "unknown"]

MIN_TRIALS = 6
"""Independent trials below which nothing is said: half of them is then fewer than three."""

MIN_TRIALS_TO_BE_TUNED = 29
"""With so many independent trials a recipe as rare as one in ten has been met with 95%: 0.9^29 is
below 0.05. With fewer, that nothing better turned up says little of whether there is anything."""

_N_BOOTSTRAP = 2000


@dataclass(frozen=True)
class TuningCurve:
    """Best validation loss against the number of independent random trials; nats.

    Attributes
    ----------
    n_independent
        Random trials that the curve is computed on.
    n_censored
        Those of them that were pruned or failed: trained to the end, their loss might have been
        lower than the one that they count with.
    trials
        Numbers of trials, 1 to twice ``n_independent``.
    median, low, high
        Median of the best loss after so many trials, and its simultaneous confidence band; None
        where the band has no limit.
    expected
        Mean of the best loss after so many trials.
    gain_of_half
        By how much the second half of the trials lowers the expected best loss; None below
        `MIN_TRIALS` of them.
    confidence
        Nominal coverage of band and interval.
    """

    n_independent: int
    n_censored: int
    trials: tuple[int, ...]
    median: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    expected: tuple[float, ...]
    gain_of_half: Interval | None
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def tuning_curve(
    losses: Sequence[float], *, n_censored: int = 0, confidence: float = 0.95, seed: int = 0
) -> TuningCurve:
    """Compute the tuning curve of independent random trials.

    The band comes from simultaneous confidence bands on the distribution of a trial's loss
    (Lourie, Cho and He 2023, "Show your work with confidence: confidence bands for tuning curves",
    section 3, by `opda`); it knows nothing below the lowest loss seen but that losses are positive.
    The expected best of k trials is that of k draws with replacement (Dodge et al. 2019, "Show your
    work: improved reporting of experimental results", eq. 5), and the interval of its fall from
    half of the trials to all of them is a percentile bootstrap over trials.

    Parameters
    ----------
    losses
        Validation losses of independent trials, one or more, positive and finite.
    n_censored
        How many of them are of trials that were pruned or failed.
    seed
        Of the bootstrap.

    Raises
    ------
    ValueError
        If there is no loss, or one is not positive and finite.
    """
    loss_T = np.asarray(losses, dtype=np.float64)
    if loss_T.size == 0 or not (np.isfinite(loss_T) & (loss_T > 0)).all():
        raise ValueError(f"need positive, finite losses of one trial or more, got {losses}")
    ks = np.arange(1, 2 * loss_T.size + 1)
    # The equal-tailed band is nearly as tight as the other, and needs no pool of processes. It is
    # made for distinct losses; of equal ones, such as failed trials, the order does not matter.
    distinct_T = np.sort(loss_T) * (1.0 + 1e-12 * np.arange(loss_T.size))
    lower_cdf, point_cdf, upper_cdf = EmpiricalDistribution.confidence_bands(
        ys=distinct_T,
        confidence=confidence,
        a=0.0,
        b=np.inf,
        generator=np.random.default_rng(seed),
        method="ld_equal_tailed",
        n_jobs=1,
    )

    def curve(cdf: EmpiricalDistribution) -> FloatArray:
        return np.asarray(cdf.quantile_tuning_curve(ks, minimize=True), dtype=np.float64)

    low_K, high_K = curve(upper_cdf), curve(lower_cdf)
    return TuningCurve(
        n_independent=loss_T.size,
        n_censored=n_censored,
        trials=tuple(int(k) for k in ks),
        median=tuple(float(value) for value in curve(point_cdf)),
        low=tuple(float(value) if value > 0.0 else None for value in low_K),
        high=tuple(float(value) if math.isfinite(value) else None for value in high_K),
        expected=tuple(float(expected_best(loss_T[None], int(k))[0]) for k in ks),
        gain_of_half=_gain_of_half(loss_T, confidence=confidence, seed=seed),
        confidence=confidence,
    )


def expected_best(loss_ST: FloatArray, k: int) -> FloatArray:
    """Mean lowest loss of k draws with replacement from each sample, shape (S,).

    The i-th lowest of T is the lowest of k draws with probability
    ((T - i + 1) / T)^k - ((T - i) / T)^k.
    """
    n_trials = loss_ST.shape[1]
    left_frac = np.arange(n_trials, -1, -1) / n_trials
    weight_T = -np.diff(left_frac**k)
    return np.asarray(np.sort(loss_ST, axis=1) @ weight_T, dtype=np.float64)


def judge_tuning(curve: TuningCurve | None, noise: float | None) -> Tuned:
    """Say whether a search has found about the best that it can find.

    The yardstick is the noise of one training run, the standard deviation between seeds: a search
    cannot be asked to resolve less.

    - ``fully_tuned``: the second half of the random trials lowered the expected best loss by less
      than the noise, and so does the upper limit of its interval, which knows nothing of recipes
      that were not met: there were `MIN_TRIALS_TO_BE_TUNED` of them at least
    - ``still_falling``: it lowered it by more than the noise
    - ``undecided``: by less, but its interval reaches above, or there were fewer of them
    - ``unknown``: fewer than `MIN_TRIALS` random trials, or the noise is not known
    """
    if curve is None or curve.gain_of_half is None or noise is None:
        return "unknown"
    gain = curve.gain_of_half
    if gain.estimate > noise:
        return "still_falling"
    enough = curve.n_independent >= MIN_TRIALS_TO_BE_TUNED
    return "fully_tuned" if enough and gain.high <= noise else "undecided"


def _gain_of_half(loss_T: FloatArray, *, confidence: float, seed: int) -> Interval | None:
    n_trials = loss_T.size
    if n_trials < MIN_TRIALS:
        return None
    rng = np.random.default_rng(seed)
    sample_ST = loss_T[rng.integers(n_trials, size=(_N_BOOTSTRAP, n_trials))]

    def gain(loss_ST: FloatArray) -> FloatArray:
        return expected_best(loss_ST, n_trials // 2) - expected_best(loss_ST, n_trials)

    tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
    low, high = np.quantile(gain(sample_ST), tails)
    return Interval(estimate=float(gain(loss_T[None])[0]), low=float(low), high=float(high))

"""The verdict on the one question: does the loss fall with model size, and how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from finscale.evaluation.metrics import skill
from finscale.scaling.extrapolation import Extrapolation, leave_one_out_extrapolation
from finscale.scaling.fit import Comparison
from finscale.scaling.line import Line
from finscale.scaling.points import MIN_SPAN_FOR_A_LAW, Point, sorted_points
from finscale.scaling.uncertainty import (
    Interval,
    Kind,
    LawIntervals,
    SeedNoise,
    pooled_seed_noise,
)
from finscale.scaling.weighing import weigh
from finscale.scaling.wording import (
    Paired,
    cautions,
    extrapolation_notes,
    extrapolation_warning,
    not_beaten,
    sentence,
)

__all__ = ["BASE_RATE_NAME", "Paired", "Point", "Verdict", "judge"]

BASE_RATE_NAME = "the base rate"


@dataclass(frozen=True)
class Verdict:
    """What the points say about loss against size; see `judge` for the rules.

    Attributes
    ----------
    kind : str
        "falls", "rises", "no_evidence" or "too_few_points".
    sentence : str
        The verdict in plain English, with its numbers.
    n_budgets, n_budgets_needed : int
        Budgets measured, and budgets (of distinct sizes) needed for a verdict.
    span_ratio : float
        Largest over smallest size.
    spans_a_decade : bool
        Whether that ratio is at least 10; if not, no law can be claimed whatever ``kind`` says.
    comparison : Comparison
        The fits and the AICc table.
    delta_aicc : float or None
        AICc of the constant less that of the best of power laws and straight line: positive favours
        a dependence on size.
    prefers_line : bool
        Whether that is the line.
    change : Interval or None
        Loss at the largest size less that at the smallest, under what AICc prefers.
    line : Line or None
        The straight line in ln N.
    intervals : tuple of LawIntervals
        For the power laws that leave a degree of freedom; empty with too few points.
    confidence : float
        Nominal coverage of the intervals.
    seed_noise : SeedNoise or None
        Noise between seeds of one budget: the floor below which a difference is no result.
    best_budget : str
        Budget with the lowest seed-mean loss. Picked among several, its loss is optimistic.
    best_loss : float
        That loss.
    best_skill : float or None
        Its skill against ``base_loss``.
    beats : bool or None
        Whether the budget chosen on validation beats the base rate and the best baseline, both by
        more than chance; None where that was not compared.
    not_beaten : tuple of str
        Of all that it was compared with, what it does not beat by more than chance, the strongest
        first.
    extrapolation : dict
        By law, every budget's loss predicted from the others; empty if that was not asked for,
        or with too few points.
    extrapolation_warning : str
        What the fit does not say about other sizes.
    notes : tuple of str
        Cautions: parameters at a bound, exponents the data do not limit.
    """

    kind: Kind
    sentence: str
    n_budgets: int
    n_budgets_needed: int
    span_ratio: float
    spans_a_decade: bool
    comparison: Comparison
    delta_aicc: float | None
    prefers_line: bool
    change: Interval | None
    line: Line | None
    intervals: tuple[LawIntervals, ...]
    confidence: float
    seed_noise: SeedNoise | None
    best_budget: str
    best_loss: float
    best_skill: float | None
    beats: bool | None
    not_beaten: tuple[str, ...]
    extrapolation: dict[str, Extrapolation]
    extrapolation_warning: str
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Fields ready for JSON."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }
        return plain | {
            "comparison": self.comparison.as_dict(),
            "change": None if self.change is None else asdict(self.change),
            "line": None if self.line is None else self.line.as_dict(),
            "intervals": [interval.as_dict() for interval in self.intervals],
            "extrapolation": {name: one.as_dict() for name, one in self.extrapolation.items()},
            "seed_noise": None if self.seed_noise is None else asdict(self.seed_noise),
        }


def judge(
    points: Sequence[Point],
    *,
    base_loss: float | None = None,
    best_baseline: tuple[str, float] | None = None,
    paired: Mapping[str, Paired] | None = None,
    extrapolate: bool = False,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Verdict:
    """Judge whether the loss depends on model size.

    A constant, a power law, a power law with a floor and a straight line in ln N are fitted to the
    seed-mean losses, one point per budget. "falls" is said only if one of the others beats the
    constant by an AICc of 2 or more *and* the interval of the loss difference between the largest
    and the smallest size lies below 0; "rises" if it lies above 0; otherwise "no_evidence". Below
    six distinct sizes the AICc of the power law with a floor is undefined (it has four parameters
    with the noise), and the verdict is "too_few_points".

    The line is there for what the power laws cannot say on few budgets: L = A N^-alpha with alpha
    ≥ 0.01 can neither rise nor fall by less than 1% for a factor of e, and a floor is a parameter
    that six points hardly pay for. The difference is that of the line where AICc prefers it, and
    otherwise that of the power law with a floor, which can rise as well as fall. How often a change
    is found, and how often there is none to be found: docs/evidence.md.

    "no_evidence" is no evidence of absence: read the interval for what the data leave possible. All
    points weigh the same, so budgets should have equally many seeds. A rival is beaten only if the
    interval of the paired difference of the budget that was chosen on validation lies below 0: of
    several budgets one has a lower mean than the best baseline on most data without any signal.

    Parameters
    ----------
    points : sequence of Point
        One per budget, in any order.
    base_loss : float, optional
        Log-loss of the training base rate on the rows of the losses, in nats.
    best_baseline : tuple of str and float, optional
        Name of the best baseline and its loss on the same rows.
    paired : mapping of str to Paired, optional
        How the budget chosen on validation compares, on the same rows, with `BASE_RATE_NAME`, with
        the best baseline and with others, by name. Without it the sentence compares means.
    extrapolate : bool
        Whether to predict every budget from the others too.
    n_bootstrap : int
        Bootstrap samples per law.
    confidence : float
        Nominal coverage of the intervals, within (0, 1).
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Verdict

    Raises
    ------
    FitError
        If there are no points, a budget appears twice or has no loss, or a size or loss is not
        positive and finite.
    """
    points = sorted_points(points)
    sizes = [point.n_parameters for point in points]
    weighed = weigh(
        sizes,
        [point.mean_loss for point in points],
        n_bootstrap=n_bootstrap,
        confidence=confidence,
        seed=seed,
    )
    kind, comparison, intervals = weighed.kind, weighed.comparison, weighed.intervals
    extrapolation = (
        leave_one_out_extrapolation(sizes, [point.mean_loss for point in points])
        if extrapolate and intervals
        else {}
    )
    best = min(points, key=lambda point: point.mean_loss)
    rivals = [] if base_loss is None else [(BASE_RATE_NAME, base_loss)]
    rivals += [] if best_baseline is None else [best_baseline]
    return Verdict(
        kind=kind,
        sentence=sentence(
            points, weighed, rivals=rivals, paired=paired or {}, confidence=confidence
        ),
        n_budgets=len(points),
        n_budgets_needed=comparison.n_points_needed,
        span_ratio=sizes[-1] / sizes[0],
        spans_a_decade=sizes[-1] / sizes[0] >= MIN_SPAN_FOR_A_LAW,
        comparison=comparison,
        delta_aicc=weighed.delta_aicc,
        prefers_line=weighed.prefers_line,
        change=weighed.change,
        line=weighed.line,
        intervals=intervals,
        confidence=confidence,
        seed_noise=pooled_seed_noise(point.losses for point in points),
        best_budget=best.budget,
        best_loss=best.mean_loss,
        best_skill=None if base_loss is None else skill(best.mean_loss, base_loss),
        beats=_beats([name for name, _ in rivals], paired or {}),
        not_beaten=not_beaten(paired or {}),
        extrapolation=extrapolation,
        extrapolation_warning=extrapolation_warning(kind, points),
        notes=(*cautions(comparison, intervals), *extrapolation_notes(kind, extrapolation)),
    )


def _beats(rivals: Sequence[str], paired: Mapping[str, Paired]) -> bool | None:
    if not rivals or not paired.keys() >= set(rivals):
        return None
    return all(paired[name].beats for name in rivals)

"""The verdict in words: one sentence with its numbers, and the cautions that go with it.

All functions take the points by ascending size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np

from finscale.scaling.extrapolation import Extrapolation
from finscale.scaling.fit import MIN_DELTA_AICC, Comparison, LawFit
from finscale.scaling.points import MIN_SPAN_FOR_A_LAW, Point
from finscale.scaling.uncertainty import Interval, Kind, LawIntervals
from finscale.scaling.weighing import Weighed
from finscale.units import count_text

_MAX_ALPHA_AT_BOUND_FRAC = 0.05
_LINE = "a straight line in ln N"


@dataclass(frozen=True)
class Paired:
    """A budget against a rival on the same rows.

    Attributes
    ----------
    budget : str
        The budget that was chosen on validation.
    difference : Interval
        Its loss less the rival's, on the rows judged.
    """

    budget: str
    difference: Interval

    @property
    def beats(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.difference.high < 0.0


def sentence(
    points: Sequence[Point],
    weighed: Weighed,
    *,
    rivals: Sequence[tuple[str, float]],
    paired: Mapping[str, Paired],
    confidence: float,
) -> str:
    """Say what was found, over which sizes, how surely, and which rivals are beaten.

    Where all rivals are, whatever else was compared and is not beaten is named too: the best
    baseline on validation need not be the best on test.
    """
    core = (
        _too_few(points, weighed.comparison.n_points_needed)
        if weighed.delta_aicc is None or weighed.change is None
        else _finding(points, weighed, weighed.delta_aicc, weighed.change)
    )
    percent = f"{100 * confidence:g}%"
    tested = [_paired(paired[name], name, loss, percent) for name, loss in rivals if name in paired]
    budget = next((pair.budget for pair in paired.values()), "")
    said = (
        [f"{budget}, whose averaged forecast is best on validation, {' and '.join(tested)}"]
        if tested
        else []
    )
    if tested and all(paired[name].beats for name, _ in rivals if name in paired):
        said += _unbeaten(paired)
    said += [_against(points, name, loss) for name, loss in rivals if name not in paired]
    return "; ".join([core, *said]) + "."


def _too_few(points: Sequence[Point], needed: int) -> str:
    span_ratio = points[-1].n_parameters / points[0].n_parameters
    n_distinct = len({point.n_parameters for point in points})
    measured = _count(len(points), "budget")
    if n_distinct < len(points):
        measured += f" of {_count(n_distinct, 'distinct size')}"
    span = f" spanning {_times(span_ratio)}" if n_distinct > 1 else ""
    return (
        f"Too few points for a verdict: {measured}{span}, while comparing a power law with a floor "
        f"against a constant by AICc needs at least {needed} distinct sizes"
    )


def _finding(points: Sequence[Point], weighed: Weighed, delta_aicc: float, change: Interval) -> str:
    kind = weighed.kind
    low, high = points[0].n_parameters, points[-1].n_parameters
    percent = f"{100 * weighed.intervals[-1].confidence:g}%"
    over = (
        f"over {_count(len(points), 'budget')} spanning {_times(high / low)} ({count_text(low)} to "
        f"{count_text(high)} parameters) it changes by "
        f"{change_text(change, percent)} from the smallest to the largest"
    )
    if kind == "no_evidence":
        text = (
            f"No evidence that the loss depends on model size: {over}, and "
            f"{_aicc_phrase(delta_aicc, _LINE if weighed.prefers_line else 'a power law')}"
        )
    elif weighed.prefers_line:
        text = (
            f"The loss {kind} with model size: {over}, and {_LINE} beats a constant by "
            f"{delta_aicc:.1f} AICc"
        )
    else:
        fit, interval = _winner(weighed.comparison, weighed.intervals)
        text = (
            f"The loss {kind} with model size: {over}, and {fit.law.formula} "
            f"{_alpha_phrase(interval, percent)}beats a constant by {delta_aicc:.1f} AICc"
        )
    if high / low < MIN_SPAN_FOR_A_LAW:
        text += "; the sizes span less than one decade, so no scaling law can be claimed"
    return text


def _winner(
    comparison: Comparison, intervals: tuple[LawIntervals, ...]
) -> tuple[LawFit, LawIntervals]:
    """Return the power law with the lower AICc, and its intervals."""
    fits = {fit.law.name: fit for fit in comparison.fits}

    def delta(interval: LawIntervals) -> float:
        value = comparison.delta_aicc[interval.law]
        return np.inf if value is None else value

    best = min(intervals, key=delta)
    return fits[best.law], best


def _aicc_phrase(delta_aicc: float, law: str) -> str:
    if delta_aicc <= 0.0:
        return f"AICc prefers a constant by {-delta_aicc:.1f}"
    if delta_aicc < MIN_DELTA_AICC:
        return f"AICc prefers {law} by only {delta_aicc:.1f}"
    return f"although AICc prefers {law} by {delta_aicc:.1f} that interval includes 0"


def _alpha_phrase(interval: LawIntervals, percent: str) -> str:
    alpha = interval.alpha
    if alpha is None:
        return ""
    limits = f"{percent} interval {alpha.low:#.2g} to {alpha.high:#.2g}"
    return f"with alpha {alpha.estimate:#.2g} ({limits}) "


def _paired(pair: Paired, name: str, loss: float, percent: str) -> str:
    """Say whether the budget chosen on validation beats a rival by more than chance."""
    low, high = pair.difference.low, pair.difference.high
    verb = "beats" if high < 0.0 else "is worse than" if low > 0.0 else "is not told apart from"
    return (
        f"{verb} {name} ({loss:.3f}), its loss differing by {change_text(pair.difference, percent)}"
    )


def not_beaten(paired: Mapping[str, Paired]) -> tuple[str, ...]:
    """Return who is not beaten by more than chance, the strongest first."""
    names = [name for name, pair in paired.items() if not pair.beats]
    return tuple(sorted(names, key=lambda name: -paired[name].difference.estimate))


def _unbeaten(paired: Mapping[str, Paired]) -> list[str]:
    names = not_beaten(paired)
    if not names:
        return []
    listed = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
    return [f"it is not shown to beat {listed}"]


def _against(points: Sequence[Point], name: str, loss: float) -> str:
    n_better = n_beating(points, loss)
    rival = f"{name} ({loss:.3f})"
    if n_better == 0:
        return f"none of the budgets has a lower mean loss than {rival}"
    best = min(points, key=lambda point: point.mean_loss)
    verb = "has" if n_better == 1 else "have"
    return (
        f"{n_better} of {_count(len(points), 'budget')} {verb} a lower mean loss than {rival}, "
        f"the lowest being that of {best.budget} ({best.mean_loss:.3f})"
    )


def n_beating(points: Sequence[Point], loss: float) -> int:
    """Count the budgets whose seed-mean loss lies below ``loss``."""
    return sum(point.mean_loss < loss for point in points)


def extrapolation_warning(kind: Kind, points: Sequence[Point]) -> str:
    """Say what the fit does not know about other sizes."""
    if kind in ("no_evidence", "too_few_points"):
        return "There is no law to extrapolate."
    return (
        f"The fit describes sizes from {count_text(points[0].n_parameters)} to "
        f"{count_text(points[-1].n_parameters)} parameters; a loss "
        f"outside them, the floor E included, is an extrapolation that these data cannot check."
    )


def extrapolation_notes(kind: Kind, extrapolation: Mapping[str, Extrapolation]) -> tuple[str, ...]:
    """Say if a law was found and predicts budgets that it has not seen worse than a constant."""
    errors = {name: one.rms_error for name, one in extrapolation.items()}
    flat = errors.pop("constant", None)
    best = min((error for error in errors.values() if error is not None), default=None)
    if kind not in ("falls", "rises") or flat is None or best is None or best < flat:
        return ()
    text = (
        f"a constant predicts each budget from the others better than a power law (rms error "
        f"{flat:.4f} against {best:.4f}), so the law does not carry over to sizes it has not seen"
    )
    return (text,)


def cautions(comparison: Comparison, intervals: tuple[LawIntervals, ...]) -> tuple[str, ...]:
    """Name the parameters that are limits and not measurements."""
    notes = []
    for fit in comparison.fits:
        if fit.at_bound:
            names = " and ".join(fit.at_bound)
            notes.append(f"{fit.law.formula}: {names} at a bound, a limit and not a measurement")
        if not fit.converged:
            notes.append(f"{fit.law.formula}: no exponent is better than its neighbours")
    for interval in intervals:
        frac = interval.alpha_at_bound_frac
        if frac is not None and frac > _MAX_ALPHA_AT_BOUND_FRAC:
            notes.append(
                f"{_formula_of(comparison, interval.law)}: alpha is at a bound in {frac:.0%} of "
                f"bootstrap samples, so the data limit it on one side at most"
            )
    return tuple(notes)


def _formula_of(comparison: Comparison, name: str) -> str:
    return next(fit.law.formula for fit in comparison.fits if fit.law.name == name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _times(ratio: float) -> str:
    return f"×{ratio:.0f}" if ratio >= 9.5 else f"×{ratio:.2g}"


def change_text(interval: Interval, percent: str) -> str:
    """Format an estimate and its interval, rounded to two digits of the interval's width."""
    width = interval.high - interval.low
    digits = min(max(1 - floor(log10(width)), 0), 9) if width > 0.0 else 6
    estimate, low, high = (
        f"{value:+.{digits}f}" for value in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate} ({percent} interval {low} to {high})"

"""What choosing among trials has cost and gained: effort, tuning and optimism of every budget.

A loss that falls with size may be a search that was better there. So budgets are compared at equal
effort, each says whether its search has levelled off, and the loss of the trial that was chosen
stands beside those of the same recipe trained again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finscale.records import FinalRecord, TrialRecord, best_trial
from finscale.scaling.tuning import TuningCurve, judge_tuning, tuning_curve
from finscale.scaling.uncertainty import pooled_seed_noise


def search_effort(
    trials: Mapping[str, Sequence[TrialRecord]],
    finals: Mapping[str, Sequence[FinalRecord]],
    *,
    base_loss: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Describe the searches of one cell, budget by budget; losses are of validation, in nats.

    Parameters
    ----------
    trials
        Current trials by budget, by ascending size.
    finals
        Final runs of the current winner by budget.
    base_loss
        Of the base rate on validation; a failed trial without a loss counts with it.
    confidence, seed
        See `finscale.scaling.tuning.tuning_curve`.

    Returns
    -------
    dict
        ``seed_sigma``, the standard deviation of one run between seeds, pooled over budgets;
        ``equal_effort``, the fewest finished trials of a budget; ``is_equal``, whether all have as
        many; and ``budgets``. Of each:

        - ``n_trials``, ``n_independent``, ``flops`` (of all trials; None where one is not known)
        - ``tuned``: see `finscale.scaling.tuning.judge_tuning`; ``curve``, or None
        - ``best_loss``, of the trial that was chosen; ``best_at_equal_effort``, of the first
          ``equal_effort`` trials
        - ``retrained_loss``, the mean over seeds of the chosen recipe trained again, and
          ``test_loss``; None before there are any
        - ``optimism``: ``retrained_loss - best_loss``, what the choice flattered the chosen trial
          by; positive where it did
    """
    noise = pooled_seed_noise(
        [float(_loss(run, "validation")) for run in runs] for runs in finals.values()
    )
    sigma = None if noise is None else noise.sigma
    counts = [len(runs) for runs in trials.values() if runs]
    equal = min(counts, default=0)
    return {
        "seed_sigma": sigma,
        "equal_effort": equal,
        "is_equal": len(set(counts)) <= 1,
        "budgets": {
            budget: _budget(
                sorted(runs, key=lambda one: one.trial),
                finals.get(budget, ()),
                equal=equal,
                sigma=sigma,
                base_loss=base_loss,
                confidence=confidence,
                seed=seed,
            )
            for budget, runs in trials.items()
            if runs
        },
    }


def effort_cautions(described: Mapping[str, Any]) -> list[str]:
    """Say in words what of the searches weakens a verdict on size; empty if nothing does."""
    budgets = described["budgets"]
    cautions = []
    falling = [name for name, one in budgets.items() if one["tuned"] == "still_falling"]
    if falling:
        cautions.append(
            f"the search of {', '.join(falling)} was still finding better recipes, so its loss is "
            "that of a search cut short"
        )
    if not described["is_equal"]:
        counts = ", ".join(f"{name} {one['n_trials']}" for name, one in budgets.items())
        cautions.append(f"budgets were searched with unequal effort (trials: {counts})")
    return cautions


def _budget(
    trials: Sequence[TrialRecord],
    finals: Sequence[FinalRecord],
    *,
    equal: int,
    sigma: float | None,
    base_loss: float | None,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    curve = _curve(trials, base_loss, confidence=confidence, seed=seed)
    best, first = best_trial(trials), best_trial(trials[:equal])
    best_loss = None if best is None else best.validation_loss
    retrained = _mean(finals, "validation")
    known = [one.flops for one in trials if one.flops is not None]
    return {
        "n_trials": len(trials),
        "n_independent": 0 if curve is None else curve.n_independent,
        "flops": sum(known) if len(known) == len(trials) else None,
        "tuned": judge_tuning(curve, sigma),
        "curve": None if curve is None else curve.as_dict(),
        "best_loss": best_loss,
        "best_skill": None if best is None else best.validation_skill,
        "best_at_equal_effort": None if first is None else first.validation_loss,
        "retrained_loss": retrained,
        "test_loss": _mean(finals, "test"),
        "optimism": None if retrained is None or best_loss is None else retrained - best_loss,
    }


def _curve(
    trials: Sequence[TrialRecord], base_loss: float | None, *, confidence: float, seed: int
) -> TuningCurve | None:
    losses, n_censored = [], 0
    for one in trials:
        if not one.independent:
            continue
        loss = one.validation_loss
        if loss is None and base_loss is not None:
            loss = base_loss
        if loss is not None:
            losses.append(loss)
            n_censored += one.state != "complete"
    if not losses:
        return None
    return tuning_curve(losses, n_censored=n_censored, confidence=confidence, seed=seed)


def _loss(run: FinalRecord, part: str) -> float:
    return float(getattr(run.scores, part)["log_loss"])


def _mean(finals: Sequence[FinalRecord], part: str) -> float | None:
    return float(np.mean([_loss(run, part) for run in finals])) if finals else None

"""The summary of one experiment: its winner's scores, and what a reader has to know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from finscale.records import FinalRecord, Record, Scores, TrialRecord, best_trial
from finscale.scaling.ledger import PARTS, winning_ensemble, winning_finals

_MEANS = ("log_loss", "skill", "brier", "auc", "average_precision", "calibration_error")
# Only those of a return; a binary task has none of them.
_RETURN_MEANS = (
    *("crps", "base_crps", "crps_skill", "pinball_05", "pinball_50", "pinball_95"),
    *("coverage_50", "width_50", "coverage_90", "width_90", "r2"),
)


def summarise_budget(
    records: Sequence[Record],
    *,
    n_seeds: int,
    failure: str | None,
    changed: Sequence[str],
    n_test_scorings: int,
) -> dict[str, Any]:
    """Summarise one experiment; see `finscale.report.summary.build_summary` for the fields.

    Parameters
    ----------
    records
        Records of one experiment, in the order of the ledger.
    n_seeds
        Final runs asked for.
    failure
        Why the experiment failed; None if it did not.
    changed
        What has changed since records that are now stale.
    n_test_scorings
        Recipes and settings that were ever scored on the experiment's test rows.
    """
    trials = [record for record in records if isinstance(record, TrialRecord)]
    finals = winning_finals(records)
    ensemble = winning_ensemble(records)
    winner = finals[0] if finals else None
    average = None if ensemble is None else both_parts(ensemble.scores)
    seeds = [
        {
            "uid": final.uid,
            "seed": final.seed,
            "best_epoch": final.best_epoch,
            "duration_s": final.duration_s,
            **both_parts(final.scores),
        }
        for final in finals
    ]
    collapsed_on = [part for part in PARTS if _collapsed(average, seeds, part)]
    state = Counter(trial.state for trial in trials)
    best = best_trial(trials)
    result: dict[str, Any] = {
        "status": _status(records, complete=ensemble is not None, failure=failure, changed=changed),
        "n_parameters": None if winner is None else winner.n_parameters,
        "architecture": None if winner is None else winner.architecture,
        "recipe": None if winner is None else dict(winner.recipe),
        "trial": None if winner is None else winner.trial,
        "n_trials": {name: state[name] for name in ("complete", "pruned", "failed")},
        "best_trial": None if best is None else best.trial,
        "seeds": seeds,
        "seed_mean": _seed_mean(finals),
        "seed_average": average,
        "collapsed": bool(collapsed_on),
        "collapsed_on": collapsed_on,
        "n_test_scorings": n_test_scorings,
    }
    return result | {"flags": _flags(result, n_seeds, failure, changed)}


def _status(
    records: Sequence[Record], *, complete: bool, failure: str | None, changed: Sequence[str]
) -> str:
    if complete:
        return "complete"
    if failure is not None:
        return "failed"
    if records:
        return "unfinished"
    return "stale" if changed else "not started"


def _flags(
    budget: Mapping[str, Any], n_seeds: int, failure: str | None, changed: Sequence[str]
) -> list[str]:
    flags = []
    if budget["collapsed_on"]:
        flags.append(f"collapsed on {' and '.join(budget['collapsed_on'])}")
    for part in PARTS:
        alone = sum(bool(seed[part]["collapsed"]) for seed in budget["seeds"])
        if alone and part not in budget["collapsed_on"]:
            flags.append(f"{alone} of {len(budget['seeds'])} seeds collapsed on {part}")
    if budget["seeds"] and len(budget["seeds"]) < n_seeds:
        flags.append(f"{len(budget['seeds'])} of {n_seeds} seeds")
    if budget["n_test_scorings"] > 1:
        flags.append(f"{budget['n_test_scorings']} recipes scored on test")
    if budget["seeds"] and budget["best_trial"] not in (None, budget["trial"]):
        flags.append(f"final runs are of trial {budget['trial']}, best is {budget['best_trial']}")
    if failure is not None:
        flags.append("failed")
    if changed:
        flags.append("older records are stale")
    if budget["status"] in ("unfinished", "not started"):
        flags.append(budget["status"])
    return flags


def _collapsed(
    average: Mapping[str, Any] | None, seeds: Sequence[Mapping[str, Any]], part: str
) -> bool:
    if average is not None:
        return bool(average[part]["collapsed"])
    return bool(seeds) and all(seed[part]["collapsed"] for seed in seeds)


def both_parts(scores: Scores) -> dict[str, Any]:
    """Return the metrics of validation and test."""
    return {"validation": dict(scores.validation), "test": dict(scores.test)}


def _seed_mean(finals: Sequence[FinalRecord]) -> dict[str, Any] | None:
    if not finals:
        return None
    both = [both_parts(final.scores) for final in finals]
    return {
        part: {
            name: _mean([scores[part].get(name) for scores in both])
            for name in (*_MEANS, *(one for one in _RETURN_MEANS if one in both[0][part]))
        }
        for part in PARTS
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None

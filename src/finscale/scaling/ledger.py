"""From ledger records to verdicts: one question per horizon and task, asked of each part.

A cell is a horizon and a task, named as a baseline's experiment is: ``h1_threshold_1pct``. Its
budgets are compared with each other, and with the baselines scored on the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any, Literal, TypeVar

from finscale.errors import FitError
from finscale.records import (
    BASE_RATE,
    BaselineRecord,
    CellRecord,
    EnsembleRecord,
    FinalRecord,
    Record,
    Scores,
    SupplementaryRecord,
    TrialRecord,
)
from finscale.scaling.effort import search_effort
from finscale.scaling.uncertainty import Interval
from finscale.scaling.verdict import BASE_RATE_NAME, Paired, Point, judge

_RecordT = TypeVar("_RecordT", bound=CellRecord)

Part = Literal["validation", "test"]
PARTS: tuple[Part, ...] = ("validation", "test")

NO_FINALS = "no budget has a final run yet"


def by_cell(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by horizon, task and data size, cells in the order they first appear in."""
    cells: dict[str, list[Record]] = {}
    for record in records:
        cells.setdefault(record.cell_name, []).append(record)
    return cells


def count_test_scorings(records: Sequence[Record]) -> dict[str, int]:
    """Count the recipes and settings that each experiment's test rows were ever scored for.

    Stale records count as well: whoever changed a setting after a look at the test part has looked.
    So do supplementary runs that were scored there; seeds of one recipe count once.
    """
    scored: set[tuple[str, str, int | str]] = {
        (record.experiment, record.identity.fingerprint, record.trial)
        for record in records
        if isinstance(record, FinalRecord)
    }
    scored |= {
        (record.experiment, record.identity.fingerprint, record.run.rpartition("_seed_")[0])
        for record in records
        if isinstance(record, SupplementaryRecord) and record.scores is not None
    }
    return dict(Counter(experiment for experiment, _, _ in scored))


def winning_ensemble(records: Sequence[Record]) -> EnsembleRecord | None:
    """Return the newest ensemble of one experiment whose members are all among the records."""
    finals = {record.uid for record in records if isinstance(record, FinalRecord)}
    whole = [
        record
        for record in records
        if isinstance(record, EnsembleRecord) and finals.issuperset(record.members)
    ]
    return _newest(whole)


def winning_finals(records: Sequence[Record]) -> tuple[FinalRecord, ...]:
    """Return the final runs of one experiment's current winner, by seed.

    They are the members of the newest ensemble. Before there is one, they are the final runs that
    share the newest final run's trial: runs of different recipes are never averaged.

    Parameters
    ----------
    records
        Records of one experiment, in the order of the ledger.
    """
    finals = [record for record in records if isinstance(record, FinalRecord)]
    ensemble = winning_ensemble(records)
    if ensemble is not None:
        chosen = [final for final in finals if final.uid in ensemble.members]
    else:
        newest = _newest(finals)
        chosen = [final for final in finals if newest is not None and final.trial == newest.trial]
    return tuple(sorted(chosen, key=lambda final: final.seed))


def finals_by_budget(records: Sequence[Record]) -> dict[str, tuple[FinalRecord, ...]]:
    """Return the winner's final runs of every budget of one cell, by ascending size."""
    experiments: dict[str, list[Record]] = {}
    for record in records:
        if record.budget is not None:
            experiments.setdefault(record.budget, []).append(record)
    finals = {budget: winning_finals(runs) for budget, runs in experiments.items()}
    trained = {budget: runs for budget, runs in finals.items() if runs}
    return dict(sorted(trained.items(), key=lambda item: item[1][0].n_parameters))


def trials_by_budget(records: Sequence[Record]) -> dict[str, list[TrialRecord]]:
    """Return the trials of every budget of one cell, by ascending size of the largest tried."""
    trials: dict[str, list[TrialRecord]] = {}
    for record in records:
        if isinstance(record, TrialRecord) and record.budget is not None:
            trials.setdefault(record.budget, []).append(record)
    sizes = {budget: max(one.n_parameters for one in runs) for budget, runs in trials.items()}
    return {budget: trials[budget] for budget in sorted(trials, key=sizes.__getitem__)}


def best_baseline(records: Sequence[Record]) -> BaselineRecord | None:
    """Return the baseline with the lowest *validation* log-loss, the base rate left out.

    It stands for the baselines on both parts: one chosen on the test part would have seen it.
    """
    rivals = [r for r in baselines(records).values() if r.model != BASE_RATE]
    return min(rivals, key=lambda r: part_loss(r.scores, "validation"), default=None)


def baselines(records: Sequence[Record]) -> dict[str, BaselineRecord]:
    """Return the newest record of every baseline of one cell, by name."""
    return {record.model: record for record in records if isinstance(record, BaselineRecord)}


def part_loss(scores: Scores, part: Part) -> float:
    """Return the log-loss of one part, in nats."""
    return _number(metrics_of(scores, part), "log_loss")


def metrics_of(scores: Scores, part: Part) -> dict[str, float | int | bool | None]:
    """Return the metrics of one part."""
    return scores.validation if part == "validation" else scores.test


def judge_cells(
    records: Sequence[Record],
    *,
    n_bootstrap: int,
    confidence: float,
    seed: int,
    evidence: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Judge loss against size for every horizon and task that has records.

    The losses of a point are those of the final runs of the budget's current winner, one per seed;
    its size is their built parameter count. Recipes are chosen on validation, so the headline is
    the verdict on test; the one on validation is there to see how much the choice flatters.

    Parameters
    ----------
    records
        Current records, in the order of the ledger.
    n_bootstrap, confidence, seed
        See `finscale.scaling.verdict.judge`.
    evidence
        Cell name to `finscale.evaluation.evidence.Evidence.as_dict`, for paired comparisons on
        test; a cell without compares means.

    Returns
    -------
    dict
        Cell name to ``validation`` and ``test`` (`Verdict.as_dict`, or None), ``error`` (why there
        is no verdict, or None), ``best_baseline`` (name or None), ``effort`` (see
        `finscale.scaling.effort.search_effort`), and ``points``: for every budget its ``budget``,
        ``n_parameters``, ``losses`` by part, and the ``uids`` of the records that the losses are
        from.
    """
    return {
        cell: _judge_cell(
            runs,
            (evidence or {}).get(cell),
            n_bootstrap=n_bootstrap,
            confidence=confidence,
            seed=seed,
        )
        for cell, runs in by_cell(records).items()
    }


def _judge_cell(
    records: Sequence[Record], evidence: Mapping[str, Any] | None, **settings: Any
) -> dict[str, Any]:
    finals = finals_by_budget(records)
    rival = best_baseline(records)
    base = baselines(records).get(BASE_RATE)
    result: dict[str, Any] = {
        "validation": None,
        "test": None,
        "error": None,
        "best_baseline": None if rival is None else rival.model,
        "points": [
            {
                "budget": budget,
                "n_parameters": runs[0].n_parameters,
                "losses": {part: [part_loss(run.scores, part) for run in runs] for part in PARTS},
                "uids": [run.uid for run in runs],
            }
            for budget, runs in finals.items()
        ],
    }
    result["effort"] = search_effort(
        trials_by_budget(records),
        finals,
        base_loss=None if base is None else part_loss(base.scores, "validation"),
        confidence=settings["confidence"],
        seed=settings["seed"],
    )
    if not finals:
        return result | {"error": NO_FINALS}
    compared = [run for runs in finals.values() for run in runs]
    compared_scores = [run.scores for run in (*compared, base, rival) if run is not None]
    try:
        for part in PARTS:
            _require_same_rows(compared_scores, part)
            result[part] = judge(
                [
                    Point(point["budget"], point["n_parameters"], tuple(point["losses"][part]))
                    for point in result["points"]
                ],
                base_loss=None if base is None else part_loss(base.scores, part),
                best_baseline=None
                if rival is None
                else (rival.model, part_loss(rival.scores, part)),
                paired=_paired(evidence) if part == "test" else None,
                extrapolate=True,
                **settings,
            ).as_dict()
    except FitError as error:
        return result | {"validation": None, "test": None, "error": str(error)}
    return result


def _paired(evidence: Mapping[str, Any] | None) -> dict[str, Paired] | None:
    """Return how the budget chosen on validation compares with base rate and baselines."""
    if evidence is None or evidence["best_budget"] is None:
        return None
    return {
        BASE_RATE_NAME if one["benchmark"] == BASE_RATE else one["benchmark"]: Paired(
            one["model"],
            Interval(
                **{
                    name: one["difference"][key]
                    for name, key in (("estimate", "value"), ("low", "low"), ("high", "high"))
                }
            ),
        )
        for one in evidence["differences"]
        if one["model"] == evidence["best_budget"]
    }


def _require_same_rows(scores: Sequence[Scores], part: Part) -> None:
    """Refuse to compare scores whose rows or base rates differ: the base rate's loss tells."""
    first = metrics_of(scores[0], part)
    for other in (metrics_of(score, part) for score in scores[1:]):
        if other["n"] != first["n"] or not isclose(
            _number(other, "base_log_loss"), _number(first, "base_log_loss"), rel_tol=1e-6
        ):
            raise FitError(
                f"{part}: runs or baselines were scored on different rows "
                f"({first['n']} and {other['n']}, base-rate loss {first['base_log_loss']} and "
                f"{other['base_log_loss']}); evaluate them again on the same data"
            )


def _number(metrics: Mapping[str, float | int | bool | None], name: str) -> float:
    value = metrics[name]
    if value is None:
        raise FitError(f"a score lacks its {name}; evaluate that run again")
    return float(value)


def _newest(records: Sequence[_RecordT]) -> _RecordT | None:
    # The later line of the ledger is the newer, whatever a clock that was set said meanwhile.
    return records[-1] if records else None

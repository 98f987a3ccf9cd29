"""The summary of a run: what summary.json holds, and the short table for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from finscale.evaluation.metrics import hindsight_skill
from finscale.ladder.budgets import parse_budget
from finscale.records import BASE_RATE, BaselineRecord, Record
from finscale.report.alarms import alarms, leak_alarm
from finscale.report.budget_summary import both_parts, summarise_budget
from finscale.report.supplementary import supplementary_summary
from finscale.scaling.effort import effort_cautions
from finscale.scaling.ledger import (
    NO_FINALS,
    PARTS,
    baselines,
    best_baseline,
    by_cell,
)
from finscale.search.coverage import Coverage
from finscale.study import Study
from finscale.study_rows import DataSize, cell_name

QUESTION = (
    "Does the log-loss of a transformer on unseen market data fall as its parameters grow, "
    "and does it beat simple baselines?"
)

HEADER = (
    "cell",
    "model",
    "parameters",
    "architecture",
    "skill validation",
    "skill test",
    "AUC test",
    "flags",
)


def build_summary(
    study: Study,
    records: Sequence[Record],
    *,
    data: Mapping[str, Any],
    scaling: Mapping[str, Any],
    failures: Mapping[str, str],
    stale: Mapping[str, tuple[str, ...]],
    test_scorings: Mapping[str, int],
    coverage: Mapping[str, Coverage] | None = None,
    included_stale: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """Summarise a run, ready for JSON.

    Parameters
    ----------
    study
        The study of the run.
    records
        Current records in the order of the ledger; stale ones are left out by the caller.
    data
        As in data.json; its ``cells`` describe the parts of each horizon and task.
    scaling
        As returned by `finscale.scaling.ledger.judge_cells`.
    failures
        Experiment name to the reason it failed.
    stale
        Experiment name to the parts of its identity that have changed since its records.
    test_scorings
        Experiment name to how often its test rows were scored, by any settings; see
        `finscale.scaling.ledger.count_test_scorings`.
    coverage
        Experiment name to what was tried of its grid.
    included_stale
        Experiment or cell name to what has changed since its records, which are among ``records``
        all the same because somebody asked for it.

    Returns
    -------
    dict
        ``alarms`` says what has to be known before anything else: leaks, and a null run.
        ``verdicts`` holds a headline for each cell, of the test part, and its cautions. ``cells``
        is a list with, for each cell, its ``baselines`` and ``budgets``. A budget holds the metrics
        of its winner in three forms:

        - ``seeds``: those of each final run;
        - ``seed_mean``: the mean over seeds of each metric, which is what one such model scores;
        - ``seed_average``: those of the average of the seeds' probabilities, one forecast made of
          several models. It tends to score better than any of them.

        A baseline has its metrics by part, and in ``chosen`` the settings that were chosen inside
        the training rows.

        ``collapsed_on`` names the parts on which the seed average (before there is one: every seed)
        shows no resolution. ``n_test_scorings`` counts the recipes and settings that were ever
        scored on test; above 1 the test part is no longer untouched. ``flags`` says in words what
        a reader of the numbers has to know. ``coverage`` is what was tried of the budget's grid, as
        `finscale.search.coverage.Coverage.as_dict` has it.

        ``supplementary`` lists the runs beside the searches; nothing else in here is made of them.
    """
    grouped = by_cell(records)
    cells = [
        _cell(
            study,
            grouped.get(cell_name(horizon, task, size), []),
            horizon_bars=horizon,
            task=task,
            size=size,
            data=data,
            failures=failures,
            stale=stale,
            test_scorings=test_scorings,
            coverage=coverage or {},
        )
        for task in study.tasks
        for size in study.sizes()
        for horizon in study.horizons
    ]
    status = Counter(budget["status"] for cell in cells for budget in cell["budgets"].values())
    return {
        "study": study.name,
        "question": QUESTION,
        "n_experiments": status.total(),
        "n_complete": status["complete"],
        "alarms": alarms(data),
        "verdicts": {
            cell["cell"]: _verdict(
                cell,
                scaling.get(cell["cell"]),
                leak_alarm(data.get("cells", {}).get(cell["cell"], {})),
            )
            for cell in cells
        },
        "cells": cells,
        "supplementary": supplementary_summary(records),
        "failures": dict(failures),
        "stale": {name: list(parts) for name, parts in stale.items()},
        "included_stale": {name: list(parts) for name, parts in (included_stale or {}).items()},
    }


def summary_table(summary: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and rows of a short table, as text.

    For each cell the baseline chosen on validation, then every budget with the mean over its seeds.
    """
    rows: list[tuple[str, ...]] = []
    for cell in summary["cells"]:
        name = cell["best_baseline"]
        if name is not None:
            scores = cell["baselines"][name]
            rows.append(
                (cell["cell"], name, "", "", *_three_scores(scores), _baseline_flags(scores))
            )
        for label, budget in cell["budgets"].items():
            size = budget["n_parameters"]
            rows.append(
                (
                    cell["cell"],
                    label,
                    "" if size is None else f"{size:,}",
                    budget["architecture"] or "",
                    *_three_scores(budget["seed_mean"]),
                    "; ".join(budget["flags"]),
                )
            )
    return HEADER, rows


def _verdict(
    cell: Mapping[str, Any], judged: Mapping[str, Any] | None, leak: str
) -> dict[str, Any]:
    """Return the headline of one cell, that of the test part, and what weakens it."""
    found = _found(cell, judged)
    if not leak:
        return found
    headline = f"{leak[:1].upper()}{leak[1:]}. The figures would read: {found['headline']}"
    return found | {"kind": "leak", "headline": headline}


def _found(cell: Mapping[str, Any], judged: Mapping[str, Any] | None) -> dict[str, Any]:
    error = NO_FINALS if judged is None else judged["error"]
    if judged is None or error is not None:
        headline = f"No verdict: {error}."
        cautions = _stale_cautions(judged or {})
        return {
            "kind": "no_result",
            "headline": headline,
            "cautions": cautions,
            "on_validation": None,
        }
    trained = {label: budget for label, budget in cell["budgets"].items() if budget["seeds"]}
    return {
        "kind": judged["test"]["kind"],
        "headline": judged["test"]["sentence"],
        "cautions": [
            *_stale_cautions(judged),
            *(
                f"{label} counts here, though {flag}"
                for label, budget in trained.items()
                for flag in budget["flags"]
                if flag.startswith("collapsed") or flag == "unfinished"
            ),
            *effort_cautions(judged["effort"]),
        ],
        "on_validation": {
            "kind": judged["validation"]["kind"],
            "sentence": judged["validation"]["sentence"],
        },
    }


def _stale_cautions(judged: Mapping[str, Any]) -> list[str]:
    return [
        f"STALE: the records of {name} were made with other {', '.join(changes)}"
        for name, changes in judged.get("stale", {}).items()
    ]


def _cell(
    study: Study,
    records: Sequence[Record],
    *,
    horizon_bars: int,
    task: str,
    size: DataSize,
    data: Mapping[str, Any],
    failures: Mapping[str, str],
    stale: Mapping[str, tuple[str, ...]],
    test_scorings: Mapping[str, int],
    coverage: Mapping[str, Coverage],
) -> dict[str, Any]:
    name = cell_name(horizon_bars, task, size)
    described = data.get("cells", {}).get(name, {})
    scored = baselines(records)
    rival = best_baseline(records)
    budgets = {}
    for label in _budget_labels(study, records):
        experiment = f"{label}_{name}"
        budgets[label] = summarise_budget(
            [record for record in records if record.budget == label],
            n_seeds=study.final.n_seeds,
            failure=failures.get(experiment),
            changed=stale.get(experiment, ()),
            n_test_scorings=test_scorings.get(experiment, 0),
        ) | {"coverage": coverage[experiment].as_dict() if experiment in coverage else None}
    return {
        "cell": name,
        "horizon_bars": horizon_bars,
        "task": task,
        "data_size": size.model_dump(),
        "question": described.get("question"),
        "base_rate": described.get("base_rate"),
        "parts": described.get("parts", {}),
        "baselines": {
            model: both_parts(scored[model].scores) | {"chosen": dict(scored[model].chosen)}
            for model in _in_order(study.baselines, scored)
        },
        "hindsight_skill": {
            part: hindsight_skill(scores["event_rate"], described["base_rate"])
            for part, scores in _base_rate_scores(scored).items()
            if described.get("base_rate") is not None
        },
        "best_baseline": None if rival is None else rival.model,
        "budgets": budgets,
    }


def _base_rate_scores(scored: Mapping[str, BaselineRecord]) -> dict[str, Any]:
    return both_parts(scored[BASE_RATE].scores) if BASE_RATE in scored else {}


def _in_order(listed: Sequence[str], present: Mapping[str, Any]) -> list[str]:
    return [name for name in listed if name in present] + sorted(set(present) - set(listed))


def _budget_labels(study: Study, records: Sequence[Record]) -> list[str]:
    """Return the budgets of the study and of the records, by ascending target."""
    in_records = {record.budget for record in records if record.budget is not None}
    target = {label: parse_budget(label).n_parameters for label in in_records}
    for label in study.ladder.budgets:
        budget = parse_budget(label)
        if budget.n_parameters not in target.values():
            target[budget.label] = budget.n_parameters
    return sorted(target, key=target.__getitem__)


def _three_scores(scores: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if scores is None:
        return "", "", ""
    auc = scores["test"].get("auc")
    return (
        f"{scores['validation']['skill']:+.3f}",
        f"{scores['test']['skill']:+.3f}",
        "" if auc is None else f"{auc:.3f}",
    )


def _baseline_flags(scores: Mapping[str, Any]) -> str:
    parts = [part for part in PARTS if scores[part]["collapsed"]]
    return f"collapsed on {' and '.join(parts)}" if parts else ""

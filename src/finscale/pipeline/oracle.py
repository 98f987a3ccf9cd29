"""The best possible forecast of a simulated market: scored, and what every model loses against it.

It is not a baseline: nobody could have made it, so it is neither trained nor chosen, and has
records of a kind of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from finscale.dataset.truth import true_probabilities
from finscale.evaluation.predictions import read_predictions, write_predictions
from finscale.evaluation.regret import best_possible_loss, regret
from finscale.experiments import code_version
from finscale.files import utc_now
from finscale.pipeline.book import RecordBook
from finscale.pipeline.prepare import PreparedStudy
from finscale.pipeline.scoring import SCORED_PARTS, part_frames, score_parts
from finscale.progress import Progress
from finscale.records import ORACLE, OracleRecord
from finscale.rundir import RunDirectory
from finscale.scaling.planted import compare_with_truth
from finscale.scaling.verdict import Point
from finscale.seeds import derive_seed


def score_oracles(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook, progress: Progress
) -> None:
    """Score the true probabilities of every cell where they are known and that is not done yet."""
    for name, data in prepared.cells.items():
        identity = prepared.identities[name]
        path = directory.oracle_predictions(name, identity.fingerprint)
        uid = f"{name}@{identity.fingerprint}/oracle"
        if path.exists() and uid in book:
            continue
        truth_T = true_probabilities(prepared.study, data.task, data.cell.horizon_bars)
        if truth_T is None:
            continue
        probabilities = {part: truth_T[data.split.part(part)] for part in SCORED_PARTS}
        record = OracleRecord(
            uid=uid,
            experiment=name,
            budget=None,
            horizon_bars=data.cell.horizon_bars,
            task=data.cell.task,
            data_size=data.cell.size,
            identity=identity,
            code_version=code_version(),
            created_at=utc_now(),
            best_possible_loss={
                part: best_possible_loss(probabilities[part]) for part in SCORED_PARTS
            },
            scores=score_parts(data, probabilities),
        )
        write_predictions(path, pl.concat(part_frames(data, ORACLE, None, probabilities)))
        if book.add(record):
            progress.run_finished(record)


def describe_oracles(
    prepared: PreparedStudy,
    directory: RunDirectory,
    scaling: Mapping[str, Any],
    predictions: Mapping[str, pl.DataFrame],
) -> dict[str, dict[str, Any]]:
    """Return what every model loses against the best possible, by cell, and the planted verdict.

    Returns
    -------
    dict
        Cell name to ``best_possible`` (by part, nats), ``realised`` (the log-loss of the true
        probabilities), ``regrets`` (model to part to `finscale.evaluation.regret.Regret`; of a
        budget the mean over its seeds) and ``planted`` (see
        `finscale.scaling.planted.compare_with_truth`, or None).
    """
    found = {}
    for name in prepared.cells:
        fingerprint = prepared.identities[name].fingerprint
        path = directory.oracle_predictions(name, fingerprint)
        if path.exists() and name in predictions:
            truth = read_predictions(path)
            found[name] = _describe(prepared, truth, scaling.get(name), predictions[name])
    return found


def _describe(
    prepared: PreparedStudy,
    truth: pl.DataFrame,
    judged: Mapping[str, Any] | None,
    predictions: pl.DataFrame,
) -> dict[str, Any]:
    joined = predictions.join(
        truth.select("row", "part", pl.col("probability").alias("truth")),
        on=["row", "part"],
        how="inner",
    )
    by_run: dict[tuple[str, int | None], dict[str, dict[str, float]]] = {}
    for (model, seed, part), rows in joined.group_by("model", "seed", "part", maintain_order=True):
        losses = regret(rows["truth"], rows["probability"], rows["label"]).as_dict()
        by_run.setdefault((str(model), seed), {})[str(part)] = losses
    budgets = {} if judged is None else {p["budget"]: p["n_parameters"] for p in judged["points"]}
    seeds = {
        label: [
            parts for (model, seed), parts in by_run.items() if model == label and seed is not None
        ]
        for label in budgets
    }
    regrets = {
        model: parts
        for (model, seed), parts in by_run.items()
        if seed is None and model not in budgets
    }
    for label, runs in seeds.items():
        if runs:
            regrets[label] = {
                part: {key: sum(r[part][key] for r in runs) / len(runs) for key in runs[0][part]}
                for part in SCORED_PARTS
            }
    planted = None
    if judged is not None and judged["test"] is not None and all(seeds.values()):
        points = [
            Point(label, n, tuple(run["test"]["expected_loss"] for run in seeds[label]))
            for label, n in budgets.items()
        ]
        rivals = {model: parts["test"] for model, parts in regrets.items() if model not in budgets}
        planted = compare_with_truth(
            points,
            judged["test"],
            best_possible=_best(truth, "test"),
            rivals={model: one["expected_loss"] for model, one in rivals.items()},
            n_bootstrap=prepared.study.scaling.n_bootstrap,
            confidence=prepared.study.scaling.confidence,
            seed=derive_seed(prepared.study.seed, "bootstrap"),
        )
    return {
        "best_possible": {part: _best(truth, part) for part in SCORED_PARTS},
        "regrets": regrets,
        "planted": planted,
    }


def _best(truth: pl.DataFrame, part: str) -> float:
    return best_possible_loss(truth.filter(pl.col("part") == part)["probability"])

"""The best possible forecast of a simulated market: scored, and what every model loses against it.

It is not a baseline: nobody could have made it, so it is neither trained nor chosen, and has
records of a kind of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from finscale.dataset.truth import true_probabilities
from finscale.evaluation.bootstrap import resample_dependent
from finscale.evaluation.estimate import plain
from finscale.evaluation.predictions import read_predictions, write_predictions
from finscale.evaluation.regret import best_possible_loss, row_regret, summarise_regret
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
        Cell name to ``best_possible`` (by part, nats), ``regrets`` (model to part to
        `finscale.evaluation.regret.Regret`; of a budget the mean over its seeds) and ``planted``
        (see `finscale.scaling.planted.compare_with_truth`, or None).
    """
    found = {}
    for name in prepared.cells:
        fingerprint = prepared.identities[name].fingerprint
        path = directory.oracle_predictions(name, fingerprint)
        if path.exists() and name in predictions:
            truth = read_predictions(path)
            found[name] = _describe(prepared, name, truth, scaling.get(name), predictions[name])
    return found


def _describe(
    prepared: PreparedStudy,
    cell: str,
    truth: pl.DataFrame,
    judged: Mapping[str, Any] | None,
    predictions: pl.DataFrame,
) -> dict[str, Any]:
    budgets = {} if judged is None else {p["budget"]: p["n_parameters"] for p in judged["points"]}
    lines = predictions.join(
        truth.select("row", "part", pl.col("probability").alias("truth")),
        on=["row", "part"],
        how="inner",
    ).filter(
        # A budget is a model and its seeds, not the average of their forecasts.
        pl.when(pl.col("model").is_in(list(budgets)))
        .then(pl.col("seed").is_not_null())
        .otherwise(pl.col("seed").is_null())
    )
    expected_B, realised_B = row_regret(lines["truth"], lines["probability"], lines["label"])
    lines = lines.with_columns(expected=expected_B, realised=realised_B)
    regrets = _regrets(prepared, cell, lines)
    planted = None
    if judged is not None and judged["test"] is not None and set(budgets) <= set(regrets):
        best = _best(truth, "test")
        by_seed = (
            lines.filter(pl.col("part") == "test")
            .group_by("model", "seed", maintain_order=True)
            .agg(pl.col("expected").mean() + best)
        )
        points = [
            Point(label, n, tuple(by_seed.filter(pl.col("model") == label)["expected"]))
            for label, n in budgets.items()
        ]
        planted = compare_with_truth(
            points,
            judged["test"],
            best_possible=best,
            rivals={
                model: parts["test"]["expected_loss"]
                for model, parts in regrets.items()
                if model not in budgets
            },
            n_bootstrap=prepared.study.scaling.n_bootstrap,
            confidence=prepared.study.scaling.confidence,
            seed=derive_seed(prepared.study.seed, "bootstrap"),
        )
    return {
        "best_possible": {part: _best(truth, part) for part in SCORED_PARTS},
        "regrets": regrets,
        "planted": planted,
    }


def _regrets(
    prepared: PreparedStudy, cell: str, lines: pl.DataFrame
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return every model's regret by part, from the regrets of its rows; of seeds the mean."""
    rows = (
        lines.group_by("model", "part", "row", "symbol", "date", "truth", maintain_order=True)
        .agg(pl.col("expected", "realised").mean())
        .sort("date", "symbol", "row", maintain_order=True)
    )
    models = lines["model"].unique(maintain_order=True).to_list()
    found: dict[str, dict[str, dict[str, Any]]] = {model: {} for model in models}
    for part in SCORED_PARTS:
        of_model = {m: rows.filter(part=part, model=m) for m in models}
        first = of_model[models[0]]
        resampling = resample_dependent(
            first["date"].to_numpy(),
            np.column_stack([one["expected"] for one in of_model.values()]),
            horizon_bars=prepared.cells[cell].cell.horizon_bars,
            n_samples=prepared.study.evidence.n_bootstrap,
            seed=derive_seed(prepared.study.seed, "regret", cell, part),
            confidence=prepared.study.scaling.confidence,
        )
        for model, one in of_model.items():
            found[model][part] = plain(
                summarise_regret(
                    first["truth"],
                    one["expected"].to_numpy(),
                    one["realised"].to_numpy(),
                    resampling,
                )
            )
    return found


def _best(truth: pl.DataFrame, part: str) -> float:
    return best_possible_loss(truth.filter(pl.col("part") == part)["probability"])

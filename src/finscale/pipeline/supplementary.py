"""Supplementary runs: chosen architectures and recipes, trained beside an experiment's search.

They join the experiment's records as what they are. Its search does not see them, its trials are
not more for them, and no winner or scaling law is made of them.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from finscale.errors import ModelError, StopRequestedError, StudyError
from finscale.evaluation.metrics import skill
from finscale.evaluation.outcomes import base_loss, to_probabilities
from finscale.experiments import Experiment
from finscale.files import hash_json
from finscale.models.architecture import Architecture
from finscale.models.cost import count_parameters, training_flops_per_sample
from finscale.pipeline.book import RecordBook
from finscale.pipeline.finals import BATCH_FIELDS
from finscale.pipeline.scoring import SCORED_PARTS, score_parts
from finscale.progress import RunStart
from finscale.records import CurvePoint, Record, Scores, SupplementaryRecord, supplementary_runs
from finscale.search.experiment_run import ExperimentRun, describe_job, model_fields
from finscale.search.objective import TRIAL_FAILURES
from finscale.search.space import central_recipe
from finscale.seeds import derive_seed
from finscale.splits import IntArray
from finscale.study import PartialRecipe, Study, Supplementary
from finscale.training.checkpoint import load_tensors, save_tensors
from finscale.training.loop import EpochRecord, build_model, job_hash, score
from finscale.training.recipe import Recipe, TrainingJob
from finscale.windows import Windows

_HASH_DIGITS = 8


def check_supplementary(study: Study, experiments: Iterable[Experiment]) -> None:
    """Check the study's list before anything is spent.

    Raises
    ------
    StudyError
        If an entry has no experiment, or no model can be built of its architecture.
    """
    names = [one.name for one in experiments]
    for number, entry in enumerate(study.supplementary):
        place = f"supplementary.{number}"
        if not fnmatch.filter(names, entry.experiment):
            raise StudyError(
                f"{place}.experiment: got {entry.experiment!r}, which matches no experiment; "
                f"there are {', '.join(names)}"
            )
        try:
            Architecture.parse(entry.architecture)
        except ModelError as error:
            raise StudyError(f"{place}.{error}") from error


def train_listed(run: ExperimentRun, book: RecordBook) -> list[SupplementaryRecord]:
    """Train those of the study's supplementary runs that are the experiment's and not done yet.

    An entry keeps the recipe that it was first trained with, also when a better trial than the
    one it was taken from turns up later.

    Raises
    ------
    StopRequestedError
        If the user asked to stop; the run in progress is checkpointed.
    """
    return [
        record
        for entry in run.study.supplementary
        if fnmatch.fnmatchcase(run.experiment.name, entry.experiment)
        for record in train_supplementary(
            run,
            Architecture.parse(entry.architecture),
            _earlier_recipe(run, entry, book.current) or complete_recipe(run, entry.recipe, book),
            entry.seeds,
            book,
            asked=entry.recipe.given(),
            score_test=entry.score_test,
        )
    ]


def complete_recipe(run: ExperimentRun, given: PartialRecipe, book: RecordBook) -> Recipe:
    """Fill a recipe up with that of the best trial, or of the middle of the search space."""
    best = book.best_trial(run.experiment.name)
    start = central_recipe(run.study.search.space).as_dict() if best is None else best.recipe
    return Recipe.from_dict({**start, **given.given()})


def train_supplementary(
    run: ExperimentRun,
    architecture: Architecture,
    recipe: Recipe,
    n_seeds: int,
    book: RecordBook,
    *,
    asked: Mapping[str, float | int] | None = None,
    score_test: bool = False,
) -> list[SupplementaryRecord]:
    """Train an architecture of one's own with several seeds, and record what came out.

    Seeds are the same for every architecture and recipe of an experiment, so that two of them see
    the windows in the same order. What is recorded already is not trained again.

    Parameters
    ----------
    architecture
        Any that can be built; it need not be in the budget's grid.
    asked
        What of the recipe was asked for by value; the whole of it by default.
    score_test
        Score the test part as well, which counts as a look at it; otherwise it is not read.

    Returns
    -------
    list of SupplementaryRecord
        One per seed, whether it is new or not. What diverged or does not fit in memory is recorded
        as failed.

    Raises
    ------
    StopRequestedError
        If the user asked to stop; the run in progress is checkpointed.
    """
    recipe_hash = hash_json(recipe.as_dict())[:_HASH_DIGITS]
    asked = recipe.as_dict() if asked is None else asked
    records = []
    windows: Windows | None = None
    for index in range(n_seeds):
        name = f"{architecture.label}_{recipe_hash}_seed_{index}"
        known = _known(run, name, book.current)
        if known is not None and (known.scores is not None or not _scorable(known, score_test)):
            records.append(known)
            continue
        if run.should_stop():
            raise StopRequestedError("stopped on request")
        if windows is None:
            windows = run.windows()
            _say_how_far_from_budget(run, architecture)
        seed = derive_seed(run.study.seed, run.experiment.name, "supplementary", index)
        job, problem = run.job_to_record(architecture, recipe, seed)
        record = _train_one(run, name, job, windows, asked, problem=problem)
        if book.add(record):
            run.progress.run_finished(record)
        if _scorable(record, score_test):
            record = _score_one(run, record, windows)
            if book.add(record):
                run.progress.run_finished(record)
        records.append(record)
    return records


def _say_how_far_from_budget(run: ExperimentRun, architecture: Architecture) -> None:
    budget, tolerance_frac = run.experiment.budget, run.study.ladder.tolerance_frac
    low, high = budget.bounds(tolerance_frac)
    n_parameters = count_parameters(architecture, run.experiment.shape)
    if low <= n_parameters <= high:
        return
    away = n_parameters / budget.n_parameters - 1.0
    run.progress.message(
        f"{run.experiment.name}: {architecture.label} has {n_parameters:,} parameters, "
        f"{abs(away):.0%} {'above' if away > 0 else 'below'} the budget; the search keeps within "
        f"{tolerance_frac:.0%} of it"
    )


def _earlier_recipe(
    run: ExperimentRun, entry: Supplementary, records: Iterable[Record]
) -> Recipe | None:
    for one in supplementary_runs(records):
        if (one.experiment, one.architecture, one.asked) == (
            run.experiment.name,
            entry.architecture,
            entry.recipe.given(),
        ):
            return Recipe.from_dict(one.recipe)
    return None


def _known(run: ExperimentRun, name: str, records: Iterable[Record]) -> SupplementaryRecord | None:
    return next(
        (
            one
            for one in supplementary_runs(records)
            if one.experiment == run.experiment.name and one.run == name
        ),
        None,
    )


def _scorable(record: SupplementaryRecord, score_test: bool) -> bool:
    return score_test and record.state == "complete"


def _train_one(
    run: ExperimentRun,
    name: str,
    job: TrainingJob,
    windows: Windows,
    asked: Mapping[str, float | int],
    *,
    problem: Exception | None,
) -> SupplementaryRecord:
    """Train a run unless its weights are there, and return its record."""
    weights = run.files.weights(_file(run, name))
    curve: list[EpochRecord] = []
    header = load_tensors(weights)[1] if weights.exists() else {}
    state = "complete"
    if header.get("job") != job_hash(job):
        checkpoint = run.files.checkpoint(_file(run, name))
        run.progress.run_started(
            RunStart(
                run.experiment.name, f"supplementary {name}", describe_job(job), job.recipe.epochs
            )
        )
        started = time.monotonic()
        run.start_measuring()
        try:
            if problem is not None:
                raise problem
            result = run.train(job, windows, on_epoch=_announce(run, curve), checkpoint=checkpoint)
        except TRIAL_FAILURES as error:
            state = "failed"
            header = {
                "duration_s": time.monotonic() - started,
                "reason": str(error).splitlines()[0],
                "micro_batch": job.batching.micro_batch,
                "batch_halvings": 0,
            }
        else:
            header = {
                "job": job_hash(job),
                "duration_s": result.duration_s,
                "reason": f"stopped by {result.stop_reason}",
                "micro_batch": result.micro_batch,
                "batch_halvings": result.batch_halvings,
            }
        header["activation_checkpointing"] = job.batching.activation_checkpointing
        header["curve"] = [asdict(one) for one in curve]
        header["machine"] = run.machine_use().model_dump(mode="json")
        if state == "complete":
            save_tensors(weights, result.weights, header)
        checkpoint.unlink(missing_ok=True)
    points = [CurvePoint(**one) for one in header["curve"]]
    best = min(points, key=lambda point: point.validation_loss, default=None)
    n_samples = len(run.data.split.train) * len(points)
    return SupplementaryRecord.model_validate(
        {
            **run.cell_fields(f"supplementary/{name}"),
            **model_fields(job),
            **{name: header[name] for name in BATCH_FIELDS},
            "machine": header["machine"],
            "run": name,
            "asked": dict(asked),
            "state": state,
            "reason": header["reason"],
            "validation_loss": best.validation_loss if best else None,
            "validation_skill": skill(best.validation_loss, _base_loss(run)) if best else None,
            "train_loss": best.train_loss if best else None,
            "best_epoch": best.epoch if best else None,
            "curve": points,
            "duration_s": header["duration_s"],
            "flops": float(n_samples * training_flops_per_sample(job.architecture, job.shape)),
        }
    )


def _score_one(
    run: ExperimentRun, record: SupplementaryRecord, windows: Windows
) -> SupplementaryRecord:
    """Score a trained run on validation and test, from its weights."""
    architecture = Architecture.parse(record.architecture)
    job = run.job(architecture, Recipe.from_dict(record.recipe), record.seed)
    model = build_model(job, run.device)
    model.load_state_dict(load_tensors(run.files.weights(_file(run, record.run)))[0])

    def predict(rows: IntArray) -> NDArray[np.float64]:
        logits = score(model, windows, torch.from_numpy(rows).to(run.device))
        return to_probabilities(logits.cpu().numpy())

    scores: Scores = score_parts(
        run.data, {part: predict(run.data.split.part(part)) for part in SCORED_PARTS}
    )
    own = run.cell_fields(f"supplementary/{record.run}/test")
    return record.model_copy(
        update={"uid": own["uid"], "created_at": own["created_at"], "scores": scores}
    )


def _base_loss(run: ExperimentRun) -> float:
    labels = run.data.labels_T[run.data.split.validation]
    return base_loss(run.data.base_rate, labels)


def _file(run: ExperimentRun, name: str) -> str:
    return f"{run.identity.fingerprint}_supplementary_{name}"


def _announce(run: ExperimentRun, curve: list[EpochRecord]) -> Callable[[EpochRecord], None]:
    def announce(record: EpochRecord) -> None:
        curve.append(record)
        run.progress.epoch_finished(CurvePoint(**asdict(record)))

    return announce

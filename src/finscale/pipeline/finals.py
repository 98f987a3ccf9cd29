"""The final stage of an experiment: the best recipe with several seeds, trained, then scored.

The test part is read here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.evaluation.outcomes import to_probabilities
from finscale.files import read_json, write_json_atomic
from finscale.models.architecture import Architecture
from finscale.models.cost import training_flops_per_sample
from finscale.pipeline.book import RecordBook
from finscale.pipeline.scoring import (
    SCORED_PARTS,
    Probabilities,
    part_frames,
    score_parts,
    write_frames,
)
from finscale.progress import RunStart
from finscale.records import (
    CurvePoint,
    EnsembleRecord,
    FinalRecord,
    Identity,
    TrialRecord,
)
from finscale.rundir import ExperimentFiles
from finscale.search.experiment_run import ExperimentRun, describe_job, model_fields
from finscale.seeds import derive_seed
from finscale.splits import IntArray
from finscale.study import Study
from finscale.training.checkpoint import load_tensors, save_tensors
from finscale.training.loop import EpochRecord, build_model, job_hash, score
from finscale.training.recipe import Recipe, TrainingJob

# What a training run finds out about its batch; planned anew, it may differ.
BATCH_FIELDS = ("micro_batch", "batch_halvings", "activation_checkpointing")


def final_seeds(study: Study, experiment: str) -> tuple[int, ...]:
    """Return the seeds of an experiment's final training runs."""
    return tuple(
        derive_seed(study.seed, experiment, "final", index) for index in range(study.final.n_seeds)
    )


def final_jobs(run: ExperimentRun, best: TrialRecord) -> dict[str, TrainingJob]:
    """Return the final training runs of a trial's recipe, by name."""
    architecture = Architecture(best.d_model, best.n_layers, best.n_heads, best.d_ff)
    recipe = Recipe.from_dict(best.recipe)
    return {
        f"{run.identity.fingerprint}_trial_{best.trial:04d}_seed_{index}": run.job(
            architecture, recipe, seed
        )
        for index, seed in enumerate(final_seeds(run.study, run.experiment.name))
    }


def train_finals(run: ExperimentRun, best: TrialRecord) -> None:
    """Train the final runs whose weights are not on the disk yet.

    Raises
    ------
    StopRequestedError
        If the user asked to stop; the run in progress is checkpointed.
    DivergedError
        If a loss is not finite.
    """
    windows = run.windows()
    for index, (name, job) in enumerate(final_jobs(run, best).items()):
        weights = run.files.weights(name)
        if weights.exists() and load_tensors(weights)[1]["job"] == job_hash(job):
            continue
        if run.should_stop():
            raise StopRequestedError("stopped on request")
        run.progress.run_started(
            RunStart(run.experiment.name, f"seed {index}", describe_job(job), job.recipe.epochs)
        )
        checkpoint = run.files.checkpoint(name)
        run.start_measuring()
        result = run.train(job, windows, on_epoch=_announce(run), checkpoint=checkpoint)
        header = {
            "job": job_hash(job),
            "best_epoch": result.best_epoch,
            "curve": [asdict(record) for record in result.curve],
            "duration_s": result.duration_s,
            "micro_batch": result.micro_batch,
            "batch_halvings": result.batch_halvings,
            "activation_checkpointing": job.batching.activation_checkpointing,
            "machine": run.machine_use().model_dump(mode="json"),
        }
        save_tensors(weights, result.weights, header)
        checkpoint.unlink(missing_ok=True)


def evaluate_finals(run: ExperimentRun, best: TrialRecord, book: RecordBook) -> None:
    """Score the final runs and the average of their probabilities, on validation and test."""
    jobs = final_jobs(run, best)
    average = run.cell_fields(f"average/trial_{best.trial:04d}_of_{len(jobs)}")
    if average["uid"] in book and held_predictions(run.files) == (run.identity, best.trial):
        return
    records = []
    by_seed: list[Probabilities] = []
    frames = []
    for index, (name, job) in enumerate(jobs.items()):
        record, probabilities = _score_final(run, best, name, job, index)
        records.append(record)
        by_seed.append(probabilities)
        frames += part_frames(run.data, run.experiment.budget.label, job.seed, probabilities)
    mean = {part: np.mean([one[part] for one in by_seed], axis=0) for part in SCORED_PARTS}
    frames += part_frames(run.data, run.experiment.budget.label, None, mean)
    # The card says whose the predictions are, so it is never there with others.
    run.files.model_card.unlink(missing_ok=True)
    write_frames(run.data, run.files.predictions, frames)
    write_json_atomic(run.files.model_card, _model_card(run, best, list(jobs)))
    for record in records:
        if book.add(record):
            run.progress.run_finished(record)
    book.add(
        EnsembleRecord(
            **average,
            members=tuple(record.uid for record in records),
            n_parameters=best.n_parameters,
            scores=score_parts(run.data, mean),
        )
    )


def held_predictions(files: ExperimentFiles) -> tuple[Identity, int] | None:
    """Return the identity and trial of the predictions on the disk; None if there are none."""
    if not (files.predictions.exists() and files.model_card.exists()):
        return None
    try:
        card = read_json(files.model_card)
        return Identity(**card["identity"]), card["trial"]
    except (RunDirectoryError, KeyError, TypeError, ValidationError):
        # Damaged, and made anew from the weights as if it were missing.
        return None


def _score_final(
    run: ExperimentRun, best: TrialRecord, name: str, job: TrainingJob, index: int
) -> tuple[FinalRecord, Probabilities]:
    weights = run.files.weights(name)
    if not weights.exists():
        raise RunDirectoryError(f"{weights}: not trained yet; run the train stage first")
    tensors, header = load_tensors(weights)
    if header["job"] != job_hash(job):
        raise RunDirectoryError(f"{weights}: weights of another run; run the train stage again")
    model = build_model(job, run.device)
    model.load_state_dict(tensors)
    windows = run.windows()

    def predict(rows: IntArray) -> NDArray[np.float64]:
        logits = score(model, windows, torch.from_numpy(rows).to(run.device))
        return to_probabilities(logits.cpu().numpy())

    probabilities = {part: predict(run.data.split.part(part)) for part in SCORED_PARTS}
    curve = tuple(CurvePoint(**point) for point in header["curve"])
    n_samples = len(run.data.split.train) * len(curve)
    record = FinalRecord(
        **run.cell_fields(f"final/trial_{best.trial:04d}_seed_{index}"),
        **model_fields(job) | {name: header[name] for name in BATCH_FIELDS},
        trial=best.trial,
        best_epoch=header["best_epoch"],
        curve=curve,
        duration_s=header["duration_s"],
        machine=header["machine"],
        flops=float(n_samples * training_flops_per_sample(job.architecture, job.shape)),
        scores=score_parts(run.data, probabilities),
    )
    return record, probabilities


def _model_card(run: ExperimentRun, best: TrialRecord, names: list[str]) -> dict[str, Any]:
    """Return what someone needs to use the weights on bars of their own."""
    return {
        "experiment": run.experiment.name,
        "architecture": run.experiment.shape.as_dict()
        | {"n_outputs": run.experiment.shape.n_outputs}
        | {name: getattr(best, name) for name in ("d_model", "n_layers", "n_heads", "d_ff")},
        "n_parameters": best.n_parameters,
        "output": "logit of the probability of label 1"
        if run.data.bins is None
        else "logits of the bins of the log return",
        "question": run.data.task.describe(run.experiment.horizon_bars),
        "features": list(run.data.feature_names),
        "scalers": _scalers(run),
        "base_rate": run.data.base_rate,
        **({} if run.data.bins is None else {"bins": run.data.bins.as_dict()}),
        "weights": [f"models/{name}.safetensors" for name in names],
        "trial": best.trial,
        "identity": run.identity.model_dump(),
    }


def _scalers(run: ExperimentRun) -> dict[str, Any]:
    """Return the scaling statistics by symbol; under ``*`` where all share them."""
    by_symbol = {symbol: one.as_dict() for symbol, one in run.data.scalers.items()}
    if run.study.windows.scaling == "pooled":
        return {"*": next(iter(by_symbol.values()))}
    return by_symbol


def _announce(run: ExperimentRun) -> Callable[[EpochRecord], None]:
    def announce(record: EpochRecord) -> None:
        run.progress.epoch_finished(CurvePoint(**asdict(record)))

    return announce

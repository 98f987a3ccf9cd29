"""The winner walked forward through the history before test: trained on the past, scored after it.

One test part is one stretch of the market. Here the winning recipe is trained again at the start of
every block of history on what lies before it, and scored on the block.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finscale.baselines.registry import FittedBaseline, offered
from finscale.blocks import cut_blocks
from finscale.dataset.cell import CellData
from finscale.dataset.market import Market
from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.evaluation.outcomes import constant_forecast, row_loss, to_probabilities
from finscale.evaluation.quantile_metrics import crps_from_quantiles
from finscale.evaluation.return_metrics import QUANTILE_LEVELS
from finscale.files import read_json, write_json_atomic
from finscale.models.architecture import Architecture
from finscale.progress import RunStart
from finscale.records import CurvePoint, TrialRecord
from finscale.rundir import ExperimentFiles
from finscale.search.experiment_run import ExperimentRun, describe_job
from finscale.seeds import derive_seed
from finscale.study import BaselineName
from finscale.training.loop import EpochRecord, build_model, score
from finscale.training.recipe import Recipe, TrainingJob

BASELINES: tuple[BaselineName, ...] = ("logistic_volatility", "logistic_all")
"""Fitted on the same past and scored on the same blocks."""

# Of the file: other ones have other fields, and their blocks are walked anew.
_VERSION = 2


def walk_forward(run: ExperimentRun, best: TrialRecord, market: Market) -> None:
    """Train and score the winner on every block that is not done yet.

    Block k is trained on everything before block k - 1, stopped early on block k - 1 and scored on
    block k; each is as long as the validation part, and the last one is that part. The baselines
    are fitted on everything before block k. The recipe was chosen on the last block, so it knows
    more of the market than anyone could have known in the blocks before: what is walked forward is
    the training, not the search.

    Losses are log-losses, and of the task ``return`` CRPS: every block has bins of the return of
    its own, and log-losses of different bins cannot be compared.

    Raises
    ------
    SplitError
        If history is too short for so many blocks.
    StopRequestedError
        If the user asked to stop; finished blocks are kept.
    """
    folds = cut_blocks(run.study, market, run.data.cell)
    n_blocks = run.study.evidence.walk_forward_blocks
    done = blocks_of(run.files, run.identity.fingerprint, best.trial, n_blocks)
    for number in range(len(done) + 1, len(folds)):
        if run.should_stop():
            raise StopRequestedError("stopped on request")
        done = [*done, _walk(run, best, folds[number - 1], folds[number], number)]
        write_json_atomic(
            run.files.walk_forward,
            {
                "fingerprint": run.identity.fingerprint,
                "trial": best.trial,
                "n_blocks": n_blocks,
                "version": _VERSION,
                "blocks": done,
            },
        )


def blocks_of(
    files: ExperimentFiles, fingerprint: str, trial: int, n_blocks: int
) -> list[dict[str, Any]]:
    """Return the blocks that are done, the oldest first.

    None if they are of another winner, or of history cut into another number of blocks: those end
    with validation too, and begin elsewhere.

    Returns
    -------
    list of dict
        ``first``, ``last`` (dates), ``n_rows``, ``n_trained``, ``loss``, ``base_loss`` and
        ``baselines`` (name to loss).
    """
    if not files.walk_forward.exists():
        return []
    try:
        held = read_json(files.walk_forward)
    except RunDirectoryError:
        return []
    wanted = {
        "fingerprint": fingerprint,
        "trial": trial,
        "n_blocks": n_blocks,
        "version": _VERSION,
    }
    is_ours = isinstance(held, dict) and wanted.items() <= held.items()
    return list(held["blocks"]) if is_ours else []


def _walk(
    run: ExperimentRun, best: TrialRecord, past: CellData, block: CellData, number: int
) -> dict[str, Any]:
    rows = block.split.validation
    forecast = _train_and_predict(run, best, past, rows, number)
    seed = derive_seed(run.study.seed, block.cell.name, "walk_forward", number)
    rivals = {
        name: FittedBaseline(name, block, seed).predict(rows)
        for name in offered(BASELINES, block.task)
        if name in run.study.baselines
    }
    return {
        "first": str(block.date[rows].min()),
        "last": str(block.date[rows].max()),
        "n_rows": len(rows),
        "n_trained": len(past.split.train),
        "loss": _mean_loss(block, rows, forecast, past),
        "base_loss": _mean_loss(block, rows, constant_forecast(block.base_rate, len(rows)), block),
        "baselines": {name: _mean_loss(block, rows, p, block) for name, p in rivals.items()},
    }


def _mean_loss(
    block: CellData, rows: NDArray[np.int64], forecast: NDArray[np.float64], fitted: CellData
) -> float:
    """Return the loss on rows of a block of what was fitted on the training rows of a fold."""
    if fitted.bins is None or block.returns_T is None:
        return float(row_loss(forecast, block.labels_T[rows]).mean())
    q_BQ = fitted.bins.quantiles(forecast, QUANTILE_LEVELS)
    return float(crps_from_quantiles(q_BQ, block.returns_T[rows], QUANTILE_LEVELS).mean())


def _train_and_predict(
    run: ExperimentRun, best: TrialRecord, past: CellData, rows: NDArray[np.int64], number: int
) -> NDArray[np.float64]:
    architecture = Architecture(best.d_model, best.n_layers, best.n_heads, best.d_ff)
    seed = derive_seed(run.study.seed, run.experiment.name, "walk_forward", number)
    job: TrainingJob = replace(
        run.job(architecture, Recipe.from_dict(best.recipe), seed), base_rate=past.base_rate
    )
    n_blocks = run.study.evidence.walk_forward_blocks
    label = f"block {number} of {n_blocks}"
    run.progress.run_started(
        RunStart(run.experiment.name, label, describe_job(job), job.recipe.epochs)
    )
    windows = past.windows(run.study.windows.context_length, run.device)
    checkpoint = run.files.checkpoint(
        f"{run.identity.fingerprint}_trial_{best.trial:04d}_block_{number}_of_{n_blocks}"
    )

    def announce(record: EpochRecord) -> None:
        run.progress.epoch_finished(CurvePoint(**asdict(record)))

    result = run.train(job, windows, on_epoch=announce, checkpoint=checkpoint, split=past.split)
    checkpoint.unlink(missing_ok=True)
    model = build_model(job, run.device)
    model.load_state_dict(result.weights)
    outputs = score(model, windows, torch.from_numpy(rows).to(run.device))
    return to_probabilities(outputs.cpu().numpy())

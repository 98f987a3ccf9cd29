"""A study small enough to be run in a test, and what several test modules do with it."""

from __future__ import annotations

import copy
import functools
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from finscale.files import Ledger
from finscale.pipeline.prepare import PreparedStudy, prepare
from finscale.pipeline.run import RunOutcome, run_study
from finscale.progress import Progress
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from finscale.search.experiment_run import ExperimentRun
from finscale.study import Study
from finscale.study_file import parse_study

NAMES = ("1.5K_h1_threshold_1pct", "2.5K_h1_threshold_1pct")
CELL = "h1_threshold_1pct"

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "horizons": [1],
    "split": {"by": "fraction", "train_frac": 0.15, "validation_frac": 0.1},
    "ladder": {
        "budgets": ["1.5K", "2.5K"],
        "grid": {"d_model": [4, 6, 8], "n_layers": [1], "n_heads": [1, 2], "ff_ratio": [2, 4]},
    },
    "training": {"effective_batch": 512, "patience": 2, "precision": "fp32"},
    "search": {
        "n_trials": 4,
        "n_startup_trials": 2,
        "prune_after_epochs": 1,
        "space": {
            "learning_rate": {"low": 1e-3, "high": 1e-2},
            "dropout": [0.1, 0.3],
            "warmup_steps": [1],
            "epochs": [1, 2],
        },
    },
    "baselines": ["base_rate", "logistic_volatility"],
    "scaling": {"n_bootstrap": 200},
    "machine": {"device": "cpu", "n_threads": 1},
}


def tiny_settings(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings with some replaced; keys are dotted paths."""
    settings = copy.deepcopy(SETTINGS)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = settings
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return settings


def tiny_study(changes: Mapping[str, Any] | None = None) -> Study:
    return parse_study(tiny_settings(changes))


def write_study(directory: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Write the study as a file; JSON is YAML."""
    path = directory / "tiny.yaml"
    path.write_text(json.dumps(tiny_settings(changes)), encoding="utf-8")
    return path


@functools.cache
def _prepared(settings: str) -> PreparedStudy:
    return prepare(parse_study(json.loads(settings)))


def tiny_prepared(changes: Mapping[str, Any] | None = None) -> PreparedStudy:
    """Return the prepared study; equal ones are prepared once."""
    return _prepared(json.dumps(tiny_settings(changes)))


def tiny_run(
    root: Path, changes: Mapping[str, Any] | None = None, **replaced: Any
) -> ExperimentRun:
    """Return the run of the study's last experiment, in a directory of its own."""
    prepared = tiny_prepared(changes)
    experiment = prepared.experiments[-1]
    fields = {
        "study": prepared.study,
        "experiment": experiment,
        "data": prepared.cells[experiment.cell_name],
        "identity": prepared.identities[experiment.name],
        "code_version": "0",
        "device": torch.device("cpu"),
        "files": RunDirectory(root).experiment(experiment.name),
        "progress": Progress(),
        "should_stop": lambda: False,
        # No process has this name: a trial left running counts as lost.
        "make_folds": lambda: prepared.cells.folds(experiment.cell_name),
        "worker": f"{socket.gethostname()}:1:0.00",
    }
    return ExperimentRun(**(fields | replaced))


def run_tiny(out: Path, changes: Mapping[str, Any] | None = None, **options: Any) -> RunOutcome:
    return run_study(tiny_study(changes), out, **options)


_FINISHED: list[RunDirectory] = []


def finished_run(factory: pytest.TempPathFactory) -> RunDirectory:
    """Return the session's one finished run of the tiny study, to be looked at and not changed."""
    if not _FINISHED:
        _FINISHED.append(run_tiny(factory.mktemp("finished") / "run").directory)
    return _FINISHED[0]


def raw_records(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.read().records


def outcome_of(record: TrialRecord | Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be equal when a search is interrupted and resumed.

    Left out are times, and the number in the storage: an interrupted trial has one of its own.
    """
    left_out = {"created_at", "duration_s", "trial", "retries", "machine"}
    raw = record.model_dump(mode="json") if isinstance(record, TrialRecord) else dict(record)
    return {k: v for k, v in raw.items() if k not in left_out}

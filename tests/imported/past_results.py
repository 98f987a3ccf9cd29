"""Past results in the reference layout, as dirty as they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finscale.models.architecture import InputShape

SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
# Of the built models: see finscale.models.cost and its tests.
COUNT_64x32x2x256 = 1_616_449
COUNT_256x192x8x1024 = 151_701_761

COLUMNS = (
    *("timestamp", "experiment", "phase", "budget", "task", "horizon", "timescale"),
    *("script_path", "run_type", "status", "duration_seconds", "val_loss", "test_accuracy"),
    *("hyperparameters", "error_message", "thermal_max_temp", "data_md5"),
    *("d_model", "n_layers", "n_heads", "d_ff", "param_count"),
)
ROW: dict[str, Any] = {
    "timestamp": "2026-01-20T18:13:43+00:00",
    "experiment": "phase6a_2M_h1_threshold_1pct",
    "phase": "phase6a",
    "budget": "2M",
    "task": "threshold_1pct",
    "horizon": 1,
    "timescale": "daily",
    "script_path": "experiments/hpo_2M_h1_threshold_1pct.py",
    "run_type": "hpo",
    "status": "success",
    "duration_seconds": 8123.5,
    "val_loss": 0.3791,
    "test_accuracy": "",
    "hyperparameters": json.dumps({"arch_idx": 3, "learning_rate": 0.0003, "dropout": 0.1}),
    "error_message": "",
    "thermal_max_temp": 71.5,
    "data_md5": "abc",
    "d_model": 64,
    "n_layers": 32,
    "n_heads": 2,
    "d_ff": 256,
    "param_count": COUNT_64x32x2x256,
}
NO_ARCHITECTURE = dict.fromkeys(("d_model", "n_layers", "n_heads", "d_ff", "param_count"), "")
TRIAL: dict[str, Any] = {
    "trial_number": 7,
    "value": 0.3791,
    "params": {"arch_idx": 3, "learning_rate": 0.0003, "dropout": 0.1},
    "duration_seconds": 300.5,
    "d_model": 64,
    "n_layers": 32,
    "n_heads": 2,
    "param_count": COUNT_64x32x2x256,
    "val_accuracy": 0.86,
}


def row(**changes: Any) -> dict[str, Any]:
    return ROW | changes


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(
    directory: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS
) -> Path:
    path = directory / "experiment_results.csv"
    path.write_text(csv_text(rows, columns), encoding="utf-8")
    return path


def write_trials(
    directory: Path, trials: Sequence[Mapping[str, Any]], name: str = "phase6a_2M_h1_threshold_1pct"
) -> Path:
    path = directory / f"{name}_all_trials.json"
    content = {"experiment": name, "budget": "2M", "n_trials": len(trials), "trials": trials}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path

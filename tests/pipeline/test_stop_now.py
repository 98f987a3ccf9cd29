"""A whole run that is left between two steps of an epoch, and goes on to the same results."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from finscale.errors import StopRequestedError
from finscale.machine.guard import StopSignal
from finscale.pipeline import results
from finscale.rundir import RunDirectory
from finscale.training.checkpoint import load_tensors
from tiny import outcome_of, raw_records, run_tiny

# Some twenty steps to an epoch.
CHANGES: dict[str, Any] = {
    "ladder.budgets": ["2.5K"],
    "training.effective_batch": 32,
    "search.n_trials": 2,
    "search.space.epochs": [2],
    "baselines": ["base_rate"],
}


@pytest.fixture(autouse=True)
def _short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "render_report", lambda _: "<html>")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    root = tmp_path_factory.mktemp("uninterrupted") / "run"
    stages = ("search", "train", "evaluate")
    return outcomes(run_tiny(root, CHANGES, stages=stages).directory)


def outcomes(directory: RunDirectory) -> list[dict[str, Any]]:
    # A final run is named after its trial's number in the storage, which an interruption shifts.
    renamed = {"uid", "members"}
    return [
        {key: value for key, value in outcome_of(record).items() if key not in renamed}
        for record in raw_records(directory.ledger)
    ]


def test_stopped_within_epochs_again_and_again_the_run_has_the_same_losses(
    tmp_path: Path, uninterrupted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path / "run")
    steps: list[int] = []
    for n_asked in (31, 47, 66, 83):
        asked = itertools.count()
        with monkeypatch.context() as patched:
            patched.setattr(
                StopSignal,
                "state",
                lambda _, asked=asked, last=n_asked: "stop" if next(asked) >= last else "go",
            )
            with pytest.raises(StopRequestedError):
                run_tiny(directory.root, CHANGES)
        [file] = directory.root.glob("experiments/*/checkpoints/*.safetensors")
        steps.append(load_tensors(file)[1]["progress"]["step"])
    # Each time it was left with a part of an epoch behind it.
    assert min(steps) > 0
    run_tiny(directory.root, CHANGES)
    assert outcomes(directory) == uninterrupted

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finscale.errors import RunDirectoryError
from finscale.files import read_json
from finscale.pipeline import results
from finscale.pipeline import work as pipeline_run
from finscale.pipeline.status import run_status
from finscale.rundir import RunDirectory
from tiny import NAMES, raw_records, run_tiny, tiny_study


@pytest.fixture(autouse=True)
def _short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as all the rest; what is drawn has tests of its own."""
    monkeypatch.setattr(results, "render_report", lambda _: "<html>")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the final training of the first experiment fail."""
    train_finals = pipeline_run.train_finals

    def fails(run: Any, best: Any) -> None:
        if run.experiment.name == NAMES[0]:
            raise RuntimeError("the disk\ncaught fire")
        train_finals(run, best)

    monkeypatch.setattr(pipeline_run, "train_finals", fails)


def test_the_others_go_on_when_one_experiment_fails(broken: None, tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path / "run")
    assert outcome.failures == {NAMES[0]: "the disk"}
    files = outcome.directory.experiment(NAMES[0])
    assert read_json(files.failure)["reason"] == "the disk"
    assert not outcome.directory.experiment(NAMES[1]).failure.exists()
    assert outcome.directory.report.exists()
    assert outcome.summary is not None
    assert outcome.summary["failures"] == {NAMES[0]: "the disk"}
    assert outcome.summary["n_complete"] == 1
    # The traceback is for the log.
    assert "RuntimeError: the disk" in outcome.directory.log.read_text(encoding="utf-8")
    states = run_status(tiny_study(), outcome.directory.root).experiments
    assert [(one.state, one.note) for one in states] == [("failed", "the disk"), ("done", "")]


def test_a_failed_experiment_is_taken_up_again(
    broken: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_tiny(tmp_path / "run")
    n_records = len(raw_records(outcome.directory.ledger))
    monkeypatch.undo()
    again = run_tiny(tmp_path / "run")
    assert again.failures == {}
    assert not again.directory.experiment(NAMES[0]).failure.exists()
    assert len(raw_records(again.directory.ledger)) == n_records + 4


def test_an_experiment_without_a_complete_trial_fails_with_a_reason(tmp_path: Path) -> None:
    changes = {
        "search.n_trials": 1,
        "search.space.learning_rate": {"low": 1e30, "high": 1e31},
        "ladder.budgets": ["2.5K"],
    }
    outcome = run_tiny(tmp_path / "run", changes, stages=("search", "train", "evaluate"))
    reason = outcome.failures[NAMES[1]]
    assert reason.startswith("none of 1 trials was completed; the last failed: train_loss is nan")
    assert reason.endswith("for the same ones would fail again")


def test_damaged_final_weights_name_the_file_and_the_fix(copied: RunDirectory) -> None:
    files = copied.experiment(NAMES[0])
    [weights] = files.root.glob("models/*_seed_0.safetensors")
    weights.write_bytes(b"x")
    files.predictions.unlink()
    outcome = run_tiny(copied.root)
    assert outcome.failures.keys() == {NAMES[0]}
    assert outcome.failures[NAMES[0]].startswith(f"{weights}: missing or damaged weights")
    # The report is written all the same, with what is there.
    assert outcome.summary is not None


def test_a_search_storage_that_is_none_stops_the_run(copied: RunDirectory) -> None:
    copied.storage.write_bytes(b"not a database" * 100)
    with pytest.raises(
        RunDirectoryError, match=r"search\.db: cannot be opened as a search storage"
    ):
        run_tiny(copied.root)

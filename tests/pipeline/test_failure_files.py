from __future__ import annotations

from pathlib import Path

import pytest

from finscale.files import write_json_atomic
from finscale.pipeline.failures import failure_reasons, read_failures
from finscale.rundir import ExperimentFiles, RunDirectory
from tiny import NAMES, tiny_prepared


def test_the_file_of_an_experiment_that_succeeds_meanwhile_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, experiments = RunDirectory(tmp_path), tiny_prepared().experiments
    failure = {"reason": "the disk", "at": "2024-01-01T00:00:00+00:00"}
    for name in NAMES:
        write_json_atomic(directory.experiment(name).failure, failure)
    found = ExperimentFiles.failure.fget

    def removed_when_looked_for(files: ExperimentFiles) -> Path:
        path: Path = found(files)
        if files.root.name == NAMES[0]:
            path.unlink(missing_ok=True)
        return path

    monkeypatch.setattr(ExperimentFiles, "failure", property(removed_when_looked_for))
    assert read_failures(directory, experiments) == {NAMES[1]: failure}
    assert failure_reasons(directory, experiments) == {NAMES[1]: "the disk"}

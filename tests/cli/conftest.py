from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import CommandLine

from finscale.rundir import RunDirectory
from tiny import finished_run


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose more on threads than they gain."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of the tiny study, to be looked at and not changed."""
    return finished_run(tmp_path_factory)


@pytest.fixture
def copied(finished: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A finished run of the tiny study to go on with."""
    shutil.copytree(finished.root, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def finscale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    """The command line, working in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)

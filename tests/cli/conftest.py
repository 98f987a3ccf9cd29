from __future__ import annotations

from pathlib import Path

import pytest
from command_line import CommandLine


@pytest.fixture
def finscale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    """The command line, working in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Begin, CommandLine, start
from pseudo_terminal import Terminal

from processes import killed_after


@pytest.fixture
def finscale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    """The command line, working in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts the command line, and ends it if the test does not; workers follow their leader."""
    with contextlib.ExitStack() as stack:

        def one(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
            return stack.enter_context(killed_after(start(*arguments, cwd=cwd)))

        yield one


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()

"""The command line, called as its entry point is, in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from finscale.cli.main import main

# What the fixture of this name does.
Begin = Callable[..., subprocess.Popen[str]]

COMMAND = (sys.executable, "-c", "from finscale.cli.main import main; main()")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


class CommandLine:
    """Calls the entry point in this process, as the ``finscale`` script does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path) -> Finished:
        self._monkeypatch.setattr(sys, "argv", ["finscale", *map(str, arguments)])
        self._capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        captured = self._capsys.readouterr()
        return Finished(code, captured.out, captured.err)


def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fault_of(finished: Finished) -> str:
    """Return the one message of a command that refused its input."""
    assert finished.code == 2, finished
    assert finished.out == ""
    assert "Traceback" not in finished.err
    assert finished.err.count("finscale: ") == 1
    assert finished.err.startswith("finscale: ")
    return finished.err.removeprefix("finscale: ").rstrip("\n")


def names_in(directory: Path) -> set[str]:
    return {file.relative_to(directory).as_posix() for file in directory.rglob("*")}


def trial_lines(ledger: Path) -> Sequence[str]:
    """Return the whole lines of the trials in a ledger that may not be there yet."""
    if not ledger.exists():
        return []
    lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and '"kind":"trial"' in line]

"""What starts workers, whatever it is: they are commands, and share nothing but a run directory."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from finscale.files import open_log

Command = Sequence[str]


class Launcher(Protocol):
    """Starts commands somewhere and says how they are."""

    def start(self, command: Command, log: Path) -> int:
        """Start a command; its output goes to ``log``. Return the worker's number, from 0."""

    def exit_codes(self) -> list[int | None]:
        """Return each worker's exit code, by number; None while it runs."""

    def close(self) -> None:
        """Let go of what starting workers took; those still running are ended."""


def run_command(command: Command, log: Path, directory: Path) -> int:
    """Run a command to its end, on whatever node this is called; return its exit code."""
    with open_log(log) as stream:
        return subprocess.run(  # noqa: S603 - our own command
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=directory,
            check=False,
        ).returncode

"""A terminal of one's own: a program is started in it, keys are pressed, and it may be lost."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

PATIENCE_S = 240


class Terminal:
    """The side of a pseudo-terminal that a person sits at."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        self.found = self.attributes()
        self.text = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program as a shell does: in the foreground, the terminal its own."""
        self.process = subprocess.Popen(
            [*map(str, command)],
            cwd=cwd,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"} | (environment or {}),
            start_new_session=True,
            preexec_fn=self._become_controlling,  # noqa: PLW1509 - no threads here
        )
        return self.process

    def _become_controlling(self) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def attributes(self) -> list[Any]:
        """Return how the terminal is set."""
        return termios.tcgetattr(self._slave)

    def is_raw(self) -> bool:
        """Return whether keys are passed on without Enter, and not shown."""
        return not self.attributes()[3] & (termios.ICANON | termios.ECHO)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def lose(self) -> None:
        """Break the connection."""
        os.close(self._slave)
        os.close(self._master)
        self._master = -1

    def read(self) -> str:
        """Take in what is on the screen so far, and return it all."""
        while self._master >= 0 and select.select([self._master], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self.text += os.read(self._master, 65536).decode(errors="replace")
        return self.text

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait for something, while what is shown is read."""
        until = time.monotonic() + PATIENCE_S
        while not done():
            over = self.process is not None and self.process.poll() is not None
            self.read()
            assert done() or not over, self.text
            assert time.monotonic() < until, self.text
            time.sleep(0.02)

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown."""
        self.wait_until(lambda: text in self.read())

    def wait_for_end(self) -> int:
        """Wait until the program is over, and return its exit code."""
        process = self.process
        assert process is not None
        self.wait_until(lambda: process.poll() is not None)
        self.read()
        return process.returncode

    def close(self) -> None:
        """End what is left: the program, and what it has started."""
        if self.process is not None and self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            self.lose()

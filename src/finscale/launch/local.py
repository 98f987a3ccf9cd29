"""Workers as processes of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from finscale.files import open_log
from finscale.launch.launcher import Command

_PATIENCE_S = 10.0


class LocalLauncher:
    """Starts workers here, each in a session of its own: Ctrl-C reaches only their leader."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Command, log: Path) -> int:
        """Start a process."""
        with open_log(log) as stream:
            process = subprocess.Popen(  # noqa: S603 - our own command
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return len(self._processes) - 1

    def exit_codes(self) -> list[int | None]:
        """Ask every process."""
        return [process.poll() for process in self._processes]

    def close(self) -> None:
        """Terminate what still runs, and kill what does not heed that."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

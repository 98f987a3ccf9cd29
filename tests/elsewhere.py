"""The command line as another machine would run it: under another host name, and in a hurry.

Workers of one machine are looked up in its process table; what is lost elsewhere is known by its
silence alone. ``python elsewhere.py HOST HEARTBEAT_S GRACE_S PATIENCE_S GATE ARGUMENTS…`` makes the
file GATE.HOST when everything is loaded, and begins when the file GATE is there.
"""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
import time
from pathlib import Path

# A machine that is only busy is not to be silent for as long as one that is lost.
HEARTBEAT_S, GRACE_S, PATIENCE_S = 1, 15, 60


def start_elsewhere(
    host: str, *arguments: str | Path, log: Path, gate: Path, patience_s: float = PATIENCE_S
) -> subprocess.Popen[bytes]:
    """Start the command line on a machine that is called ``host``."""
    times = map(str, (HEARTBEAT_S, GRACE_S, patience_s))
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, __file__, host, *times, str(gate), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )


def loaded(gate: Path, host: str) -> Path:
    """Return the file that a machine makes when it has loaded everything."""
    return gate.with_name(f"{gate.name}.{host}")


def _run() -> None:
    from finscale.cli.main import main
    from finscale.search import storage

    _, host, heartbeat_s, grace_s, patience_s, gate, *arguments = sys.argv
    socket.gethostname = lambda: host
    storage.TIMES = storage.Times(int(heartbeat_s), int(grace_s), float(patience_s))
    sys.argv = ["finscale", *arguments]
    importlib.import_module("finscale.cli.run")
    loaded(Path(gate), host).touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    main()


if __name__ == "__main__":
    _run()

"""The names of worker processes, and whether they are still there. Needs no Optuna."""

from __future__ import annotations

import socket

import psutil

# When a process began is reckoned from the clock, which may be set right meanwhile; its number is
# not given to another so soon.
_CLOCK_STEP_S = 10.0


def this_worker() -> str:
    """Name this process so that no other, before or after it, has the same name."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def is_gone(worker: str) -> bool:
    """Return whether a worker's process has ended; false where that cannot be known from here."""
    host, pid, created = worker.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        began: float = psutil.Process(int(pid)).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(began - float(created)) > _CLOCK_STEP_S

"""The names of worker processes, and whether they are still there. Needs no Optuna."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Where the kernel says when a process began by the clock alone, the clock may be set right
# meanwhile; a process's number is not given to another so soon.
_CLOCK_STEP_S = 10.0


def this_worker() -> str:
    """Name this process so that no other, before or after it, has the same name.

    The name is ``host:number:beginning``.
    """
    number = os.getpid()
    return f"{socket.gethostname()}:{number}:{_beginning(number)}"


def is_here(worker: str) -> bool:
    """Return whether a worker runs on this machine, or ran here."""
    return worker.rsplit(":", 2)[0] == socket.gethostname()


def is_gone(worker: str) -> bool:
    """Return whether a worker's process has ended; false where that cannot be known from here."""
    if not is_here(worker):
        return False
    _, number, beginning = worker.rsplit(":", 2)
    found = _beginning(int(number))
    if psutil.LINUX or found is None:
        return found != beginning
    return abs(float(found) - float(beginning)) > _CLOCK_STEP_S


def _beginning(number: int) -> str | None:
    """Return what tells a process from others of its number; None: there is none.

    On Linux the boot of the machine, and the clock ticks from there to the process's beginning,
    which no setting of the clock changes; elsewhere the time at which it began.
    """
    if not psutil.LINUX:
        try:
            return f"{psutil.Process(number).create_time():.2f}"
        except psutil.NoSuchProcess:
            return None
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # What follows the program's name, which is in brackets and may hold anything: fields 3 to …
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:  # ended, and its parent has not asked how
        return None
    boot = ""
    with contextlib.suppress(OSError):  # not in every container
        boot = _BOOT_ID.read_text(encoding="utf-8").partition("-")[0]
    return f"{boot}.{fields[22 - 3]}"

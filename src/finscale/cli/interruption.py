"""Ctrl-C while modules load, which takes seconds: nothing is begun, so there is nothing to keep."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from finscale.cli.terminal import LossyStream


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process on Ctrl-C inside the block, with a line and exit code 130.

    A KeyboardInterrupt would be lost where a module swallows what goes wrong while it loads
    another.
    """
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: object) -> None:
        LossyStream(sys.stderr).write("finscale: interrupted; nothing was begun\n")
        os._exit(130)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

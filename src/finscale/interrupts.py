"""Ctrl-C that waits for a block to end, where an exception could not be raised safely."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back inside the block; what would have answered it does so when the block ends.

    For code that takes locks written in Python, as those of :mod:`concurrent.futures` and
    :mod:`threading` are: a KeyboardInterrupt raised between taking such a lock and entering its
    ``with`` block leaves it taken for ever, or releases it twice.

    Python lets only the main thread catch signals; in others the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    previous = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if came:
            signal.raise_signal(signal.SIGINT)

"""Processes that a test starts: none of them outlives it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import AnyStr


@contextlib.contextmanager
def killed_after(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """End a process with the block, if it has not ended by itself, and let go of its pipes.

    Popen's own block would wait for it, also where a test has failed.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()

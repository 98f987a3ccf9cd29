"""Stop requests: Ctrl-C, SIGTERM and a stop file. Finish the epoch, keep everything, leave."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType


class StopSignal:
    """Whether the user has asked to stop.

    The first signal asks for a graceful stop; a second one interrupts at once (a training run in
    progress is then repeated from its last checkpoint).
    """

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file
        self._signalled = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self._signalled or self._stop_file.exists()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM inside the block; a stop file left from before is removed.

        Outside the main thread Python cannot catch signals, and the stop file alone is heeded.
        """
        self._stop_file.unlink(missing_ok=True)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

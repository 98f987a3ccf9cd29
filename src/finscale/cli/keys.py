"""The key q in the live view: read without Enter, and the terminal left as it was found."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

_POLL_S = 0.3


@contextlib.contextmanager
def reading_keys(
    on_q: Callable[[], None] | None, on_pause: Callable[[bool], Any] = lambda _: None
) -> Iterator[None]:
    """Call ``on_q`` at every q that is pressed inside the block, if there is a terminal.

    Parameters
    ----------
    on_q
        Called in a thread of its own.
    on_pause
        Called with True before Ctrl-Z stops the process, and with False when it goes on.
    """
    if on_q is None or not _is_terminal():
        yield
        return
    with _KeyReader(sys.stdin.fileno(), on_q) as reader, _catching_signals(reader, on_pause):
        yield


def _is_terminal() -> bool:
    # Under nohup, in a pipe, in a notebook: not one, and closed or absent without a shell.
    try:
        return os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):
        return False


class _KeyReader:
    """Reads keys in a thread, while the process has the terminal to itself.

    In the background it neither reads nor changes the terminal, for which it would be stopped; the
    terminal is the shell's then.
    """

    def __init__(self, file: int, on_q: Callable[[], None]) -> None:
        self._file, self._on_q = file, on_q
        self._done = threading.Event()
        # A signal's handler may need it while its own thread has it.
        self._lock = threading.RLock()
        self._found: list[Any] | None = None
        self._is_given_back = False
        self._thread = threading.Thread(target=self._read, name="keys", daemon=True)

    def __enter__(self) -> Self:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self.give_back()

    def give_back(self) -> None:
        """Make the terminal what it was, if it is ours to change, and leave it so."""
        with self._lock, contextlib.suppress(OSError, termios.error):
            self._is_given_back = True
            if self._found is not None and self._is_foreground():
                termios.tcsetattr(self._file, termios.TCSANOW, self._found)
            self._found = None

    def take_again(self) -> None:
        """Let the thread take the terminal once more."""
        self._is_given_back = False

    def _take(self) -> None:
        with self._lock, contextlib.suppress(OSError, termios.error):
            if self._found is None and not self._is_given_back and self._is_foreground():
                found = termios.tcgetattr(self._file)
                # Signals stay with their keys: Ctrl-C is Ctrl-C.
                tty.setcbreak(self._file, termios.TCSANOW)
                self._found = found

    def _is_foreground(self) -> bool:
        return os.tcgetpgrp(self._file) == os.getpgrp()

    def _read(self) -> None:
        # A terminal that is lost, and says so by an error or an end, has no keys any more; whether
        # the run goes on without it is for SIGHUP to say.
        with contextlib.suppress(OSError):
            while not self._done.is_set():
                if not self._is_foreground():
                    # The shell has taken the terminal, and made it what it was for itself.
                    self._found = None
                    self._done.wait(_POLL_S)
                    continue
                self._take()
                ready, _, _ = select.select([self._file], [], [], _POLL_S)
                if not ready or self._done.is_set() or not self._is_foreground():
                    continue
                keys = os.read(self._file, 64)
                if not keys:
                    return
                for key in keys.lower():
                    if key == ord("q"):
                        self._on_q()


@contextlib.contextmanager
def _catching_signals(reader: _KeyReader, on_pause: Callable[[bool], Any]) -> Iterator[None]:
    """Leave the terminal in order when the process is stopped by Ctrl-Z, or ended by a signal.

    What asks to end the process interrupts it as Ctrl-C does: its default would leave at once. Once
    a run is under way, it has handlers of its own, which finish the epoch.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pause(_number: int, _frame: FrameType | None) -> None:
        reader.give_back()
        on_pause(True)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # Here the process stops, and goes on when the shell lets it.
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, pause)
        reader.take_again()
        on_pause(False)

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    wanted = {signal.SIGTSTP: pause, signal.SIGTERM: end, signal.SIGHUP: end}
    previous = {
        number: signal.signal(number, handler)
        for number, handler in wanted.items()
        if signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

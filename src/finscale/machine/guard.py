"""Stop requests: signals, a key, a stop file. Asked once, finish the epoch; twice, the step."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

StopState = Literal["go", "finish_epoch", "stop"]

# What a stop file holds: whether the epoch is to be finished. A hand-written "now" will do.
STOP, STOP_NOW = "stop\n", "stop now\n"
_STATES: tuple[StopState, ...] = ("go", "finish_epoch", "stop")
_GRACEFUL, _AT_ONCE = 1, 2
_PATIENCE_S = 10.0
_ANSWERS = {
    _GRACEFUL: "stopping after this epoch; asked once more: after this optimiser step",
    _AT_ONCE: "stopping after this optimiser step; asked once more: at once",
}


class StopSignal:
    """What the user has asked for.

    The first request lets the epoch end, the second one the optimiser step; training then leaves a
    checkpoint. A third *signal* interrupts wherever the program is: what was done since the last
    checkpoint is repeated. SIGINT, SIGTERM and :meth:`request` count alike. A lost connection
    (SIGHUP) is a first request however often it is said, for a shell and the kernel may both say
    it. Once the run listens, a stop file stands for one request, or with the content ``stop now``
    for two; a file that is removed again is a request withdrawn.
    """

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file
        self._n_requests = 0
        self._heeds_file = False
        # Of all queues the one that a signal's handler may put into, whatever it interrupted.
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __call__(self) -> bool:
        """Return whether to stop, sooner or later."""
        return self.state() != "go"

    def state(self) -> StopState:
        """Return how soon to stop; cheap enough to be asked after every optimiser step."""
        return _STATES[max(self._n_requests, self._filed())]

    def request(self) -> None:
        """Ask to stop, or to stop sooner; from any thread, as a key that was pressed."""
        self._n_requests = min(self._n_requests + 1, _AT_ONCE)

    def _filed(self) -> int:
        if not self._heeds_file:  # one that is there before is left from an earlier run
            return 0
        try:
            content = self._stop_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return 0
        except OSError:  # there, and not to be read
            return _GRACEFUL
        at_once = content.strip() in {STOP_NOW.strip(), "now"}
        return _AT_ONCE if at_once else _GRACEFUL

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._n_requests == _AT_ONCE:
            raise KeyboardInterrupt
        self.request()
        self._answers.put(_ANSWERS[self._n_requests])

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        if self._n_requests == 0:
            self._n_requests = _GRACEFUL
            self._answers.put(_ANSWERS[_GRACEFUL])

    @contextlib.contextmanager
    def listening(
        self, *, keep_stop_file: bool = False, say: Callable[[str], object] = lambda _text: None
    ) -> Iterator[None]:
        """Catch signals inside the block; a stop file left from before is removed.

        SIGHUP stays ignored where it is, as under nohup. Outside the main thread Python cannot
        catch signals, and requests and the stop file alone are heeded.

        Parameters
        ----------
        keep_stop_file
            For one worker of several: the file may be meant for all of them.
        say
            Takes at once, in a thread of its own, the line that answers a signal. In the handler it
            might wait for ever for a lock that the interrupted code holds, as that of a live view.
        """
        if not keep_stop_file:
            self._stop_file.unlink(missing_ok=True)
        self._heeds_file = True
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self._on_signal, signal.SIGTERM: self._on_signal}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = self._on_hangup
        answering = threading.Thread(target=self._answer, args=(say,), name="answers", daemon=True)
        answering.start()
        previous = {number: signal.signal(number, one) for number, one in handlers.items()}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._answers.put(None)
            # A terminal that takes nothing must not keep the run from leaving.
            answering.join(timeout=_PATIENCE_S)

    def _answer(self, say: Callable[[str], object]) -> None:
        while (text := self._answers.get()) is not None:
            say(text)

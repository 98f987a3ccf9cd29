"""A terminal that may go away: an ssh connection that breaks must not end a week of training."""

from __future__ import annotations

import contextlib
import errno
import sys
import termios
from collections.abc import Iterator
from typing import TextIO

# A pipe that nobody reads any more; a terminal that is gone.
_LOST = {errno.EPIPE, errno.EIO, errno.ENXIO}


class LossyStream:
    """A stream for progress alone: what cannot be written any more is left unsaid."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """Return the stream's encoding."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Write at once, or not at all.

        In the handler of a signal that came while a line was being written it is a RuntimeError.
        """
        with contextlib.suppress(OSError, RuntimeError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the number of its file."""
        return self._stream.fileno()


@contextlib.contextmanager
def while_somebody_listens() -> Iterator[None]:
    """Print inside the block; that nobody can read it any more is no reason to fail otherwise."""
    try:
        yield
    except OSError as error:
        if not is_lost(error):
            raise


def is_lost(error: OSError) -> bool:
    """Return whether an error is that of a reader or a terminal that has gone away."""
    if error.errno == errno.EPIPE:
        return True
    return error.errno in _LOST and error.filename is None and _terminal_is_gone()


def _terminal_is_gone() -> bool:
    for stream in (sys.stdout, sys.stderr):
        try:
            termios.tcgetattr(stream.fileno())
        except termios.error as error:
            if error.args[0] in _LOST:
                return True
        except OSError:
            continue
    return False

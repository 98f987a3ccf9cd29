"""The entry point, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

from typer.exceptions import TyperException

from finscale.cli.interruption import leaving_at_once
from finscale.cli.terminal import LossyStream, is_lost
from finscale.errors import FinscaleError


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 2 bad input (one message that names the fix, no traceback), 3 some
    experiments failed, 4 stopped for heat, 130 stopped on request.
    """
    try:
        with leaving_at_once():
            from finscale.cli.app import app  # noqa: PLC0415 - it takes time

        sys.exit(app(prog_name="finscale", standalone_mode=False))
    except FinscaleError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _refuse_usage(error)
    except KeyboardInterrupt:
        _fail("interrupted; everything finished is kept", 130)
    except SystemExit as left:
        # Click leaves with 1 where the reader of a pipe went away, which is no failure.
        if isinstance(left.__context__, BrokenPipeError):
            sys.exit(0)
        raise
    except OSError as error:
        if is_lost(error):
            # The reader went away (| head), or the terminal did. Nothing is left to say it to.
            sys.exit(0)
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}; make room or check the path, and run again", 2)
    finally:
        _let_go_of_lost_streams()


def _fail(message: str, exit_code: int) -> None:
    LossyStream(sys.stderr).write(f"finscale: {message}\n")
    sys.exit(exit_code)


def _refuse_usage(error: Any) -> None:
    """Say in one line what is wrong with the command, and where its options stand."""
    message = error.format_message().strip().removesuffix(".")
    if not message:
        # A command of commands by itself has printed its help.
        sys.exit(2)
    context = getattr(error, "ctx", None)
    if context is not None:
        see = " See" if message.endswith("?") else "; see"
        message += f"{see} {context.command_path} --help"
    _fail(message, 2)


def _let_go_of_lost_streams() -> None:
    """Send what is left to say nowhere where nobody listens, so that Python can end quietly."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()

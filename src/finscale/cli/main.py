"""The entry point, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys

from finscale.errors import FinscaleError


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 2 bad input (one message that names the fix, no traceback), 3 some
    experiments failed, 4 stopped for heat, 130 stopped on request.
    """
    try:
        # Loading torch takes seconds, in which Ctrl-C is as likely as later.
        from finscale.cli.app import app  # noqa: PLC0415

        app()
    except FinscaleError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; everything finished is kept", 130)
    except BrokenPipeError:
        # The reader went away (| head). Nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}; make room or check the path, and run again", 2)


def _fail(message: str, exit_code: int) -> None:
    sys.stderr.write(f"finscale: {message}\n")
    sys.exit(exit_code)


if __name__ == "__main__":
    main()

"""The entry point, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from finscale import __version__
from finscale.cli import inspect, plan, run
from finscale.errors import FinscaleError

app = typer.Typer(
    name="finscale",
    help="Do neural scaling laws hold for transformers on financial time series?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
run.register(app)
plan.register(app)
inspect.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 2 bad input (one message that names the fix, no traceback), 3 some
    experiments failed, 130 stopped on request.
    """
    try:
        app()
    except FinscaleError as error:
        typer.echo(f"finscale: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("finscale: interrupted; everything finished is kept", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (| head). Nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

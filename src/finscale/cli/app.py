"""The application: every command."""

from __future__ import annotations

import typer

from finscale import __version__
from finscale.cli import data, features, imported, inspect, plan, run, scripts

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
data.register(app)
features.register(app)
scripts.register(app)
imported.register(app)


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

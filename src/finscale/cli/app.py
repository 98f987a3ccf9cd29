"""The application: every command, its module imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from finscale import __version__

# Most modules load torch, which takes seconds that listing data sets should not cost.
MODULE_OF = {
    **dict.fromkeys(
        ("run", "worker", "stop", "order", "search", "train", "evaluate", "fit", "report"), "run"
    ),
    **dict.fromkeys(("preview", "architectures", "doctor"), "plan"),
    "status": "inspect",
    "points": "points",
    "scripts": "scripts",
    "import-results": "imported",
    "fit-law": "fit_law",
    "fit-line": "fit_line",
    "data": "data",
    "features": "features",
}


class _LazyGroup(TyperGroup):
    """A group that has the names of its commands, and imports a command to use or describe it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name) for name in MODULE_OF}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if there is none of that name."""
        if cmd_name in self.commands:
            self.commands[cmd_name] = commands_of(MODULE_OF[cmd_name])[cmd_name]
        return super().get_command(ctx, cmd_name)


@cache
def commands_of(module: str) -> Mapping[str, Any]:
    """Return the commands that a module of this package registers, by name."""
    part = typer.Typer()
    importlib.import_module(f"finscale.cli.{module}").register(part)
    return get_group(part).commands


app = typer.Typer(
    name="finscale",
    cls=_LazyGroup,
    help="Do neural scaling laws hold for transformers on financial time series?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


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

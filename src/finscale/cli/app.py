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
from finscale.cli.interruption import leaving_at_once

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
# The first lines of their docstrings, so that the list of commands loads none of them.
HELP_OF = {
    "run": "Run a study from data to report, or go on where it was left.",
    "worker": "Work on a run that finscale run leads; may be started on other machines too.",
    "stop": "Ask a run and all its workers to stop: they finish their epoch, keep everything and "
    "leave.",
    "order": "Change the order of a run's experiments, also while it is running.",
    "search": "Continue the searches of a run.",
    "train": "Train the best recipes of a run with several seeds, or an architecture of one's own.",
    "evaluate": "Score the final models and the baselines of a run.",
    "fit": "Fit the scaling laws to a run's records.",
    "report": "Fit the scaling laws, and write summary and report anew.",
    "preview": "Show a study's experiments, grids, parameters, memory, FLOPs and time.",
    "architectures": "List every architecture within a budget.",
    "doctor": "Check environment, device, data and storage, and say what to do.",
    "status": "Show how far a run is: experiments, time left, workers, machine, errors, what is "
    "stale.",
    "points": "Gather the points of one or more runs as CSV, for finscale fit-law and fit-line.",
    "scripts": "Write a search script for every experiment, and a training script for every "
    "winner.",
    "import-results": "Read past results of the reference layout; they are kept, fitted and shown "
    "apart.",
    "fit-law": "Fit a scaling law to points, with standard errors and intervals.",
    "fit-line": "Fit a measure that may be negative as a straight line in the logarithm of a size.",
    "data": "Data sets: import, download, list, verify.",
    "features": "The features, by tier.",
}


class _LazyGroup(TyperGroup):
    """A group that knows what its commands are for, and imports the one that is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=text) for name, text in HELP_OF.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name of the command that is asked for, the command, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = commands_of(MODULE_OF[name])[name]
        return name, command, rest


@cache
def commands_of(module: str) -> Mapping[str, Any]:
    """Return the commands that a module of this package registers, by name."""
    part = typer.Typer()
    with leaving_at_once():
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

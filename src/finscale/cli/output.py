"""Printing: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, n_left: int = 1) -> None:
    """Print a table to standard output; see :func:`table_text`."""
    sys.stdout.write(table_text(header, rows, n_left=n_left))


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], *, n_left: int = 1) -> str:
    """Return a table as it is printed to standard output.

    Parameters
    ----------
    n_left
        Columns aligned to the left; the rest are numbers.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(header):
        text = index < n_left
        # Numbers stay whole in a narrow terminal; it is names that are folded.
        table.add_column(
            name, justify="left" if text else "right", no_wrap=not text, overflow="fold"
        )
    for row in rows:
        # A cell is text: "finscale[ray]" holds no markup.
        table.add_row(*map(escape, row))
    terminal = Console()
    # Piped into a file or a pager, a table is as wide as it needs to be.
    console = terminal if terminal.is_terminal else Console(width=240)
    with console.capture() as printed:
        console.print(table)
    return printed.get()

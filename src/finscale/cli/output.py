"""Printing: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, n_left: int = 1) -> None:
    """Print a table to standard output.

    Parameters
    ----------
    n_left
        Columns aligned to the left; the rest are numbers.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < n_left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    # Piped into a file or a pager, a table is as wide as it needs to be.
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)


def human_count(value: float) -> str:
    """Return a count with three digits and a unit: ``2.41M``."""
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def human_parameters(value: float) -> str:
    """Return a parameter count, billions as B."""
    return human_count(value).replace("G", "B")


def human_bytes(value: float) -> str:
    """Return bytes in binary units."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def human_duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours / 24:.1f}d"

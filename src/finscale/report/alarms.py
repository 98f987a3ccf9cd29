"""What stands on top of the report: why no conclusion may be drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def alarms(data: Mapping[str, Any]) -> list[str]:
    """Return what a reader has to know before anything else, a sentence each.

    Parameters
    ----------
    data
        As in data.json: leaks by cell, and whether the labels are shuffled.
    """
    cells_of: dict[str, list[str]] = {}
    for name, cell in data.get("cells", {}).items():
        text = cell.get("canary", {}).get("alarm", "")
        if text:
            cells_of.setdefault(text, []).append(name)
    sentences = [
        f"{text[:1].upper()}{text[1:]} ({', '.join(cells)})." for text, cells in cells_of.items()
    ]
    if data.get("null") == "shuffled_labels":
        sentences.append(
            "A null run: the labels are in random order, so there is nothing to find, and whatever "
            "is found is false."
        )
    return sentences


def leak_alarm(cell: Mapping[str, Any]) -> str:
    """Return why no conclusion may be drawn from a cell of data.json; empty where it may."""
    canary = cell.get("canary", {})
    return str(canary["alarm"]) if canary.get("leaks") else ""

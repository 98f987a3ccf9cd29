"""What a run is made from: written down at its start, and said if it is odd or has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finscale.dataset.canary import look_for_leaks
from finscale.files import (
    write_json_atomic,
    write_text_atomic,
)
from finscale.pipeline.basis import (
    explain,
    keep_basis,
    keep_data_inputs,
)
from finscale.pipeline.book import RecordBook
from finscale.pipeline.prepare import PreparedStudy
from finscale.progress import Progress
from finscale.report.alarms import alarms
from finscale.rundir import RunDirectory
from finscale.units import counted


def write_inputs(
    prepared: PreparedStudy, directory: RunDirectory, book: RecordBook, progress: Progress
) -> None:
    """Write what the run is made from, and say what of it has changed, is odd or is damaged."""
    write_text_atomic(directory.study, prepared.study.to_yaml())
    described = prepared.describe_data()
    cells = {
        name: one
        | {
            "canary": look_for_leaks(
                prepared.market, prepared.cells[name], prepared.study.seed
            ).as_dict()
        }
        for name, one in described["cells"].items()
    }
    data = described | {"cells": cells}
    write_json_atomic(directory.data, data)
    basis = prepared.basis(described)
    keep_basis(directory, basis)
    hashes = {name: cell["data_hash"] for name, cell in cells.items()}
    keep_data_inputs(directory, prepared.study, hashes)
    for text in _data_warnings(prepared):
        progress.message(text)
    for text in _clipped(cells):
        progress.message(text)
    for text in alarms(data):
        progress.message(f"WARNING: {text}")
    for name, (old, new) in book.stale().items():
        changes = ", ".join(one.text for one in explain(directory, old, new, basis))
        progress.message(
            f"{name}: earlier records were made with other {changes}; they are kept, and not used"
        )
    if book.damaged_lines:
        progress.message(book.describe_damage())


def _data_warnings(prepared: PreparedStudy) -> list[str]:
    """Return a line per kind of warning about the bars, whatever the number of symbols."""
    symbols: dict[str, list[str]] = {}
    messages: dict[str, str] = {}
    for one in prepared.market.symbols:
        for warning in one.loaded.warnings:
            symbols.setdefault(warning.kind, []).append(one.symbol)
            messages.setdefault(warning.kind, warning.message)
    found = []
    for kind, names in symbols.items():
        more = f" and {counted(len(names) - 1, 'more symbol')}" if names[1:] else ""
        found.append(f"{names[0]}{more}: {messages[kind]} (see the report)")
    return found


def _clipped(cells: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line on features that lie mostly beyond what training has seen, if there are any."""
    found: dict[str, float] = {}
    for cell in cells.values():
        for part in cell["parts"].values():
            for name, share in part["clipped"].items():
                found[name] = max(share, found.get(name, 0.0))
    if not found:
        return []
    worst = sorted(found, key=found.__getitem__, reverse=True)
    some = ", ".join(f"{name} ({found[name]:.0%})" for name in worst[:4])
    more = f" and {len(worst) - 4} more" if len(worst) > 4 else ""
    text = (
        f"features clipped on many rows of a part: {some}{more}; their nature has changed since "
        "training (data.json names them by part)"
    )
    return [text]

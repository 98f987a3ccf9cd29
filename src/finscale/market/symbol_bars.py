"""The bars of one symbol with all that is known about them, as every source returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or odd, in some rows of a table of bars.

    Attributes
    ----------
    kind
        A word for programs: ``"zero_volume"``, ``"missing_sessions"``, …
    severity
        An error makes the bars unusable; a warning is recorded with the data set and reported.
    message
        What it is, without place and fix: ``"high is below low"``.
    fix
        What to do about it.
    rows
        Row numbers, counted from 1; empty where the finding is about rows that are not there.
    dates
        Their sessions, or those that are missing, ISO.
    """

    kind: str
    severity: Literal["error", "warning"]
    message: str
    fix: str
    rows: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding, JSON-ready; no more than 20 rows and dates are spelled out."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "fix": self.fix,
            "n": max(len(self.rows), len(self.dates)),
            "rows": list(self.rows[:20]),
            "dates": list(self.dates[:20]),
        }


@dataclass(frozen=True)
class SymbolBars:
    """Valid bars of one symbol.

    Attributes
    ----------
    symbol
        As in the ``symbol`` column.
    bars
        The columns of :data:`finscale.market.bars.SCHEMA`, sorted by date, valid.
    warnings
        What was found odd, and kept.
    provenance
        Where they come from and what was done to them on the way, JSON-ready: source, layout,
        whether prices were adjusted, and by whom, repairs.
    """

    symbol: str
    bars: pl.DataFrame
    warnings: tuple[Finding, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

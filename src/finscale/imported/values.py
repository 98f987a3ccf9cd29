"""Cells of files written by others: empty in many ways, numbers as text, names that say more."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finscale.errors import DataError
from finscale.imported.record import Status

_EMPTY = {"", "none", "null", "n/a", "na", "-"}
_STATUSES: dict[Status, frozenset[str]] = {
    "complete": frozenset({"complete", "completed", "success", "done", "ok", "finished"}),
    "pruned": frozenset({"pruned"}),
    "failed": frozenset({"fail", "failed", "failure", "error", "crashed", "oom", "timeout"}),
}
_NAME = re.compile(
    r"(?:^|_)(?P<budget>\d+(?:\.\d+)?[KMB])_h(?P<horizon>\d+)_(?P<task>[A-Za-z]\S*)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Place:
    """A row of a file, and what is in it.

    Attributes
    ----------
    file
        As the user gave it.
    noun
        What its rows are: ``row`` or ``trial``.
    number_in_file
        From 1; a header does not count.
    remarks
        What is odd about the row as a whole.
    """

    file: str
    noun: str
    number_in_file: int
    cells: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    def text(self, *names: str) -> str | None:
        """Return the first of some cells that says something, as text."""
        for name in names:
            value = self.cells.get(name)
            if value is not None and str(value).strip().lower() not in _EMPTY:
                return str(value).strip()
        return None

    def number(self, *names: str) -> float | None:
        """Return a number; NaN and infinities come back as they are.

        Raises
        ------
        DataError
            If the cell says something else.
        """
        text = self.text(*names)
        if text is None:
            return None
        try:
            return float(text)
        except ValueError:
            raise self.fault(names[0], text, "write a number or leave it empty") from None

    def finite(self, *names: str) -> float | None:
        """Return a number, or None where it is missing, NaN or infinite."""
        value = self.number(*names)
        return value if value is not None and math.isfinite(value) else None

    def count(self, *names: str) -> int | None:
        """Return a positive whole number, also of the form 64.0 (pandas writes it so).

        Raises
        ------
        DataError
            If the cell says something else.
        """
        value = self.number(*names)
        if value is None or math.isnan(value):
            return None
        if not math.isfinite(value) or value != int(value) or value < 1:
            text = self.text(*names)
            raise self.fault(names[0], text, "write a whole number of 1 or more, or leave it empty")
        return int(value)

    def mapping(self, *names: str) -> dict[str, Any]:
        """Return a JSON object, given as one or as its text; an empty one where it is missing.

        Raises
        ------
        DataError
            If the cell says something else.
        """
        for name in names:
            value = self.cells.get(name)
            if isinstance(value, str) and value.strip().lower() not in _EMPTY:
                try:
                    value = json.loads(value)
                except ValueError:
                    raise self.fault(name, _short(value), "write it as JSON") from None
            if isinstance(value, Mapping):
                return {str(key): plain(inner) for key, inner in value.items()}
            if value is not None and not isinstance(value, str):
                raise self.fault(
                    name, _short(str(value)), "write a JSON object of names and values"
                )
        return {}

    def fault(self, name: str, value: object, fix: str) -> DataError:
        """Return the error about one of the row's cells."""
        return DataError(
            f"{self.file}: {self.noun} {self.number_in_file}: {name}: got {value!r}; {fix}"
        )


def plain(value: Any) -> Any:
    """Return a JSON value in which NaN and infinities are text: a ledger holds none."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def parse_status(text: str | None, *, has_loss: bool) -> Status:
    """Return what a status means; without one, a result that has a loss is complete."""
    if text is None:
        return "complete" if has_loss else "unknown"
    word = text.rpartition(".")[2].lower()
    return next((status for status, words in _STATUSES.items() if word in words), "unknown")


def parse_horizon(place: Place) -> int | None:
    """Return the horizon in bars, written as 3, 3.0, h3, 3d or 3 days.

    Raises
    ------
    DataError
        If there is no number in it.
    """
    text = place.text("horizon")
    if text is None:
        return None
    match = re.fullmatch(r"h?([1-9]\d*)(?:\.0)?\s*[a-z]*", text.lower())
    if match is None:
        raise place.fault("horizon", text, "write the bars ahead, such as 1")
    return int(match[1])


def parts_of_name(experiment: str) -> tuple[str | None, int | None, str | None]:
    """Return budget, horizon and task of a name such as ``phase6a_2M_h3_threshold_1pct``."""
    match = _NAME.search(experiment)
    if match is None:
        return None, None, None
    return match["budget"].upper(), int(match["horizon"]), match["task"]


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."

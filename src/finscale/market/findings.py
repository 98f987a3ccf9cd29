"""Findings: where they are in the file, and in words, one line each with place and fix."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from finscale.errors import DataError
from finscale.market.symbol_bars import Finding

# Row numbers as the user finds them in the file, carried along with the bars as a column.
ROW = "file_row"

_SHOWN = 5
_LISTED = 20
_LONGEST = 60


def rows_where(bars: pl.DataFrame, mask: pl.Series) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return row numbers and ISO dates ("" where there is none) of the rows where ``mask`` is true.

    ``bars`` has the columns :data:`ROW` and ``date``; null in ``mask`` counts as false.
    """
    found = bars.filter(mask)
    return tuple(found[ROW]), tuple("" if one is None else str(one) for one in found["date"])


def quoted(text: object) -> str:
    """Return a cell as a message shows it: quoted, on one line, no longer than a line."""
    shown = repr(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def bare(names: Iterable[str]) -> str:
    """Return names as a message lists them: on one line, the first 20, without control codes."""
    listed = [one if one.isprintable() else repr(one) for one in names]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(one[:_LONGEST] for one in listed[:_LISTED]) + more


def refuse_errors(findings: Iterable[Finding], *, source: str) -> None:
    """Refuse data with errors.

    Parameters
    ----------
    findings
        In the order in which they matter; warnings are passed over.
    source
        What to call the data: a path or the name of a data set.

    Raises
    ------
    DataError
        At the first error: source, first bad row with its date, fault, how many more, fix.
    """
    for one in findings:
        if one.severity == "error":
            place = f"{_place(one, 0)}: " if one.rows else ""
            n_more = len(one.rows) - 1
            more = f" (and {n_more} more row{'s' if n_more > 1 else ''})" if n_more > 0 else ""
            raise DataError(f"{source}: {place}{one.message}{more}; {one.fix}")


def describe_findings(findings: Iterable[Finding]) -> str:
    """Return findings as text, one line each, errors first; empty for none.

    ``error: row 3 (2018-01-04): high is below low; correct the bar``
    """
    ordered = sorted(findings, key=lambda one: one.severity != "error")
    return "\n".join(_line(one) for one in ordered)


def _line(one: Finding) -> str:
    return f"{one.severity}: {_places(one)}{one.message}; {one.fix}"


def _places(one: Finding) -> str:
    if one.rows:
        names = [_place(one, at) for at in range(min(len(one.rows), _SHOWN))]
        names[1:] = [name.removeprefix("row ") for name in names[1:]]
        word = "rows" if len(one.rows) > 1 else "row"
        names[0] = names[0].replace("row", word, 1)
    else:
        names = list(one.dates[:_SHOWN])
    n_more = max(len(one.rows), len(one.dates)) - len(names)
    text = ", ".join(names) + (f" and {n_more} more" if n_more else "")
    return f"{text}: " if text else ""


def _place(one: Finding, at: int) -> str:
    date = one.dates[at] if at < len(one.dates) else ""
    return f"row {one.rows[at]}" + (f" ({date})" if date else "")

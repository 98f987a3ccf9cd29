"""Numbers as people write them in tables: plain ones are read, others refused with the fix."""

from __future__ import annotations

import re

import polars as pl

from finscale.errors import DataError
from finscale.market.findings import ROW, quoted, rows_where
from finscale.market.symbol_bars import Finding

# What stands for "nothing" in the files of Yahoo and Stooq.
_NOTHING = ("", "null", "none", "n/a", "n/d", "-")


def read_numbers(
    frame: pl.DataFrame, names: tuple[str, ...], *, source: str
) -> tuple[pl.DataFrame, tuple[Finding, ...]]:
    """Make columns float64.

    Parameters
    ----------
    frame
        With the columns of ``names``, text or numeric, and date and :data:`ROW`.
    names
        The columns to read.
    source
        What to call the data in messages.

    Returns
    -------
    frame, findings
        Unreadable cells are null in the frame; each column's are one finding.

    Raises
    ------
    DataError
        If a column is of a type that holds no numbers.
    """
    findings = []
    for name in names:
        column = frame[name]
        if column.dtype == pl.String:
            text = column.str.strip_chars()
            text = text.set(text.str.to_lowercase().is_in(_NOTHING), None)
            number = text.cast(pl.Float64, strict=False)
            rows, dates = rows_where(frame, number.is_null() & text.is_not_null())
            if rows:
                value = frame.filter(pl.col(ROW) == rows[0])[name][0]
                message = f"{name} is {quoted(value)}"
                fix = _number_fix(value.strip())
                findings.append(Finding("not_a_number", "error", message, fix, rows, dates))
            frame = frame.with_columns(number.alias(name))
        elif column.dtype == pl.Null or column.dtype.is_numeric():
            frame = frame.with_columns(pl.col(name).cast(pl.Float64))
        else:
            raise DataError(f"{source}: column {name} holds {column.dtype}; give a number")
    return frame, tuple(findings)


def _number_fix(text: str) -> str:
    """Say how to write what was probably meant."""
    if re.fullmatch(r"[+-]?\d{1,3}[,' ]\d{3}", text):
        whole = re.sub(r"[,' ]", "", text)
        if "," not in text:
            return f"write it without separators ({whole})"
        return f"write it without the comma ({whole}), or with a decimal point"
    if re.fullmatch(r"[+-]?\d{1,3}([,' ]\d{3})+(\.\d*)?", text):
        return f"write it without separators ({re.sub(r'[^0-9.+-]', '', text)})"
    if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})*,\d+", text) or re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"write it with a decimal point ({text.replace('.', '').replace(',', '.')})"
    if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3}){2,}", text):
        return f"write it without separators ({text.replace('.', '')})"
    return "give a number"

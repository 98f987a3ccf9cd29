"""Frames of forecasts on disk: checked by their rules before they are written and when read."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from finscale.errors import RunDirectoryError
from finscale.files import write_bytes_atomic


def require_rules(frame: pl.DataFrame, rules: Mapping[str, pl.Expr]) -> None:
    """Refuse a frame that breaks a rule.

    Parameters
    ----------
    rules
        What is wrong, and the expression that is true on the lines that are.

    Raises
    ------
    ValueError
        Naming the first broken rule and its first row.
    """
    for rule, broken in rules.items():
        bad = frame.filter(broken)
        if bad.height > 0:
            raise ValueError(f"{rule} (row {bad['row'][0]}, {bad.height} lines in all)")


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame as Parquet, atomically."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    write_bytes_atomic(path, buffer.getvalue())


def read_frame(
    path: Path, validate: Callable[[pl.DataFrame], pl.DataFrame], *, what: str, kind: str
) -> pl.DataFrame:
    """Read a frame, and check it.

    Parameters
    ----------
    what, kind
        What is looked for, and what kind of file it is, as the errors say it.

    Raises
    ------
    RunDirectoryError
        If the file is missing, is not Parquet, or ``validate`` refuses it.
    """
    try:
        return validate(pl.read_parquet(path.read_bytes()))
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{path}: no {what} here; evaluate this run first") from error
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())
        raise RunDirectoryError(
            f"{path}: not a {kind} ({reason}); delete it and evaluate this run again"
        ) from error

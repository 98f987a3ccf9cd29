"""Points as a table of the user's: a CSV or Parquet file, a data frame, or arrays by name."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from finscale.errors import FitError
from finscale.scaling.expressions import FloatArray, parse_expression


@dataclass(frozen=True)
class PointTable:
    """Columns of equal length, not yet read as numbers.

    Attributes
    ----------
    source : str
        What it is called in messages: a file, or "points".
    cells : dict
        One sequence of values per column.
    row_name : str
        "line" of a CSV file, "row" of anything else.
    rows : sequence of int
        Number of each row in its source.
    option_prefix : str
        What stands before an option's name in messages: "--" on the command line.
    """

    source: str
    cells: Mapping[str, Sequence[Any]]
    row_name: str
    rows: Sequence[int]
    option_prefix: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.cells)

    def where(self, conditions: Mapping[str, Any]) -> PointTable:
        """Return the rows whose columns have these values, compared as text.

        Raises
        ------
        FitError
            If there is no such column, or no such row.
        """
        place = f"{self.source}: {self.option_prefix}where"
        unknown = [name for name in conditions if name not in self.cells]
        if unknown:
            raise FitError(
                f"{place} {unknown[0]}: no such column; there are {', '.join(self.columns)}"
            )
        kept = [
            index
            for index in range(len(self.rows))
            if all(str(self.cells[name][index]) == str(one) for name, one in conditions.items())
        ]
        if not kept:
            told = ", ".join(f"{name}={value}" for name, value in conditions.items())
            raise FitError(f"{place} {told}: no such row; give values that the columns have")
        cells = {name: [column[i] for i in kept] for name, column in self.cells.items()}
        return replace(self, cells=cells, rows=[self.rows[i] for i in kept])

    def numbers(self, text: str, option: str, *, may_be_negative: bool = False) -> FloatArray:
        """Return an expression of the columns, one number per row, by default a positive one.

        Parameters
        ----------
        text : str
            A column, or arithmetic on columns; see `finscale.scaling.expressions`.
        option : str
            What the text was given as, for messages: "d".
        may_be_negative : bool
            Whether 0 and negative numbers are let through.

        Raises
        ------
        FitError
            If the expression is bad, a cell it reads is no number, or a value not positive.
        """
        told = option.replace("_", "-") if self.option_prefix else option
        place = f"{self.source}: {self.option_prefix}{told}"
        expression = parse_expression(text, self.columns, place)
        values = {name: self._column(name) for name in expression.columns}
        value_P = expression.evaluate(values, len(self.rows))
        bad_P = ~(np.isfinite(value_P) & (may_be_negative | (value_P > 0.0)))
        if bad_P.any():
            index = int(np.argmax(bad_P))
            needed = "finite" if may_be_negative else "positive and finite"
            raise FitError(
                f"{self.place(index)}: {text} is {value_P[index]:g}, and must be {needed}; "
                f"correct that row or leave it out"
            )
        return value_P

    def _column(self, name: str) -> FloatArray:
        value_P = np.empty(len(self.rows))
        for index, cell in enumerate(self.cells[name]):
            try:
                if isinstance(cell, bool) or cell is None:
                    raise ValueError(cell)
                value_P[index] = float(cell)
            except (TypeError, ValueError):
                shown = "empty" if cell in {None, ""} else f"{cell!r}, not a number"
                raise FitError(
                    f"{self.place(index)}: {name} is {shown}; correct that row or leave it out"
                ) from None
        return value_P

    def place(self, index: int) -> str:
        """Return the source and the row of that index in it, as messages name them."""
        return f"{self.source}, {self.row_name} {self.rows[index]}"


def read_point_table(path: Path) -> PointTable:
    """Read a table of points from a .csv or .parquet file.

    Raises
    ------
    FitError
        If there is no such file, or it is no table with a header and rows.
    """
    if not path.is_file():
        raise FitError(f"{path}: no such file; give a CSV or Parquet file of points")
    if path.suffix.lower() in {".parquet", ".pq"}:
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FitError(f"{path}: not a Parquet file ({_first_line(error)})") from None
        return _checked(str(path), frame.to_dict(as_series=False), "row", frame.height)
    return _read_csv(path)


def table_of(points: Any, where: Mapping[str, Any] | None = None) -> PointTable:
    """Return a file, a polars or pandas frame, or arrays by name, as a table; all rows, or some.

    Raises
    ------
    FitError
        If it is none of these, or its columns differ in length.
    """
    if where:
        return table_of(points).where(where)
    if isinstance(points, PointTable):
        return points
    if isinstance(points, (str, Path)):
        return read_point_table(Path(points))
    names = list(points) if isinstance(points, Mapping) else list(getattr(points, "columns", ()))
    if not names:
        raise FitError(
            "points: no columns; give a file, a data frame, or a dictionary of equally long lists"
        )
    cells = {str(name): list(points[name]) for name in names}
    lengths = {name: len(values) for name, values in cells.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FitError(f"points: columns of different lengths ({told}); give one value per point")
    return _checked("points", cells, "row", next(iter(lengths.values())))


def read_values(
    table: PointTable | None,
    values: str | npt.ArrayLike,
    option: str,
    *,
    may_be_negative: bool = False,
) -> FloatArray:
    """Return numbers that were given as such, or as an expression of a table's columns.

    Raises
    ------
    FitError
        As `PointTable.numbers` does, or if an expression has no table.
    """
    if isinstance(values, str):
        if table is None:
            raise FitError(
                f"{option} {values}: a column needs points to be one of; give them first"
            )
        return table.numbers(values, option, may_be_negative=may_be_negative)
    cells = np.asarray(values, dtype=object)
    if cells.ndim != 1:
        raise FitError(f"points: {option} has shape {cells.shape}; give one value per point")
    own = _checked("points", {option: cells.tolist()}, "row", cells.size)
    return own.numbers(option, option, may_be_negative=may_be_negative)


def _read_csv(path: Path) -> PointTable:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            body = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError:
        raise FitError(f"{path}: not text in UTF-8; save it as CSV with that encoding") from None
    except csv.Error as error:
        raise FitError(f"{path}: not a CSV file ({error}); check its quotes") from None
    if not header:
        raise FitError(f"{path}: empty; give a header and one row per point")
    copies = [name for name, n in Counter(header).items() if n > 1]
    if copies:
        raise FitError(
            f"{path}, line 1: column {copies[0]!r} appears {header.count(copies[0])} times; "
            f"rename all but one"
        )
    for line, row in body:
        if len(row) != len(header):
            raise FitError(
                f"{path}, line {line}: {len(row)} cells under a header of {len(header)}; "
                f"separate cells by commas and quote those that hold one"
            )
    cells = {name: [row[i].strip() for _, row in body] for i, name in enumerate(header)}
    return _checked(str(path), cells, "line", [line for line, _ in body])


def _checked(
    source: str, cells: Mapping[str, Sequence[Any]], row_name: str, rows: int | Sequence[int]
) -> PointTable:
    numbers = range(1, rows + 1) if isinstance(rows, int) else rows
    if not len(numbers):
        raise FitError(f"{source}: no points; give one row per point")
    return PointTable(source, cells, row_name, numbers)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""Arithmetic on the columns of a table, written as text: ``flops / (6 * params)``.

Numbers, columns, + - * / **, a sign, parentheses, and log, exp and sqrt; nothing else is
understood, and nothing is executed. A column whose name is no identifier stands in backticks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finscale.errors import FitError

FloatArray = npt.NDArray[np.float64]

_BINARY: dict[type[ast.operator], Callable[..., FloatArray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_UNARY: dict[type[ast.unaryop], Callable[..., FloatArray]] = {
    ast.USub: np.negative,
    ast.UAdd: np.positive,
}
_FUNCTIONS: dict[str, Callable[..., FloatArray]] = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}

_ALLOWED = "numbers, columns, + - * / **, parentheses, log, exp and sqrt"
_MAX_CHARACTERS = 1000


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes
    ----------
    text : str
        As it was written.
    columns : tuple of str
        The columns it reads, in the order they appear.
    """

    text: str
    columns: tuple[str, ...]
    _tree: ast.expr
    _column_of: Mapping[str, str]

    def evaluate(self, values: Mapping[str, FloatArray], n_rows: int) -> FloatArray:
        """Return its value per row, shape (n_rows,); not finite where it has none."""
        with np.errstate(all="ignore"):
            value = self._value(self._tree, values)
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (n_rows,)).copy()

    def _value(self, node: ast.expr, values: Mapping[str, FloatArray]) -> FloatArray:
        match node:
            case ast.Constant(value=int() | float() as number):
                return np.asarray(float(number))
            case ast.Name(id=name):
                return values[self._column_of[name]]
            case ast.BinOp(left=left, op=op, right=right):
                operate = _BINARY[type(op)]
                return operate(self._value(left, values), self._value(right, values))
            case ast.UnaryOp(op=op, operand=operand):
                return _UNARY[type(op)](self._value(operand, values))
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return _FUNCTIONS[name](self._value(argument, values))
        raise AssertionError(f"{ast.dump(node)} was let through")


def parse_expression(text: str, known: tuple[str, ...], place: str) -> Expression:
    """Parse an expression of columns.

    Parameters
    ----------
    text : str
        The expression. The whole of it may also be the name of a column, whatever that looks like.
    known : tuple of str
        Columns there are.
    place : str
        Where the text comes from, for messages: ``--d``.

    Raises
    ------
    FitError
        If it is not arithmetic, or names a column that is not there.
    """
    where = f"{place} {text}"
    if text in known:
        return Expression(text, (text,), ast.Name(id="column"), {"column": text})
    if len(text) > _MAX_CHARACTERS:
        raise FitError(f"{place}: an expression of {len(text)} characters; write a shorter one")
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = f"_quoted_{len(quoted)}_"
        quoted[name] = match[1]
        return f" {name} "

    plain = re.sub(r"`([^`]*)`", stand_in, text).strip()
    try:
        tree = ast.parse(plain, mode="eval").body
        names = list(_columns(tree))
    except _NotArithmeticError as fault:
        raise FitError(f"{where}: {fault}; use {_ALLOWED}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FitError(f"{where}: not an expression; use {_ALLOWED}") from None
    column_of = {name: quoted.get(name, name) for name in names}
    for column in column_of.values():
        if column not in known:
            raise FitError(
                f"{where}: no column {column}; there are {', '.join(map(_quote, known))}"
            )
    return Expression(text, tuple(dict.fromkeys(column_of.values())), tree, column_of)


class _NotArithmeticError(Exception):
    """A part of an expression that is not understood."""


def _columns(node: ast.expr) -> Iterator[str]:
    """Walk an expression and yield its names; whatever is not arithmetic is refused."""
    match node:
        case ast.Constant(value=bool() as truth):
            raise _NotArithmeticError(f"{truth} is not a number")
        case ast.Constant(value=int() | float()):
            return
        case ast.Name(id=name):
            yield name
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            yield from _columns(left)
            yield from _columns(right)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            yield from _columns(operand)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            yield from _columns(argument)
        case _:
            raise _NotArithmeticError(f"{ast.unparse(node)} is not understood")


def _quote(column: str) -> str:
    return column if column.isidentifier() else f"`{column}`"

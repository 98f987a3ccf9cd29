"""Plain values as Python source, laid out as ruff's formatter would leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

WIDTH = 88
"""Columns of a generated line: the formatter's default."""

_INDENT = 4


def literal(value: Any, *, used: int, indent: int = 0) -> str:
    """Return a JSON value as a Python literal, on one line if it fits there.

    Parameters
    ----------
    used
        Columns that are taken on its first line, indentation and what follows it included.
    indent
        Columns that the statement it stands in is indented by.
    """
    flat = _flat(value)
    if used + len(flat) <= WIDTH or not isinstance(value, Mapping | list | tuple):
        return flat
    inner = indent + _INDENT
    lines: Iterable[str]
    if isinstance(value, Mapping):
        opening, closing = "{", "}"
        lines = (
            f"{key}: {literal(one, used=inner + len(key) + 3, indent=inner)}"
            for key, one in ((text(name), one) for name, one in value.items())
        )
    else:
        opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
        lines = (literal(one, used=inner + 1, indent=inner) for one in value)
    body = "".join(f"{' ' * inner}{line},\n" for line in lines)
    return f"{opening}\n{body}{' ' * indent}{closing}"


def text(value: str) -> str:
    """Return a string literal in double quotes, or in single ones where that saves escapes."""
    plain = repr(value)
    if plain.startswith('"') or '"' in value:
        return plain
    return f'"{plain[1:-1]}"'


def wrapped(words: str, *, prefix: str) -> str:
    """Return words in lines of comment or prose, each beginning with ``prefix``."""
    lines, line = [], prefix
    for word in words.split():
        if len(line) + 1 + len(word) > WIDTH and line != prefix:
            lines.append(line)
            line = prefix
        line += word if line in ("", "# ") else f" {word}"
    return "\n".join([*lines, line]) + "\n"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text(k)}: {_flat(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_flat, value)) + ("," if len(value) == 1 else "") + ")"
    return text(value) if isinstance(value, str) else repr(value)

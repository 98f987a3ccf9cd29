"""Which code made the values of features."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from finscale.files import hash_sources

_PACKAGE = Path(__file__).parents[1]

# What a table in the catalogue comes from: the families, and how bars come to them.
_SOURCES = ("features", "market/bars.py", "market/context.py", "market/timescale.py")

# Of the features' modules, those that describe, prove, list and distribute, and compute no value.
# A new module counts, until it is named here.
NO_VALUES = frozenset(
    {
        "features/adequacy.py",
        "features/causality.py",
        "features/code.py",
        "features/describe.py",
        "features/describe_measured.py",
        "features/modules.py",
        "features/panel.py",
        "features/proof.py",
    }
)


def feature_code_hash() -> str:
    """Hash the source that values of features come from: the families, and the bars they read."""
    # What a study selects has no part in a table of the catalogue.
    return hash_sources(_PACKAGE, source_files(_SOURCES, NO_VALUES | {"features/select.py"}))


def source_files(parts: Collection[str], but_not: Collection[str] = ()) -> tuple[str, ...]:
    """Return the Python files under some parts of the package, relative to it, sorted.

    Parameters
    ----------
    parts
        Files or folders.
    but_not
        Files to leave out.
    """
    found = [
        file.relative_to(_PACKAGE).as_posix()
        for part in parts
        for file in ([_PACKAGE / part] if part.endswith(".py") else (_PACKAGE / part).rglob("*.py"))
    ]
    return tuple(sorted(set(found) - set(but_not)))


def feature_libraries() -> dict[str, str]:
    """Return the versions of the libraries that values come from, for the record."""
    return {name: version(name) for name in ("numpy", "ta-lib")}

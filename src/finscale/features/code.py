"""Which code made a feature table."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from finscale.files import hash_sources

_SOURCES = ("features", "market/bars.py")


def feature_code_hash() -> str:
    """Hash the source that values of features come from: the families, and the bars they read."""
    return hash_sources(Path(__file__).parents[1], _SOURCES)


def feature_libraries() -> dict[str, str]:
    """Return the versions of the libraries that values come from, for the record."""
    return {name: version(name) for name in ("numpy", "ta-lib")}

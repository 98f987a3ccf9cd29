"""What a section of the report says of the data size that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finscale.study_rows import DataSize

_SHARES = {0.5: "half", 0.25: "quarter", 0.75: "three quarters", 0.1: "tenth"}


def data_size_words(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """Return what the models of a cell were trained on, as far as the cells differ in it.

    ``trained on the most recent half of the training history of the first 2 symbols``; empty where
    every cell has all data.

    Parameters
    ----------
    cell
        One of ``cells``.
    cells
        Of `finscale.report.summary.build_summary`.
    """
    size = DataSize(**cell["data_size"])
    sizes = [DataSize(**one["data_size"]) for one in cells]
    if all(not one.label for one in sizes):
        return ""
    words = "trained on " + _history(size.history_frac)
    if any(one.n_symbols is not None for one in sizes):
        words += " of " + _symbols(size.n_symbols)
    return words


def _history(frac: float) -> str:
    if frac == 1:
        return "the whole training history"
    return f"the most recent {_SHARES.get(frac, f'{100 * frac:g}%')} of the training history"


def _symbols(n_symbols: int | None) -> str:
    if n_symbols is None:
        return "all symbols"
    return "the first symbol" if n_symbols == 1 else f"the first {n_symbols} symbols"

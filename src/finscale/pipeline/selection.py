"""Which of a run's records are fitted and reported: the current ones, unless more is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from finscale.pipeline.basis import Basis, explain
from finscale.pipeline.book import RecordBook
from finscale.rundir import RunDirectory


@dataclass(frozen=True)
class Selection:
    """The records that are used, and what is to be said of them.

    Attributes
    ----------
    book
        Its current records are those that are used.
    stale
        Experiment or cell to what has changed since its records, which are left out.
    included_stale
        The same of those that are used all the same.
    """

    book: RecordBook
    stale: Mapping[str, tuple[str, ...]]
    included_stale: Mapping[str, tuple[str, ...]]


def select(
    directory: RunDirectory, book: RecordBook, basis: Basis, *, include_stale: bool
) -> Selection:
    """Choose the current records; if asked, where there are none, those of the newest identity.

    An experiment's records of two identities are never put together.

    Parameters
    ----------
    basis
        What of the current identities is not kept in the run directory.
    """
    stale = book.stale()
    changes = {
        name: tuple(one.text for one in explain(directory, old, new, basis))
        for name, (old, new) in stale.items()
    }
    if not include_stale or not stale:
        return Selection(book, changes, {})
    chosen = {**book.identities, **{name: old for name, (old, _) in stale.items()}}
    return Selection(RecordBook(directory, chosen), {}, changes)

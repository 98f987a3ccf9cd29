"""Which of a run's records are fitted and reported: the current ones, unless more is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from finscale.pipeline.basis import Basis, explain
from finscale.pipeline.book import RecordBook
from finscale.records import Identity
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

    An experiment's records of two identities are never put together, nor are experiments of one
    cell that were made with different data: they were scored on other rows.

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
    newest = {name: old for name, (old, _) in stale.items()}
    included = _comparable(book, newest) if include_stale else {}
    return Selection(
        book=RecordBook(directory, {**book.identities, **included}) if included else book,
        stale={name: texts for name, texts in changes.items() if name not in included},
        included_stale={name: texts for name, texts in changes.items() if name in included},
    )


def _comparable(book: RecordBook, newest: Mapping[str, Identity]) -> dict[str, Identity]:
    """Return those of the stale identities that have the data of their cell's other records.

    Where the cell has current records these decide, otherwise the newest record.
    """
    cells = {record.experiment: record.cell_name for record in book.all}
    stale = [one for one in book.all if one.identity == newest.get(one.experiment)]
    data = {one.cell_name: one.identity.data for one in (*stale, *book.current)}
    return {name: one for name, one in newest.items() if one.data == data[cells[name]]}

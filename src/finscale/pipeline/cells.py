"""The cells of a study, made when they are asked for and kept while there is room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from finscale.dataset.cell import CellData, prepare_cell, prepare_folds, study_cells
from finscale.dataset.market import Market
from finscale.study import Study

# A cell of one symbol takes a few megabytes, one of a panel of hundreds gigabytes.
_ROOM_BYTES = 2**30


class Cells(Mapping[str, CellData]):
    """Cell name to its rows, labels and split.

    The scaled features of a cell are a copy of the market's. Those that were used last are kept as
    long as they take no more than a gigabyte together; the others are made again when asked for.
    """

    def __init__(self, study: Study, market: Market, room_bytes: int = _ROOM_BYTES) -> None:
        self._study, self._market, self._room_bytes = study, market, room_bytes
        self._cells = {cell.name: cell for cell in study_cells(study)}
        self._kept: dict[str, CellData] = {}

    def __getitem__(self, name: str) -> CellData:
        """Return a cell; it becomes the one that was used last."""
        data = self._kept.pop(name, None) or prepare_cell(
            self._study, self._market, self._cells[name]
        )
        self._kept[name] = data
        while len(self._kept) > 1 and self._n_bytes() > self._room_bytes:
            del self._kept[next(iter(self._kept))]
        return data

    def folds(self, name: str) -> tuple[CellData, ...]:
        """Return a cell's walk-forward folds; they are made anew and not kept."""
        return prepare_folds(self._study, self._market, self._cells[name])

    def __iter__(self) -> Iterator[str]:
        """Go through the names in the order of the matrix."""
        return iter(self._cells)

    def __len__(self) -> int:
        """Count the cells."""
        return len(self._cells)

    def _n_bytes(self) -> int:
        return sum(data.scaled_TF.nbytes for data in self._kept.values())

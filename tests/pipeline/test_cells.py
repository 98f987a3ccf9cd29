from __future__ import annotations

import pytest

from finscale.dataset import cell as cell_module
from finscale.dataset.market import load_market
from finscale.pipeline import cells as cells_module
from finscale.pipeline.cells import Cells
from tiny import tiny_study

STUDY = tiny_study({"horizons": [1, 3, 5]})
NAMES = [f"h{horizon}_threshold_1pct" for horizon in (1, 3, 5)]


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(study, market, cell):
        made.append(cell.name)
        return cell_module.prepare_cell(study, market, cell)

    monkeypatch.setattr(cells_module, "prepare_cell", counted)
    market = load_market(STUDY)
    whole = Cells(STUDY, market)
    n_bytes = whole[NAMES[0]].scaled_TF.nbytes
    made.clear()
    cells = Cells(STUDY, market, room_bytes=2 * n_bytes)
    assert list(cells) == NAMES
    assert len(cells) == 3
    first = cells[NAMES[0]]
    assert cells[NAMES[1]].cell.name == NAMES[1]
    assert cells[NAMES[0]] is first
    assert made == NAMES[:2]
    # The third takes the place of the one that was used least recently.
    assert cells[NAMES[2]].cell.name == NAMES[2]
    assert cells[NAMES[0]] is first
    assert cells[NAMES[1]].data_hash == whole[NAMES[1]].data_hash
    assert made == [*NAMES, NAMES[1], NAMES[1]]


def test_one_cell_is_kept_however_large_it_is() -> None:
    cells = Cells(STUDY, load_market(STUDY), room_bytes=1)
    assert cells[NAMES[0]] is cells[NAMES[0]]

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finscale.baselines.registry import FittedBaseline
from finscale.baselines.series import MIN_OWN_ROWS, log_moves, symbol_series
from finscale.dataset.cell import CellData
from finscale.study import BaselineName
from tiny import CELL, tiny_prepared

PANEL = {"data": {"source": "bundled", "symbols": ["SP500", "NASDAQ"]}}


@pytest.fixture(scope="module")
def panel() -> CellData:
    return tiny_prepared(PANEL).cells[CELL]


def with_few_of_the_second(panel: CellData, n: int) -> CellData:
    """Return the panel with only the last so many training rows of its second symbol."""
    rows = panel.split.train
    of_second = rows >= panel.offsets[1]
    kept = np.concatenate([rows[~of_second], rows[of_second][len(rows[of_second]) - n :]])
    return replace(panel, split=replace(panel.split, train=kept))


def test_rows_are_those_of_the_symbols_own_bars(panel: CellData) -> None:
    first, second = symbol_series(panel)
    assert (first.offset, second.offset) == (0, 5031)
    assert np.array_equal(first.train, second.train)
    assert first.first_seen == first.train[0] - 59
    assert first.stop_seen == first.train[-1] + 1
    assert first.has_own
    assert len(first.train) > MIN_OWN_ROWS


def test_a_symbol_without_training_rows_has_seen_nothing(panel: CellData) -> None:
    _, second = symbol_series(with_few_of_the_second(panel, 0))
    assert (second.first_seen, second.stop_seen, second.has_own) == (0, 0, False)


def test_moves_are_from_the_close_before() -> None:
    close, high = np.array([100.0, 110.0, 99.0]), np.array([101.0, 121.0, 110.0])
    assert log_moves(high, close) == pytest.approx([0.0, np.log(1.21), 0.0])


@pytest.mark.parametrize("name", ["garch", "har_range"])
def test_a_long_symbol_is_not_touched_by_another(name: BaselineName, panel: CellData) -> None:
    alone = tiny_prepared().cells[CELL]
    rows = alone.split.validation
    assert np.array_equal(
        FittedBaseline(name, panel, 1).predict(rows), FittedBaseline(name, alone, 1).predict(rows)
    )


@pytest.mark.parametrize("n", [0, 30])
@pytest.mark.parametrize("name", ["garch", "har_range"])
def test_a_short_symbol_is_given_the_model_of_all(
    name: BaselineName, n: int, panel: CellData
) -> None:
    few = with_few_of_the_second(panel, n)
    rows = few.split.validation[few.split.validation >= panel.offsets[1]]
    p, of_its_own = (FittedBaseline(name, one, 1).predict(rows) for one in (few, panel))
    assert np.isfinite(p).all()
    assert np.corrcoef(p, of_its_own)[0, 1] > 0.9
    assert not np.array_equal(p, of_its_own)

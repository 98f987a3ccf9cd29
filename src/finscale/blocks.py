"""Blocks of the history before test, each as long as validation, to walk a winner forward on."""

from __future__ import annotations

from finscale.dataset.cell import Cell, CellData, prepare_folds
from finscale.dataset.market import Market
from finscale.errors import SplitError
from finscale.study import Study


def cut_blocks(study: Study, market: Market, cell: Cell) -> tuple[CellData, ...]:
    """Return a fold more than blocks to score: the first block is only trained on.

    Raises
    ------
    SplitError
        If history is too short for so many blocks.
    """
    n_blocks = study.evidence.walk_forward_blocks
    split = study.split.model_copy(update={"n_folds": n_blocks + 1})
    try:
        return prepare_folds(study.model_copy(update={"split": split}), market, cell)
    except SplitError as error:
        raise SplitError(
            f"evidence.walk_forward_blocks: got {n_blocks}, which takes {n_blocks + 1} folds: "
            f"{error}"
        ) from error


def n_walked(study: Study, market: Market, cell: Cell) -> int:
    """Return the training anchors of all blocks of a cell together; 0 if none are walked.

    Raises
    ------
    SplitError
        See `cut_blocks`.
    """
    if not study.evidence.walk_forward_blocks:
        return 0
    return sum(len(past.split.train) for past in cut_blocks(study, market, cell)[:-1])

"""Everything that can be checked before a run directory is made or anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finscale.blocks import n_walked
from finscale.dataset.cell import TrainSizes, check_schedule
from finscale.dataset.market import Market, load_market
from finscale.experiments import Experiment, code_hash, plan_experiments
from finscale.pipeline.basis import Basis, data_basis, plan_basis
from finscale.pipeline.cells import Cells
from finscale.pipeline.supplementary import check_supplementary
from finscale.records import Identity
from finscale.search.pruning import make_pruner
from finscale.study import Study


@dataclass(frozen=True)
class PreparedStudy:
    """A study with its data and matrix.

    Attributes
    ----------
    cells
        Cell name to its rows, labels and split.
    n_train
        Cell name to its training anchors.
    n_walked
        Cell name to those of the blocks that winners are walked forward on.
    identities
        Experiment name, and cell name for the baselines, to what a record has to carry to be
        comparable.
    """

    study: Study
    market: Market
    cells: Cells
    n_train: dict[str, TrainSizes]
    n_walked: dict[str, int]
    experiments: tuple[Experiment, ...]
    identities: dict[str, Identity]

    def describe_data(self) -> dict[str, Any]:
        """Return what data.json holds: the bars, and the parts of every cell."""
        cells = {name: cell.describe() for name, cell in self.cells.items()}
        return self.market.describe() | {"cells": cells}

    def basis(self, described: Mapping[str, Any]) -> Basis:
        """Return what the hashes of the identities stand for; takes what describe_data returns."""
        return {**plan_basis(self.study, self.experiments), **data_basis(self.study, described)}


def prepare(study: Study) -> PreparedStudy:
    """Plan the matrix and load the data.

    Raises
    ------
    FinscaleError
        If anything in the study cannot be done; nothing has been written then.
    """
    experiments = plan_experiments(study)
    check_supplementary(study, experiments)
    market = load_market(study)
    cells = Cells(study, market)
    # Made here once, so that what cannot be cut or pruned is refused before anything is spent.
    make_pruner(study.search, n_folds=study.split.n_folds)
    n_folds = study.split.n_folds
    found = {
        name: (data.data_hash, TrainSizes.of(data, cells.folds(name) if n_folds > 1 else ()))
        for name, data in cells.items()
    }
    walked = {name: n_walked(study, market, data.cell) for name, data in cells.items()}
    check_schedule(study, min(n_train.smallest for _, n_train in found.values()))
    settings, code = study.training_settings_hash(), code_hash()
    # A baseline has no grid: its identity is the same whatever the budgets.
    identities = {
        name: Identity(settings=settings, data=data_hash, grid="none", code=code)
        for name, (data_hash, _) in found.items()
    }
    identities |= {
        one.name: identities[one.cell_name].model_copy(update={"grid": one.grid_hash})
        for one in experiments
    }
    n_train = {name: n for name, (_, n) in found.items()}
    return PreparedStudy(study, market, cells, n_train, walked, experiments, identities)

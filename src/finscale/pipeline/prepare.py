"""Everything that can be checked before a run directory is made or anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from finscale.dataset.cell import CellData, check_schedule, prepare_cell, study_cells
from finscale.dataset.market import Market, load_market
from finscale.experiments import Experiment, code_hash, plan_experiments
from finscale.records import Identity
from finscale.study import Study


@dataclass(frozen=True)
class PreparedStudy:
    """A study with its data and matrix.

    Attributes
    ----------
    cells
        Cell name to its rows, labels and split.
    identities
        Experiment name, and cell name for the baselines, to what a record has to carry to be
        comparable.
    """

    study: Study
    market: Market
    cells: dict[str, CellData]
    experiments: tuple[Experiment, ...]
    identities: dict[str, Identity]


def prepare(study: Study) -> PreparedStudy:
    """Plan the matrix and load the data.

    Raises
    ------
    FinscaleError
        If anything in the study cannot be done; nothing has been written then.
    """
    experiments = plan_experiments(study)
    market = load_market(study)
    cells = {cell.name: prepare_cell(study, market, cell) for cell in study_cells(study)}
    check_schedule(study, min(len(data.split.train) for data in cells.values()))
    settings, code = study.training_settings_hash(), code_hash()
    # A baseline has no grid: its identity is the same whatever the budgets.
    identities = {
        name: Identity(settings=settings, data=data.data_hash, grid="none", code=code)
        for name, data in cells.items()
    }
    identities |= {
        one.name: identities[one.cell_name].model_copy(update={"grid": one.grid_hash})
        for one in experiments
    }
    return PreparedStudy(study, market, cells, experiments, identities)

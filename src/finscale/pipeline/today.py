"""What a record has to carry to be current, found out as cheaply as can be.

Settings, grids and code are hashed in a moment. The data hash takes features and labels, so it is
taken from what the run wrote down when it started, as long as that still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finscale.errors import FinscaleError
from finscale.experiments import Experiment, code_hash
from finscale.files import Ledger
from finscale.pipeline.basis import (
    Basis,
    data_basis,
    data_file_times,
    kept_content,
    kept_data_hashes,
    plan_basis,
)
from finscale.records import Identity, read_records
from finscale.rundir import RunDirectory
from finscale.study import Study


@dataclass(frozen=True)
class Today:
    """The identities of current records.

    Attributes
    ----------
    identities
        Experiment name, and cell name for the baselines, to identity.
    basis
        What their hashes stand for, as far as it is not kept in the run directory.
    n_train
        Cell name to its training anchors, where they are known.
    data_problem
        Why the data cannot be looked at; they are then taken to be unchanged.
    """

    identities: Mapping[str, Identity]
    basis: Basis
    n_train: Mapping[str, int]
    data_problem: str | None = None


def look_at_today(
    study: Study, directory: RunDirectory, experiments: Sequence[Experiment]
) -> Today:
    """Return the identities of current records; the data are read only if they may have changed.

    Where they cannot be read, each cell keeps the data hash that it was last known to have.
    """
    basis, problem = plan_basis(study, experiments), None
    hashes, holds = kept_data_hashes(directory, study)
    if not holds:
        # Loads torch, which takes seconds that most looks at a run need not.
        from finscale.pipeline.prepare import prepare  # noqa: PLC0415

        try:
            prepared = prepare(study)
            described = prepared.describe_data()
        except FinscaleError as error:
            problem = str(error)
            hashes = _recorded_hashes(directory.ledger) | hashes
        else:
            basis = {**basis, **data_basis(study, described)}
            hashes = {name: cell["data_hash"] for name, cell in described["cells"].items()}
    settings, code = study.training_settings_hash(), code_hash()
    identities, n_train = {}, {}
    for one in experiments:
        cell, data = one.cell_name, hashes.get(one.cell_name, "unknown")
        identities[cell] = Identity(settings=settings, data=data, grid="none", code=code)
        identities[one.name] = identities[cell].model_copy(update={"grid": one.grid_hash})
        content = basis.get(("data", data)) or kept_content(directory, "data", data)
        if content is not None:
            n_train[cell] = content["parts"]["train"]["n"]
    return Today(identities, basis, n_train, problem)


def seen_state(study: Study) -> tuple[str, tuple[tuple[str, int, int] | None, ...]]:
    """Return what :func:`look_at_today` depends on, to see whether it has to look again."""
    return study.to_yaml(), data_file_times(study)


def _recorded_hashes(ledger: Ledger) -> dict[str, str]:
    """Return the data hash of the newest record of each cell."""
    return {record.cell_name: record.identity.data for record in read_records(ledger)}

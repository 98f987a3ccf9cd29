"""Why experiments failed when they were last run, as their workers wrote it down."""

from __future__ import annotations

from collections.abc import Sequence

from finscale.errors import RunDirectoryError
from finscale.experiments import Experiment
from finscale.files import read_json
from finscale.rundir import RunDirectory


def read_failures(
    directory: RunDirectory, experiments: Sequence[Experiment]
) -> dict[str, dict[str, str]]:
    """Return ``reason`` and ``at`` of every experiment that failed when it was last run.

    A worker removes the file of one that succeeds after all, at any time.
    """
    found = {}
    for one in experiments:
        try:
            said = read_json(directory.experiment(one.name).failure)
            found[one.name] = {name: str(said[name]) for name in ("reason", "at")}
        except (RunDirectoryError, KeyError, TypeError):  # gone, or damaged
            continue
    return found


def failure_reasons(directory: RunDirectory, experiments: Sequence[Experiment]) -> dict[str, str]:
    """Return the reason of every experiment that failed when it was last run."""
    return {name: one["reason"] for name, one in read_failures(directory, experiments).items()}

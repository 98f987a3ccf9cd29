"""The study of a run directory."""

from __future__ import annotations

from pathlib import Path

from finscale.rundir import RunDirectory
from finscale.study import Study
from finscale.study_file import load_study


def load_run_study(run_dir: Path) -> Study:
    """Return the study of a run directory.

    Raises
    ------
    RunDirectoryError
        If it is not a run directory.
    """
    directory = RunDirectory(run_dir)
    directory.require_run()
    return load_study(directory.study)

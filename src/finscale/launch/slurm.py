"""Workers as SLURM jobs, through submitit; every node has to see the run directory.

A job that is preempted or runs into its time limit gets SIGTERM: the worker finishes its epoch,
leaves a checkpoint, and ends. Its leader starts another in its place.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finscale.errors import LaunchError
from finscale.launch.launcher import Command, run_command

_FAILED = 1


class SlurmLauncher:
    """Starts workers as jobs.

    Parameters
    ----------
    folder
        Where submitit keeps a job's script and output.
    cluster
        ``"slurm"``; ``"local"`` runs the jobs here, to try the rest out.
    parameters
        Further options of submitit's executor: ``timeout_min``, ``slurm_partition``,
        ``gpus_per_node``, ``cpus_per_task``, …

    Raises
    ------
    LaunchError
        If submitit is not installed, SLURM is not there, or an option is unknown.
    """

    def __init__(
        self, folder: Path, *, cluster: str = "slurm", parameters: Mapping[str, Any] | None = None
    ) -> None:
        try:
            self._submitit = importlib.import_module("submitit")
        except ImportError as error:
            raise LaunchError(
                "submitit is not installed; pip install 'finscale[slurm]', or leave out "
                "--launcher slurm"
            ) from error
        try:
            self._executor = self._submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(**(parameters or {}))
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise LaunchError(f"slurm: {str(error).splitlines()[0]}") from error
        self._jobs: list[Any] = []

    def start(self, command: Command, log: Path) -> int:
        """Submit a job that runs the command."""
        job = self._executor.submit(run_command, list(command), log.resolve(), Path.cwd())
        self._jobs.append(job)
        return len(self._jobs) - 1

    def exit_codes(self) -> list[int | None]:
        """Ask SLURM which jobs are over, and how they ended."""
        return [self._exit_code(job) for job in self._jobs]

    def close(self) -> None:
        """Cancel what is still queued or running."""
        for job, code in zip(self._jobs, self.exit_codes(), strict=True):
            if code is None:
                job.cancel()

    def _exit_code(self, job: Any) -> int | None:
        if not job.done():
            return None
        # What is raised here is of the job (lost node, time limit), not of the command.
        return _FAILED if job.exception() is not None else int(job.result())

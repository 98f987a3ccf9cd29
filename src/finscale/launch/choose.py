"""From what the user says of a launcher to the launcher: options are checked before it is made."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic import ValidationError as PydanticError

from finscale.errors import LaunchError
from finscale.launch.launcher import Launcher
from finscale.launch.local import LocalLauncher
from finscale.launch.ray import RayLauncher
from finscale.launch.slurm import SlurmLauncher


class LauncherChoice(BaseModel, ABC):
    """A launcher and its options; :meth:`make` makes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def make(self, jobs: Path) -> Launcher:
        """Return the launcher; ``jobs`` is a directory for what it has to keep of its jobs.

        Raises
        ------
        LaunchError
            If it is not installed, or cannot be reached.
        """

    @property
    def n_threads(self) -> int | None:
        """CPU threads of a worker; None: a share of this machine's cores."""
        return None

    @property
    def has_own_device(self) -> bool:
        """Whether each worker has a GPU for itself, and may plan with all of its memory."""
        return False

    @property
    def uses_nodes(self) -> bool:
        """Whether workers are jobs on nodes of a cluster: on any, and for a limited time."""
        return False


class LocalChoice(LauncherChoice):
    """Processes of this machine."""

    def make(self, _jobs: Path) -> Launcher:
        """Return the launcher."""
        return LocalLauncher()


class RayChoice(LauncherChoice):
    """Tasks of a Ray cluster; see :class:`RayLauncher`."""

    address: str | None = None
    n_cpus: PositiveFloat = 1
    n_gpus: NonNegativeFloat = 0

    def make(self, _jobs: Path) -> Launcher:
        """Join the cluster, or start one here."""
        return RayLauncher(self.address, n_cpus=self.n_cpus, n_gpus=self.n_gpus)

    @property
    def n_threads(self) -> int | None:
        """As many as Ray sets aside."""
        return max(1, int(self.n_cpus))

    @property
    def has_own_device(self) -> bool:
        """Ray shows a task only the GPUs that it was given."""
        return self.n_gpus >= 1


class SlurmChoice(LauncherChoice):
    """SLURM jobs; the names are those of submitit, see :class:`SlurmLauncher`."""

    cluster: Literal["slurm", "local"] = "slurm"
    timeout_min: PositiveInt = 24 * 60
    cpus_per_task: PositiveInt = 1
    gpus_per_node: PositiveInt | None = None
    mem_gb: PositiveFloat | None = None
    slurm_partition: str | None = None
    slurm_account: str | None = None
    slurm_qos: str | None = None
    slurm_constraint: str | None = None

    def make(self, jobs: Path) -> Launcher:
        """Find SLURM."""
        parameters = self.model_dump(exclude={"cluster"}, exclude_none=True)
        return SlurmLauncher(jobs, cluster=self.cluster, parameters=parameters)

    @property
    def n_threads(self) -> int | None:
        """As many as the job is given."""
        return self.cpus_per_task

    @property
    def has_own_device(self) -> bool:
        """A job sees only the GPUs that it was given."""
        return self.gpus_per_node is not None

    @property
    def uses_nodes(self) -> bool:
        """Unless SLURM is only played here."""
        return self.cluster == "slurm"


LAUNCHERS: dict[str, type[LauncherChoice]] = {
    "local": LocalChoice,
    "ray": RayChoice,
    "slurm": SlurmChoice,
}
_POSTGRES = "name a server with --set storage=postgresql+psycopg://USER@HOST/NAME"


def choose_launcher(name: str, options: Sequence[str]) -> LauncherChoice:
    """Return the choice that ``--launcher`` and ``--launcher-option`` describe.

    Parameters
    ----------
    options
        Each ``key=value``.

    Raises
    ------
    LaunchError
        If there is no such launcher, or an option is not one of its own or has a wrong value.
    """
    if name not in LAUNCHERS:
        raise LaunchError(f"--launcher {name}: unknown; choose {', '.join(LAUNCHERS)}")
    values: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise LaunchError(
                f"--launcher-option {option}: is not KEY=VALUE; {_options_text(name)}"
            )
        if key in values:
            raise LaunchError(f"--launcher-option {option}: {key} is given twice; leave one out")
        values[key] = value
    try:
        return LAUNCHERS[name].model_validate(values)
    except PydanticError as error:
        fault = error.errors()[0]
        key = str(fault["loc"][0])
        given = f"--launcher-option {key}={values[key]}"
        if fault["type"] == "extra_forbidden":
            raise LaunchError(f"{given}: no such option; {_options_text(name)}") from error
        raise LaunchError(f"{given}: {fault['msg'].lower()}") from error


def _options_text(name: str) -> str:
    fields = ", ".join(LAUNCHERS[name].model_fields)
    return f"{name} takes {fields}" if fields else f"{name} takes none"


def require_shared_storage(
    choice: LauncherChoice, launcher: Launcher, storage: str | None, n_workers: int
) -> str:
    """Return a doubt whether all workers reach the storage, to be said in a line; else nothing.

    Parameters
    ----------
    storage
        The URL of the study's storage; None: a SQLite file in the run directory, which is safe
        only between processes of one machine (its write-ahead log lives in shared memory).

    Raises
    ------
    LaunchError
        If workers are sure not to reach it: they may be put on machines other than this one.
    """
    if storage is not None and not storage.startswith("sqlite"):
        return ""
    if isinstance(launcher, RayLauncher):
        elsewhere = sorted(launcher.hosts() - {socket.gethostname()})
        if elsewhere:
            raise LaunchError(
                f"--launcher ray: the cluster has other machines ({', '.join(elsewhere)}), and the "
                f"storage is a SQLite file, which only one can use; {_POSTGRES}"
            )
    if choice.uses_nodes and n_workers > 1:
        return f"workers on different nodes cannot share a SQLite storage; {_POSTGRES}"
    return ""

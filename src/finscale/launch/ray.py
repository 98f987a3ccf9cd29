"""Workers as tasks of a Ray cluster; every node has to see the run directory and the storage.

The trials stay in Optuna's storage: Ray only finds a place for each worker and keeps it alive.
(Ray Tune's own Optuna search would be a second source of truth, and does not prune.)
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from finscale.errors import LaunchError
from finscale.launch.launcher import Command, run_command

_FAILED = 1


class RayLauncher:
    """Starts workers on a Ray cluster.

    Parameters
    ----------
    address
        Of the cluster; None: the one that the environment names, or a new one on this machine.
    n_cpus, n_gpus
        What each worker takes of a node.

    Raises
    ------
    LaunchError
        If Ray is not installed or the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, *, n_cpus: float = 1, n_gpus: float = 0) -> None:
        try:
            self._ray = importlib.import_module("ray")
        except ImportError as error:
            raise LaunchError(
                "ray is not installed; pip install 'finscale[ray]', or leave out --launcher ray"
            ) from error
        self._started = not self._ray.is_initialized()
        if self._started:
            try:
                self._ray.init(address=address, include_dashboard=False, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise LaunchError(f"ray: no cluster at {address}: {reason}") from error
        # A worker that dies is replaced by its leader, who counts; Ray must not start it again.
        self._task = self._ray.remote(num_cpus=n_cpus, num_gpus=n_gpus, max_retries=0)(run_command)
        self._futures: list[Any] = []

    def start(self, command: Command, log: Path) -> int:
        """Submit a task that runs the command."""
        self._futures.append(self._task.remote(list(command), log.resolve(), Path.cwd()))
        return len(self._futures) - 1

    def exit_codes(self) -> list[int | None]:
        """Ask Ray which tasks are over, and how they ended."""
        return [self._exit_code(future) for future in self._futures]

    def hosts(self) -> set[str]:
        """Return the names of the machines that workers may be put on."""
        return {node["NodeManagerHostname"] for node in self._ray.nodes() if node["Alive"]}

    def close(self) -> None:
        """Cancel what still runs, and leave the cluster if it was joined here."""
        for future, code in zip(self._futures, self.exit_codes(), strict=True):
            if code is None:
                self._ray.cancel(future, force=True)
        self._futures = []
        if self._started:
            self._started = False
            self._ray.shutdown()

    def _exit_code(self, future: Any) -> int | None:
        ready, _ = self._ray.wait([future], timeout=0)
        if not ready:
            return None
        try:
            return int(self._ray.get(future))
        except self._ray.exceptions.RayError:
            # The node or its task was lost.
            return _FAILED

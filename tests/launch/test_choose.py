from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from finscale.errors import LaunchError
from finscale.launch.choose import (
    LocalChoice,
    RayChoice,
    SlurmChoice,
    choose_launcher,
    require_shared_storage,
)
from finscale.launch.local import LocalLauncher
from finscale.launch.ray import RayLauncher
from finscale.launch.slurm import SlurmLauncher

SERVER = "postgresql+psycopg://me@host/name"


def test_options_become_fields_of_their_types() -> None:
    assert choose_launcher("local", []) == LocalChoice()
    assert choose_launcher("ray", ["address=10.0.0.1:6379", "n_cpus=2", "n_gpus=0.5"]) == RayChoice(
        address="10.0.0.1:6379", n_cpus=2, n_gpus=0.5
    )
    chosen = choose_launcher("slurm", ["timeout_min=90", "slurm_partition=gpu", "gpus_per_node=1"])
    assert chosen == SlurmChoice(timeout_min=90, slurm_partition="gpu", gpus_per_node=1)


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("dask", [], "--launcher dask: unknown; choose local, ray, slurm"),
        ("local", ["n=1"], "--launcher-option n=1: no such option; local takes none"),
        (
            "ray",
            ["cpus=1"],
            "--launcher-option cpus=1: no such option; ray takes address, n_cpus, n_gpus",
        ),
        (
            "ray",
            ["n_cpus=many"],
            (
                "--launcher-option n_cpus=many: input should be a valid number, unable to parse "
                "string as a number"
            ),
        ),
        ("ray", ["n_cpus=0"], "--launcher-option n_cpus=0: input should be greater than 0"),
        (
            "ray",
            ["n_cpus"],
            "--launcher-option n_cpus: is not KEY=VALUE; ray takes address, n_cpus, n_gpus",
        ),
        (
            "ray",
            ["n_cpus="],
            "--launcher-option n_cpus=: is not KEY=VALUE; ray takes address, n_cpus, n_gpus",
        ),
        (
            "ray",
            ["n_cpus=1", "n_cpus=2"],
            "--launcher-option n_cpus=2: n_cpus is given twice; leave one out",
        ),
        (
            "slurm",
            ["cluster=pbs"],
            "--launcher-option cluster=pbs: input should be 'slurm' or 'local'",
        ),
        (
            "slurm",
            ["timeout_min=1.5"],
            (
                "--launcher-option timeout_min=1.5: input should be a valid integer, unable to "
                "parse string as an integer"
            ),
        ),
    ],
)
def test_a_bad_option_names_place_value_and_fix(name: str, options: list[str], fault: str) -> None:
    with pytest.raises(LaunchError) as raised:
        choose_launcher(name, options)
    assert str(raised.value) == fault


def test_what_a_worker_may_plan_with() -> None:
    local, one, job = LocalChoice(), RayChoice(n_cpus=2, n_gpus=1), SlurmChoice(cpus_per_task=8)
    assert [c.n_threads for c in (local, one, job, RayChoice(n_cpus=0.5))] == [None, 2, 8, 1]
    shared = RayChoice(n_gpus=0.5)
    own = (local, one, job, shared, SlurmChoice(gpus_per_node=1))
    assert [c.has_own_device for c in own] == [False, True, False, False, True]
    assert [c.uses_nodes for c in (local, one, job, SlurmChoice(cluster="local"))] == [
        *(False, False, True, False)
    ]


def test_each_makes_its_launcher(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="finscale[slurm] is not installed")
    assert isinstance(LocalChoice().make(tmp_path), LocalLauncher)
    # The options of the real SLURM are known to the one that is played here.
    job = choose_launcher("slurm", ["cluster=local", "slurm_partition=gpu", "mem_gb=4"])
    assert isinstance(job.make(tmp_path / "jobs"), SlurmLauncher)


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_what_is_not_installed_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LaunchError, match=rf"pip install 'finscale\[{name}\]'"):
        choose_launcher(name, []).make(tmp_path)


class SeenNodes(RayLauncher):
    """Ray on machines of given names."""

    def __init__(self, *names: str) -> None:
        self._names = set(names)

    def hosts(self) -> set[str]:
        return self._names


def test_a_file_cannot_be_shared_between_machines() -> None:
    here, there = SeenNodes(socket.gethostname()), SeenNodes(socket.gethostname(), "node7")
    assert require_shared_storage(RayChoice(), here, None, 2) == ""
    assert require_shared_storage(RayChoice(), there, SERVER, 2) == ""
    for storage in (None, "sqlite:///search.db"):
        with pytest.raises(LaunchError, match=r"other machines \(node7\), and .* SQLite"):
            require_shared_storage(RayChoice(), there, storage, 1)


def test_where_it_depends_it_is_said() -> None:
    launcher = LocalLauncher()
    doubt = require_shared_storage(SlurmChoice(), launcher, None, 2)
    assert doubt == (
        "workers on different nodes cannot share a SQLite storage; name a server with --set "
        "storage=postgresql+psycopg://USER@HOST/NAME"
    )
    for choice, storage, n_workers in (
        (SlurmChoice(), SERVER, 2),
        (SlurmChoice(), None, 1),
        (SlurmChoice(cluster="local"), None, 2),
        (LocalChoice(), None, 2),
    ):
        assert require_shared_storage(choice, launcher, storage, n_workers) == ""

"""One contract for everything that starts workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finscale.errors import LaunchError
from finscale.launch.launcher import Launcher
from finscale.launch.local import LocalLauncher
from finscale.launch.ray import RayLauncher
from finscale.launch.slurm import SlurmLauncher

PRINTS = [sys.executable, "-c", "import os; print('here', os.getpid()); raise SystemExit(3)"]
SLEEPS = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]


def local(_: Path) -> Launcher:
    return LocalLauncher()


def ray(_: Path) -> Launcher:
    pytest.importorskip("ray", reason="finscale[ray] is not installed")
    return RayLauncher(n_cpus=0.5)


def slurm(root: Path) -> Launcher:
    pytest.importorskip("submitit", reason="finscale[slurm] is not installed")
    return SlurmLauncher(root / "jobs", cluster="local", parameters={"timeout_min": 5})


@pytest.fixture(
    params=[local, pytest.param(ray, marks=pytest.mark.slow), slurm], ids=lambda one: one.__name__
)
def launcher(
    request: pytest.FixtureRequest, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> Iterator[Launcher]:
    make: Callable[[Path], Launcher] = request.param
    one = make(tmp_path)
    yield one
    one.close()


def wait_for(done: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.1)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.filterwarnings("ignore")
def test_a_command_runs_and_its_exit_code_and_output_come_back(
    launcher: Launcher, tmp_path: Path
) -> None:
    assert launcher.start(PRINTS, tmp_path / "logs" / "one.log") == 0
    assert launcher.start(PRINTS, tmp_path / "logs" / "two.log") == 1
    wait_for(lambda: None not in launcher.exit_codes())
    assert launcher.exit_codes() == [3, 3]
    for name in ("one", "two"):
        assert "here " in (tmp_path / "logs" / f"{name}.log").read_text()


@pytest.mark.filterwarnings("ignore")
def test_what_still_runs_is_ended_on_closing(launcher: Launcher, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "one.log"
    launcher.start(SLEEPS, log)
    wait_for(lambda: log.exists() and log.read_text().strip() != "")
    pid = int(log.read_text())
    assert launcher.exit_codes() == [None]
    launcher.close()
    if isinstance(launcher, LocalLauncher):
        wait_for(lambda: not is_there(pid))
    elif is_there(pid):
        os.kill(pid, signal.SIGKILL)


def test_a_launcher_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(LaunchError, match=r"pip install 'finscale\[ray\]'"):
        RayLauncher()
    with pytest.raises(LaunchError, match=r"pip install 'finscale\[slurm\]'"):
        SlurmLauncher(Path("jobs"))


def test_slurm_where_there_is_none_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="finscale[slurm] is not installed")
    with pytest.raises(LaunchError, match="are you indeed on a slurm cluster"):
        SlurmLauncher(tmp_path)

"""A crew of workers, played by a launcher that starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finscale.errors import OverheatedError, StopRequestedError
from finscale.files import write_text_atomic
from finscale.launch.choose import LauncherChoice
from finscale.launch.launcher import Launcher
from finscale.pipeline import crew
from finscale.pipeline.book import RecordBook
from finscale.pipeline.crew import gather_crew
from finscale.progress import Progress
from finscale.rundir import RunDirectory
from tiny import tiny_prepared


class Played:
    """Workers that end with given codes, and what they were started with."""

    def __init__(
        self, codes: Sequence[int], last_words: str = "", n_workers: int | None = None
    ) -> None:
        self.codes, self.last_words = codes, last_words
        self.n_workers = len(codes) if n_workers is None else n_workers
        self.commands: list[Sequence[str]] = []

    def start(self, command: Sequence[str], log: Path) -> int:
        write_text_atomic(log, f"12:00:00 paused\n{self.last_words}\n")
        self.commands.append(command)
        return len(self.commands) - 1

    def exit_codes(self) -> list[int | None]:
        return list(self.codes[: len(self.commands)])

    def close(self) -> None:
        pass


class PlayedJobs(Played):
    """Jobs of which every further one finishes the work."""

    def exit_codes(self) -> list[int | None]:
        return [*self.codes, *[0] * len(self.commands)][: len(self.commands)]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_POLL_S", 0.0)


class Choice(LauncherChoice):
    """Stands for a launcher that was asked for."""

    launcher: Any
    own_device: bool = False
    nodes: bool = False

    def make(self, _jobs: Path) -> Launcher:
        launcher: Launcher = self.launcher
        return launcher

    @property
    def has_own_device(self) -> bool:
        return self.own_device

    @property
    def uses_nodes(self) -> bool:
        return self.nodes


def work(launcher: Played, root: Path, asked: str = "go", **traits: bool) -> None:
    directory, prepared = RunDirectory(root), tiny_prepared()
    choice = Choice(launcher=launcher, **traits)
    gather_crew(prepared.study, directory, choice, launcher.n_workers, Progress())(
        prepared=prepared,
        chosen=prepared.experiments,
        directory=directory,
        book=RecordBook(directory, prepared.identities),
        progress=Progress(),
        options=[],
    ).work(lambda: asked)


@pytest.mark.parametrize(
    ("n_workers", "own_device", "share"),
    [(1, False, "1.0000"), (2, False, "0.5000"), (3, False, "0.3333"), (3, True, "1.0000")],
)
def test_each_worker_is_told_its_share_of_the_memory(
    tmp_path: Path, n_workers: int, own_device: bool, share: str
) -> None:
    launcher = Played([0] * n_workers)
    work(launcher, tmp_path, own_device=own_device)
    assert len(launcher.commands) == n_workers
    for command in launcher.commands:
        assert command[command.index("--memory-share") + 1] == share


def test_a_directory_whose_name_looks_like_an_option_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    launcher = Played([0])
    work(launcher, Path("-dash"))
    [command] = launcher.commands
    assert command[command.index("worker") + 1] == str(tmp_path / "-dash")


def test_a_job_that_ran_out_of_time_is_replaced_and_a_worker_here_that_was_stopped_is_not(
    tmp_path: Path,
) -> None:
    launcher = Played([130, 130])
    with pytest.raises(StopRequestedError, match="every worker was stopped"):
        work(launcher, tmp_path)
    assert len(launcher.commands) == 2
    launcher = PlayedJobs([130, 0])
    work(launcher, tmp_path, nodes=True)
    assert len(launcher.commands) == 3


def test_workers_that_left_for_heat_end_the_run_with_what_they_said(tmp_path: Path) -> None:
    said = "stopped at 96 °C, too hot to go on (from 95 °C on); let the machine cool"
    launcher = Played([4, 4], f"finscale: {said}")
    with pytest.raises(OverheatedError) as caught:
        work(launcher, tmp_path)
    assert str(caught.value) == f"worker 0 {said}"
    # They left in good order: nobody is started in their place.
    assert len(launcher.commands) == 2


def test_heat_of_one_worker_does_not_matter_once_everything_is_done(tmp_path: Path) -> None:
    work(Played([4, 0]), tmp_path)
    work(Played([3, 4]), tmp_path)


def test_a_worker_that_died_does_not_hide_that_every_other_was_stopped(tmp_path: Path) -> None:
    with pytest.raises(StopRequestedError, match="every worker was stopped"):
        work(Played([-9, 130, 130], n_workers=2), tmp_path)


def test_a_request_to_stop_is_not_heat(tmp_path: Path) -> None:
    with pytest.raises(StopRequestedError) as caught:
        work(Played([4, 130]), tmp_path, asked="finish_epoch")
    assert not isinstance(caught.value, OverheatedError)

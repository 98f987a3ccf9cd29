"""A crew of workers, played by a launcher that starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from finscale.errors import OverheatedError, StopRequestedError
from finscale.files import write_text_atomic
from finscale.pipeline import crew
from finscale.pipeline.book import RecordBook
from finscale.pipeline.crew import Crew
from finscale.progress import Progress
from finscale.rundir import RunDirectory


class Played:
    """Workers that end with given codes, and what they were started with."""

    def __init__(self, codes: Sequence[int], last_words: str = "") -> None:
        self.codes, self.last_words = codes, last_words
        self.commands: list[Sequence[str]] = []

    def start(self, command: Sequence[str], log: Path) -> int:
        write_text_atomic(log, f"12:00:00 paused\n{self.last_words}\n")
        self.commands.append(command)
        return len(self.commands) - 1

    def exit_codes(self) -> list[int | None]:
        return list(self.codes[: len(self.commands)])

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_POLL_S", 0.0)


def work(launcher: Played, root: Path, asked: str = "go") -> None:
    directory = RunDirectory(root)
    Crew(
        directory=directory,
        book=RecordBook(directory, {}),
        progress=Progress(),
        launcher=launcher,
        n_workers=len(launcher.codes),
        n_threads=1,
        options=[],
    ).work(lambda: asked)


@pytest.mark.parametrize(("n_workers", "share"), [(1, "1.0000"), (2, "0.5000"), (3, "0.3333")])
def test_each_worker_is_told_its_share_of_the_memory(
    tmp_path: Path, n_workers: int, share: str
) -> None:
    launcher = Played([0] * n_workers)
    work(launcher, tmp_path)
    assert len(launcher.commands) == n_workers
    for command in launcher.commands:
        assert command[command.index("--memory-share") + 1] == share


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


def test_a_request_to_stop_is_not_heat(tmp_path: Path) -> None:
    with pytest.raises(StopRequestedError) as caught:
        work(Played([4, 130]), tmp_path, asked="finish_epoch")
    assert not isinstance(caught.value, OverheatedError)

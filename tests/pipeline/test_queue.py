from __future__ import annotations

from pathlib import Path

import pytest

from finscale.errors import StudyError
from finscale.pipeline.queue import (
    Queue,
    forget_names,
    parse_queue,
    prioritise,
    read_queue,
    write_queue,
)

NAMES = ["20K_h1", "50K_h1", "20K_h5"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.txt"


def test_what_is_written_is_read(path: Path) -> None:
    assert parse_queue(path, NAMES) == NAMES
    order = ["20K_h5", "20K_h1", "50K_h1"]
    write_queue(path, order)
    assert parse_queue(path, NAMES) == order


def test_what_is_not_listed_comes_last(path: Path) -> None:
    path.write_text("# first things first\n\n  20K_h5  \n20K_h5\n", encoding="utf-8")
    assert parse_queue(path, NAMES) == ["20K_h5", "20K_h1", "50K_h1"]


def test_names_that_are_gone_are_forgotten_and_nothing_else(path: Path) -> None:
    text = "# mine\n50K_h1\n\n  2K_h1\n20K_h1_\n20K_h1\n2K_h1"
    path.write_text(text, encoding="utf-8")
    forget_names(path, {"3K_h1"})
    assert path.read_text(encoding="utf-8") == text
    forget_names(path, {"2K_h1", "3K_h1"})
    assert path.read_text(encoding="utf-8") == "# mine\n50K_h1\n\n20K_h1_\n20K_h1\n"
    path.write_bytes(b"\xff2K_h1")
    forget_names(path, {"2K_h1"})
    assert path.read_bytes() == b"\xff2K_h1"


def test_a_wrong_line_names_the_line_and_the_fix(path: Path) -> None:
    path.write_text("20K_h5\n50K_1\n", encoding="utf-8")
    with pytest.raises(StudyError) as raised:
        parse_queue(path, NAMES)
    assert str(raised.value) == (f"{path}: line 2: no experiment is named '50K_1'; is it 50K_h1?")
    path.write_text("everything", encoding="utf-8")
    assert read_queue(path, NAMES) == NAMES
    path.write_text("everything\n50K_h1", encoding="utf-8")
    # Whoever only looks is not kept from it.
    assert read_queue(path, NAMES) == ["50K_h1", "20K_h1", "20K_h5"]
    assert read_queue(path.parent / "none.txt", NAMES) == NAMES
    with pytest.raises(StudyError, match=r"'everything'; there are 20K_h1, 50K_h1, 20K_h5$"):
        parse_queue(path, NAMES)


def test_a_wrong_file_is_said_once_and_the_order_stays(path: Path) -> None:
    said: list[str] = []
    queue = Queue(path, NAMES, said.append)
    order = ["50K_h1", "20K_h5", "20K_h1"]
    write_queue(path, order)
    assert queue.order() == order
    path.write_text("20K_h1\nnonsense\n", encoding="utf-8")
    for _ in range(3):
        assert queue.order() == order
    assert [line.rpartition(": no")[0] for line in said] == [f"{path}: line 2"]
    assert said[0].endswith("(the order stays as it was)")
    path.write_bytes(b"\xff\xfe\x00")
    assert queue.order() == order
    assert len(said) == 2
    write_queue(path, NAMES)
    assert queue.order() == NAMES
    # A fault that comes back is said again.
    path.write_bytes(b"\xff\xfe\x00")
    assert queue.order() == NAMES
    assert len(said) == 3


def test_patterns_go_first_in_their_order() -> None:
    assert prioritise(NAMES, ["*_h5", "50K*"]) == ["20K_h5", "50K_h1", "20K_h1"]
    with pytest.raises(StudyError, match="order 9B: matches no experiment; there are 20K_h1"):
        prioritise(NAMES, ["9B"])

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from finscale.errors import RunDirectoryError
from finscale.search.storage import open_storage


def open_descriptors() -> list[str]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files are not listed on this system")
    return [str(file.readlink()) for file in folder.iterdir() if file.is_symlink()]


def test_transactions_are_immediate_and_logged_ahead(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    with open_storage(path) as storage:
        study = optuna.create_study(storage=storage)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        with storage.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            # Inside an immediate transaction nobody else may begin one.
            other = sqlite3.connect(path, timeout=0, isolation_level=None)
            with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")


def test_it_is_closed_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    with open_storage(path) as storage:
        optuna.create_study(storage=storage)
        assert any(str(path) in name for name in open_descriptors())
    assert [name for name in open_descriptors() if str(path) in name] == []
    assert [file.name for file in tmp_path.iterdir()] == ["search.db"]


def test_what_is_stored_is_there_when_opened_again(tmp_path: Path) -> None:
    with open_storage(tmp_path / "search.db") as storage:
        optuna.create_study(storage=storage, study_name="one")
    with open_storage(tmp_path / "search.db") as storage:
        assert optuna.get_all_study_names(storage) == ["one"]


@pytest.mark.parametrize("name", ["what?", "{}", "{x} {0}", "50%", "%41", "a#b", "a:b@c", "ü +&="])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "search.db"
    path.parent.mkdir()
    for _ in range(2):
        with open_storage(path) as storage:
            optuna.create_study(storage=storage, study_name="one", load_if_exists=True)
    assert [file.name for file in path.parent.iterdir()] == ["search.db"]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_that_is_no_storage_is_refused_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    path.write_bytes(b"these are not the trials you are looking for" * 30)
    before = path.read_bytes()
    with pytest.raises(RunDirectoryError) as refusal, open_storage(path):
        pytest.fail("opened")
    assert str(refusal.value) == (
        f"{path}: cannot be opened as a search storage (DatabaseError); move it away to search anew"
    )
    assert path.read_bytes() == before

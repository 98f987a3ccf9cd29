"""Optuna's storage: the one truth about trials."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Connection, event

from finscale.errors import RunDirectoryError


@contextlib.contextmanager
def open_storage(path: Path) -> Iterator[RDBStorage]:
    """Open or make the SQLite storage of a run, and close it after the block.

    Write-ahead logging and immediate transactions: with SQLite's defaults, processes that share a
    storage lose trials to each other.

    Raises
    ------
    RunDirectoryError
        If the file is not a storage of this version of Optuna.
    """
    # A trial that fails or is stopped has a line of its own; Optuna would print its traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
    except Exception as error:  # SQLAlchemy, Alembic and Optuna each have their own
        raise RunDirectoryError(
            f"{path}: cannot be opened as a search storage ({type(error).__name__}); "
            "move it away to search anew"
        ) from error
    event.listen(storage.engine, "connect", _on_connect)
    event.listen(storage.engine, "begin", _on_begin)
    # Connections made before the listeners were there have to be made again.
    storage.engine.dispose()
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _on_connect(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own transactions are switched off, so that ours below are the only ones.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

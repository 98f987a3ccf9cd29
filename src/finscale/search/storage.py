"""Optuna's storage: the one truth about trials."""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Connection, event, make_url

from finscale.errors import RunDirectoryError


@contextlib.contextmanager
def open_storage(
    place: Path | str, *, heartbeat_s: int = 30, grace_s: int = 180
) -> Iterator[RDBStorage]:
    """Open or make the storage of a run, and close it after the block.

    Parameters
    ----------
    place
        A SQLite file, for workers on one machine; or the URL of a PostgreSQL database
        (``postgresql+psycopg://user@host/name``), for workers on several. SQLite gets write-ahead
        logging and immediate transactions: with its defaults, processes that share a storage lose
        trials to each other.
    heartbeat_s, grace_s
        How often a worker says that it is alive, and after how long a silence it counts as lost.

    Raises
    ------
    RunDirectoryError
        If the file is not a storage of this version of Optuna, or the server cannot be reached.
    """
    # A trial that fails or is stopped has a line of its own; Optuna would print its traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    on_file = isinstance(place, Path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = RDBStorage(
                f"sqlite:///{place}" if on_file else str(place),
                engine_kwargs=(
                    {"connect_args": {"timeout": 60}} if on_file else {"pool_pre_ping": True}
                ),
                heartbeat_interval=heartbeat_s,
                grace_period=grace_s,
            )
    except ImportError as error:
        raise RunDirectoryError(
            f"{redacted(place)}: needs a driver; pip install 'finscale[postgres]' "
            "and write the URL as postgresql+psycopg://…"
        ) from error
    except Exception as error:  # SQLAlchemy, Alembic and Optuna each have their own
        fix = "move it away to search anew" if on_file else "check the URL and the server"
        raise RunDirectoryError(
            f"{redacted(place)}: cannot be opened as a search storage "
            f"({type(error).__name__}); {fix}"
        ) from error
    if on_file:
        event.listen(storage.engine, "connect", _on_connect)
        event.listen(storage.engine, "begin", _on_begin)
        # Connections made before the listeners were there have to be made again.
        storage.engine.dispose()
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def redacted(place: Path | str) -> str:
    """Return the place without a password, for messages."""
    return str(place) if isinstance(place, Path) else make_url(place).render_as_string()


def _on_connect(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own transactions are switched off, so that ours below are the only ones.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

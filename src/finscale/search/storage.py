"""Optuna's storage: the one truth about trials."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.search.redaction import redacted

# What a storage raises that is full, or whose server is gone.
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError)
_RETRY_S = 1.0


@dataclass(frozen=True)
class Times:
    """How long the workers of a search wait for each other, and for their server.

    Attributes
    ----------
    heartbeat_s
        How often a worker says that it is alive.
    grace_s
        After how long a silence it counts as lost.
    patience_s
        How long a server that goes away is waited for.
    """

    heartbeat_s: int = 30
    grace_s: int = 180
    patience_s: float = 300.0


TIMES = Times()

_PATIENT: ContextVar[bool] = ContextVar("_PATIENT", default=True)


@contextlib.contextmanager
def open_storage(
    place: Path | str,
    *,
    times: Times | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[RDBStorage]:
    """Open or make the storage of a run, and close it after the block.

    Parameters
    ----------
    place
        A SQLite file, for workers on one machine; or the URL of a PostgreSQL database
        (``postgresql+psycopg://user@host/name``), for workers on several. SQLite gets write-ahead
        logging and immediate transactions: with its defaults, processes that share a storage lose
        trials to each other. A server that goes away, to be restarted, is waited for.
    times
        By default those of a long search.
    should_stop
        Asked while a server is waited for.

    Raises
    ------
    RunDirectoryError
        If the file is not a storage of this version of Optuna, or the server cannot be reached; or,
        from inside the block, if it can no more be read or written.
    """
    # A trial that fails or is stopped has a line of its own; Optuna would print its traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times = times or TIMES
    on_file = isinstance(place, Path)
    try:
        storage = _make_storage(place, times)
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
    else:
        event.listen(storage.engine, "do_connect", _Reconnect(times.patience_s, should_stop))
    try:
        yield storage
    except STORAGE_ERRORS as error:
        fix = "make room or check the disk" if on_file else "see that its server runs"
        raise RunDirectoryError(
            f"{redacted(place)}: the search storage cannot be used any more "
            f"({_reason(error)}); nothing finished is lost; {fix}, and run again to go on"
        ) from error
    finally:
        # A server that is gone needs no goodbye.
        with contextlib.suppress(*STORAGE_ERRORS):
            storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Fail inside the block, in this thread, where a server that is away would be waited for.

    For work under a lock that the server holds: it is lost with the connection.
    """
    token = _PATIENT.set(False)
    try:
        yield
    finally:
        _PATIENT.reset(token)


def _make_storage(place: Path | str, times: Times) -> RDBStorage:
    on_file = isinstance(place, Path)
    with (
        contextlib.nullcontext() if isinstance(place, Path) else _first_come(place),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RDBStorage(
            _url_of(place) if isinstance(place, Path) else str(place),
            engine_kwargs=(
                {"connect_args": {"timeout": 60}} if on_file else {"pool_pre_ping": True}
            ),
            heartbeat_interval=times.heartbeat_s,
            grace_period=times.grace_s,
        )


def _url_of(file: Path) -> str:
    """Return the URL of a SQLite file, whatever its path holds."""
    url = URL.create("sqlite", database=str(file)).render_as_string()
    # Optuna formats it, to put its version in; not every SQLAlchemy has quoted these.
    return url.replace("{", "{{").replace("}", "}}")


@contextlib.contextmanager
def _first_come(url: str) -> Iterator[None]:
    """Let one process at a time look for the tables of a database, and make them."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('finscale tables'))"))
        yield


class _Reconnect:
    """Makes a connection to a server, as soon as there is one to be had."""

    def __init__(self, patience_s: float, should_stop: Callable[[], bool]) -> None:
        self._patience_s, self._should_stop = patience_s, should_stop

    def __call__(
        self, dialect: Any, _record: object, arguments: Any, options: dict[str, Any]
    ) -> Any:
        until = time.monotonic() + self._patience_s
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if not _PATIENT.get() or time.monotonic() > until:
                    raise
            if self._should_stop():
                raise StopRequestedError("stopped on request")
            time.sleep(_RETRY_S)


def _reason(error: BaseException) -> str:
    """Return what the driver says, of errors that are wrapped around its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _on_connect(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own transactions are switched off, so that ours below are the only ones.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

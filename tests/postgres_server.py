"""A PostgreSQL server for a test: one that is started here, or one that the environment names."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

URL = "FINSCALE_TEST_POSTGRES_URL"
REQUIRED = "FINSCALE_REQUIRE_POSTGRES"
_USER = "tester"


class Server:
    """A server with a cluster of its own, reached by a Unix socket in its own directory.

    PostgreSQL refuses to run as root: there it runs as a user without rights.
    """

    def __init__(self, root: Path, programs: Path) -> None:
        self._root, self._programs = root, programs
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = _user_without_rights()
            os.chown(root, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._call("initdb", "-D", self._data, "-U", _USER, "--auth=trust", "-E", "UTF8", "-N")
        # No disk is waited for, and nobody else is let in: this is a test.
        with (root / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(
                f"\nlisten_addresses = ''\nunix_socket_directories = '{root}'\nfsync = off\n"
                "max_connections = 50\n"
            )

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{_USER}@/postgres?host={self._root}"

    @property
    def _data(self) -> str:
        return str(self._root / "data")

    def start(self) -> None:
        self._call("pg_ctl", "-D", self._data, "-w", "-l", str(self._root / "log"), "start")

    def stop(self) -> None:
        """Stop it as a crash would: whoever is connected is cut off."""
        self._call("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A pipe would stay open for as long as the server runs.
            stderr=subprocess.STDOUT if program == "pg_ctl" else None,
            check=False,
            **self._as_user,
        )
        assert done.returncode == 0, f"{program} failed in {self._root}"


def _user_without_rights() -> pwd.struct_passwd:
    users = {user.pw_name: user for user in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in users:
            return users[name]
    return _absent("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _absent(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _programs() -> Path | None:
    """Return the folder of the newest server's programs."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(versions, key=lambda place: float(place.parent.name), reverse=True)
    for place in places:
        if all((place / name).is_file() for name in ("initdb", "pg_ctl", "postgres")):
            return place
    return None


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """Start a server that the test may stop and start; skip where there is none."""
    if importlib.util.find_spec("psycopg") is None:
        _absent("finscale[postgres] is not installed")
    programs = _programs()
    if programs is None:
        _absent(f"no PostgreSQL on this machine: install it, or name a server in {URL}")
    # Not pytest's own directory: the server's user could not get there.
    root = Path(tempfile.mkdtemp(prefix="finscale-pg-"))
    try:
        server = Server(root, programs)
        server.start()
        try:
            yield server
        finally:
            if (root / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def any_server() -> Iterator[str]:
    """Yield the URL of the server that the environment names, else of one of its own."""
    if named := os.environ.get(URL):
        yield named
        return
    with own_server() as server:
        yield server.url


@contextlib.contextmanager
def database(url: str) -> Iterator[str]:
    """Make a database on a server, yield its URL, and drop it afterwards."""
    name = f"finscale_test_{uuid.uuid4().hex[:12]}"
    # No pool: the server may have been restarted in between.
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        engine.dispose()

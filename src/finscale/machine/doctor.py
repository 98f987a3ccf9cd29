"""Checks of environment, device, data and storage, each with what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from finscale.errors import DataError
from finscale.features.build import build_features
from finscale.features.tiers import tier_features
from finscale.files import Ledger, require_writable, write_text_atomic
from finscale.machine.device import choose_device
from finscale.machine.preflight import (
    Check,
    MachineFacts,
    check_device,
    check_sensors,
    check_swap,
    measure_machine,
)
from finscale.machine.sensors import open_sensors
from finscale.market.bars import to_arrays
from finscale.market.catalog import Catalog
from finscale.market.sources.bundled import BUNDLED, load_bundled
from finscale.study import Machine

_MIN_MEMORY_GIB = 4
_MIN_DISK_GIB = 1
# Where a study looks for its catalogue unless it names another.
_CATALOG = Path("data")
# What a search across machines keeps its trials in; Debian keeps the server out of the path.
_POSTGRES_SERVERS = "/usr/lib/postgresql/*/bin/postgres"


@dataclass(frozen=True)
class Extra:
    """A package that only some jobs need: what for, and how it is imported and installed."""

    package: str
    module: str
    extra: str
    purpose: str


EXTRAS = (
    Extra("ray", "ray", "ray", "workers on a Ray cluster"),
    Extra("submitit", "submitit", "slurm", "workers on a SLURM cluster"),
    Extra("psycopg", "psycopg", "postgres", "searches across machines"),
    Extra("yfinance", "yfinance", "yahoo", "finscale data download"),
    Extra("nvidia-ml-py", "pynvml", "nvidia", "use, power and temperature of NVIDIA GPUs"),
    Extra("optuna-dashboard", "optuna_dashboard", "dashboard", "a run's trials in a browser"),
)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes
    ----------
    fix
        What to do. Empty if there is nothing to be done; a finding that is ``ok`` can have one
        too, as a hint that need not be followed.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def examine() -> list[Finding]:
    """Run every check; one that raises has failed, and the message is its finding."""
    return [
        _run("python", _python, "install finscale anew: make clean verify"),
        _run("device", _device, "see to the driver, or set machine.device: cpu"),
        _run("memory", _memory, "close other programs"),
        _run("swap", lambda: _of_check(check_swap(_facts())), "close other programs"),
        _run("disk", _disk, "make room for a run directory"),
        _run("data", _data, "install finscale anew: make clean verify"),
        _run(
            "catalogue",
            _catalogue,
            "see: finscale data verify; or make room, or name another with --catalog",
        ),
        _run("storage", _storage, "work in a directory of your own on a local disk"),
        _run("sensors", lambda: _of_check(check_sensors(_facts())), "see to the driver"),
        *(_extra(one) for one in EXTRAS),
        _postgresql(),
    ]


def _run(name: str, check: Callable[[], str | Finding], fix: str) -> Finding:
    try:
        found = check()
    except Exception as error:  # noqa: BLE001 - a check may fail in any way a machine can
        return Finding(name, ok=False, detail=f"{type(error).__name__}: {error}", fix=fix)
    return found if isinstance(found, Finding) else Finding(name, ok=True, detail=found)


def _of_check(check: Check) -> Finding:
    """Return a check of the machine as a finding; what is only a warning there is a hint here."""
    ok = check.ok or check.severity == "warning"
    return Finding(check.name, ok, check.detail, "" if check.ok else check.fix)


def _facts() -> MachineFacts:
    """Measure the machine for a run that is not there yet."""
    device = choose_device(Machine())
    return measure_machine(device, Path.cwd() / "runs" / "new", open_sensors(device))


def _python() -> str:
    return f"{platform.python_version()}, torch {torch.__version__}"


def _device() -> Finding:
    device = choose_device(Machine())
    product = torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)
    if product.mean().item() != 64:
        raise RuntimeError("a matrix product came out wrong")
    found = _of_check(check_device(_facts()))
    return replace(found, detail=f"{found.detail}, {torch.get_num_threads()} threads")


def _memory() -> str:
    free_gib = psutil.virtual_memory().available / 2**30
    if free_gib < _MIN_MEMORY_GIB:
        raise RuntimeError(f"{free_gib:.1f} GiB free; the quickstart may take {_MIN_MEMORY_GIB}")
    return f"{free_gib:.1f} GiB free"


def _disk() -> str:
    free_gib = _facts().free_disk_bytes / 2**30
    if free_gib < _MIN_DISK_GIB:
        raise RuntimeError(f"{free_gib:.1f} GiB free for runs/")
    return f"{free_gib:.0f} GiB free for runs/"


def _data() -> str:
    n_rows = []
    for symbol in BUNDLED:
        bars = to_arrays(load_bundled(symbol).bars)
        build_features(bars, tier_features("a25"))
        n_rows.append(f"{symbol} {len(bars)} bars")
    return ", ".join(n_rows) + ", features finite"


def _catalogue() -> Finding:
    place = Path.cwd() / _CATALOG
    require_writable(place)
    if not place.is_dir():
        return Finding("catalogue", ok=True, detail=f"none yet; {_CATALOG}/ can be made here")
    free_gib = shutil.disk_usage(place).free / 2**30
    found = Catalog(place).scan()
    detail = f"{_CATALOG}/ with {len(found.entries)} data sets, {free_gib:.0f} GiB free"
    if found.problems:
        raise DataError(f"{detail}; {len(found.problems)} more are damaged or not registered")
    if free_gib < _MIN_DISK_GIB:
        raise RuntimeError(detail)
    return Finding("catalogue", ok=True, detail=detail)


def _storage() -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".finscale-doctor-") as directory:
        write_text_atomic(Path(directory) / "probe", "probe")
        ledger = Ledger(Path(directory) / "ledger.jsonl")
        ledger.append({"uid": "probe"})
        if ledger.read().records != [{"uid": "probe"}]:
            raise RuntimeError("a record written here could not be read back")
    return "atomic writes and locks work here"


def _extra(one: Extra) -> Finding:
    """Say whether an optional package is there; that it is not is no failure."""
    if importlib.util.find_spec(one.module) is None:
        install = f"pip install 'finscale[{one.extra}]'"
        return Finding(
            one.package, ok=True, detail="not installed", fix=f"{install}: {one.purpose}"
        )
    try:
        version = importlib.metadata.version(one.package)
    except importlib.metadata.PackageNotFoundError:
        version = "of an unknown version"
    return Finding(one.package, ok=True, detail=f"installed, {version}")


def _postgresql() -> Finding:
    """Say whether a PostgreSQL server can be started here; one elsewhere does as well."""
    here = shutil.which("postgres")
    servers = [here] if here else sorted(map(str, Path("/").glob(_POSTGRES_SERVERS.lstrip("/"))))
    if servers:
        return Finding("postgresql", ok=True, detail=f"server at {servers[-1]}")
    return Finding(
        "postgresql",
        ok=True,
        detail="no server on this machine",
        fix="only for searches across machines: apt install postgresql, or use one elsewhere",
    )

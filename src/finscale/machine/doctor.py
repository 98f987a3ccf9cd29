"""Checks of environment, device, data and storage, each with what to do."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from finscale.features.build import build_features
from finscale.features.tiers import tier_features
from finscale.files import Ledger, write_text_atomic
from finscale.machine.device import choose_device, describe_device, n_cores
from finscale.market.bars import to_arrays
from finscale.market.sources.bundled import BUNDLED, load_bundled
from finscale.study import Machine

_MIN_MEMORY_GIB = 4
_MIN_DISK_GIB = 1


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    ok: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def examine() -> list[Finding]:
    """Run every check; one that raises has failed, and the message is its finding."""
    return [
        _run("python", _python),
        _run("device", _device),
        _run("memory", _memory),
        _run("disk", _disk),
        _run("data", _data),
        _run("storage", _storage),
    ]


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, ok=True, detail=check())
    except Exception as error:  # noqa: BLE001 - a check may fail in any way a machine can
        return Finding(name, ok=False, detail=f"{type(error).__name__}: {error}")


def _python() -> str:
    return f"{platform.python_version()}, torch {torch.__version__}"


def _device() -> str:
    device = choose_device(Machine())
    product = torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)
    if product.mean().item() != 64:
        raise RuntimeError("a matrix product came out wrong; check the driver")
    return f"{describe_device(device)}, {n_cores()} cores, {torch.get_num_threads()} threads"


def _memory() -> str:
    free_gib = psutil.virtual_memory().available / 2**30
    if free_gib < _MIN_MEMORY_GIB:
        raise RuntimeError(f"{free_gib:.1f} GiB free; the quickstart may take {_MIN_MEMORY_GIB}")
    return f"{free_gib:.1f} GiB free"


def _disk() -> str:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    if free_gib < _MIN_DISK_GIB:
        raise RuntimeError(f"{free_gib:.1f} GiB free here; make room for a run directory")
    return f"{free_gib:.0f} GiB free here"


def _data() -> str:
    n_rows = []
    for symbol in BUNDLED:
        bars = to_arrays(load_bundled(symbol).bars)
        build_features(bars, tier_features("a25"))
        n_rows.append(f"{symbol} {len(bars)} bars")
    return ", ".join(n_rows) + ", features finite"


def _storage() -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".finscale-doctor-") as directory:
        write_text_atomic(Path(directory) / "probe", "probe")
        ledger = Ledger(Path(directory) / "ledger.jsonl")
        ledger.append({"uid": "probe"})
        if ledger.read().records != [{"uid": "probe"}]:
            raise RuntimeError("a record written here could not be read back")
    return "atomic writes and locks work here"

"""What is known of the machine and the software, for the record."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch

from finscale import __version__
from finscale.files import utc_now
from finscale.machine.device import describe_device, n_cores

_PACKAGES = ("arch", "numpy", "optuna", "polars", "scikit-learn", "scipy", "ta-lib", "torch")


def describe_environment(device: torch.device, code_hash: str) -> dict[str, Any]:
    """Return versions, hashes and machine, JSON-ready."""
    return {
        "created_at": utc_now(),
        "finscale_version": __version__,
        "code_hash": code_hash,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "n_cores": n_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": describe_device(device),
        "n_threads": torch.get_num_threads(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """Return the commit of the checkout finscale runs from; None where it is none."""
    here = Path(__file__).resolve().parent
    try:
        finished = subprocess.run(  # noqa: S603 - a fixed command
            ["git", "-C", str(here), "rev-parse", "HEAD"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()

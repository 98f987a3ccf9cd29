"""Checkpoints: safetensors with a JSON header, in one file, written atomically."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from finscale.errors import RunDirectoryError
from finscale.files import write_bytes_atomic


class DamagedWeightsError(RunDirectoryError):
    """A file of weights that is missing, damaged or not one of ours."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON-ready header to ``path``."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"finscale": json.dumps(header, allow_nan=False), "crc32": str(_checksum(on_cpu))}
    write_bytes_atomic(path, save(on_cpu, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what :func:`save_tensors` wrote.

    Raises
    ------
    DamagedWeightsError
        If the file is missing, damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            header = json.loads(metadata["finscale"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    # Safetensors checks sizes only. Files of earlier versions have no checksum.
    if "crc32" in metadata and metadata["crc32"] != str(_checksum(tensors)):
        raise _damaged(path, "wrong checksum")
    return tensors, header


def _damaged(path: Path, why: str) -> DamagedWeightsError:
    return DamagedWeightsError(
        f"{path}: missing or damaged weights ({why}); remove the file to train again"
    )


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].reshape(-1).numpy().data, checksum)
    return checksum

"""Checkpoints: safetensors with a JSON header, in one file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from finscale.errors import RunDirectoryError
from finscale.files import write_bytes_atomic


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON-ready header to ``path``."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_atomic(path, save(on_cpu, {"finscale": json.dumps(header, allow_nan=False)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what :func:`save_tensors` wrote.

    Raises
    ------
    RunDirectoryError
        If the file is missing, damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["finscale"])
            return {name: stream.get_tensor(name) for name in stream.keys()}, header  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunDirectoryError(
            f"{path}: missing or damaged weights ({error}); remove the file to train again"
        ) from error

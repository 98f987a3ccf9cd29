"""Checkpoints: safetensors with a JSON header, in one file, written atomically."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from finscale.errors import RunDirectoryError
from finscale.files import write_parts_atomic

_ALIGNMENT = 8
_DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


class DamagedWeightsError(RunDirectoryError):
    """A file of weights that is missing, damaged or not one of ours."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON-ready header to ``path``.

    Tensors of the CPU are written as they lie; the library's own writer holds them twice more.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"finscale": json.dumps(header, allow_nan=False), "crc32": str(_checksum(on_cpu))}
    write_parts_atomic(path, _file_parts(on_cpu, metadata))


def _file_parts(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield the parts of a safetensors file: the header's length, the header, then the data.

    The wider types come first, so that every value is aligned.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    described: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        described[name] = {
            "dtype": _DTYPES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield len(text).to_bytes(_ALIGNMENT, "little")
    yield text
    for name in names:
        yield _memory(tensors[name])


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
        checksum = zlib.crc32(_memory(tensors[name]), checksum)
    return checksum


def _memory(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data

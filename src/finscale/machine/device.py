"""The device to train on, its threads, precision and memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import psutil
import torch

from finscale.errors import StudyError
from finscale.study import Machine

# Autocast costs a cast per weight and activation; below this width a CPU with bf16 instructions
# loses more on them than it gains in the products (benchmarks/precision.py).
_BF16_FROM_D_MODEL_ON_CPU = 64
# Below this a second thread gains little, and loses much when another program wants its core
# (benchmarks/threads.py).
_SHARED_OUT_FROM_VALUES = 2**17
# What training may take of the memory that is free: the rest is the optimiser's and the
# allocator's slack, and on a CPU the user's other programs.
_USABLE_MEMORY_FRAC = {"cuda": 0.9, "mps": 0.6, "cpu": 0.6}
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def choose_device(machine: Machine) -> torch.device:
    """Return the device of a study.

    Raises
    ------
    StudyError
        If the study names a device that is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if machine.device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[machine.device]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise StudyError(
            f"machine.device: no {machine.device} on this machine; use auto or {there}"
        )
    return torch.device(machine.device)


def n_cores() -> int:
    """Return the CPU cores this process may use; of a container's share, the whole ones."""
    if hasattr(os, "sched_getaffinity"):
        n_there = len(os.sched_getaffinity(0))
    else:
        n_there = os.cpu_count() or 1
    quota = cpu_quota()
    return n_there if quota is None else min(n_there, max(1, int(quota)))


def cpu_quota() -> float | None:
    """Return the cores' worth of time that a container's control group allows; None: no limit."""
    try:
        allowed_us, period_us = _CPU_MAX.read_text(encoding="utf-8").split()
        return int(allowed_us) / int(period_us)
    except (OSError, ValueError):  # no control groups of version 2, or "max"
        return None


def use_threads(machine: Machine, n_values: int | None = None) -> int:
    """Set PyTorch's CPU threads, and return their number.

    Unless the study gives a number it is one per core, but a single one for activations too small
    to share out. A fixed rule, since sums taken by other numbers of threads can differ in the last
    bit.

    Parameters
    ----------
    n_values
        Values in one activation of the model to train: micro-batch × patches × d_model.
    """
    small = n_values is not None and n_values < _SHARED_OUT_FROM_VALUES
    n_threads = machine.n_threads or (1 if small else n_cores())
    torch.set_num_threads(n_threads)
    return n_threads


def choose_precision(
    setting: Literal["auto", "fp32", "bf16"], device: torch.device, d_model: int
) -> Literal["fp32", "bf16"]:
    """Resolve a study's precision for one width; a fixed rule, so that runs can be repeated.

    ``auto`` is bf16 on GPUs that have it, and on CPUs with bf16 instructions from a width of 64.
    """
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and d_model >= _BF16_FROM_D_MODEL_ON_CPU:
        capabilities = torch.cpu.get_capabilities()
        return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"
    return "fp32"


def usable_memory_bytes(device: torch.device) -> int:
    """Return the bytes that training may use on a device now."""
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
    else:
        free_bytes = psutil.virtual_memory().available
    return int(free_bytes * _USABLE_MEMORY_FRAC[device.type])


def describe_device(device: torch.device) -> str:
    """Return the device's name for records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type

"""What NVIDIA's management library says of a GPU, as far as it says."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class GpuUse:
    """What the driver says of a GPU; ``counted_j`` is energy since the driver was loaded."""

    name: str | None = None
    util_frac: float | None = None
    memory_bytes: int | None = None
    power_w: float | None = None
    counted_j: float | None = None
    temperature_c: float | None = None


def open_nvidia(uuid: str) -> tuple[Callable[[], GpuUse] | None, str | None]:
    """Return a reader for the GPU with this UUID, and what it lacks, if anything."""
    without = "use, power, energy and temperature of the GPU are not recorded"
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None, f"no GPU sensors: pip install 'finscale[nvidia]'; without it {without}"
    try:
        nvml.nvmlInit()
        gpu = _NvidiaGpu(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except Exception as error:  # noqa: BLE001 - NVMLError, or whatever a broken driver raises
        return None, f"no GPU sensors: {error}; {without}"
    names = {"util_frac": "use", "power_w": "power", "temperature_c": "temperature"}
    found = gpu.read()
    lacking = [name for field, name in names.items() if getattr(found, field) is None]
    return gpu.read, f"the GPU does not show its {', '.join(lacking)}" if lacking else None


class _NvidiaGpu:
    """One GPU through NVIDIA's management library; a part of a GPU (MIG) shows less."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def read(self) -> GpuUse:
        nvml, handle = self._nvml, self._handle
        util = quietly(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        power_mw = quietly(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        counted_mj = quietly(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        return GpuUse(
            name=quietly(lambda: str(nvml.nvmlDeviceGetName(handle))),
            util_frac=util / 100 if util is not None else None,
            memory_bytes=quietly(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used)),
            power_w=power_mw / 1000 if power_mw is not None else None,
            counted_j=counted_mj / 1000 if counted_mj is not None else None,
            temperature_c=quietly(
                lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
            ),
        )


def energy_j(before: GpuUse, after: GpuUse, interval_s: float) -> float | None:
    """Return the energy between two looks, in joules.

    From the GPU's own counter where it has one that did not start anew; else power integrated by
    the trapezoidal rule, which misses what happens between readings.
    """
    if before.counted_j is not None and after.counted_j is not None:
        spent = after.counted_j - before.counted_j
        if spent >= 0:
            return spent
    if before.power_w is None or after.power_w is None:
        return None
    return (before.power_w + after.power_w) / 2 * interval_s


def quietly(read: Callable[[], T]) -> T | None:
    """Return what was read; None if it failed, since a sensor may fail in any way a driver can."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - see above
        return None

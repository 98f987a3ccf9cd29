"""What a stretch of time took of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from finscale.machine.sensors import Reading


@dataclass(frozen=True)
class Usage:
    """What a stretch of time took of the machine; None where nothing measures it.

    Attributes
    ----------
    duration_s
        Covered by readings.
    cpu_mean_frac, process_cpu_mean_frac, gpu_util_mean_frac
        Means over time.
    memory_peak_gib, process_memory_peak_gib, gpu_memory_peak_gib
        The highest *seen*: a peak between two readings is missed.
    gpu_energy_kwh
        Of the whole GPU, so that workers who share it count it more than once.
    """

    duration_s: float = 0.0
    n_readings: int = 0
    cpu_mean_frac: float | None = None
    process_cpu_mean_frac: float | None = None
    gpu_util_mean_frac: float | None = None
    memory_peak_gib: float | None = None
    process_memory_peak_gib: float | None = None
    gpu_memory_peak_gib: float | None = None
    cpu_temperature_max_c: float | None = None
    gpu_temperature_max_c: float | None = None
    gpu_energy_kwh: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def summarise(readings: Sequence[Reading]) -> Usage:
    """Return what a stretch of readings adds up to."""
    meter = Meter()
    for reading in readings:
        meter.add(reading)
    return meter.usage()


class Meter:
    """Running means, maxima and energy of the readings it is given."""

    _MEANS = ("cpu_frac", "process_cpu_frac", "gpu_util_frac")
    _PEAKS = (
        *("memory_used_gib", "process_memory_gib", "gpu_memory_gib"),
        *("cpu_temperature_c", "gpu_temperature_c"),
    )

    def __init__(self) -> None:
        self._duration_s, self._n_readings = 0.0, 0
        self._sums: dict[str, tuple[float, float]] = {}
        self._peaks: dict[str, float] = {}
        self._energy_j: float | None = None

    def add(self, reading: Reading) -> None:
        """Take in a reading."""
        self._duration_s += reading.interval_s
        self._n_readings += 1
        for name in self._MEANS:
            value = getattr(reading, name)
            if value is not None:
                total, weight_s = self._sums.get(name, (0.0, 0.0))
                weight = reading.interval_s
                self._sums[name] = (total + value * weight, weight_s + weight)
        for name in self._PEAKS:
            value = getattr(reading, name)
            if value is not None:
                self._peaks[name] = max(value, self._peaks.get(name, value))
        if reading.gpu_energy_j is not None:
            self._energy_j = (self._energy_j or 0.0) + reading.gpu_energy_j

    def usage(self) -> Usage:
        """Return what the readings so far add up to."""

        def mean(name: str) -> float | None:
            total, weight_s = self._sums.get(name, (0.0, 0.0))
            return total / weight_s if weight_s else None

        return Usage(
            duration_s=self._duration_s,
            n_readings=self._n_readings,
            cpu_mean_frac=mean("cpu_frac"),
            process_cpu_mean_frac=mean("process_cpu_frac"),
            gpu_util_mean_frac=mean("gpu_util_frac"),
            memory_peak_gib=self._peaks.get("memory_used_gib"),
            process_memory_peak_gib=self._peaks.get("process_memory_gib"),
            gpu_memory_peak_gib=self._peaks.get("gpu_memory_gib"),
            cpu_temperature_max_c=self._peaks.get("cpu_temperature_c"),
            gpu_temperature_max_c=self._peaks.get("gpu_temperature_c"),
            gpu_energy_kwh=self._energy_j / 3.6e6 if self._energy_j is not None else None,
        )

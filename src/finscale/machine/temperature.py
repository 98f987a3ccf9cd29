"""The processor's temperature, as far as the machine tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

# Who measures the processor itself, the most trustworthy first. Others (disks, network cards,
# batteries) have temperatures too, which say nothing of the processor.
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "x86_pkg_temp", "cpu", "soc", "acpitz")
# A broken sensor shows 0, -40, 128 or 255; a processor is switched off before it is this hot.
_PLAUSIBLE_C = (1.0, 125.0)
_THERMAL_ZONES = Path("/sys/class/thermal")


def read_cpu_temperature_c() -> float | None:
    """Return the processor's highest temperature; None if the machine does not tell.

    psutil's chips first; then the kernel's thermal zones, which psutil leaves out when only a disk
    or a network card has a chip.
    """
    chips: dict[str, list[tuple[str, float]]] = {}
    if hasattr(psutil, "sensors_temperatures"):
        chips = {
            name: [(entry.label, entry.current) for entry in entries]
            for name, entries in psutil.sensors_temperatures().items()
        }
    found = hottest_core_c(chips)
    return found if found is not None else hottest_core_c(_thermal_zones(_THERMAL_ZONES))


def hottest_core_c(chips: Mapping[str, Sequence[tuple[str, float]]]) -> float | None:
    """Return the highest temperature of the most trustworthy chip that measures the processor.

    Parameters
    ----------
    chips
        Name to pairs of label and °C. On AMD processors ``Tctl`` is what the fan is driven by, up
        to 27 °C above the truth: it counts only without ``Tdie``.
    """
    for kind in _CPU_CHIPS:
        entries = [
            entry for name, found in chips.items() if kind in name.lower() for entry in found
        ]
        labels = {label for label, _ in entries}
        values = [
            value
            for label, value in entries
            if _PLAUSIBLE_C[0] <= value <= _PLAUSIBLE_C[1]
            and not (label == "Tctl" and "Tdie" in labels)
        ]
        if values:
            return max(values)
    return None


def _thermal_zones(root: Path) -> dict[str, list[tuple[str, float]]]:
    zones: dict[str, list[tuple[str, float]]] = {}
    for zone in sorted(root.glob("thermal_zone*")):
        try:
            kind = (zone / "type").read_text(encoding="utf-8").strip()
            value = int((zone / "temp").read_text(encoding="utf-8")) / 1000
        except (OSError, ValueError):
            continue
        zones.setdefault(kind, []).append(("", value))
    return zones

from __future__ import annotations

from finscale.machine.sensors import Reading
from finscale.machine.usage import Usage, summarise


def reading(interval_s: float = 10.0, **values: float | str | None) -> Reading:
    return Reading(time="2026-01-05T00:00:00+00:00", interval_s=interval_s, **values)  # type: ignore[arg-type] # by name


def test_usage_by_hand() -> None:
    usage = summarise(
        [
            reading(
                30,
                cpu_frac=0.25,
                process_cpu_frac=0.125,
                memory_used_gib=5.0,
                process_memory_gib=1.0,
                cpu_temperature_c=60.0,
                gpu_util_frac=0.5,
                gpu_memory_gib=7.0,
                gpu_temperature_c=50.0,
                gpu_energy_j=1_000_000.0,
            ),
            reading(
                10,
                cpu_frac=0.5,
                process_cpu_frac=0.5,
                memory_used_gib=4.0,
                process_memory_gib=3.0,
                cpu_temperature_c=55.0,
                gpu_util_frac=0.75,
                gpu_memory_gib=6.0,
                gpu_temperature_c=58.0,
                gpu_energy_j=800_000.0,
            ),
        ]
    )
    assert usage == Usage(
        duration_s=40,
        n_readings=2,
        cpu_mean_frac=0.3125,
        process_cpu_mean_frac=0.21875,
        gpu_util_mean_frac=0.5625,
        memory_peak_gib=5,
        process_memory_peak_gib=3,
        gpu_memory_peak_gib=7,
        cpu_temperature_max_c=60,
        gpu_temperature_max_c=58,
        gpu_energy_kwh=0.5,
    )
    assert usage.as_dict()["gpu_energy_kwh"] == 0.5


def test_what_nothing_measures_is_not_known() -> None:
    nothing = summarise([])
    assert nothing == Usage()
    assert summarise([reading(), reading()]) == Usage(duration_s=20, n_readings=2)


def test_readings_without_a_value_do_not_dilute_the_mean() -> None:
    usage = summarise([reading(10, cpu_frac=0.8), reading(30), reading(0, cpu_frac=0.0)])
    assert usage.cpu_mean_frac == 0.8
    assert usage.gpu_energy_kwh is None

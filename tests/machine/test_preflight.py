from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from finscale.errors import StudyError
from finscale.machine import preflight
from finscale.machine.preflight import (
    Check,
    MachineFacts,
    Needs,
    check_machine,
    experiment_bytes,
    measure_machine,
    refuse_failed,
    run_bytes,
)
from finscale.machine.sensors import CpuTimes, ProcessUse, Sensors

GIB = 2**30
DAY_S = 86_400
NEEDS = Needs(
    memory_least_bytes=GIB,
    memory_most_bytes=4 * GIB,
    disk_bytes=10 * GIB,
    time_min_s=DAY_S // 4,
    time_max_s=2 * DAY_S,
)
FACTS = MachineFacts(
    device="cpu",
    device_type="cpu",
    n_cores=8,
    memory_bytes=16 * GIB,
    usable_memory_bytes=8 * GIB,
    free_disk_bytes=100 * GIB,
    written_bytes=0,
    write_error=None,
    swap_used_bytes=0,
    unused_gpu=False,
    hottest_c=55.0,
)
NAMES = [
    "device",
    "memory",
    "memory of the largest model",
    "swap",
    "run directory",
    "disk",
    "time",
    "sensors",
]


def failed(needs: Needs = NEEDS, facts: MachineFacts = FACTS) -> list[Check]:
    return [check for check in check_machine(needs, facts) if not check.ok]


def test_a_machine_that_is_large_enough() -> None:
    checks = check_machine(NEEDS, FACTS)
    assert [check.name for check in checks] == NAMES
    assert [check for check in checks if not check.ok] == []
    assert [check.describe() for check in checks] == [
        "device: cpu, 8 cores",
        "memory: 8 GiB for training, and the smallest model takes 1 GiB",
        "memory of the largest model: 4 GiB at one sample a time, of 8 GiB for training",
        "swap: 0 B in use",
        "run directory: can be written",
        "disk: 100 GiB free, and the run may write 10 GiB",
        "time: 6h00m to 2.0d",
        "sensors: 55 °C",
    ]
    refuse_failed(checks)


def test_exactly_enough_is_enough() -> None:
    needs = Needs(8 * GIB, 8 * GIB, 100 * GIB, time_min_s=DAY_S, time_max_s=7 * DAY_S)
    assert failed(needs, replace(FACTS, swap_used_bytes=int(1.6 * GIB))) == []


@pytest.mark.parametrize(
    ("needs", "facts", "severity", "line"),
    [
        (
            NEEDS,
            replace(FACTS, unused_gpu=True),
            "warning",
            (
                "device: cpu, 8 cores; an NVIDIA GPU is here that this PyTorch cannot use; install "
                "a PyTorch with CUDA, or see to the driver and CUDA_VISIBLE_DEVICES"
            ),
        ),
        (
            replace(NEEDS, memory_most_bytes=8 * GIB + 1),
            FACTS,
            "warning",
            (
                "memory of the largest model: 8 GiB at one sample a time, of 8 GiB for training; "
                "trials that do not fit will fail: close other programs, or leave out the largest "
                "of ladder.budgets"
            ),
        ),
        (
            NEEDS,
            replace(FACTS, swap_used_bytes=2 * GIB),
            "warning",
            (
                "swap: 2 GiB in use; memory is short already, and training from swap takes days "
                "for hours: close programs"
            ),
        ),
        (
            NEEDS,
            replace(FACTS, write_error="/runs: cannot be written (Read-only); choose another"),
            "error",
            "run directory: /runs: cannot be written (Read-only); choose another",
        ),
        (
            replace(NEEDS, disk_bytes=100 * GIB + 1),
            FACTS,
            "error",
            (
                "disk: 100 GiB free, and the run may write 100 GiB; make room, or choose another "
                "--out"
            ),
        ),
        (
            replace(NEEDS, time_max_s=9 * DAY_S),
            FACTS,
            "warning",
            (
                "time: 6h00m to 9.0d; leave out budgets, take fewer search.n_trials, or use more "
                "workers or a faster device"
            ),
        ),
    ],
)
def test_one_thing_that_is_wrong(
    needs: Needs, facts: MachineFacts, severity: str, line: str
) -> None:
    [check] = failed(needs, facts)
    assert (check.severity, check.describe()) == (severity, line)


def test_too_little_memory_for_anything() -> None:
    smallest, largest = failed(facts=replace(FACTS, usable_memory_bytes=GIB - 1))
    assert (smallest.severity, largest.severity) == ("error", "warning")
    assert smallest.fix == "close other programs, or leave out the largest of ladder.budgets"


def test_workers_share_the_memory() -> None:
    assert failed(replace(NEEDS, n_workers=2)) == []
    [check] = failed(replace(NEEDS, n_workers=3))
    assert check.describe() == (
        "memory of the largest model: 4 GiB at one sample a time, of 2.67 GiB for each of 3 "
        "workers; trials that do not fit will fail: fewer --workers, or close other programs, or "
        "leave out the largest of ladder.budgets"
    )


def test_a_gpu_that_is_used_is_not_amiss() -> None:
    assert failed(facts=replace(FACTS, device="H200", device_type="cuda", unused_gpu=True)) == []


def test_missing_sensors_are_said_and_are_no_fault() -> None:
    facts = replace(FACTS, hottest_c=None, sensors_missing=("no CPU temperature: none",))
    sensors = check_machine(NEEDS, facts)[-1]
    assert sensors.ok
    assert sensors.detail == "no CPU temperature: none; training is not paused for heat"
    assert sensors.as_dict() == {
        "name": "sensors",
        "ok": True,
        "severity": "warning",
        "detail": sensors.detail,
        "fix": "",
    }


def test_errors_refuse_together_and_warnings_do_not() -> None:
    warning = Check("time", ok=False, severity="warning", detail="long", fix="wait")
    refuse_failed([warning])
    with pytest.raises(StudyError) as refusal:
        refuse_failed(
            [
                Check("disk", ok=False, severity="error", detail="full", fix="make room"),
                warning,
                Check("memory", ok=False, severity="error", detail="short"),
                Check("run directory", ok=True, severity="error", detail="fine"),
            ]
        )
    assert str(refusal.value) == "disk: full; make room\nmemory: short"


def test_what_an_experiment_writes_by_hand() -> None:
    # Three models at 4 bytes a parameter; 53 records of 10 KB and 1 KB for each of 100 epochs.
    found = experiment_bytes(10_000_000, n_trials=50, n_epochs=100, n_seeds=3)
    assert found == 2 * 2**20 + 120_000_000 + 53 * 110_000


def test_what_a_run_writes_by_hand() -> None:
    # Two checkpoints of the largest model at 16 bytes a parameter.
    assert run_bytes([7, 5], n_parameters=10_000_000) == 64 * 2**20 + 12 + 320_000_000
    one, four = (run_bytes([7], n_parameters=10**9, n_workers=n) for n in (1, 4))
    assert four - one == 3 * 32 * 10**9


def test_what_is_written_already_needs_no_room() -> None:
    needs = replace(NEEDS, disk_bytes=101 * GIB)
    assert [check.name for check in failed(needs)] == ["disk"]
    assert failed(needs, replace(FACTS, written_bytes=GIB)) == []
    [disk] = failed(needs, replace(FACTS, written_bytes=GIB // 2))
    assert disk.detail == "100 GiB free, and the run may write 100 GiB"
    assert failed(needs, replace(FACTS, free_disk_bytes=0, written_bytes=200 * GIB)) == []


def sensors(temperature_c: float | None) -> Sensors:
    return Sensors(
        cores=1,
        cpu=lambda: CpuTimes(0, 0),
        process=lambda: ProcessUse(0, 0),
        memory=lambda: (0, 0.0),
        cpu_temperature_c=lambda: temperature_c,
        missing=("no GPU sensors: none",),
    )


def test_facts_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=12345))
    monkeypatch.setattr(preflight, "usable_memory_bytes", lambda _: 678)
    monkeypatch.setattr(preflight, "n_cores", lambda: 3)
    asked: list[Path] = []

    def usage(place: Path) -> SimpleNamespace:
        asked.append(place)
        return SimpleNamespace(free=910)

    monkeypatch.setattr("finscale.machine.preflight.shutil.disk_usage", usage)
    out = tmp_path / "runs" / "new"
    assert measure_machine(torch.device("cpu"), out, sensors(61.0)) == MachineFacts(
        device="cpu",
        device_type="cpu",
        n_cores=3,
        memory_bytes=psutil.virtual_memory().total,
        usable_memory_bytes=678,
        free_disk_bytes=910,
        written_bytes=0,
        write_error=None,
        swap_used_bytes=12345,
        unused_gpu=Path("/proc/driver/nvidia/version").exists() and not torch.cuda.is_available(),
        hottest_c=61.0,
        sensors_missing=("no GPU sensors: none",),
    )
    # The disk is that of the directory which is there already, and nothing is left behind.
    assert asked == [tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_already_is_measured(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_bytes(bytes(1000))
    (tmp_path / "b").write_bytes(bytes(234))
    assert measure_machine(torch.device("cpu"), tmp_path, sensors(None)).written_bytes == 1234


def test_a_relative_directory_is_measured_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = measure_machine(torch.device("cpu"), Path("runs/new"), sensors(None))
    assert facts.free_disk_bytes > 0
    assert facts.write_error is None
    assert facts.hottest_c is None


def test_a_directory_that_is_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    facts = measure_machine(torch.device("cpu"), tmp_path / "taken", sensors(None))
    assert facts.write_error is not None
    with pytest.raises(StudyError, match=r"run directory: .*taken: is a file, not a directory"):
        refuse_failed(check_machine(NEEDS, facts))

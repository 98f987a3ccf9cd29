from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from finscale.errors import StudyError
from finscale.machine import device
from finscale.machine.device import (
    choose_device,
    choose_precision,
    cpu_quota,
    n_cores,
    usable_memory_bytes,
    use_threads,
)
from finscale.study import Machine

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def have(
    monkeypatch: pytest.MonkeyPatch,
    *,
    cuda: bool = False,
    mps: bool = False,
    bf16: bool = False,
    capabilities: dict[str, Any] | None = None,
) -> None:
    """Pretend to be another machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    def supported(including_emulation: bool = True) -> bool:
        # With emulation every GPU says yes, and is slow.
        return bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities or {})


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")],
)
def test_auto_takes_the_best_device(
    monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool, chosen: str
) -> None:
    have(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device(Machine(device="auto")).type == chosen


def test_a_device_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, cuda=True)
    assert choose_device(Machine(device="cpu")) == CPU
    assert choose_device(Machine(device="cuda")) == CUDA


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, mps=True)
    with pytest.raises(StudyError) as refusal:
        choose_device(Machine(device="cuda"))
    assert str(refusal.value) == ("machine.device: no cuda on this machine; use auto or mps, cpu")


@pytest.mark.parametrize(
    ("capabilities", "d_model", "chosen"),
    [
        ({}, 2048, "fp32"),
        ({"avx512_bf16": True}, 63, "fp32"),
        ({"avx512_bf16": True}, 64, "bf16"),
        ({"amx_bf16": True}, 64, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False}, 2048, "fp32"),
        ({"avx2": True, "avx512_f": True}, 2048, "fp32"),
    ],
)
def test_a_cpu_takes_bf16_for_wide_models_if_it_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], d_model: int, chosen: str
) -> None:
    have(monkeypatch, capabilities=capabilities)
    assert choose_precision("auto", CPU, d_model) == chosen


@pytest.mark.parametrize(("bf16", "chosen"), [(True, "bf16"), (False, "fp32")])
@pytest.mark.parametrize("d_model", [4, 2048])
def test_a_gpu_takes_bf16_if_it_has_it_in_hardware(
    monkeypatch: pytest.MonkeyPatch, d_model: int, *, bf16: bool, chosen: str
) -> None:
    have(monkeypatch, cuda=True, bf16=bf16)
    assert choose_precision("auto", CUDA, d_model) == chosen


def test_other_devices_take_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, mps=True, capabilities={"avx512_bf16": True})
    assert choose_precision("auto", MPS, 2048) == "fp32"


@pytest.mark.parametrize("setting", ["fp32", "bf16"])
@pytest.mark.parametrize("place", [CPU, CUDA, MPS], ids=str)
def test_a_precision_that_is_asked_for_is_taken(
    monkeypatch: pytest.MonkeyPatch, setting: Any, place: torch.device
) -> None:
    have(monkeypatch)
    assert choose_precision(setting, place, 4) == setting


@pytest.mark.parametrize(("place", "share"), [(CPU, 600), (MPS, 600), (CUDA, 900)])
def test_training_may_use_a_share_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, place: torch.device, share: int
) -> None:
    class Memory:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 5000))
    assert usable_memory_bytes(place) == share


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(device, "n_cores", lambda: 7)
    assert use_threads(Machine(n_threads=3)) == 3
    assert use_threads(Machine()) == 7
    assert set_to == [3, 7]


def test_cores_are_those_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "_CPU_MAX", tmp_path / "none")
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert n_cores() == 2
    monkeypatch.delattr(device.os, "sched_getaffinity")
    monkeypatch.setattr(device.os, "cpu_count", lambda: None)
    assert n_cores() == 1


@pytest.mark.parametrize(
    ("content", "quota", "cores"),
    [
        ("max 100000\n", None, 8),
        ("200000 100000\n", 2.0, 2),
        ("50000 20000\n", 2.5, 2),
        ("50000 100000\n", 0.5, 1),
        ("6400000 100000\n", 64.0, 8),
        ("", None, 8),
    ],
)
def test_a_container_has_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: str,
    quota: float | None,
    cores: int,
) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(content, encoding="utf-8")
    monkeypatch.setattr(device, "_CPU_MAX", path)
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cpu_quota() == quota
    assert n_cores() == cores

from __future__ import annotations

import subprocess
import sys

import pytest

from finscale.search.processes import is_gone, this_worker


def test_a_living_process_is_not_gone() -> None:
    assert not is_gone(this_worker())


@pytest.mark.parametrize(("seconds", "gone"), [(1, False), (-1, False), (3600, True)])
def test_a_clock_set_right_ends_nobody_and_a_number_given_again_is_another(
    seconds: float, gone: bool
) -> None:
    host, pid, created = this_worker().rsplit(":", 2)
    assert is_gone(f"{host}:{pid}:{float(created) + seconds:.2f}") is gone


def test_a_process_that_has_ended_is_gone() -> None:
    name = "from finscale.search.processes import this_worker; print(this_worker())"
    ended = subprocess.run([sys.executable, "-c", name], capture_output=True, text=True, check=True)
    assert is_gone(ended.stdout.strip())


def test_of_another_machine_it_cannot_be_known() -> None:
    _, pid, created = this_worker().rsplit(":", 2)
    assert not is_gone(f"another.example:{pid}:{float(created) + 3600}")

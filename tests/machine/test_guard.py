from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from finscale.machine.guard import StopSignal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def stop(tmp_path: Path) -> Iterator[StopSignal]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield StopSignal(tmp_path / "stop")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_nobody_has_asked(stop: StopSignal) -> None:
    with stop.listening():
        assert not stop()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_interrupts(stop: StopSignal, number: int) -> None:
    with stop.listening():
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert stop()


def test_two_different_signals_interrupt_too(stop: StopSignal) -> None:
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_stop_file_asks_while_it_is_there(stop: StopSignal, tmp_path: Path) -> None:
    with stop.listening():
        (tmp_path / "stop").touch()
        assert stop()
        (tmp_path / "stop").unlink()
        assert not stop()


def test_a_stop_file_of_an_earlier_run_is_removed(stop: StopSignal, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    with stop.listening():
        assert not stop()
    assert not (tmp_path / "stop").exists()


def test_handlers_are_restored_after_an_error(stop: StopSignal) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    during: list[object] = []

    def fail() -> None:
        with stop.listening():
            during.extend(signal.getsignal(number) for number in SIGNALS)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert set(during).isdisjoint(before)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_outside_the_main_thread_the_stop_file_alone_is_heeded(
    stop: StopSignal, tmp_path: Path
) -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop.listening():
            seen.append(stop())
            (tmp_path / "stop").touch()
            seen.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]

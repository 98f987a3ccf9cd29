from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from finscale.machine.guard import StopSignal

ASKING = (signal.SIGINT, signal.SIGTERM)
SIGNALS = (*ASKING, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _terminal() -> Iterator[None]:
    """Take the tests to a terminal: under nohup, hang-ups are ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def stop(tmp_path: Path, _terminal: None) -> Iterator[StopSignal]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield StopSignal(tmp_path / "stop")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_nobody_has_asked(stop: StopSignal) -> None:
    with stop.listening():
        assert not stop()
        assert stop.state() == "go"


@pytest.mark.parametrize("first", ASKING)
@pytest.mark.parametrize("second", ASKING)
@pytest.mark.parametrize("third", ASKING)
def test_signals_ask_then_insist_then_interrupt(
    stop: StopSignal, first: int, second: int, third: int
) -> None:
    with stop.listening():
        signal.raise_signal(first)
        assert stop()
        assert stop.state() == "finish_epoch"
        signal.raise_signal(second)
        assert stop()
        assert stop.state() == "stop"
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(third)
        assert stop.state() == "stop"


def test_a_signal_is_answered_at_once_with_what_will_happen(stop: StopSignal) -> None:
    said: list[str] = []
    with stop.listening(say=said.append):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    assert said == [
        "stopping after this epoch; asked once more: after this optimiser step",
        "stopping after this optimiser step; asked once more: at once",
    ]


def test_an_answer_waits_for_no_lock_of_what_was_interrupted(stop: StopSignal) -> None:
    lock, said, free = threading.Lock(), threading.Event(), []

    def say(_text: str) -> None:
        free.append(lock.acquire(timeout=10))
        said.set()

    with stop.listening(say=say):
        with lock:
            signal.raise_signal(signal.SIGINT)
            assert stop.state() == "finish_epoch"
        # At once, and not when somebody asks.
        assert said.wait(10)
    assert free == [True]


def test_a_key_asks_then_insists_and_never_interrupts(stop: StopSignal) -> None:
    states = []
    for _ in range(4):
        states.append(stop.state())
        thread = threading.Thread(target=stop.request)
        thread.start()
        thread.join()
    assert states == ["go", "finish_epoch", "stop", "stop"]


def test_a_key_and_signals_count_together(stop: StopSignal) -> None:
    with stop.listening():
        stop.request()
        signal.raise_signal(signal.SIGINT)
        assert stop.state() == "stop"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_a_lost_connection_is_one_request_however_often_it_is_said(stop: StopSignal) -> None:
    with stop.listening():
        for _ in range(4):
            signal.raise_signal(signal.SIGHUP)
            assert stop.state() == "finish_epoch"
        signal.raise_signal(signal.SIGINT)
        assert stop.state() == "stop"
        signal.raise_signal(signal.SIGHUP)
        assert stop.state() == "stop"


def test_a_lost_connection_is_ignored_where_it_was(stop: StopSignal) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop.listening():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
        assert stop.state() == "go"
    signal.signal(signal.SIGHUP, before)


def test_nohup_keeps_a_process_going_and_a_hangup_alone_asks(tmp_path: Path) -> None:
    code = (
        "import sys, signal\n"
        "from pathlib import Path\n"
        "from finscale.machine.guard import StopSignal\n"
        "stop = StopSignal(Path(sys.argv[1]))\n"
        "with stop.listening():\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    print(stop.state())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "stop")]
    said = [
        subprocess.run(one, capture_output=True, text=True, check=True).stdout.strip()
        for one in (command, ["nohup", *command])
    ]
    assert said == ["finish_epoch", "go"]


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b"stop now\n", "stop"),
        (b"now", "stop"),
        (b" now\n", "stop"),
        (b"", "finish_epoch"),
        (b"stop\n", "finish_epoch"),
        (b"not now", "finish_epoch"),
        (b"\xff\xfe", "finish_epoch"),
    ],
)
def test_a_stop_file_asks_while_it_is_there(
    stop: StopSignal, tmp_path: Path, content: bytes, state: str
) -> None:
    with stop.listening():
        (tmp_path / "stop").write_bytes(content)
        assert stop()
        assert stop.state() == state
        (tmp_path / "stop").unlink()
        assert not stop()


def test_a_stop_file_that_cannot_be_read_asks(stop: StopSignal, tmp_path: Path) -> None:
    with stop.listening():
        (tmp_path / "stop").mkdir()
        assert stop.state() == "finish_epoch"


def test_the_stronger_of_file_and_signals_counts(stop: StopSignal, tmp_path: Path) -> None:
    with stop.listening():
        (tmp_path / "stop").touch()
        signal.raise_signal(signal.SIGINT)
        assert stop.state() == "finish_epoch"
        (tmp_path / "stop").write_text("now", encoding="utf-8")
        assert stop.state() == "stop"
        (tmp_path / "stop").unlink()
        assert stop.state() == "finish_epoch"


def test_a_stop_file_of_an_earlier_run_is_removed(stop: StopSignal, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    # A run that is still preparing shows how soon it will stop.
    assert stop.state() == "go"
    with stop.listening():
        assert not stop()
    assert not (tmp_path / "stop").exists()


def test_a_worker_that_comes_later_heeds_the_stop_file(stop: StopSignal, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    with stop.listening(keep_stop_file=True):
        assert stop()
    assert (tmp_path / "stop").exists()


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


def test_outside_the_main_thread_requests_and_the_stop_file_are_heeded(
    stop: StopSignal, tmp_path: Path
) -> None:
    seen: list[str] = []

    def work() -> None:
        with stop.listening():
            seen.append(stop.state())
            (tmp_path / "stop").touch()
            seen.append(stop.state())
            stop.request()
            stop.request()
            seen.append(stop.state())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["go", "finish_epoch", "stop"]

from __future__ import annotations

import signal
import threading

import pytest

from finscale.interrupts import ctrl_c_held


def test_ctrl_c_waits_for_the_block_to_end() -> None:
    done = []

    def work() -> None:
        with ctrl_c_held():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ones_own_answers_once_however_often_it_was_pressed() -> None:
    answered = []
    previous = signal.signal(signal.SIGINT, lambda number, _: answered.append(number))
    try:
        with ctrl_c_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert answered == []
        assert answered == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, previous)


def test_it_is_not_lost_where_the_block_fails() -> None:
    def fail() -> None:
        with ctrl_c_held():
            signal.raise_signal(signal.SIGINT)
            raise ValueError

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, ValueError)


def test_without_ctrl_c_nothing_is_raised() -> None:
    with ctrl_c_held():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_the_block_just_runs() -> None:
    ran = []

    def work() -> None:
        with ctrl_c_held():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]

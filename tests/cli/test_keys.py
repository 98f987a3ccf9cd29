"""The live view in a terminal: q, signals, Ctrl-Z, a lost connection, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pseudo_terminal import PATIENCE_S, Terminal

from processes import killed_after

# A program that is watched, and says by lines how it was asked to stop; "end" is written to a file,
# for a terminal that is lost shows nothing.
PROGRAM = """
import sys, time
from pathlib import Path
from finscale.cli.live import watching
from finscale.machine.guard import StopSignal

how, place = sys.argv[1], Path(sys.argv[2])
stop, said, until = StopSignal(place / "stop"), "", time.monotonic() + 240
with watching(plain=how == "plain", stop=stop) as progress:
    progress.message("watching")
    if how == "fail":
        raise ValueError("by chance")
    if how == "unprepared":
        time.sleep(240)
    with stop.listening():
        progress.message("listening")
        while said != "stop" and time.monotonic() < until:
            if how == "short" and said == "finish_epoch":
                break
            if stop.state() != said:
                said = stop.state()
                (place / "state").write_text(said)
                progress.message("state " + said)
            if (place / "enough").exists():
                break
            if (place / "speak").exists():
                progress.message("more")
            time.sleep(0.02)
(place / "end").write_text("end")
"""


def start(terminal: Terminal, how: str, place: Path) -> subprocess.Popen[bytes]:
    return terminal.start([sys.executable, "-c", PROGRAM, how, str(place)], place)


def test_q_asks_and_q_again_insists(terminal: Terminal, tmp_path: Path) -> None:
    start(terminal, "", tmp_path)
    terminal.wait_for("state go")
    terminal.wait_for("q: stop after this epoch")
    assert terminal.is_raw()
    terminal.press(b"x\nQ")
    terminal.wait_for("state finish_epoch")
    terminal.wait_for("q again: after this optimiser step")
    terminal.press(b"q")
    terminal.wait_for("state stop")
    assert terminal.wait_for_end() == 0
    assert (tmp_path / "end").exists()
    assert terminal.attributes() == terminal.found


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_q_is_as_ctrl_c(terminal: Terminal, tmp_path: Path, key: bytes) -> None:
    start(terminal, "short", tmp_path)
    terminal.wait_for("state go")
    terminal.press(key)
    terminal.wait_for("state finish_epoch")
    assert terminal.wait_for_end() == 0
    assert terminal.attributes() == terminal.found


def test_ctrl_c_twice(terminal: Terminal, tmp_path: Path) -> None:
    start(terminal, "", tmp_path)
    terminal.wait_for("state go")
    terminal.press(b"\x03")
    terminal.wait_for("state finish_epoch")
    terminal.press(b"\x03")
    terminal.wait_for("state stop")
    assert terminal.wait_for_end() == 0
    assert terminal.attributes() == terminal.found


@pytest.mark.parametrize("how", ["fail", "plain"])
def test_the_terminal_is_left_as_it_was_found(terminal: Terminal, tmp_path: Path, how: str) -> None:
    process = start(terminal, how, tmp_path)
    terminal.wait_for("watching")
    if how == "plain":
        terminal.wait_for("state go")
        # Nobody reads keys where nothing is live.
        assert terminal.attributes() == terminal.found
        (tmp_path / "enough").touch()
    assert terminal.wait_for_end() == (0 if how == "plain" else 1)
    assert process.returncode == (0 if how == "plain" else 1)
    assert terminal.attributes() == terminal.found


@pytest.mark.parametrize("how", ["", "unprepared"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_leaves_the_terminal_as_it_was_found(
    terminal: Terminal, tmp_path: Path, how: str, number: signal.Signals
) -> None:
    process = start(terminal, how, tmp_path)
    terminal.wait_for("watching" if how else "state go")
    terminal.wait_until(terminal.is_raw)
    process.send_signal(number)
    if how:
        # Before there is anything to finish it is as Ctrl-C.
        assert terminal.wait_for_end() != 0
        assert "KeyboardInterrupt" in terminal.text
    else:
        terminal.wait_for("state finish_epoch")
        (tmp_path / "enough").touch()
        assert terminal.wait_for_end() == 0
    assert terminal.attributes() == terminal.found


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(
    terminal: Terminal, tmp_path: Path
) -> None:
    # In a session of its own a process has no shell that could let it go on; it would not stop.
    shell = (
        "import os, signal, subprocess, sys\n"
        "one = subprocess.Popen(sys.argv[1:], process_group=0)\n"
        "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "os.tcsetpgrp(0, one.pid)\n"
        "os.waitpid(one.pid, os.WUNTRACED)\n"
        "os.tcsetpgrp(0, os.getpgrp())\n"
        "print('stopped', flush=True)\n"
        "sys.stdin.readline()\n"
        "os.tcsetpgrp(0, one.pid)\n"
        "os.killpg(one.pid, signal.SIGCONT)\n"
        "sys.exit(one.wait())\n"
    )
    # The first process must not read the terminal before it is in the foreground.
    program = "import time; time.sleep(0.5)\n" + PROGRAM
    terminal.start(
        [sys.executable, "-c", shell, sys.executable, "-c", program, "", str(tmp_path)], tmp_path
    )
    terminal.wait_for("state go")
    terminal.wait_until(terminal.is_raw)
    terminal.press(b"\x1a")
    terminal.wait_for("stopped")
    assert terminal.attributes() == terminal.found
    terminal.press(b"\n")
    terminal.wait_until(terminal.is_raw)
    terminal.press(b"q")
    terminal.wait_for("state finish_epoch")
    terminal.press(b"q")
    assert terminal.wait_for_end() == 0
    assert terminal.attributes() == terminal.found


def test_in_the_background_the_terminal_is_not_touched(terminal: Terminal, tmp_path: Path) -> None:
    shell = (
        "import subprocess, sys\n"
        "one = subprocess.Popen(sys.argv[1:], process_group=0)\n"
        "sys.exit(one.wait())\n"
    )
    terminal.start(
        [sys.executable, "-c", shell, sys.executable, "-c", PROGRAM, "", str(tmp_path)], tmp_path
    )
    terminal.wait_for("state go")
    terminal.press(b"qq\n")
    time.sleep(0.8)
    assert terminal.attributes() == terminal.found
    assert (tmp_path / "state").read_text() == "go"
    assert terminal.process is not None
    [worker] = psutil.Process(terminal.process.pid).children()
    assert worker.status() != psutil.STATUS_STOPPED
    (tmp_path / "enough").touch()
    assert terminal.wait_for_end() == 0


def test_a_lost_terminal_asks_to_stop_and_raises_nothing(
    terminal: Terminal, tmp_path: Path
) -> None:
    process = start(terminal, "", tmp_path)
    terminal.wait_for("state go")
    (tmp_path / "speak").touch()
    terminal.lose()
    until = time.monotonic() + PATIENCE_S
    while (tmp_path / "state").read_text() != "finish_epoch":
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.3)
    assert process.poll() is None
    (tmp_path / "enough").touch()
    assert process.wait(PATIENCE_S) in {0, 120}  # 120: Python itself could not flush
    assert (tmp_path / "end").exists()


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"qq")
    command = [sys.executable, "-c", PROGRAM, "", str(tmp_path)]
    started = subprocess.Popen(command, stdin=reading, stderr=subprocess.PIPE, text=True)
    with killed_after(started) as process:
        until = time.monotonic() + PATIENCE_S
        while not (tmp_path / "state").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.5)
        (tmp_path / "enough").touch()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert "finish_epoch" not in process.stderr.read()
    assert os.read(reading, 9) == b"qq"
    os.close(reading)
    os.close(writing)


def test_without_a_standard_input(tmp_path: Path) -> None:
    (tmp_path / "enough").touch()
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", PROGRAM, "", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nohup_in_a_terminal_goes_on_without_it(terminal: Terminal, tmp_path: Path) -> None:
    process = terminal.start(["nohup", sys.executable, "-c", PROGRAM, "", str(tmp_path)], tmp_path)
    terminal.wait_until((tmp_path / "state").exists)
    terminal.press(b"qq")
    time.sleep(0.5)
    terminal.lose()
    time.sleep(0.5)
    assert process.poll() is None
    assert (tmp_path / "state").read_text() == "go"
    (tmp_path / "enough").touch()
    assert process.wait(PATIENCE_S) == 0

"""``finscale status``: what it prints, and that it only looks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND, Begin, CommandLine, fault_of
from pseudo_terminal import Terminal

from finscale.cli import inspect
from finscale.cli.inspect import _frame
from finscale.cli.status_text import machine_line
from finscale.files import read_json
from finscale.rundir import RunDirectory
from tiny import NAMES, write_study

KEYS = {
    *(
        "study",
        "at",
        "experiments",
        "queue",
        "queue_fault",
        "workers",
        "totals",
        "machine",
        "last_error",
    ),
    *("damaged_lines", "coverage", "stale", "data_problem"),
}


def document(text: str) -> Any:
    """Return the one JSON document that a text is."""
    value, end = json.JSONDecoder().raw_decode(text)
    assert text[end:] == "\n"
    return value


def test_a_finished_run_as_json(finscale: CommandLine, finished: RunDirectory) -> None:
    found = document(finscale("status", finished.root, "--json").out)
    assert found.keys() == KEYS
    states = found["experiments"]
    assert [(one["name"], one["state"]) for one in states] == [(name, "done") for name in NAMES]
    for one in states:
        best = read_json(finished.experiment(one["name"]).best)
        assert one["n_trials_done"] == one["n_trials"] == 4
        assert one["n_finals"] == 3
        assert one["best_validation_skill"] == best["validation_skill"]
    for name, n_architectures in zip(NAMES, (4, 8), strict=True):
        covered = found["coverage"][name]
        assert (covered["n"], covered["n_trials"]) == (n_architectures, 4)
        assert covered["n_tried"] + len(covered["never"]) == n_architectures


def test_a_finished_run_as_a_table(finscale: CommandLine, finished: RunDirectory) -> None:
    printed = finscale("status", finished.root).out
    for name in NAMES:
        assert any(line.startswith(f"{name}  done") for line in printed.splitlines())
    assert "in all: 2 of 2 experiments done, 8 of 8 trials, finished\n" in printed
    assert f"{NAMES[0]}: tried 4 of 4 architectures, 3 of 3 extremes\n" in printed
    url = f"sqlite:///{finished.storage.resolve()}"
    assert printed.endswith(f"the searches in a browser: optuna-dashboard {url}\n")


def test_a_run_that_has_just_begun(finscale: CommandLine, copied: RunDirectory) -> None:
    copied.ledger.path.unlink()
    found = document(finscale("status", copied.root, "--json").out)
    assert [one["state"] for one in found["experiments"]] == ["waiting", "waiting"]
    assert found["experiments"][0]["best_architecture"] is None
    printed = finscale("status", copied.root).out
    assert "time left unknown (no trial has been measured)" in printed
    assert f"order, as in {copied.queue}: {', '.join(NAMES)}\n" in printed
    command = f"finscale run {copied.study} --out {copied.root}"
    assert f"no worker is alive; go on with: {command}\n" in printed
    copied.queue.write_text("2.5K_h2\n", encoding="utf-8")
    printed = finscale("status", copied.root).out
    assert "order, as in" not in printed
    assert "line 1: no experiment is named '2.5K_h2'; " in printed
    assert "(order of the matrix)\n" in printed


def test_what_is_stale_is_said_once_with_its_reasons(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    study = copied.study.read_text()
    copied.study.write_text(study.replace("patience: 2", "patience: 8"))
    [line] = [
        one for one in finscale("status", copied.root).out.splitlines() if one.startswith("stale:")
    ]
    assert line.endswith(": made with other settings (training.patience 2 → 8)")
    assert all(name in line for name in NAMES)
    found = document(finscale("status", copied.root, "--json").out)
    assert found["stale"][NAMES[0]] == [
        {"part": "settings", "details": ["training.patience 2 → 8"]}
    ]


def test_torch_is_not_loaded(finished: RunDirectory) -> None:
    code = (
        "import sys\nfrom finscale.cli.main import main\n"
        f"sys.argv = ['finscale', 'status', {str(finished.root)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert NAMES[0].encode() in result.stdout


# --- watching -----------------------------------------------------------------------------------


def test_a_watch_ends_with_the_run(
    finscale: CommandLine, copied: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copied.ledger.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    copied.ledger.path.write_bytes(b"".join(lines[:3]))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        copied.ledger.path.write_bytes(whole if len(slept) == 2 else b"".join(lines[:5]))

    monkeypatch.setattr(inspect.time, "sleep", sleep)
    watched = finscale("status", copied.root, "--watch", "7")
    assert (watched.code, slept) == (0, [7.0, 7.0])
    assert watched.out.count("in all: ") == 3
    assert watched.out.count(", finished\n") == 1
    assert "\x1b" not in watched.out


def test_a_watch_has_no_one_document(finscale: CommandLine, finished: RunDirectory) -> None:
    fault = fault_of(finscale("status", finished.root, "--watch", "--json"))
    assert fault == "--watch --json: a watch has no end, so no one document; ask for one"


def test_a_frame_is_drawn_over_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "4")
    assert _frame("a\nb\n") == "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"
    assert _frame("a\nb\nc\nd\n") == (
        "\x1b[Ha\x1b[K\nb\x1b[K\n… 2 more lines; make the window taller\x1b[K\n\x1b[J"
    )


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_watch_that_is_ended_leaves_the_terminal_in_order(
    terminal: Terminal, copied: RunDirectory, end: signal.Signals, code: int
) -> None:
    copied.ledger.path.unlink()
    process = terminal.start([*COMMAND, "status", copied.root, "--watch", "0.2"], copied.root)
    terminal.wait_until(lambda: terminal.read().count("searches in a browser") >= 2)
    process.send_signal(end)
    assert terminal.wait_for_end() == code
    assert terminal.attributes() == terminal.found
    # No mode is set: no hidden cursor, no other screen, no region, no mouse.
    assert "\x1b[?" not in terminal.text
    assert terminal.text.count("\x1b[H") >= 2


@pytest.mark.slow
def test_status_while_the_run_goes_on(
    finscale: CommandLine, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Trials of a second, to be seen while they last.
    changes = {
        "search.n_trials": 5,
        "search.space.epochs": [60],
        "training.patience": 100,
        "ladder.budgets": ["2.5K"],
    }
    study = write_study(tmp_path, changes)
    process = begin("run", study, "--out", tmp_path / "run", cwd=tmp_path)
    seen: list[dict[str, Any]] = []
    while process.poll() is None:
        if (tmp_path / "run" / "study.yaml").exists():
            answer = finscale("status", tmp_path / "run", "--json")
            assert answer.code == 0, answer
            seen.append(document(answer.out))
        time.sleep(0.5)
    _, said = process.communicate()
    assert process.returncode == 0, said
    done = [one["totals"]["n_trials_done"] for one in seen]
    assert done == sorted(done)
    alive = [worker for one in seen for worker in one["workers"] if worker["alive"]]
    assert {worker["pid"] for worker in alive} == {process.pid}
    assert any(worker["label"] and "trial" in worker["label"] for worker in alive)
    assert all(one["damaged_lines"] == [] and one["stale"] == {} for one in seen)
    last = document(finscale("status", tmp_path / "run", "--json").out)
    assert (last["totals"]["n_trials_done"], last["totals"]["finished"]) == (5, True)
    assert [worker["alive"] for worker in last["workers"]] == [False]


def test_the_machine_in_a_line() -> None:
    reading = {
        "cpu_frac": 0.93,
        "cpu_temperature_c": 71.4,
        "memory_used_gib": 12.34,
        "memory_used_frac": 0.4,
        "gpu_name": "NVIDIA H200",
        "gpu_util_frac": 0.88,
        "gpu_memory_gib": 100.0,
        "gpu_power_w": 512.3,
        "gpu_temperature_c": None,
    }
    assert machine_line(reading) == (
        "CPU 93%, 71 °C; memory 12.3 GiB, 40% used; NVIDIA H200 88%, 100.0 GiB, 512 W"
    )
    assert machine_line({"cpu_frac": None}) == "nothing is measured"

"""Real runs under control: in a terminal, under nohup, by several workers, by commands."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND, Begin, CommandLine, trial_lines
from pseudo_terminal import PATIENCE_S, Terminal

from finscale.files import read_json
from finscale.rundir import RunDirectory
from processes import killed_after
from tiny import NAMES, raw_records, write_study

# Seconds on an idle machine; many times that where others work on it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Trials of half a second or so, and more of them than anybody waits for.
LONG: dict[str, Any] = {
    "search.n_trials": 500,
    "search.prune": False,
    "search.space.epochs": [6],
    "split": {"by": "fraction", "train_frac": 0.7, "validation_frac": 0.1},
    "training.patience": 100,
    "training.effective_batch": 256,
}
# An epoch that lasts for ever, unless it is left after a step.
ENDLESS = LONG | {
    "search.n_trials": 2,
    "search.n_startup_trials": 1,
    "training.effective_batch": 1,
    "split.train_frac": 0.88,
    "search.space.epochs": [100_000],
}


@pytest.fixture(autouse=True)
def _one_thread_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def wait_until(done: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


def n_trials(directory: RunDirectory, experiment: str = "") -> int:
    return sum(f'"{experiment}' in line for line in trial_lines(directory.ledger.path))


def checkpoints(directory: RunDirectory) -> list[Path]:
    return list(directory.root.glob("experiments/*/checkpoints/*"))


def assert_kept(directory: RunDirectory) -> None:
    """Every record is whole; the trial that was left has its checkpoint, if one was left."""
    assert directory.ledger.read().damaged_lines == []
    assert n_trials(directory) == len(
        [one for one in raw_records(directory.ledger) if one["kind"] == "trial"]
    )
    assert len(checkpoints(directory)) <= 1


def test_q_finishes_the_epoch_and_leaves_the_terminal_in_order(
    terminal: Terminal, tmp_path: Path
) -> None:
    directory = RunDirectory(tmp_path / "run")
    study = write_study(tmp_path, LONG)
    terminal.start([*COMMAND, "run", study, "--out", "run"], tmp_path)
    terminal.wait_until(lambda: n_trials(directory) >= 1)
    assert terminal.is_raw()
    terminal.press(b"q")
    assert terminal.wait_for_end() == 130
    assert "stopping after this epoch" in terminal.text
    assert re.search(rf"{NAMES[0]} +started +\d+/500", terminal.text)
    assert terminal.text.rstrip().endswith("go on with: finscale run run/study.yaml --out run")
    assert "Traceback" not in terminal.text
    assert terminal.attributes() == terminal.found
    assert_kept(directory)


def test_q_twice_leaves_after_the_step(terminal: Terminal, tmp_path: Path) -> None:
    study = write_study(tmp_path, ENDLESS)
    terminal.start([*COMMAND, "run", study, "--out", "run"], tmp_path)
    terminal.wait_for("trial 0")
    time.sleep(1)
    terminal.press(b"q")
    terminal.wait_for("q again: after this optimiser step")
    terminal.press(b"q")
    assert terminal.wait_for_end() == 130
    assert terminal.attributes() == terminal.found
    assert len(checkpoints(RunDirectory(tmp_path / "run"))) == 1


def test_a_terminal_that_is_lost_stops_the_run_and_costs_nothing(
    terminal: Terminal, tmp_path: Path
) -> None:
    directory = RunDirectory(tmp_path / "run")
    study = write_study(tmp_path, LONG)
    process = terminal.start([*COMMAND, "run", study, "--out", "run"], tmp_path)
    terminal.wait_until(lambda: n_trials(directory) >= 1)
    terminal.lose()
    assert process.wait(PATIENCE_S) == 130
    assert "Traceback" not in directory.log.read_text(encoding="utf-8")
    assert_kept(directory)


def test_nohup_goes_on_without_a_terminal(tmp_path: Path) -> None:
    study, directory = write_study(tmp_path, {"search.n_trials": 10}), RunDirectory(tmp_path / "r")
    with (tmp_path / "out.txt").open("wb") as out:
        started = subprocess.Popen(
            ["nohup", *COMMAND, "run", study, "--out", "r"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    with killed_after(started) as process:
        wait_until(lambda: n_trials(directory) >= 1, process)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) == 0
    assert n_trials(directory) == 20
    assert re.search(rf"{NAMES[1]} +done +10/10", (tmp_path / "out.txt").read_text())


def test_two_workers_take_a_new_order_and_stop_at_once(
    finscale: CommandLine, begin: Begin, tmp_path: Path
) -> None:
    study, directory = write_study(tmp_path, LONG), RunDirectory(tmp_path / "run")
    process = begin("run", study, "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_until(lambda: n_trials(directory, NAMES[0]) >= 2, process)
    assert n_trials(directory, NAMES[1]) == 0

    directory.queue.write_text(f"{NAMES[1]}\nnonsense\n", encoding="utf-8")
    known = n_trials(directory, NAMES[0])
    # A wrong file changes nothing, however often it is looked at.
    wait_until(lambda: n_trials(directory, NAMES[0]) >= known + 3, process)
    # The leader looks at it only every second or so.
    wait_until(lambda: "nonsense" in directory.log.read_text(encoding="utf-8"), process)
    assert n_trials(directory, NAMES[1]) == 0

    assert finscale("order", "run", "2.5K*").code == 0
    wait_until(lambda: n_trials(directory, NAMES[1]) >= 3, process)
    after = n_trials(directory, NAMES[0])
    wait_until(lambda: n_trials(directory, NAMES[1]) >= 5, process)
    # The one that was under way at most.
    assert n_trials(directory, NAMES[0]) <= after + 1

    assert finscale("stop", "run", "--now").code == 0
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in err
    [fault] = [line for line in err.splitlines() if "nonsense" in line]
    assert fault.endswith(
        f"queue.txt: line 2: no experiment is named 'nonsense'; there are {', '.join(NAMES)} "
        "(the order stays as it was)"
    )
    assert re.search(rf"{NAMES[1]} +started +\d+/500 +[+-]0\.\d+ +\d+", out)
    assert err.rstrip().endswith("go on with: finscale run run/study.yaml --out run")
    assert len(checkpoints(directory)) <= 2
    for number in (0, 1):
        log = directory.log.parent / f"worker_{number}.log"
        assert "Traceback" not in log.read_text(encoding="utf-8")


def test_one_failure_of_two_workers_is_one_line_and_a_traceback_in_the_log(
    copied: RunDirectory, begin: Begin, tmp_path: Path
) -> None:
    files = copied.experiment(NAMES[0])
    [weights] = files.root.glob("models/*_seed_0.safetensors")
    weights.write_bytes(b"x")
    files.predictions.unlink()
    copied.experiment(NAMES[1]).predictions.unlink()
    process = begin(
        *("run", write_study(tmp_path), "--out", copied.root, "--workers", "2"), cwd=tmp_path
    )
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    assert err.count("FAILED") == 1, err
    [line] = [one for one in err.splitlines() if "FAILED" in one]
    assert f"{NAMES[0]} FAILED: {weights}: missing or damaged weights" in line
    assert err.splitlines()[-1] == (
        f"finscale: 1 experiment failed ({NAMES[0]}); finscale status says why, and "
        f"{copied.root}/logs more; put it right and run again"
    )
    assert re.search(rf"{NAMES[0]} +failed +4/4", out)
    assert re.search(rf"{NAMES[1]} +done +4/4", out)
    assert copied.experiment(NAMES[1]).predictions.exists()
    logs = [log.read_text(encoding="utf-8") for log in copied.log.parent.glob("worker_*.log")]
    assert any("Traceback" in log for log in logs)
    assert read_json(files.failure)["reason"].startswith(str(weights))


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_workers_of_other_launchers(name: str, begin: Begin, tmp_path: Path) -> None:
    pytest.importorskip({"ray": "ray", "slurm": "submitit"}[name])
    option = {"ray": "n_cpus=0.5", "slurm": "cluster=local"}[name]
    process = begin(
        *("run", write_study(tmp_path), "--out", "run", "--workers", "2"),
        *("--launcher", name, "--launcher-option", option, "--json"),
        cwd=tmp_path,
    )
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    records = raw_records(RunDirectory(tmp_path / "run").ledger)
    kinds = [record["kind"] for record in records]
    assert (kinds.count("trial"), kinds.count("ensemble")) == (8, 2)

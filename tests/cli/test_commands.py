from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, fault_of

from finscale import __version__
from finscale.files import exclusive_lock, read_json, utc_now, write_json_atomic
from finscale.ladder.budgets import parse_budget
from finscale.ladder.grid import architectures_within, default_grid
from finscale.machine import doctor
from finscale.models.architecture import InputShape
from finscale.pipeline import work as pipeline_run
from finscale.pipeline.queue import parse_queue
from finscale.rundir import RunDirectory
from finscale.search.processes import this_worker
from tiny import NAMES, raw_records, write_study

STUDIES = Path(__file__).parents[2] / "studies"
SHAPE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)


def document(text: str) -> Any:
    """Return the one JSON document that a text is."""
    value, end = json.JSONDecoder().raw_decode(text)
    assert text[end:] == "\n"
    return value


@pytest.fixture(scope="module", autouse=True)
def _known_speed() -> Any:
    """Estimates of time need a rate; measuring one is for its own test."""
    from finscale import preview

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(preview, "matrix_flops_per_s", lambda _: 1e12)
        yield


def test_version(finscale: CommandLine) -> None:
    assert finscale("--version").out == f"{__version__}\n"


def test_help_lists_the_commands(finscale: CommandLine) -> None:
    finished = finscale("--help")
    assert finished.code == 0
    for command in ("run", "preview", "status", "stop", "report", "doctor", "features"):
        assert command in finished.out


# --- run ----------------------------------------------------------------------------------------


def test_a_run_prints_table_verdict_and_report(finscale: CommandLine, tmp_path: Path) -> None:
    finished = finscale("run", write_study(tmp_path))
    assert finished.code == 0
    header, *rows = finished.out.splitlines()[:3]
    assert header.split() == ["experiment", "state", "trials", "best", "skill", "duration"]
    for row, name in zip(rows, NAMES, strict=True):
        assert re.fullmatch(rf"{name} +done +4/4 +[+-]0\.\d{{3}} +\d+s", row.rstrip()), row
        assert len(row.rstrip()) <= 80
    assert "Too few points for a verdict" in finished.out
    assert finished.out.rstrip().endswith("report: runs/tiny/report.html")
    assert f"experiment 1/2 {NAMES[0]}: 0 of 4 trials done" in finished.err
    assert (tmp_path / "runs" / "tiny" / "summary.json").exists()


def test_json_is_the_summary_and_nothing_else(
    finscale: CommandLine, copied: RunDirectory, tmp_path: Path
) -> None:
    finished = finscale("run", write_study(tmp_path), "--out", copied.root, "--json")
    assert finished.code == 0
    printed = document(finished.out)
    rows = printed.pop("experiments")
    assert printed == read_json(copied.summary)
    assert [(row["name"], row["state"], row["n_trials_done"]) for row in rows] == [
        (name, "done", 4) for name in NAMES
    ]
    assert all(row["duration_s"] > 0 for row in rows)


@pytest.mark.parametrize("stage", ["search", "train", "evaluate", "fit", "report"])
def test_a_stage_of_a_finished_run(finscale: CommandLine, copied: RunDirectory, stage: str) -> None:
    before = raw_records(copied.ledger)
    finished = finscale(stage, copied.root, "--json")
    assert finished.code == 0
    expected = read_json(copied.summary) if stage == "report" else {"failures": {}}
    printed = document(finished.out)
    assert [row["name"] for row in printed.pop("experiments")] == list(NAMES)
    assert printed == expected
    assert raw_records(copied.ledger) == before


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--stage", "serach", "--stage serach: no such stage; choose from search, train"),
        # Every trial would fail for want of memory, and stay failed.
        ("--memory-share", "0", "Invalid value for '--memory-share'"),
    ],
)
def test_a_worker_that_could_do_nothing_is_refused(
    finscale: CommandLine, copied: RunDirectory, option: str, value: str, said: str
) -> None:
    before = raw_records(copied.ledger)
    finished = finscale("worker", copied.root, option, value)
    assert finished.code == 2
    assert said in finished.err
    assert raw_records(copied.ledger) == before


def test_a_run_that_only_workers_had_is_reported(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    written = copied.environment.read_bytes()
    copied.environment.unlink()
    assert fault_of(finscale("report", copied.root)) == (
        f"{copied.environment}: no such file; finscale evaluate {copied.root} writes it"
    )
    assert finscale("worker", copied.root).code == 0
    kept = copied.environment.read_bytes()
    assert read_json(copied.environment).keys() == json.loads(written).keys()
    assert finscale("worker", copied.root).code == 0
    assert copied.environment.read_bytes() == kept
    assert finscale("report", copied.root).code == 0


def test_settings_can_be_overridden(finscale: CommandLine, tmp_path: Path) -> None:
    finished = finscale(
        *("run", write_study(tmp_path), "--out", "r", "--only", "1.5K_*"),
        *("--set", "search.n_trials=1", "--set", "name=other"),
    )
    assert finished.code == 0
    records = raw_records(RunDirectory(tmp_path / "r").ledger)
    assert [r["experiment"] for r in records if r["kind"] == "trial"] == [NAMES[0]]


def test_failed_experiments_exit_with_3(
    finscale: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_finals = pipeline_run.train_finals

    def fails(run: Any, best: Any) -> None:
        if run.experiment.name == NAMES[0]:
            raise RuntimeError("out of luck")
        train_finals(run, best)

    monkeypatch.setattr(pipeline_run, "train_finals", fails)
    finished = finscale("run", write_study(tmp_path), "--out", "r", "--json")
    assert finished.code == 3
    assert document(finished.out)["failures"] == {NAMES[0]: "out of luck"}
    assert "Traceback" not in finished.err
    assert finished.err.rstrip().endswith(
        f"finscale: 1 experiment failed ({NAMES[0]}); finscale status says why, and "
        "r/logs more; put it right and run again"
    )


def test_stop_asks_the_run_to_stop(finscale: CommandLine, copied: RunDirectory) -> None:
    with exclusive_lock(copied.lock):
        finished = finscale("stop", copied.root)
    assert (finished.code, finished.out) == (0, "")
    assert copied.stop_file.read_text() == "stop\n"
    assert finished.err.endswith("to stop after its current epoch\n")
    with exclusive_lock(copied.lock):
        finished = finscale("stop", copied.root, "--now")
    assert copied.stop_file.read_text() == "stop now\n"
    assert finished.err.endswith("to stop after its current optimiser step\n")


def test_stop_reaches_workers_whose_leader_is_gone(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    said = {"worker": this_worker(), "started_at": utc_now(), "at": utc_now(), "label": "trial 3"}
    write_json_atomic(copied.workers / "one.json", said)
    assert "asked" in finscale("stop", copied.root).err
    assert copied.stop_file.exists()


def test_order_changes_the_queue_of_a_run(finscale: CommandLine, copied: RunDirectory) -> None:
    finished = finscale("order", copied.root, "2.5K_*")
    assert (finished.code, finished.out.split()) == (0, [NAMES[1], NAMES[0]])
    assert parse_queue(copied.queue, NAMES) == [NAMES[1], NAMES[0]]
    before = copied.queue.read_bytes()
    fault = fault_of(finscale("order", copied.root, "9B_*"))
    assert fault == f"order 9B_*: matches no experiment; there are {', '.join(NAMES[::-1])}"
    assert copied.queue.read_bytes() == before
    # What was written by hand and is wrong is overwritten by what is right.
    copied.queue.write_text("nonsense\n", encoding="utf-8")
    assert finscale("order", copied.root, NAMES[0]).code == 0
    assert parse_queue(copied.queue, NAMES) == list(NAMES)


def test_stop_says_that_nothing_is_running(finscale: CommandLine, copied: RunDirectory) -> None:
    finished = finscale("stop", copied.root)
    assert finished.code == 0
    assert "nothing is running" in finished.err
    assert not copied.stop_file.exists()


# --- What looks ahead ---------------------------------------------------------------------------


def test_preview_of_the_reference_study(finscale: CommandLine) -> None:
    previews = document(finscale("preview", STUDIES / "reference.yaml", "--json").out)
    assert [one["name"] for one in previews] == [
        f"{budget}_h{horizon}_threshold_1pct"
        for budget in ("2M", "20M", "200M", "2B")
        for horizon in (1, 3, 5)
    ]
    for one in previews:
        budget = parse_budget(one["budget"])
        cells = architectures_within(budget, default_grid(budget), SHAPE, 0.25)
        assert one["n_architectures"] == len(cells)
        assert one["n_trials"] == 50
        assert 6 <= one["n_extremes"] <= 10
        assert 0.75 * budget.n_parameters <= one["n_parameters_min"]
        assert one["n_parameters_max"] <= 1.25 * budget.n_parameters


def test_preview_of_the_smoke_test(finscale: CommandLine) -> None:
    [one] = document(finscale("preview", STUDIES / "smoke_2b.yaml", "--json").out)
    assert (one["name"], one["n_trials"]) == ("2B_h1_threshold_1pct", 3)


def test_preview_of_the_quickstart_as_a_table(finscale: CommandLine) -> None:
    finished = finscale("preview", STUDIES / "quickstart.yaml")
    assert finished.code == 0
    assert "160K_h5_threshold_1pct" in finished.out
    assert re.search(r"Experiments: 12\. Time: \S+ to \S+ on this machine, a rough", finished.out)
    assert re.search(r"Disk: up to \S+ MiB in the run directory", finished.out)


@pytest.mark.parametrize("budget", ["2M", "20K"])
def test_architectures(finscale: CommandLine, budget: str) -> None:
    target = parse_budget(budget)
    cells = architectures_within(target, default_grid(target), SHAPE, 0.25)
    rows = document(finscale("architectures", budget, "--json").out)
    assert [row["architecture"] for row in rows] == [cell.label for cell in cells]
    table = finscale("architectures", budget).out
    assert all(cell.label in table for cell in cells)
    many = document(finscale("architectures", budget, "--outputs", "20", "--json").out)
    counted = {row["architecture"]: row["n_parameters"] for row in rows}
    both = [row for row in many if row["architecture"] in counted]
    assert both
    assert all(
        row["n_parameters"] - counted[row["architecture"]] == 19 * (row["d_model"] + 1)
        for row in both
    )
    narrow = document(finscale("architectures", budget, "--features", "5", "--json").out)
    assert {row["n_parameters"] for row in narrow} != {row["n_parameters"] for row in rows}


def test_features(finscale: CommandLine) -> None:
    rows = document(finscale("features", "list", "--json").out)
    assert len(rows) == 25
    table = finscale("features", "list", "a25").out
    assert all(row["name"] in table for row in rows)


def test_doctor(finscale: CommandLine, tmp_path: Path) -> None:
    finished = finscale("doctor", "--json")
    findings = document(finished.out)
    names = [one["name"] for one in findings]
    assert names[:4] == ["python", "device", "memory", "swap"]
    assert {"disk", "data", "catalogue", "storage", "sensors", "ray", "postgresql"} < set(names)
    assert {tuple(one) for one in findings} == {("name", "ok", "detail", "fix")}
    assert finished.code == (0 if all(one["ok"] for one in findings) else 2)
    assert list(tmp_path.iterdir()) == []


def test_doctor_names_what_is_not_in_order(
    finscale: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_MIN_DISK_GIB", 1e9)
    missing = doctor.Extra("none", "finscale_none", "none", "nothing")
    monkeypatch.setattr(doctor, "EXTRAS", (missing,))
    finished = finscale("doctor")
    assert finished.code == 2
    assert "FAILED" in finished.out
    assert "make room for a run directory" in finished.out
    assert "pip install 'finscale[none]': nothing" in finished.out
    assert "disk" in finished.err
    assert "Traceback" not in finished.err

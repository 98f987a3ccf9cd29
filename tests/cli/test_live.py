from __future__ import annotations

import errno
import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from finscale.cli import live
from finscale.cli.live import LiveProgress, watching
from finscale.cli.terminal import LossyStream
from finscale.machine.guard import StopState
from finscale.progress import (
    ExperimentStart,
    MatrixState,
    Progress,
    RunStart,
    Tee,
    TextProgress,
    WorkerState,
)
from finscale.records import Record, TrialRecord, read_records
from finscale.rundir import RunDirectory
from tiny import NAMES


def shown(view: LiveProgress) -> str:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(view)
    return console.export_text()


def records_of(directory: RunDirectory, kind: str) -> list[Record]:
    return [
        record
        for record in read_records(directory.ledger)
        if record.kind == kind and NAMES[0] in {record.experiment, f"1.5K_{record.experiment}"}
    ]


def test_the_live_view_through_a_run(finished: RunDirectory) -> None:
    view, printed = LiveProgress(), []
    view.print = printed.append
    assert shown(view).strip() == "preparing …"
    view.message("a line worth keeping")
    [baseline, _] = records_of(finished, "baseline")
    view.run_finished(baseline)

    view.experiment_started(ExperimentStart(NAMES[0], 1, 2, 0, 4, 3))
    assert "experiment 1/2" in shown(view)
    assert f"{NAMES[0]}  0/7 runs  elapsed" in shown(view)

    trials = records_of(finished, "trial")
    assert isinstance(trials[0], TrialRecord)
    view.run_started(RunStart(NAMES[0], "trial 0 (smallest d_model)", "4x1x1x16 lr 0.01", 2))
    assert "trial 0 " in shown(view)
    assert "epoch 0/2" in shown(view)
    assert "4x1x1x16 lr 0.01" in shown(view)
    point = trials[0].curve[0]
    view.epoch_finished(point)
    assert f"epoch 1/2  validation {point.validation_loss:.4f}" in shown(view)
    for trial in trials:
        view.run_finished(trial)
    text = shown(view)
    assert "4/7 runs" in text
    assert "this experiment ~" in text
    best = min(t.validation_loss for t in trials if t.state == "complete")
    assert f"best so far: {trials[0].architecture.partition('x')[0]}x1x" in text
    assert f"validation log-loss {best:.4f}, skill +" in text

    finals = records_of(finished, "final")
    for final in finals:
        view.run_finished(final)
    assert "7/7 runs" in shown(view)
    view.experiment_failed(NAMES[1], "a reason")
    assert printed[0] == "a line worth keeping"
    assert printed[1].startswith("h1_threshold_1pct baseline base_rate: validation skill +0.000")
    assert printed[2].startswith(f"{NAMES[0]} final model of trial ")
    assert printed[-1] == f"{NAMES[1]} FAILED: a reason"
    assert len(printed) == 2 + 3 + 1

    view.experiment_started(ExperimentStart(NAMES[1], 2, 2, 3, 4, 3))
    text = shown(view)
    assert f"{NAMES[1]}  3/7 runs" in text
    assert "best so far" not in text


def test_the_live_view_of_several_workers(finished: RunDirectory) -> None:
    view = LiveProgress()
    view.matrix_moved(MatrixState(12, 0, 600, 0, n_workers=2))
    matrix, *workers = shown(view).rstrip().splitlines()
    assert re.fullmatch(r"matrix +0/12 experiments  0/600 trials  after \d+s *", matrix)
    assert [line.split() for line in workers] == [
        ["worker", "1", "starting", "…"],
        ["worker", "2", "starting", "…"],
    ]
    best = next(
        t for t in records_of(finished, "trial")
        if isinstance(t, TrialRecord) and t.state == "complete"
    )  # fmt: skip
    workers = (
        WorkerState("a:7", NAMES[0], "trial 7 (smallest d_model)", 3, 10, validation_loss=0.69213),
        WorkerState("b:9"),
    )
    view.matrix_moved(
        MatrixState(12, 1, 600, 41, n_workers=2, workers=workers, time_left_s=7500, best=best)
    )
    matrix, one, two, last = shown(view).rstrip().splitlines()
    assert re.search(r"1/12 experiments  41/600 trials  after \d+s, ~2h05m left", matrix)
    assert f"{NAMES[0]} trial 7  epoch 3/10  loss 0.6921" in one
    assert max(len(line.rstrip()) for line in (matrix, one, two)) <= 80
    assert two.rstrip().endswith("between two runs")
    assert last.startswith(f"  best so far: {NAMES[0]} {best.architecture}, validation log-loss ")


def test_the_view_says_how_to_stop_and_that_it_will() -> None:
    state: StopState = "go"
    view = LiveProgress(lambda: state)
    assert shown(view).rstrip().endswith("q: stop after this epoch")
    state = "finish_epoch"
    assert "stopping after this epoch; q again: after this optimiser step" in shown(view)
    state = "stop"
    assert shown(view).rstrip().endswith("  stopping after this optimiser step")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_progress_that_nobody_can_see_is_no_error(number: int) -> None:
    class Lost(io.StringIO):
        def flush(self) -> None:
            raise OSError(number, "gone")

    stream = LossyStream(Lost())
    assert stream.write("text") == 4
    stream.flush()
    with pytest.raises(OSError, match="gone"):
        Lost().flush()


def test_a_trial_that_failed_is_not_the_best(finished: RunDirectory) -> None:
    view = LiveProgress()
    view.experiment_started(ExperimentStart(NAMES[0], 1, 1, 0, 4, 3))
    trial = records_of(finished, "trial")[0]
    view.run_finished(
        trial.model_copy(
            update={"state": "failed", "validation_loss": None, "validation_skill": None}
        )
    )
    assert "1/7 runs" in shown(view)
    assert "best so far" not in shown(view)


def test_plain_lines(finished: RunDirectory) -> None:
    lines: list[str] = []
    progress = Tee(Progress(), TextProgress(lines.append))
    progress.message("hello")
    progress.experiment_started(ExperimentStart(NAMES[0], 1, 2, 3, 4, 3))
    progress.run_started(RunStart(NAMES[0], "trial 3", "4x1x1x16", 2))
    trial = records_of(finished, "trial")[3]
    assert isinstance(trial, TrialRecord)
    progress.epoch_finished(trial.curve[0])
    progress.run_finished(trial)
    failed = {"state": "failed", "reason": "nan", "validation_loss": None, "validation_skill": None}
    progress.run_finished(trial.model_copy(update=failed))
    progress.run_finished(records_of(finished, "ensemble")[0])
    progress.experiment_failed(NAMES[0], "no luck")
    assert lines[:3] == [
        "hello",
        f"experiment 1/2 {NAMES[0]}: 3 of 4 trials done",
        f"{NAMES[0]} trial 3: 4x1x1x16",
    ]
    assert lines[3].startswith(
        f"{NAMES[0]} trial 3 {trial.state} ({trial.reason}): validation log-loss "
        f"{trial.validation_loss:.4f}, skill "
    )
    assert lines[4] == f"{NAMES[0]} trial 3 failed: nan"
    assert lines[5].startswith(f"{NAMES[0]} seed average: validation skill ")
    assert lines[6:] == [f"{NAMES[0]} FAILED: no luck"]


def test_plain_lines_of_several_workers_say_once_what_each_begins() -> None:
    lines: list[str] = []
    progress = TextProgress(lines.append)

    def told(*workers: WorkerState) -> list[str]:
        lines.clear()
        progress.matrix_moved(MatrixState(2, 0, 8, 0, n_workers=2, workers=workers))
        return list(lines)

    first = WorkerState("a:7", NAMES[0], "trial 0", 0, 2, detail="4x1x1x16")
    assert told(first, WorkerState("b:9")) == [f"{NAMES[0]} trial 0: 4x1x1x16 (worker a:7)"]
    second = WorkerState("b:9", NAMES[0], "trial 1", 0, 2, detail="6x1x1x16")
    assert told(replace(first, epoch=1), second) == [f"{NAMES[0]} trial 1: 6x1x1x16 (worker b:9)"]
    assert told(WorkerState("a:7"), second) == []
    assert told(replace(first, label="trial 2"), second) == [
        f"{NAMES[0]} trial 2: 4x1x1x16 (worker a:7)"
    ]


def test_watching_is_live_in_a_terminal_and_plain_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(plain=False) as progress:
        assert isinstance(progress, TextProgress)
        progress.message("plain")
    assert capsys.readouterr().err.endswith(" plain\n")
    stream = io.StringIO()
    monkeypatch.setattr(
        live, "Console", lambda **_: Console(file=stream, force_terminal=True, width=100)
    )
    monkeypatch.setenv("TERM", "xterm")
    with watching(plain=False) as progress:
        assert isinstance(progress, LiveProgress)
        progress.experiment_started(ExperimentStart(NAMES[0], 1, 2, 0, 4, 3))
        progress.message("[bold]kept as it is[/bold]")
    assert "[bold]kept as it is[/bold]" in stream.getvalue()
    with watching(plain=True) as progress:
        assert isinstance(progress, TextProgress)

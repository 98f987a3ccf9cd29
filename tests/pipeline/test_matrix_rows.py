from __future__ import annotations

from pathlib import Path

import pytest

from finscale.files import write_json_atomic
from finscale.pipeline.book import RecordBook
from finscale.pipeline.matrix import experiment_rows, matrix_state
from finscale.pipeline.states import finals_of_best
from finscale.progress import WorkerState
from finscale.records import FinalRecord, TrialRecord, append_record, read_records
from finscale.rundir import RunDirectory
from finscale.search.processes import this_worker
from tiny import NAMES, tiny_prepared


def book_of(directory: RunDirectory) -> RecordBook:
    return RecordBook(directory, tiny_prepared().identities)


def test_a_row_per_experiment(finished: RunDirectory) -> None:
    rows = experiment_rows(tiny_prepared(), finished, book_of(finished))
    records = read_records(finished.ledger)
    for row, name in zip(rows, NAMES, strict=True):
        spent_s = [
            record.duration_s
            for record in records
            if isinstance(record, TrialRecord | FinalRecord) and record.experiment == name
        ]
        assert len(spent_s) == 4 + 3
        assert row.duration_s == pytest.approx(sum(spent_s))
        assert (row.name, row.state) == (name, "done")
        assert row.as_dict()["n_trials_done"] == 4
        assert row.as_dict()["duration_s"] == row.duration_s


def test_rows_before_anything_is_done(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    rows = experiment_rows(tiny_prepared(), directory, book_of(directory))
    assert [(row.state, row.duration_s) for row in rows] == [("waiting", 0.0)] * 2
    write_json_atomic(directory.experiment(NAMES[1]).failure, {"reason": "bad luck", "at": "now"})
    rows = experiment_rows(tiny_prepared(), directory, book_of(directory))
    assert [(row.state, row.reason) for row in rows] == [("waiting", ""), ("failed", "bad luck")]


def test_rows_of_other_settings(copied: RunDirectory) -> None:
    changes = {"training.min_delta": 0.002}
    prepared = tiny_prepared(changes)
    rows = experiment_rows(prepared, copied, RecordBook(copied, prepared.identities))
    assert [(row.state, row.n_trials_done) for row in rows] == [("stale", 0)] * 2
    prepared = tiny_prepared({"search.n_trials": 5})
    rows = experiment_rows(prepared, copied, RecordBook(copied, prepared.identities))
    assert [(row.state, row.n_trials_done) for row in rows] == [("started", 4)] * 2


def test_the_state_of_the_matrix(copied: RunDirectory) -> None:
    prepared = tiny_prepared()
    write_json_atomic(
        copied.workers / "one.json",
        {
            "worker": this_worker(),
            "started_at": "2030-01-01T00:00:02+00:00",
            "experiment": NAMES[1],
            "label": "trial 3",
            "epochs": 9,
            "epoch": 4,
            "validation_loss": 0.5,
            "at": "2030-01-01T00:00:09+00:00",
        },
    )
    # One of an earlier run, and one that is gone.
    write_json_atomic(
        copied.workers / "two.json",
        {"worker": this_worker(), "started_at": "2029-12-31T23:59:59+00:00"},
    )
    write_json_atomic(
        copied.workers / "three.json",
        {
            "worker": this_worker().rpartition(":")[0] + ":1.00",
            "started_at": "2030-01-01T00:00:03+00:00",
        },
    )
    book = book_of(copied)
    state = matrix_state(
        prepared,
        copied,
        book,
        prepared.experiments,
        n_workers=2,
        since="2030-01-01T00:00:00+00:00",
    )
    assert (state.n_experiments, state.n_experiments_done) == (2, 2)
    assert (state.n_trials, state.n_trials_done) == (8, 8)
    assert state.time_left_s == 0.0
    [worker] = state.workers
    assert worker == WorkerState(
        this_worker().rpartition(":")[0], NAMES[1], "trial 3", 4, 9, validation_loss=0.5
    )
    skills = [t.validation_skill for name in NAMES for t in book.trials(name)
              if t.state == "complete" and t.validation_skill is not None]  # fmt: skip
    assert state.best is not None
    assert state.best.validation_skill == max(skills)
    # Only what was chosen counts.
    half = matrix_state(prepared, copied, book, prepared.experiments[:1], n_workers=1, since="")
    assert (half.n_experiments, half.n_trials, half.n_trials_done) == (1, 4, 4)


def test_the_time_left_is_that_of_all_that_was_chosen_and_has_not_failed(
    copied: RunDirectory,
) -> None:
    # One trial and one final run more than there are, each as long as those before on average.
    prepared = tiny_prepared({"search.n_trials": 5, "final.n_seeds": 4})
    book = RecordBook(copied, prepared.identities)

    def left_s(n_workers: int) -> float | None:
        return matrix_state(
            prepared, copied, book, prepared.experiments, n_workers=n_workers, since=""
        ).time_left_s

    def mean_s(kind: type[TrialRecord | FinalRecord], name: str) -> float:
        records = [one for one in book.current if isinstance(one, kind) and one.experiment == name]
        return sum(one.duration_s for one in records) / len(records)

    expected_s = {name: mean_s(TrialRecord, name) + mean_s(FinalRecord, name) for name in NAMES}
    assert left_s(1) == pytest.approx(sum(expected_s.values()))
    assert left_s(2) == pytest.approx(sum(expected_s.values()) / 2)
    write_json_atomic(copied.experiment(NAMES[1]).failure, {"reason": "bad luck", "at": "now"})
    assert left_s(1) == pytest.approx(expected_s[NAMES[0]])


def test_an_experiment_whose_new_best_trial_has_no_finals_is_not_done(
    copied: RunDirectory,
) -> None:
    # As after a longer search, which found something better and was stopped then.
    name = NAMES[1]
    best = book_of(copied).best_trial(name)
    assert best is not None
    assert best.validation_loss is not None
    better = {
        "uid": best.uid.rpartition("/")[0] + "/4",
        "trial": 4,
        "validation_loss": best.validation_loss - 0.01,
    }
    append_record(copied.ledger, best.model_copy(update=better))
    prepared = tiny_prepared({"search.n_trials": 5})
    book = RecordBook(copied, prepared.identities)
    rows = {row.name: row for row in experiment_rows(prepared, copied, book)}
    assert (rows[name].n_trials_done, rows[name].state) == (5, "started")
    state = matrix_state(prepared, copied, book, prepared.experiments[1:], n_workers=1, since="")
    assert (state.n_experiments_done, state.n_trials_done) == (0, 5)
    records = book.current
    finals = [one for one in records if isinstance(one, FinalRecord) and one.experiment == name]
    # Three more, each as long as those of the other trial.
    assert state.time_left_s == pytest.approx(sum(one.duration_s for one in finals))
    assert len(finals_of_best([r for r in records if r.experiment == name])) == 0
    assert len(finals_of_best([r for r in records if r.experiment == NAMES[0]])) == 3

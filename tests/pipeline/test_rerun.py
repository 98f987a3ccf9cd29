"""Going on with a run: nothing twice, nothing mixed, nothing lost."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finscale.errors import RunDirectoryError, StopRequestedError, StudyError
from finscale.evaluation.metrics import log_loss
from finscale.evaluation.predictions import read_predictions
from finscale.files import exclusive_lock, read_json
from finscale.pipeline import results
from finscale.pipeline.book import RecordBook
from finscale.pipeline.queue import parse_queue, write_queue
from finscale.pipeline.status import run_status
from finscale.progress import Progress
from finscale.rundir import RunDirectory
from finscale.search import experiment_run
from tiny import CELL, NAMES, outcome_of, raw_records, run_tiny, tiny_prepared, tiny_study

STALE = {"training.min_delta": 0.002}


@pytest.fixture(autouse=True)
def _short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as all the rest; what is drawn has tests of its own."""
    monkeypatch.setattr(results, "render_report", lambda _: "<html>")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the runs that are trained, as they start."""
    seeds: list[int] = []
    train = experiment_run.train

    def counted(windows: Any, split: Any, job: Any, **options: Any) -> Any:
        seeds.append(job.seed)
        return train(windows, split, job, **options)

    monkeypatch.setattr(experiment_run, "train", counted)
    return seeds


class Told(Progress):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def lines(directory: RunDirectory) -> list[str]:
    return directory.ledger.path.read_text(encoding="utf-8").splitlines()


def states(directory: RunDirectory, changes: dict[str, Any] | None = None) -> dict[str, str]:
    found = run_status(tiny_study(changes), directory.root).experiments
    return {one.name: one.state for one in found}


def assert_predictions_are_of(directory: RunDirectory, changes: dict[str, Any] | None) -> None:
    """The predictions on the disk are those the current records were scored on."""
    identities = tiny_prepared(changes).identities
    records = [r for r in raw_records(directory.ledger) if r["kind"] in {"ensemble", "baseline"}]
    current = {
        (r["experiment"], r.get("model")): r["scores"]
        for r in records
        if r["identity"] == identities[r["experiment"]].model_dump()
    }
    assert len(current) == 4
    for (experiment, model), scores in current.items():
        if model is None:
            frame = read_predictions(directory.experiment(experiment).predictions)
            frame = frame.filter(pl.col("seed").is_null())
        else:
            path = directory.baseline_predictions(experiment, identities[experiment].fingerprint)
            frame = read_predictions(path).filter(model=model)
        for part in ("validation", "test"):
            own = frame.filter(part=part)
            loss = log_loss(own["probability"], own["label"])
            assert loss == scores[part]["log_loss"], (experiment, model)


def test_a_second_run_trains_nothing_and_leaves_results_alone(
    copied: RunDirectory, trained: list[int]
) -> None:
    kept = [copied.ledger.path, *copied.root.glob("experiments/*/models/*")]
    kept += [*copied.root.glob("experiments/*/trials/*"), *copied.root.glob("**/*.parquet")]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept}
    summary = read_json(copied.summary)
    outcome = run_tiny(copied.root)
    assert trained == []
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept} == before
    assert outcome.summary == summary


def test_derived_files_that_were_lost_are_written_again(
    copied: RunDirectory, trained: list[int]
) -> None:
    files = copied.experiment(NAMES[0])
    lost = [files.best, files.all_trials, files.trial(2), files.predictions, files.model_card]
    lost += [copied.results, copied.scaling, copied.summary, copied.data, copied.report]
    lost += copied.root.glob("baselines/*/*.parquet")
    before = {path: path.read_bytes() for path in lost}
    n_lines = len(lines(copied))
    for path in lost:
        path.unlink()
    run_tiny(copied.root)
    assert trained == []
    assert len(lines(copied)) == n_lines
    for path, content in before.items():
        after = path.read_bytes()
        if path.suffix == ".json":
            assert json.loads(after) == json.loads(content), path
        elif path != copied.report:
            assert after == content, path


def test_lost_weights_are_trained_again_to_the_same_result(
    copied: RunDirectory, trained: list[int]
) -> None:
    [weights] = copied.experiment(NAMES[1]).root.glob("models/*_seed_1.safetensors")
    predictions = copied.experiment(NAMES[1]).predictions
    frame = read_predictions(predictions)
    before = lines(copied)
    weights.unlink()
    predictions.unlink()
    run_tiny(copied.root)
    assert len(trained) == 1
    assert lines(copied) == before
    assert read_predictions(predictions).equals(frame)


def test_more_trials_continue_the_search(copied: RunDirectory, trained: list[int]) -> None:
    before = lines(copied)
    run_tiny(copied.root, {"search.n_trials": 5})
    assert lines(copied)[: len(before)] == before
    new = [json.loads(line) for line in lines(copied)[len(before) :]]
    trials = [r["uid"].rpartition("/")[2] for r in new if r["kind"] == "trial"]
    assert trials == ["4", "4"]
    assert len(set(trained)) == len(trained)
    assert set(states(copied, {"search.n_trials": 5}).values()) == {"done"}


def test_more_seeds_train_only_the_new_ones(copied: RunDirectory, trained: list[int]) -> None:
    before = lines(copied)
    run_tiny(copied.root, {"final.n_seeds": 4})
    assert len(trained) == 2
    new = [json.loads(line) for line in lines(copied)[len(before) :]]
    assert [r["kind"] for r in new] == ["final", "ensemble"] * 2
    assert all(len(r["members"]) == 4 for r in new if r["kind"] == "ensemble")
    assert read_predictions(copied.experiment(NAMES[0]).predictions)["seed"].n_unique() == 5


def test_fewer_seeds_keep_what_is_there(copied: RunDirectory, trained: list[int]) -> None:
    run_tiny(copied.root, {"final.n_seeds": 4})
    before, frame = lines(copied), read_predictions(copied.experiment(NAMES[0]).predictions)
    trained.clear()
    run_tiny(copied.root)
    assert (trained, lines(copied)) == ([], before)
    assert read_predictions(copied.experiment(NAMES[0]).predictions).equals(frame)


def test_changed_settings_make_records_stale_and_mix_nothing(
    copied: RunDirectory, trained: list[int]
) -> None:
    before = lines(copied)
    assert set(states(copied).values()) == {"done"}
    assert set(states(copied, STALE).values()) == {"stale"}
    told = Told()
    run_tiny(copied.root, STALE, progress=told)
    for name in (CELL, *NAMES):
        assert (
            f"{name}: earlier records were made with other settings (training.min_delta "
            "0.001 → 0.002); they are kept, and not used"
        ) in told.messages
    assert lines(copied)[: len(before)] == before
    assert len(lines(copied)) == 2 * len(before)
    assert len(trained) == 2 * (4 + 3)
    for name in NAMES:
        trials = read_json(copied.experiment(name).all_trials)
        assert len(trials) == 4
        assert {r["identity"]["settings"] for r in trials} == {
            tiny_study(STALE).training_settings_hash()
        }
    assert_predictions_are_of(copied, STALE)
    assert read_json(copied.summary)["n_complete"] == 2


def test_going_back_to_the_old_settings_uses_the_old_records_and_no_others(
    finished: RunDirectory, copied: RunDirectory, trained: list[int]
) -> None:
    other = {"split": {"by": "fraction", "train_frac": 0.16, "validation_frac": 0.1}}
    run_tiny(copied.root, other)
    assert_predictions_are_of(copied, other)
    trained.clear()
    run_tiny(copied.root)
    assert trained == []
    assert_predictions_are_of(copied, None)
    for name in NAMES:
        old, new = finished.experiment(name), copied.experiment(name)
        for number in range(4):
            assert read_json(new.trial(number)) == read_json(old.trial(number))
        assert read_json(new.best) == read_json(old.best)
        assert read_json(new.model_card) == read_json(old.model_card)


def test_predictions_of_other_settings_are_not_mixed_into_the_report(
    copied: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[set[str]] = []
    render = results.render_report

    def watched(content: Any) -> str:
        shown.append(set(content.predictions[CELL]["model"].unique()))
        return render(content)

    monkeypatch.setattr(results, "render_report", watched)
    run_tiny(copied.root, STALE, only="1.5K_*")
    run_tiny(copied.root, only="2.5K_*")
    run_tiny(copied.root)
    baselines = {"base_rate", "logistic_volatility"}
    assert shown == [baselines | {"1.5K"}, baselines | {"2.5K"}, baselines | {"1.5K", "2.5K"}]


def test_changed_data_are_told_apart(copied: RunDirectory) -> None:
    told = Told()
    run_tiny(copied.root, {"data": {"source": "bundled", "symbol": "NASDAQ"}}, progress=told)
    changed = "made with other data (source bundled SP500 → bundled NASDAQ; symbol SP500 removed; "
    assert any(changed in message for message in told.messages)


def test_only_the_chosen_experiments_are_run(tmp_path: Path, trained: list[int]) -> None:
    directory = run_tiny(tmp_path / "run", only="2.5K_*").directory
    assert states(directory) == {NAMES[0]: "waiting", NAMES[1]: "done"}
    assert not directory.experiment(NAMES[0]).root.exists()
    assert read_json(directory.summary)["n_complete"] == 1
    run_tiny(directory.root)
    assert states(directory) == {NAMES[0]: "done", NAMES[1]: "done"}
    assert len(set(trained)) == len(trained) == 2 * (4 + 3)


def test_from_skips_the_experiments_before(tmp_path: Path) -> None:
    directory = run_tiny(tmp_path / "run", start_from=2).directory
    assert states(directory) == {NAMES[0]: "waiting", NAMES[1]: "done"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "3M_*"}, f"--only 3M_*: matches no experiment; there are {', '.join(NAMES)}"),
        ({"start_from": 0}, "--from 0: the study has experiments 1 to 2"),
        ({"start_from": 3}, "--from 3: the study has experiments 1 to 2"),
    ],
)
def test_a_choice_of_nothing_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError) as refusal:
        run_tiny(tmp_path / "run", **options)
    assert str(refusal.value) == message
    assert list(tmp_path.iterdir()) == []


def test_stages_one_by_one_come_to_the_same(finished: RunDirectory, tmp_path: Path) -> None:
    root = tmp_path / "run"
    for stage in ("search", "train", "evaluate", "fit", "report"):
        directory = run_tiny(root, stages=(stage,)).directory

    def by_uid(directory: RunDirectory) -> dict[str, dict[str, Any]]:
        return {r["uid"]: outcome_of(r) for r in raw_records(directory.ledger)}

    assert by_uid(directory) == by_uid(finished)
    assert directory.report.exists()


def test_a_torn_last_line_is_left_and_its_record_written_again(copied: RunDirectory) -> None:
    whole = lines(copied)
    copied.ledger.path.write_text("\n".join(whole)[:-200], encoding="utf-8")
    run_tiny(copied.root)
    after = lines(copied)
    assert after[: len(whole) - 1] == whole[:-1]
    uids = [r["uid"] for r in raw_records(copied.ledger)]
    assert sorted(uids) == sorted({json.loads(line)["uid"] for line in whole})


def test_two_processes_do_not_work_in_one_directory(copied: RunDirectory) -> None:
    with exclusive_lock(copied.lock), pytest.raises(RunDirectoryError) as refusal:
        run_tiny(copied.root)
    assert str(refusal.value) == (
        f"{copied.root}: another finscale process is working here; "
        "wait for it, stop it, or choose another directory with --out"
    )
    assert refusal.value.exit_code == 2


def test_a_directory_of_something_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="holds files that are not a finscale run"):
        run_tiny(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_killed_before_its_study_was_written_can_be_started_again(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.lock.touch()
    directory.log.parent.mkdir()
    directory.log.touch()
    directory.require_usable()


def test_a_directory_in_the_place_of_the_stop_file_is_refused_with_the_fix(
    copied: RunDirectory,
) -> None:
    copied.stop_file.mkdir()
    with pytest.raises(RunDirectoryError, match=r"/stop: is a directory; remove it"):
        run_tiny(copied.root)


def test_a_ledger_of_another_version_is_refused_untouched(copied: RunDirectory) -> None:
    lines = copied.ledger.path.read_text(encoding="utf-8").replace('"kind":', '"sort":')
    copied.ledger.path.write_text(lines, encoding="utf-8")
    before = {
        file: file.read_bytes()
        for file in copied.root.rglob("*")
        if file.is_file() and file != copied.log
    }
    with pytest.raises(RunDirectoryError, match="written by another version of finscale"):
        run_tiny(copied.root, STALE)
    assert {file: file.read_bytes() for file in before} == before


def test_a_budget_that_is_removed_is_no_fault_of_the_queue(copied: RunDirectory) -> None:
    write_queue(copied.queue, NAMES[::-1])
    run_tiny(copied.root, {"ladder.budgets": ["2.5K"]}, stages=("train",))
    assert parse_queue(copied.queue, NAMES[1:]) == [NAMES[1]]
    assert NAMES[0] not in copied.queue.read_text()


def test_a_damaged_file_of_a_trial_is_written_anew(copied: RunDirectory) -> None:
    book = RecordBook(copied, tiny_prepared().identities)
    trials = [copied.experiment(NAMES[0]).trial(number) for number in range(4)]
    before = [read_json(file) for file in trials]
    trials[0].write_text("{")
    trials[1].write_bytes(b"\xff")
    trials[2].write_text("[]")
    trials[3].write_text("[" * 100_000)
    book.refresh(NAMES[0])
    assert [read_json(file) for file in trials] == before


def test_a_stop_file_stops_the_run_and_the_next_goes_on(
    finished: RunDirectory, tmp_path: Path
) -> None:
    root = tmp_path / "run"

    class StopsInTraining(Progress):
        def run_started(self, start: Any) -> None:
            if start.label == "seed 1":
                RunDirectory(root).stop_file.touch()

    with pytest.raises(StopRequestedError):
        run_tiny(root, progress=StopsInTraining())
    assert states(RunDirectory(root)) == {NAMES[0]: "started", NAMES[1]: "waiting"}
    directory = run_tiny(root).directory
    assert not directory.stop_file.exists()
    assert {r["uid"]: outcome_of(r) for r in raw_records(directory.ledger)} == {
        r["uid"]: outcome_of(r) for r in raw_records(finished.ledger)
    }
    assert list(directory.root.glob("experiments/*/checkpoints/*")) == []


def test_a_stop_between_final_runs_starts_no_other(tmp_path: Path, trained: list[int]) -> None:
    root = tmp_path / "run"
    run_tiny(root, stages=("search",))
    trained.clear()

    class StopsAtOnce(Progress):
        def experiment_started(self, start: Any) -> None:
            RunDirectory(root).stop_file.touch()

    with pytest.raises(StopRequestedError):
        run_tiny(root, stages=("train",), progress=StopsAtOnce())
    assert trained == []


def test_a_run_works_outside_the_main_thread(copied: RunDirectory) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            run_tiny(copied.root)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []


def test_no_file_of_the_storage_stays_open(copied: RunDirectory) -> None:
    run_tiny(copied.root, {"search.n_trials": 5})
    assert list(copied.root.glob("search.db-*")) == []

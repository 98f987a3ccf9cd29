from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from finscale.errors import StopRequestedError
from finscale.models.cost import count_parameters, peak_memory_bytes
from finscale.progress import TextProgress
from finscale.records import TrialRecord
from finscale.search import experiment_run, worker
from finscale.search.experiment_run import ExperimentRun
from finscale.search.slots import RECORD
from finscale.search.space import central_recipe, forced_parameters
from finscale.search.storage import open_storage
from finscale.search.worker import Search, open_search
from finscale.training.loop import DivergedError
from finscale.training.recipe import TrainingJob
from tiny import NAMES, outcome_of, tiny_prepared, tiny_run

N_TRIALS = 6
CHANGES = {
    "search.n_trials": N_TRIALS,
    "search.n_startup_trials": 2,
    "search.space.epochs": [2, 3],
}
FOLDS = CHANGES | {"split.n_folds": 3, "split.train_frac": 0.5, "search.n_trials": 3}


def search(run: ExperimentRun, storage: RDBStorage, keep: Any, **options: Any) -> None:
    """Bring a search to its end."""
    one = Search(run, storage, run.files.root / ".claims", keep, **options)
    while one.step() != "done":
        pass
    one.publish()


def run_search(run: ExperimentRun, path: Path) -> list[TrialRecord]:
    """Search, and return the records that are new, as the pipeline's ledger would keep them."""
    records: dict[str, TrialRecord] = {}
    with open_storage(path) as storage:
        search(run, storage, lambda one: records.setdefault(one.uid, one))
    return list(records.values())


def trials_in(run: ExperimentRun, path: Path) -> list[optuna.trial.FrozenTrial]:
    with open_storage(path) as storage:
        return open_search(run, storage).get_trials()


def slot(record: TrialRecord) -> int:
    return int(record.uid.rpartition("/")[2])


def outcomes(records: list[TrialRecord]) -> dict[int, dict[str, Any]]:
    return {slot(record): outcome_of(record) for record in records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRecord]:
    root = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    return run_search(tiny_run(root, CHANGES), root / "search.db")


# --- A search that is not interrupted -----------------------------------------------------------


def test_every_slot_is_run_once_and_the_extremes_come_first(whole: list[TrialRecord]) -> None:
    experiment = tiny_prepared(CHANGES).experiments[-1]
    n_extremes = len(experiment.extremes)
    assert [slot(record) for record in whole] == list(range(N_TRIALS))
    assert [record.forced for record in whole[:n_extremes]] == [
        extreme.reasons for extreme in experiment.extremes
    ]
    assert [record.architecture for record in whole[:n_extremes]] == [
        extreme.architecture.label for extreme in experiment.extremes
    ]
    assert n_extremes < N_TRIALS
    assert all(record.forced == () for record in whole[n_extremes:])


def test_seeds_and_recipes_are_those_of_their_slots(whole: list[TrialRecord]) -> None:
    assert len({record.seed for record in whole}) == N_TRIALS
    sampled = [record for record in whole if not record.forced]
    assert len({record.recipe["learning_rate"] for record in sampled}) == len(sampled)


def test_the_same_study_gives_the_same_search(whole: list[TrialRecord], tmp_path: Path) -> None:
    again = run_search(tiny_run(tmp_path, CHANGES), tmp_path / "search.db")
    assert outcomes(again) == outcomes(whole)


def test_more_trials_continue_the_search(whole: list[TrialRecord], tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    first = run_search(tiny_run(tmp_path, CHANGES | {"search.n_trials": 2}), path)
    assert len(first) == 2
    both = run_search(tiny_run(tmp_path, CHANGES), path)
    assert outcomes(both) == outcomes(whole)
    assert [record.created_at for record in both[:2]] == [record.created_at for record in first]


def test_a_finished_search_trains_nothing(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search.db"
    run = tiny_run(tmp_path, CHANGES)
    first = run_search(run, path)
    monkeypatch.setattr(experiment_run, "train", lambda *_, **__: pytest.fail("trained"))
    assert run_search(run, path) == first
    fewer = tiny_run(tmp_path, CHANGES | {"search.n_trials": 3})
    assert run_search(fewer, path) == first


def test_what_was_sampled_is_what_was_trained_and_what_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[TrainingJob] = []
    train = experiment_run.train

    def watched(windows: Any, split: Any, job: TrainingJob, **options: Any) -> Any:
        jobs.append(job)
        return train(windows, split, job, **options)

    monkeypatch.setattr(experiment_run, "train", watched)
    run, path = tiny_run(tmp_path, CHANGES), tmp_path / "search.db"
    records, trials = run_search(run, path), trials_in(run, path)
    assert len(records) == len(jobs) == len(trials) == N_TRIALS
    for record, job, trial in zip(records, jobs, trials, strict=True):
        assert trial.params == forced_parameters(job.architecture, job.recipe)
        assert record.recipe == job.recipe.as_dict()
        assert record.architecture == job.architecture.label
        assert record.n_parameters == count_parameters(job.architecture, job.shape)
        assert (record.seed, record.effective_batch, record.precision) == (
            job.seed,
            job.settings.effective_batch,
            job.precision,
        )
        if record.state == "complete":
            assert trial.value == record.validation_loss
            assert trial.state == TrialState.COMPLETE
        curve = {point.epoch: point.validation_loss for point in record.curve}
        assert trial.intermediate_values == curve
        assert record.validation_loss == min(curve.values())


def test_without_extremes_first_all_trials_are_sampled(tmp_path: Path) -> None:
    changes = CHANGES | {"search.extremes_first": False, "search.n_trials": 3}
    records = run_search(tiny_run(tmp_path, changes), tmp_path / "search.db")
    assert [record.forced for record in records] == [(), (), ()]


def test_the_test_part_is_not_looked_at(whole: list[TrialRecord], tmp_path: Path) -> None:
    data = tiny_prepared(CHANGES).cells["h1_threshold_1pct"]
    labels_T, scaled_TF = data.labels_T.copy(), data.scaled_TF.copy()
    stop = int(np.searchsorted(data.date, data.split.test_start))
    labels_T[stop - 1 :] = np.nan
    scaled_TF[stop:] = np.nan
    split = replace(data.split, test=np.array([], dtype=np.int64))
    blind = replace(data, labels_T=labels_T, scaled_TF=scaled_TF, split=split)
    records = run_search(tiny_run(tmp_path, CHANGES, data=blind), tmp_path / "search.db")
    assert outcomes(records) == outcomes(whole)


# --- Pruning ------------------------------------------------------------------------------------


class AlwaysPrune(BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def test_extremes_are_never_pruned_and_sampled_trials_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "make_pruner", lambda *_, **__: AlwaysPrune())
    run = tiny_run(tmp_path, CHANGES)
    records = run_search(run, tmp_path / "search.db")
    n_extremes = len(run.experiment.extremes)
    assert [record.state for record in records] == (
        ["complete"] * n_extremes + ["pruned"] * (N_TRIALS - n_extremes)
    )
    for record in records[:n_extremes]:
        assert len(record.curve) == record.recipe["epochs"]
    for record in records[n_extremes:]:
        assert len(record.curve) == 1
        assert record.reason == "behind the others at epoch 1"
        assert record.validation_loss == record.curve[0].validation_loss


def test_nothing_is_pruned_if_the_study_says_so(tmp_path: Path) -> None:
    for changes in ({"search.prune": False}, {"search.pruner": "none"}):
        with open_storage(tmp_path / "search.db") as storage:
            search_study = open_search(tiny_run(tmp_path, CHANGES | changes), storage)
        assert isinstance(search_study.pruner, NopPruner)


# --- Failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [DivergedError("train_loss is nan in epoch 1"), torch.OutOfMemoryError("no room\nat all")],
    ids=["diverged", "memory"],
)
@pytest.mark.parametrize("failing", [1, 5])
def test_a_failed_trial_leaves_a_record_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, failing: int
) -> None:
    train, calls = experiment_run.train, []

    def fails_once(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == failing + 1:
            raise error
        return train(*args, **options)

    monkeypatch.setattr(experiment_run, "train", fails_once)
    run, path = tiny_run(tmp_path, CHANGES), tmp_path / "search.db"
    records = run_search(run, path)
    assert [slot(record) for record in records] == list(range(N_TRIALS))
    failed = [record for record in records if record.state == "failed"]
    assert [slot(record) for record in failed] == [failing]
    assert failed[0].reason == str(error).splitlines()[0]
    assert failed[0].validation_loss is None
    assert failed[0].recipe
    # It is not tried again.
    assert run_search(run, path) == records


def test_a_model_that_does_not_fit_in_memory_is_a_failed_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_run, "usable_memory_bytes", lambda _: 10_000)
    records = run_search(tiny_run(tmp_path, CHANGES), tmp_path / "search.db")
    assert [record.state for record in records] == ["failed"] * N_TRIALS
    assert all("one sample at a time needs" in record.reason for record in records)
    assert all(record.micro_batch == 1 and not record.curve for record in records)


def test_a_learning_rate_out_of_this_world_fails_every_trial(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"search.space.learning_rate": {"low": 1e30, "high": 1e31}}
    records = run_search(tiny_run(tmp_path, changes), tmp_path / "search.db")
    assert len(records) == 4
    for record in records:
        assert record.state == "failed"
        assert record.reason.startswith(
            ("train_loss is nan in epoch 1", "validation_loss is nan in epoch 1")
        )
    # One line for each comes from the live view; Optuna's traceback would tear it apart.
    assert capfd.readouterr().err == ""


def test_an_error_that_is_a_bug_stops_the_search_and_the_trial_is_repeated(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = tiny_run(tmp_path, CHANGES), tmp_path / "search.db"
    with monkeypatch.context() as patched:
        patched.setattr(experiment_run, "train", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_search(run, path)
    assert outcomes(run_search(run, path)) == outcomes(whole)


# --- Interruptions ------------------------------------------------------------------------------


def assert_resumed(
    run: ExperimentRun, path: Path, whole: list[TrialRecord], kept: list[TrialRecord]
) -> None:
    """Resume, and compare with the search that was not interrupted."""
    records = run_search(run, path)
    assert outcomes(records) == outcomes(whole)
    assert {record.uid: record for record in records} | {r.uid: r for r in kept} == {
        record.uid: record for record in records
    }
    # In the storage, too, each slot is finished once, and in order.
    finished = [
        TrialRecord.model_validate(trial.user_attrs[RECORD])
        for trial in trials_in(run, path)
        if trial.state.is_finished() and RECORD in trial.user_attrs
    ]
    assert [slot(record) for record in finished] == list(range(N_TRIALS))
    assert all(trial.state.is_finished() for trial in trials_in(run, path))
    checkpoints = run.files.root / "checkpoints"
    assert not checkpoints.exists() or list(checkpoints.iterdir()) == []


def interrupted(root: Path, run: ExperimentRun, error: type[BaseException]) -> list[TrialRecord]:
    """Search until ``error``, and return the records of the trials finished by then."""
    records: list[TrialRecord] = []
    with open_storage(root / "search.db") as storage, pytest.raises(error):
        search(run, storage, records.append)
    return records


@pytest.mark.parametrize("n_asked", [1, 2, 3, 9, 15])
def test_a_stopped_search_goes_on_as_if_it_had_not_been_stopped(
    whole: list[TrialRecord], tmp_path: Path, n_asked: int
) -> None:
    asked = iter(range(1, 1000))
    run = tiny_run(tmp_path, CHANGES, should_stop=lambda: next(asked) >= n_asked)
    kept = interrupted(tmp_path, run, StopRequestedError)
    assert len(kept) < N_TRIALS
    assert_resumed(tiny_run(tmp_path, CHANGES), tmp_path / "search.db", whole, kept)


def kill_when(
    monkeypatch: pytest.MonkeyPatch, place: str, n_calls: int, *, after: bool = False
) -> None:
    """Let the n-th call of a method of Optuna's trials end the process, leaving the trial as it is.

    Optuna closes a trial on exceptions and Ctrl-C but not on SystemExit: as after a kill, it is
    left running.
    """
    method, calls = getattr(optuna.Trial, place), iter(range(1, 10_000))

    def killing(self: optuna.Trial, *args: Any, **options: Any) -> Any:
        # Of the attributes the record alone is counted, and of the trials those of the search:
        # proposals are drawn in a study of their own.
        counts = "@" in self.study.study_name
        counts = counts and (place != "set_user_attr" or args[0] == RECORD)
        dies = counts and next(calls) == n_calls
        if dies and not after:
            raise SystemExit
        result = method(self, *args, **options)
        if dies:
            raise SystemExit
        return result

    monkeypatch.setattr(optuna.Trial, place, killing)


KILLS = {
    "before a forced trial's first parameter": ("suggest_categorical", 8, False),
    "while a forced trial draws": ("suggest_categorical", 11, False),
    "before a sampled trial's first parameter": ("suggest_categorical", 29, False),
    "while a sampled trial draws": ("suggest_categorical", 31, False),
    "while a later sampled trial draws": ("suggest_float", 11, True),
    "in a forced trial's first epoch": ("report", 1, False),
    "in a forced trial's second epoch": ("report", 4, False),
    "in a sampled trial's epoch": ("report", 8, True),
    "after a forced trial's record, before its end": ("set_user_attr", 2, True),
    "after a sampled trial's record, before its end": ("set_user_attr", 6, True),
    "before a sampled trial's record": ("set_user_attr", 6, False),
}


@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_search_goes_on_as_if_it_had_not_been_killed(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: str
) -> None:
    place, n_calls, after = KILLS[kill]
    run = tiny_run(tmp_path, CHANGES)
    with monkeypatch.context() as patched:
        kill_when(patched, place, n_calls, after=after)
        kept = interrupted(tmp_path, run, SystemExit)
    assert any(
        trial.state == TrialState.RUNNING for trial in trials_in(run, tmp_path / "search.db")
    )
    assert_resumed(run, tmp_path / "search.db", whole, kept)


@pytest.mark.parametrize("n_calls", [2, 5, 7])
def test_a_random_trial_killed_while_it_is_drawn_is_drawn_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_calls: int
) -> None:
    # Random draws follow each other: with the first ones given, the next would be other ones.
    changes = {"search.n_trials": 2, "search.extremes_first": False, "search.n_startup_trials": 9}
    run = tiny_run(tmp_path, changes)
    reference = run_search(run, tmp_path / "reference.db")
    with monkeypatch.context() as patched:
        kill_when(patched, "suggest_categorical", n_calls, after=True)
        interrupted(tmp_path, run, SystemExit)
    assert outcomes(run_search(run, tmp_path / "search.db")) == outcomes(reference)


@pytest.mark.parametrize("pruner", [True, False], ids=["pruned", "failed"])
def test_a_record_left_by_a_kill_decides_how_the_trial_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pruner: bool
) -> None:
    if pruner:
        monkeypatch.setattr(worker, "make_pruner", lambda *_, **__: AlwaysPrune())
    else:
        changes = {"search.space.learning_rate": {"low": 1e30, "high": 1e31}}
    run = tiny_run(tmp_path, CHANGES if pruner else CHANGES | changes)
    reference = run_search(run, tmp_path / "reference.db")
    with monkeypatch.context() as patched:
        kill_when(patched, "set_user_attr", 5, after=True)
        interrupted(tmp_path, run, SystemExit)
    records = run_search(run, tmp_path / "search.db")
    assert outcomes(records) == outcomes(reference)
    wanted = TrialState.PRUNED if pruner else TrialState.FAIL
    assert trials_in(run, tmp_path / "search.db")[4].state == wanted


def test_a_search_killed_again_and_again_is_still_the_same(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tmp_path, CHANGES)
    kept: list[TrialRecord] = []
    for n_calls in (1, 1, 4, 6, 5):
        with monkeypatch.context() as patched:
            kill_when(patched, "report", n_calls)
            kept = interrupted(tmp_path, run, SystemExit)
    assert_resumed(run, tmp_path / "search.db", whole, kept)


def test_a_stopped_trial_goes_on_from_its_checkpoint(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(range(1, 1000))
    run = tiny_run(tmp_path, CHANGES, should_stop=lambda: next(asked) >= 2)
    interrupted(tmp_path, run, StopRequestedError)
    [checkpoint] = (run.files.root / "checkpoints").iterdir()
    assert "slot_0000" in checkpoint.name
    epochs: list[int] = []
    epoch = experiment_run.train.__globals__["TrainingRun"].epoch

    def counted(self: Any) -> Any:
        record = epoch(self)
        epochs.append(record.epoch)
        return record

    monkeypatch.setattr(experiment_run.train.__globals__["TrainingRun"], "epoch", counted)
    lines: list[str] = []
    resumed = tiny_run(tmp_path, CHANGES, progress=TextProgress(lines.append))
    assert outcomes(run_search(resumed, tmp_path / "search.db")) == outcomes(whole)
    assert epochs[0] == 2
    assert lines[0].startswith(f"{NAMES[1]} trial 0 ")
    n_epochs = whole[0].recipe["epochs"]
    assert lines[1] == f"{NAMES[1]} goes on with epoch 2 of {n_epochs}"
    assert sum("goes on" in line for line in lines) == 1


def test_a_lost_storage_is_restored_from_the_ledger(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tmp_path, CHANGES)
    train, trained = experiment_run.train, []

    def counted(windows: Any, split: Any, job: Any, **options: Any) -> Any:
        trained.append(job.seed)
        return train(windows, split, job, **options)

    monkeypatch.setattr(experiment_run, "train", counted)
    kept, found = whole[:-2], []
    with open_storage(tmp_path / "search.db") as storage:
        search(run, storage, found.append, recorded=kept)
    assert outcomes(found) == outcomes(whole)
    assert trained == [record.seed for record in whole[-2:]]


def test_random_trials_come_between_the_extremes_and_tpe(
    whole: list[TrialRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    draw = worker.draw_trial

    def watched(*args: Any, **options: Any) -> Any:
        drawn.append((options["slot"], options["n_extremes"]))
        return draw(*args, **options)

    monkeypatch.setattr(worker, "draw_trial", watched)
    run = tiny_run(tmp_path, CHANGES)
    run_search(run, tmp_path / "search.db")
    n_extremes = len(run.experiment.extremes)
    assert n_extremes > 0
    assert drawn == [(slot, n_extremes) for slot in range(n_extremes, N_TRIALS)]


def test_no_trial_has_the_settings_of_another(whole: list[TrialRecord]) -> None:
    settings = [(one.architecture, tuple(one.recipe.values())) for one in whole]
    assert len(set(settings)) == N_TRIALS


def test_trials_on_folds_are_scored_on_all_of_them(on_folds: Path) -> None:
    run = tiny_run(on_folds, FOLDS)
    for trial in trials_in(run, on_folds / "search.db"):
        record = TrialRecord.model_validate(trial.user_attrs[RECORD])
        assert [fold.fold for fold in record.folds] == [1, 2, 3]
        n_rows = [fold.n_rows for fold in record.folds]
        losses = [fold.validation_loss for fold in record.folds]
        pooled = float(np.average(losses, weights=n_rows))
        assert record.validation_loss == pytest.approx(pooled, rel=1e-12)
        base = float(np.average([fold.base_loss for fold in record.folds], weights=n_rows))
        assert record.validation_skill == pytest.approx(1 - pooled / base)
        assert record.curve == ()
    assert not (run.files.root / "checkpoints").exists() or not list(
        (run.files.root / "checkpoints").iterdir()
    )


@pytest.fixture(scope="module")
def on_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search on folds."""
    root = tmp_path_factory.mktemp("folds")
    run_search(tiny_run(root, FOLDS), root / "search.db")
    return root


def test_a_restored_trial_on_folds_tells_the_pruner_what_it_told_before(
    on_folds: Path, tmp_path: Path
) -> None:
    original = trials_in(tiny_run(on_folds, FOLDS), on_folds / "search.db")
    recorded = [TrialRecord.model_validate(one.user_attrs[RECORD]) for one in original]
    run, found = tiny_run(tmp_path, FOLDS), []
    with open_storage(tmp_path / "search.db") as storage:
        search(run, storage, found.append, recorded=recorded)
    restored = trials_in(run, tmp_path / "search.db")
    assert [one.intermediate_values for one in restored] == [
        one.intermediate_values for one in original
    ]
    # One value for each fold, not for each epoch.
    assert all(list(one.intermediate_values) == [1, 2, 3] for one in restored)
    assert [(one.state, one.value, one.params) for one in restored] == [
        (one.state, one.value, one.params) for one in original
    ]


def test_a_worker_plans_with_its_share_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = tiny_prepared().experiments[-1].architectures[-1]
    recipe = central_recipe(tiny_prepared().study.search.space)
    shape = tiny_prepared().experiments[-1].shape

    def needed_bytes(micro_batch: int) -> int:
        return peak_memory_bytes(
            architecture,
            shape,
            micro_batch,
            accumulating=micro_batch < 512,
            bytes_per_value=4,
            dropout=recipe.dropout,
        )

    # What the whole batch of 512 takes at once, and not a byte more; of a tiny model's peak most
    # does not go by the batch.
    free_bytes = needed_bytes(512)
    monkeypatch.setattr(experiment_run, "usable_memory_bytes", lambda _: free_bytes)
    whole, part = (
        tiny_run(tmp_path, memory_share=share).job(architecture, recipe, 0).batching
        for share in (1.0, 0.9)
    )
    assert (whole.micro_batch, whole.accumulation_steps) == (512, 1)
    # The largest of the powers of two that fits into nine tenths of it.
    fits = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if needed_bytes(n) <= 0.9 * free_bytes]
    assert part.micro_batch == fits[-1] < 256
    assert part.effective_batch == 512


def test_trials_of_another_fingerprint_are_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    small = {"search.n_trials": 2}
    first = run_search(tiny_run(tmp_path, small), path)
    other = run_search(tiny_run(tmp_path, small | {"training.min_delta": 0.5}), path)
    assert {record.uid for record in first}.isdisjoint(record.uid for record in other)
    assert len(other) == 2


def test_a_slot_that_the_ledger_never_had_is_filled_when_the_storage_is_lost(
    whole: list[TrialRecord], tmp_path: Path
) -> None:
    # Its worker was lost with the storage, while others had finished later slots.
    run = tiny_run(tmp_path, CHANGES)
    found: dict[str, TrialRecord] = {}
    with open_storage(tmp_path / "search.db") as storage:
        kept = [one for one in whole if slot(one) != 1]
        search(run, storage, lambda one: found.setdefault(one.uid, one), recorded=kept)
    assert sorted(slot(one) for one in found.values()) == list(range(N_TRIALS))
    assert outcomes(list(found.values())) == outcomes(whole)

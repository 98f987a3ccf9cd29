from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted import ARCHITECTURE, SPLIT, make_job, make_windows

from finscale.errors import RunDirectoryError, StopRequestedError
from finscale.ladder.batching import Batching
from finscale.training import loop
from finscale.training.checkpoint import load_tensors, save_tensors
from finscale.training.loop import EpochRecord, TrainingResult, train
from finscale.windows import Windows


@pytest.fixture(scope="module")
def windows() -> Windows:
    return make_windows(signal=False)


@pytest.fixture(scope="module")
def whole(windows: Windows) -> TrainingResult:
    """A run in which the best epoch is neither the first nor the last, and patience ends it."""
    result = train(windows, SPLIT, job(windows))
    assert result.stop_reason == "patience"
    assert 2 < result.best_epoch < len(result.curve) < 12
    return result


def job(windows: Windows) -> loop.TrainingJob:
    return make_job(windows, learning_rate=4e-3, epochs=12, patience=4)


def after(n_epochs: int) -> Callable[[], bool]:
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= n_epochs


def stop_after(n_epochs: int, windows: Windows, path: Path) -> None:
    with pytest.raises(StopRequestedError):
        train(windows, SPLIT, job(windows), should_stop=after(n_epochs), checkpoint=path)


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.curve == other.curve
    assert (one.best_epoch, one.stop_reason, one.n_steps) == (
        other.best_epoch,
        other.stop_reason,
        other.n_steps,
    )
    assert one.weights.keys() == other.weights.keys()
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name


@pytest.mark.parametrize("n_epochs", [1, 2, 5])
def test_a_resumed_run_is_the_run_that_was_not_interrupted(
    windows: Windows, whole: TrainingResult, tmp_path: Path, n_epochs: int
) -> None:
    path = tmp_path / "c.safetensors"
    stop_after(n_epochs, windows, path)
    seen: list[EpochRecord] = []
    resumed = train(windows, SPLIT, job(windows), on_epoch=seen.append, checkpoint=path)
    assert_same(resumed, whole)
    assert tuple(seen) == whole.curve


def test_stopped_again_and_again_it_is_still_the_same(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"
    for n_epochs in (1, 3, 2):
        stop_after(n_epochs, windows, path)
    assert_same(train(windows, SPLIT, job(windows), checkpoint=path), whole)


def test_a_checkpoint_of_the_last_epoch_trains_nothing_more(
    windows: Windows, whole: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    train(windows, SPLIT, job(windows), checkpoint=path, checkpoint_every_s=0)
    monkeypatch.setattr(loop.TrainingRun, "step", lambda _: pytest.fail("trained"))
    assert_same(train(windows, SPLIT, job(windows), checkpoint=path), whole)


def test_no_checkpoint_is_written_without_a_stop(windows: Windows, tmp_path: Path) -> None:
    train(windows, SPLIT, make_job(windows, epochs=2), checkpoint=tmp_path / "c.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_stop_asked_for_in_the_last_epoch_loses_nothing(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, short = tmp_path / "c.safetensors", make_job(windows, epochs=2)
    with pytest.raises(StopRequestedError):
        train(windows, SPLIT, short, should_stop=after(2), checkpoint=path)
    expected = train(windows, SPLIT, short)
    monkeypatch.setattr(loop.TrainingRun, "step", lambda _: pytest.fail("trained"))
    assert_same(train(windows, SPLIT, short, checkpoint=path), expected)


def test_it_may_be_resumed_with_another_cut_into_micro_batches(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"
    stop_after(2, windows, path)
    cut = replace(job(windows), batching=Batching(32, 2))
    resumed = train(windows, SPLIT, cut, checkpoint=path)
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 5e-3},
        {"seed": 6},
        {"patience": 5},
        {"architecture": replace(ARCHITECTURE, n_heads=1)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_checkpoint_of_another_job_is_refused(
    windows: Windows, tmp_path: Path, changes: dict[str, object]
) -> None:
    path = tmp_path / "c.safetensors"
    stop_after(1, windows, path)
    other = make_job(windows, **({"learning_rate": 4e-3, "epochs": 12, "patience": 4} | changes))
    if "architecture" in changes:
        other = replace(other, architecture=changes["architecture"])
    with pytest.raises(RunDirectoryError) as refusal:
        train(windows, SPLIT, other, checkpoint=path)
    assert str(refusal.value) == f"{path}: checkpoint of another run; remove it to train again"
    assert path.exists()


def flip_a_bit(content: bytes) -> bytes:
    """Damage a weight, which no size would tell."""
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-10],
    "garbage": lambda _: b"x" * 99,
    "empty": lambda _: b"",
    "one bit": flip_a_bit,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_with_a_damaged_checkpoint_begins_anew_and_says_so(
    windows: Windows,
    whole: TrainingResult,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    path = tmp_path / "c.safetensors"
    stop_after(1, windows, path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    seen: list[EpochRecord] = []
    result = train(windows, SPLIT, job(windows), on_epoch=seen.append, checkpoint=path)
    assert_same(result, whole)
    assert tuple(seen) == whole.curve
    message = result.damaged_checkpoint
    assert message is not None
    assert message.startswith(f"{path}: missing or damaged weights (")
    assert message.endswith("; remove the file to train again")
    assert "\n" not in message
    assert f"training begins anew: {message}" in caplog.messages
    assert whole.damaged_checkpoint is None


@pytest.mark.parametrize("missing", ["loss_sum", "model.head.bias", "optimizer.0.exp_avg"])
def test_a_checkpoint_that_lacks_something_leaves_nothing_behind(
    windows: Windows, whole: TrainingResult, tmp_path: Path, missing: str
) -> None:
    path = tmp_path / "c.safetensors"
    stop_after(2, windows, path)
    tensors, header = load_tensors(path)
    del tensors[missing]
    save_tensors(path, tensors, header)
    result = train(windows, SPLIT, job(windows), checkpoint=path)
    assert_same(result, whole)
    assert "not a checkpoint of this version" in str(result.damaged_checkpoint)


def test_a_checkpoint_with_other_numbers_is_not_taken_up(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"
    stop_after(2, windows, path)
    tensors, header = load_tensors(path)
    header["progress"]["unheard_of"] = 1
    save_tensors(path, tensors, header)
    result = train(windows, SPLIT, job(windows), checkpoint=path)
    assert_same(result, whole)
    assert "(TypeError)" in str(result.damaged_checkpoint)


def test_an_attempt_goes_on_from_the_file_of_another_and_writes_its_own(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    stop_after(2, windows, first)
    left = first.read_bytes()
    with pytest.raises(StopRequestedError):
        train(
            windows,
            SPLIT,
            job(windows),
            should_stop=after(3),
            checkpoint=second,
            resume_from=first,
        )
    assert first.read_bytes() == left
    assert len(load_tensors(second)[1]["progress"]["curve"]) == 5
    assert_same(train(windows, SPLIT, job(windows), resume_from=second), whole)


def test_a_file_to_resume_from_that_is_not_there_is_a_fresh_start(
    windows: Windows, whole: TrainingResult, tmp_path: Path
) -> None:
    result = train(windows, SPLIT, job(windows), resume_from=tmp_path / "none.safetensors")
    assert_same(result, whole)
    assert result.damaged_checkpoint is None


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "t.safetensors"
    tensors = {
        "a": torch.arange(6.0).reshape(2, 3).T,
        "b": torch.tensor(3),
        "c": torch.tensor(0.5),
        "d": torch.empty(0, 4),
        "e": torch.tensor([1.5, -2.5], dtype=torch.float64),
    }
    save_tensors(path, tensors, {"curve": [0.1, None], "text": "×"})
    loaded, header = load_tensors(path)
    assert header == {"curve": [0.1, None], "text": "×"}
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    from safetensors.torch import load_file

    assert load_file(path).keys() == tensors.keys()


def test_writing_copies_no_tensor(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2_000_000), "b": torch.ones(1_000_000)}
    tracemalloc.start()
    save_tensors(tmp_path / "t.safetensors", tensors, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "t.safetensors").stat().st_size > 12_000_000
    assert peak < 1_000_000


def test_weights_without_a_checksum_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "t.safetensors"
    save_file({"a": torch.ones(2)}, path, {"finscale": "{}"})
    assert torch.equal(load_tensors(path)[0]["a"], torch.ones(2))


def test_a_safetensors_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(RunDirectoryError, match="missing or damaged weights"):
        load_tensors(path)

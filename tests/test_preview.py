from __future__ import annotations

import pytest
import torch

from finscale import preview
from finscale.dataset.cell import TrainSizes
from finscale.errors import SplitError, StudyError
from finscale.machine.preflight import Needs, experiment_bytes
from finscale.models.architecture import Architecture
from finscale.models.cost import count_parameters, training_flops_per_sample
from finscale.preview import matrix_flops_per_s, needs_of, preview_experiments, preview_study
from tiny import CELL, NAMES, tiny_prepared, tiny_study

RATE = 1e9


@pytest.fixture(autouse=True)
def _known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "matrix_flops_per_s", lambda _: RATE)
    monkeypatch.setattr(preview, "use_threads", lambda _: 1)


def test_the_cost_of_the_tiny_study() -> None:
    prepared = tiny_prepared()
    previews = preview_study(prepared.study)
    assert [one.name for one in previews] == list(NAMES)
    for one, experiment in zip(previews, prepared.experiments, strict=True):
        shape = experiment.shape
        counts = [count_parameters(cell, shape) for cell in experiment.architectures]
        flops = [training_flops_per_sample(cell, shape) for cell in experiment.architectures]
        assert one.n_architectures == len(counts)
        assert (one.n_parameters_min, one.n_parameters_max) == (min(counts), max(counts))
        assert (one.flops_per_sample_min, one.flops_per_sample_max) == (min(flops), max(flops))
        assert one.n_train == len(prepared.cells[CELL].split.train)
        # 4 trials and 3 seeds, of 2 epochs at most.
        assert one.training_flops_max == 7 * 2 * one.n_train * max(flops)
        assert one.time_max_s == pytest.approx(one.training_flops_max / (0.04 * RATE))
        assert one.time_min_s == pytest.approx(0.4 * one.training_flops_max / (0.25 * RATE))
        assert one.disk_bytes == experiment_bytes(max(counts), n_trials=4, n_epochs=2, n_seeds=3)
        assert one.grid_hash == experiment.grid_hash
        assert 0 < one.memory_bytes_min < one.memory_bytes_one_sample_max < one.memory_bytes_max


def test_the_bound_on_memory_is_that_of_the_widest_with_the_whole_batch() -> None:
    [small, large] = (
        preview_study(tiny_study({"training.effective_batch": size, "ladder.budgets": ["2.5K"]}))[0]
        for size in (256, 512)
    )
    parameters_bytes = 20 * small.n_parameters_max
    activations = small.memory_bytes_max - parameters_bytes
    assert large.memory_bytes_max - parameters_bytes == pytest.approx(2 * activations, rel=0.01)
    assert large.memory_bytes_min == small.memory_bytes_min
    assert large.memory_bytes_one_sample_max == small.memory_bytes_one_sample_max
    # The heaviest by one sample and the heaviest by the batch need not be the same.
    of_one = (small.memory_bytes_one_sample_max - parameters_bytes) * 256
    assert of_one == pytest.approx(activations, rel=0.2)


def test_prepared_data_need_no_second_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = tiny_prepared()
    whole = preview_study(prepared.study)
    monkeypatch.setattr(preview, "load_market", None)
    n_train = {name: TrainSizes.of(cell, ()) for name, cell in prepared.cells.items()}
    chosen = prepared.experiments[1:]
    again = preview_experiments(
        prepared.study, chosen, n_train, torch.device("cpu"), n_walked={CELL: 0}
    )
    assert again == whole[1:]


def test_every_fold_trains_every_trial() -> None:
    changes = {"ladder.budgets": ["2.5K"], "split.train_frac": 0.5}
    [one], [three] = (preview_study(tiny_study(changes | {"split.n_folds": n})) for n in (1, 3))
    prepared = tiny_prepared(changes | {"split.n_folds": 3})
    whole = len(prepared.cells[CELL].split.train)
    folds = [len(fold.split.train) for fold in prepared.cells.folds(CELL)]
    # Walking forward, a later fold has seen more; the last one is the hold-out.
    assert folds[0] < folds[1] < folds[2] == whole
    assert prepared.n_train == {CELL: TrainSizes(whole, tuple(folds))}
    assert one.n_train == three.n_train == whole
    ratio = (4 * sum(folds) + 3 * whole) / (7 * whole)
    assert three.training_flops_max / one.training_flops_max == pytest.approx(ratio)
    assert three.time_max_s / one.time_max_s == pytest.approx(ratio)
    assert three.disk_bytes > one.disk_bytes


def test_blocks_walked_forward_are_trained_too() -> None:
    changes = {"ladder.budgets": ["2.5K"], "split.train_frac": 0.5}
    walked = changes | {"evidence.walk_forward_blocks": 2}
    [without], [two] = (preview_study(tiny_study(one)) for one in (changes, walked))
    prepared = tiny_prepared(walked)
    blocks = [
        len(fold.split.train)
        for fold in tiny_prepared(changes | {"split.n_folds": 3}).cells.folds(CELL)
    ]
    # What lies before the block before each.
    assert prepared.n_walked == {CELL: sum(blocks[:2])}
    ratio = (7 * two.n_train + sum(blocks[:2])) / (7 * two.n_train)
    assert two.training_flops_max / without.training_flops_max == pytest.approx(ratio)
    with pytest.raises(SplitError, match=r"evidence\.walk_forward_blocks: got 40"):
        preview_study(tiny_study(changes | {"evidence.walk_forward_blocks": 40}))


def test_a_supplementary_architecture_is_counted_however_large() -> None:
    entry = {
        "experiment": "2.5K*",
        "architecture": "64x2x4x256",
        "seeds": 2,
        "recipe": {"epochs": 9},
    }
    small, large = preview_study(tiny_study())
    same, grown = preview_study(tiny_study({"supplementary": [entry]}))
    assert same == small
    architecture = Architecture(64, 2, 4, 256)
    shape = tiny_prepared().experiments[1].shape
    flops = 2 * 9 * large.n_train * training_flops_per_sample(architecture, shape)
    assert grown.training_flops_max == large.training_flops_max + flops
    # At the share that models of its own size reach.
    assert grown.time_max_s == pytest.approx(large.time_max_s + flops / (0.04 * RATE))
    assert grown.time_min_s == pytest.approx(large.time_min_s + 0.4 * flops / (0.25 * RATE))
    n_parameters = count_parameters(architecture, shape)
    assert grown.disk_bytes == experiment_bytes(n_parameters, n_trials=4, n_epochs=2, n_seeds=3)
    assert grown.memory_bytes_one_sample_max > 20 * n_parameters
    # The rung is what it was.
    assert grown.n_parameters_max == large.n_parameters_max


def test_larger_models_reach_a_larger_share() -> None:
    one = preview_study(tiny_study({"ladder.budgets": ["2M"], "ladder.grid": None}))[0]
    assert one.n_parameters_max > 1_000_000
    assert one.time_max_s == pytest.approx(one.training_flops_max / (0.1 * RATE))
    assert one.time_min_s == pytest.approx(0.4 * one.training_flops_max / (0.6 * RATE))


def test_what_a_run_needs() -> None:
    small, large = preview_study(tiny_study())
    needs = needs_of([small, large], n_workers=3)
    assert needs == Needs(
        memory_least_bytes=small.memory_bytes_min,
        memory_most_bytes=large.memory_bytes_one_sample_max,
        # Two checkpoints of 16 bytes a parameter for each worker.
        disk_bytes=64 * 2**20
        + small.disk_bytes
        + large.disk_bytes
        + 3 * 2 * 16 * large.n_parameters_max,
        time_min_s=small.time_min_s + large.time_min_s,
        time_max_s=small.time_max_s + large.time_max_s,
        n_workers=3,
    )
    assert needs_of([small, large]).n_workers == 1


def test_fields_are_ready_for_json() -> None:
    [first, _] = preview_study(tiny_study())
    values = first.as_dict()
    assert values["budget"] == "1.5K"
    assert {type(value) for value in values.values()} <= {str, int, float}


def test_a_study_that_cannot_be_run_cannot_be_previewed() -> None:
    with pytest.raises(StudyError, match=r"search\.space\.warmup_steps: got 40"):
        preview_study(tiny_study({"search.space.warmup_steps": [40]}))


def test_the_rate_is_measured() -> None:
    n_threads = torch.get_num_threads()
    rate = matrix_flops_per_s(torch.device("cpu"), size=128)
    assert 1e6 < rate < 1e16
    assert torch.get_num_threads() == n_threads


def test_the_grid_is_the_tiny_one() -> None:
    # Guards the tests above against a grid of one.
    cells = tiny_prepared().experiments[-1].architectures
    assert len(cells) == 8
    assert Architecture(8, 1, 2, 32) in cells

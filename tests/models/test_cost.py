from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from finscale.errors import ModelError
from finscale.ladder.budgets import parse_budget
from finscale.ladder.grid import architectures_within, default_grid
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import (
    activation_bytes_per_sample,
    activation_groups,
    count_parameters,
    forward_flops_per_sample,
    parameter_groups,
    peak_memory_bytes,
    scoring_bytes_per_sample,
    step_bytes_per_sample,
    training_flops_per_sample,
    training_memory_bytes,
)
from finscale.models.patch_transformer import PatchTransformer

# Three patches of four rows and three features: twelve values each.
SHAPE = InputShape(n_features=3, context_length=8, patch_length=4, patch_stride=2)
SMALL = Architecture(8, 2, 2, 16)
REFERENCE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)


def _built_parameters(architecture: Architecture, shape: InputShape) -> int:
    biases = (0.0,) * shape.n_outputs
    with torch.device("meta"):
        model = PatchTransformer(architecture, shape, dropout=0.1, head_bias=biases)
    return sum(p.numel() for p in model.parameters())


def _assert_counts_equal_built(budget: str) -> None:
    target = parse_budget(budget)
    cells = architectures_within(target, default_grid(target), REFERENCE, 0.25)
    # Heads reshape the same weights; one number of heads per (d_model, n_layers, d_ff) is enough.
    distinct = {(cell.d_model, cell.n_layers, cell.d_ff): cell for cell in cells}
    for cell in distinct.values():
        assert _built_parameters(cell, REFERENCE) == count_parameters(cell, REFERENCE), cell


def test_parameters_of_a_small_model_by_hand() -> None:
    assert parameter_groups(SMALL, SHAPE) == {
        "embedding": 12 * 8 + 8,
        "positions": 3 * 8,
        "attention": 2 * (8 * 24 + 24 + 8 * 8 + 8),
        "feed_forward": 2 * (8 * 16 + 16 + 16 * 8 + 8),
        "norms": 2 * (16 + 16) + 16,
        "head": 9,
    }
    assert count_parameters(SMALL, SHAPE) == 1353


@pytest.mark.parametrize(
    "budget", ["2.5K", "5K", "10K", "20K", "40K", "80K", "160K", "320K", "640K", "1M", "2M"]
)
def test_counts_equal_the_built_model_on_the_whole_grid(budget: str) -> None:
    _assert_counts_equal_built(budget)


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["20M", "200M", "2B"])
def test_counts_equal_the_built_model_on_the_whole_large_grid(budget: str) -> None:
    _assert_counts_equal_built(budget)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("1024x2x8x4096", 25_463_809), ("2048x32x16x8192", 1_612_007_425)],
)
def test_counts_of_large_models(label: str, expected: int) -> None:
    architecture = Architecture.parse(label)
    assert count_parameters(architecture, REFERENCE) == expected
    assert _built_parameters(architecture, REFERENCE) == expected


@given(
    head_dim=st.integers(1, 64),
    n_layers=st.integers(1, 3),
    d_ff=st.integers(1, 200),
    n_features=st.integers(1, 9),
    heads=st.permutations([1, 2, 4, 8]),
)
def test_heads_do_not_change_counts_or_flops(
    head_dim: int, n_layers: int, d_ff: int, n_features: int, heads: list[int]
) -> None:
    shape = InputShape(n_features, 12, 4, 2)
    one, other = (Architecture(8 * head_dim, n_layers, n, d_ff) for n in heads[:2])
    assert count_parameters(one, shape) == count_parameters(other, shape)
    assert forward_flops_per_sample(one, shape) == forward_flops_per_sample(other, shape)


def test_every_output_has_a_weight_per_width_and_a_bias() -> None:
    many = replace(SHAPE, n_outputs=20)
    architecture = Architecture.parse("8x2x2x16")
    extra = count_parameters(architecture, many) - count_parameters(architecture, SHAPE)
    assert extra == 19 * (8 + 1)
    assert parameter_groups(architecture, many)["head"] == 180
    assert _built_parameters(architecture, many) == count_parameters(architecture, many)
    model = PatchTransformer(architecture, many, dropout=0.0, head_bias=(0.0,) * 20)
    with FlopCounterMode(display=False) as forward:
        model(torch.zeros(5, many.context_length, many.n_features))
    assert forward.get_total_flops() == 5 * forward_flops_per_sample(architecture, many)


def test_flops_of_a_small_model_by_hand() -> None:
    embedding = 2 * 3 * 12 * 8
    queries_keys_values = 2 * 3 * 8 * 24
    # The first layer is read at three patches, the last at one.
    output = 2 * 3 * 8 * 8 + 2 * 1 * 8 * 8
    attention = 2 * (2 * 3 * 3 * 8) + 2 * (2 * 1 * 3 * 8)
    feed_forward = 2 * (2 * 3 * 8 * 16) + 2 * (2 * 1 * 8 * 16)
    head = 2 * 8
    expected = embedding + 2 * queries_keys_values + output + attention + feed_forward + head
    assert expected == 5840
    assert forward_flops_per_sample(SMALL, SHAPE) == 5840
    assert training_flops_per_sample(SMALL, SHAPE) == 3 * 5840


@pytest.mark.parametrize("label", ["8x2x2x16", "32x3x4x128", "12x1x1x12"])
def test_flops_equal_what_pytorch_counts(label: str) -> None:
    architecture = Architecture.parse(label)
    model = PatchTransformer(architecture, SHAPE, dropout=0.1, head_bias=0.0)
    x = torch.zeros(5, SHAPE.context_length, SHAPE.n_features)
    with FlopCounterMode(display=False) as forward:
        logits = model(x)
    assert forward.get_total_flops() == 5 * forward_flops_per_sample(architecture, SHAPE)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    # The one product the convention of three times forward counts and autograd skips.
    input_gradient = 2 * SHAPE.n_patches * SHAPE.patch_width * architecture.d_model
    total = forward.get_total_flops() + backward.get_total_flops()
    assert total + 5 * input_gradient == 5 * training_flops_per_sample(architecture, SHAPE)


@pytest.mark.parametrize("label", ["8x2x2x16", "32x3x4x128", "12x1x1x12"])
def test_flops_of_activation_checkpointing_equal_what_pytorch_counts(label: str) -> None:
    architecture = Architecture.parse(label)
    model = PatchTransformer(
        architecture, SHAPE, dropout=0.1, head_bias=0.0, activation_checkpointing=True
    )
    with FlopCounterMode(display=False) as counted:
        model(torch.zeros(5, SHAPE.context_length, SHAPE.n_features)).sum().backward()
    input_gradient = 2 * SHAPE.n_patches * SHAPE.patch_width * architecture.d_model
    assert counted.get_total_flops() + 5 * input_gradient == 5 * training_flops_per_sample(
        architecture, SHAPE, activation_checkpointing=True
    )


def _kept_bytes(model: PatchTransformer, n_batch: int, *, bf16: bool) -> int:
    """Bytes of the distinct storages that autograd keeps in a forward pass."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    x = torch.randn(n_batch, model.shape.context_length, model.shape.n_features)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        model(x)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("bytes_per_value", [2, 4])
@pytest.mark.parametrize("label", ["16x3x2x32", "64x2x4x256", "32x6x8x64", "8x1x1x16"])
def test_activation_bytes_equal_what_autograd_keeps(
    label: str, bytes_per_value: int, dropout: float
) -> None:
    architecture = Architecture.parse(label)
    model = PatchTransformer(architecture, REFERENCE, dropout=dropout, head_bias=0.0)
    # The difference of two batches leaves out the weights, which are kept too.
    small, large = (_kept_bytes(model, n, bf16=bytes_per_value == 2) for n in (16, 32))
    modelled = activation_bytes_per_sample(
        architecture, REFERENCE, bytes_per_value=bytes_per_value, dropout=dropout
    )
    assert large - small == 16 * modelled


def test_activation_bytes_of_a_small_model_by_hand() -> None:
    assert activation_groups(SMALL, SHAPE, bytes_per_value=2, dropout=0.1) == {
        "embedding": 2 * 3 * 12,
        "norms": (3 + 3 + 3 + 1 + 1) * (4 * 8 + 8),
        "attention": 2 * (2 * 3 * (8 + 3 * 8) + (3 + 1) * (8 + 2 * 3)),
        "feed_forward": 2 * (3 + 1) * (8 + 16 + 16),
        "dropout": 2 * 2 * (3 + 1) * 8,
        "head": 2 * 8,
    }
    assert activation_groups(SMALL, SHAPE, bytes_per_value=2, dropout=0.0)["dropout"] == 0


# Of SMALL at fp32 with dropout, per sample: what is kept outside the blocks, by a block read at all
# three patches, and by the last one, read at one.
OUTSIDE = 4 * (3 * 12 + 8) + 4 * (8 + 2)
BLOCK = 2 * 3 * 4 * (8 + 2) + 4 * 3 * (4 * 8 + 8 + 2 * 3) + 4 * 3 * (8 + 2 * 16) + 2 * 2 * 3 * 8
LAST = (3 + 1) * 4 * (8 + 2) + 4 * (3 * 4 * 8 + 8 + 2 * 3) + 4 * (8 + 2 * 16) + 2 * 2 * 8


def test_step_bytes_by_hand() -> None:
    assert (
        activation_bytes_per_sample(SMALL, SHAPE, bytes_per_value=4, dropout=0.1)
        == OUTSIDE + BLOCK + LAST
    )

    def step(architecture: Architecture, *, checkpointing: bool = False) -> int:
        return step_bytes_per_sample(
            architecture,
            SHAPE,
            bytes_per_value=4,
            dropout=0.1,
            activation_checkpointing=checkpointing,
        )

    # Gradients of queries, keys and values in the last block come on top of all that is kept.
    assert step(SMALL) == OUTSIDE + BLOCK + LAST + 4 * 3 * 3 * 8
    assert step(Architecture(8, 1, 2, 16)) == OUTSIDE + LAST + 4 * 3 * 3 * 8
    # With checkpointing the block before the last is where it is worst: its own activations, two
    # gradients of its width and one of the feed-forward layer's, beside the inputs of those below.
    at_work = BLOCK + 4 * 3 * (2 * 8 + 16)
    assert step(SMALL, checkpointing=True) == OUTSIDE + at_work
    deeper = Architecture(8, 5, 2, 16)
    assert step(deeper, checkpointing=True) == OUTSIDE + 3 * 4 * 3 * 8 + at_work


def test_training_memory_by_hand() -> None:
    kept = OUTSIDE + BLOCK + LAST + 4 * 3 * 3 * 8
    memory = training_memory_bytes(SMALL, SHAPE, 7, bytes_per_value=4, dropout=0.1)
    assert memory == 20 * 1353 + 7 * kept
    no_samples = training_memory_bytes(SMALL, SHAPE, 0, bytes_per_value=2, dropout=0.1)
    assert no_samples == 22 * 1353
    # Without accumulation gradients and activations share their room: 5,412 bytes against those
    # of one sample, and of seven.
    assert kept < 5412 < 7 * kept
    alone, whole = (
        training_memory_bytes(SMALL, SHAPE, n, bytes_per_value=4, dropout=0.1, accumulating=False)
        for n in (1, 7)
    )
    assert (alone, whole) == (20 * 1353, 16 * 1353 + 7 * kept)


@pytest.mark.parametrize(
    ("accumulating", "checkpointing", "holes_frac"),
    [(False, False, 0.4), (True, False, 0.95), (True, True, 3.2), (False, True, 3.2)],
)
def test_a_cpu_takes_more_than_the_tensors(
    accumulating: bool, checkpointing: bool, holes_frac: float
) -> None:
    cell = {"bytes_per_value": 4, "dropout": 0.1, "activation_checkpointing": checkpointing}
    tensors = training_memory_bytes(SMALL, SHAPE, 9, accumulating=accumulating, **cell)
    peak, on_gpu = (
        peak_memory_bytes(
            SMALL, SHAPE, 9, accumulating=accumulating, device_type=device_type, **cell
        )
        for device_type in ("cpu", "cuda")
    )
    holes = int(holes_frac * 9 * step_bytes_per_sample(SMALL, SHAPE, **cell))
    assert peak == tensors + holes + 36 * 2**20
    assert on_gpu == tensors


@pytest.mark.parametrize(
    ("label", "values_per_patch"),
    [
        ("8x2x2x16", 9 * 8 + 2 * 2 * 3),  # attention is the widest place
        ("8x2x2x64", 4 * 8 + 2 * 64),  # the feed-forward layer
    ],
)
def test_scoring_bytes_by_hand(label: str, values_per_patch: int) -> None:
    scored = scoring_bytes_per_sample(Architecture.parse(label), SHAPE)
    assert scored == 4 * (8 * 3 + 3 * values_per_patch)


def test_wide_patches_are_the_widest_place_of_a_narrow_model() -> None:
    scored = scoring_bytes_per_sample(SMALL, REFERENCE)
    assert scored == 4 * (60 * 25 + 11 * (250 + 8))


@pytest.mark.parametrize("bytes_per_value", [0, 1, 8])
def test_other_value_sizes_are_refused(bytes_per_value: int) -> None:
    with pytest.raises(ModelError, match="give 4 for fp32 or 2"):
        activation_bytes_per_sample(SMALL, SHAPE, bytes_per_value=bytes_per_value, dropout=0.1)

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from finscale.errors import ModelError
from finscale.models import patch_transformer
from finscale.models.architecture import Architecture, InputShape
from finscale.models.patch_transformer import PatchTransformer

SHAPE = InputShape(n_features=3, context_length=20, patch_length=8, patch_stride=4)
SMALL = Architecture(16, 2, 4, 32)


def _model(
    architecture: Architecture = SMALL,
    *,
    dropout: float = 0.0,
    trained_head: bool = True,
    activation_checkpointing: bool = False,
) -> PatchTransformer:
    torch.manual_seed(0)
    model = PatchTransformer(
        architecture,
        SHAPE,
        dropout=dropout,
        head_bias=-1.5,
        activation_checkpointing=activation_checkpointing,
    )
    if trained_head:
        torch.nn.init.normal_(model.head.weight)
    return model


def _windows(n_batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_batch, SHAPE.context_length, SHAPE.n_features, generator=generator)


@pytest.mark.parametrize("n_batch", [1, 5])
@pytest.mark.parametrize("label", ["16x2x4x32", "8x1x1x8", "12x3x2x48"])
def test_one_logit_per_window(n_batch: int, label: str) -> None:
    logits = _model(Architecture.parse(label))(_windows(n_batch))
    assert logits.shape == (n_batch,)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("base_rate", [0.01, 0.14, 0.5, 0.9])
def test_the_untrained_model_predicts_exactly_the_base_rate(base_rate: float) -> None:
    logit = math.log(base_rate / (1 - base_rate))
    model = PatchTransformer(SMALL, SHAPE, dropout=0.5, head_bias=logit).train()
    assert torch.equal(model(_windows(7)), torch.full((7,), logit))


def test_gradients_reach_every_parameter() -> None:
    model = _model(dropout=0.1).train()
    model(_windows(16)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_head_learns_first_from_the_base_rate() -> None:
    model = _model(trained_head=False)
    model(_windows(16)).sum().backward()
    assert model.head.weight.grad.abs().max() > 0
    assert model.embedding.weight.grad.abs().max() == 0


def test_patches_are_the_rows_of_the_window_in_order() -> None:
    x = torch.arange(20 * 3, dtype=torch.float32).reshape(1, 20, 3)
    patches = _model()._patches(x)
    expected = torch.stack([x[0, s : s + 8].flatten() for s in (0, 4, 8, 12)])
    assert torch.equal(patches, expected[None])
    assert patches.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_every_row_moves_the_logit() -> None:
    x = _windows(1).requires_grad_()
    (gradient,) = torch.autograd.grad(_model()(x).sum(), x)
    assert bool((gradient.abs().amax(dim=2) > 0).all())


def test_order_of_patches_matters() -> None:
    x = _windows(1)
    torch.manual_seed(0)
    disjoint = InputShape(n_features=3, context_length=20, patch_length=4, patch_stride=4)
    model = PatchTransformer(SMALL, disjoint, dropout=0.0, head_bias=0.0)
    torch.nn.init.normal_(model.head.weight)
    swapped = torch.cat([x[:, 4:8], x[:, :4], x[:, 8:]], dim=1)
    assert (model(x) - model(swapped)).abs().item() > 1e-5


def test_a_window_is_scored_alike_in_any_batch() -> None:
    model, x = _model().eval(), _windows(9)
    together = model(x)
    alone = torch.cat([model(x[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(together, alone)


def test_the_same_seed_builds_and_trains_the_same_model() -> None:
    def loss() -> torch.Tensor:
        return _model(dropout=0.3).train()(_windows(4)).sum()

    assert torch.equal(loss(), loss())


def test_dropout_is_active_in_training_only() -> None:
    model, x = _model(dropout=0.5), _windows(4)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_bf16_autocast_is_close_to_fp32() -> None:
    model, x = _model().train(), _windows(32)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(x)
    actual.float().sum().backward()
    assert (actual.float() - expected).abs().max() < 0.05 * expected.std()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_it_builds_on_the_meta_device_without_memory() -> None:
    with torch.device("meta"):
        model = PatchTransformer(
            Architecture(2048, 48, 16, 8192), SHAPE, dropout=0.1, head_bias=0.0
        )
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize("n_layers", [2, 192])
def test_activations_and_gradients_keep_their_size_at_any_depth(n_layers: int) -> None:
    model = _model(Architecture(32, n_layers, 2, 64))
    outputs: list[torch.Tensor] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    model(_windows(8)).sum().backward()
    assert outputs[-1].std() < 2 * outputs[0].std()
    first, last = (model.blocks[i].attention.qkv.weight.grad.norm() for i in (0, -1))
    assert 0.2 < first / last < 5


@pytest.mark.parametrize("dropout", [-0.1, 1.0, math.nan])
def test_impossible_dropout_is_refused(dropout: float) -> None:
    with pytest.raises(ModelError, match="at least 0 and below 1"):
        PatchTransformer(SMALL, SHAPE, dropout=dropout, head_bias=0.0)


@pytest.mark.parametrize("head_bias", [math.inf, math.nan])
def test_a_head_bias_that_is_no_logit_is_refused(head_bias: float) -> None:
    with pytest.raises(ModelError, match="strictly between 0 and 1"):
        PatchTransformer(SMALL, SHAPE, dropout=0.0, head_bias=head_bias)


def _gradients(
    model: PatchTransformer, *, bf16: bool, seeded: bool = True
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the logits and gradients of a batch of 12 windows, cut into three."""
    if seeded:
        model.seed_dropout(5)
    else:
        torch.manual_seed(5)
    logits = []
    for x_BLF in _windows(12).split(4):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits.append(model(x_BLF))
        logits[-1].float().square().sum().backward()
    return torch.cat(logits), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("seeded", [True, False])
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("label", ["16x3x4x32", "16x1x4x32"])
def test_activation_checkpointing_changes_no_gradient(
    label: str, dropout: float, bf16: bool, seeded: bool
) -> None:
    architecture = Architecture.parse(label)
    (logits, expected), (same_logits, gradients) = (
        _gradients(
            _model(architecture, dropout=dropout, activation_checkpointing=on).train(),
            bf16=bf16,
            seeded=seeded,
        )
        for on in (False, True)
    )
    assert torch.equal(same_logits, logits)
    for one, other in zip(expected, gradients, strict=True):
        assert torch.equal(one, other)


def test_the_comparison_of_gradients_sees_other_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _gradients(_model(dropout=0.3).train(), bf16=False)
    # What torch does by itself: restore its own generators and not the layers'.
    monkeypatch.setattr(patch_transformer, "draw_twice", lambda _: (nullcontext(), nullcontext()))
    model = _model(dropout=0.3, activation_checkpointing=True).train()
    _, gradients = _gradients(model, bf16=False)
    assert any(
        not torch.equal(one, other) for one, other in zip(expected[1], gradients, strict=True)
    )


def test_activation_checkpointing_computes_every_block_twice() -> None:
    model = _model(dropout=0.1, activation_checkpointing=True).train()
    calls: list[int] = []
    for number, block in enumerate(model.blocks):
        block.register_forward_pre_hook(lambda *_, number=number: calls.append(number))
    logits = model(_windows(3))
    assert calls == [0, 1]
    logits.sum().backward()
    assert calls == [0, 1, 1, 0]
    calls.clear()
    with torch.no_grad():
        model(_windows(3))
    assert calls == [0, 1]


def test_several_outputs_start_at_their_biases() -> None:
    shape = replace(SHAPE, n_outputs=3)
    biases = (-1.0, 0.5, 2.0)
    model = PatchTransformer(SMALL, shape, dropout=0.0, head_bias=biases)
    assert torch.equal(model(_windows(4)), torch.tensor([biases] * 4))
    with pytest.raises(ModelError, match="head_bias has 2 values; give one for each of the 3"):
        PatchTransformer(SMALL, shape, dropout=0.0, head_bias=biases[:2])
    with pytest.raises(ModelError, match="head_bias has 3 values"):
        PatchTransformer(SMALL, SHAPE, dropout=0.0, head_bias=biases)

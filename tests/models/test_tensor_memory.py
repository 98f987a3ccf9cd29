"""The memory model against every tensor of a training step, counted as it comes and goes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import scoring_bytes_per_sample, step_bytes_per_sample
from finscale.models.patch_transformer import PatchTransformer

REFERENCE = InputShape(n_features=25, context_length=60, patch_length=10, patch_stride=5)
LONG = InputShape(n_features=6, context_length=96, patch_length=8, patch_stride=4)


class TensorMemory(TorchDispatchMode):
    """Counts the bytes of all storages made inside the block, until they are freed."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._seen:
            self._seen.add(storage)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, storage.nbytes())

    def _drop(self, n_bytes: int) -> None:
        self.now -= n_bytes


def peak_bytes(model: PatchTransformer, n_batch: int, *, bf16: bool, training: bool) -> int:
    """Return the peak of a step that adds to gradients, or of scoring."""
    x = torch.randn(n_batch, model.shape.context_length, model.shape.n_features)
    model.train(training)
    model.seed_dropout(1)
    model(x).sum().backward()
    known = [tensor for p in model.parameters() for tensor in (p, p.grad)]
    with TensorMemory(known if not training else [x, *known]) as memory:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), torch.set_grad_enabled(training):
            logits = model(x if training else x.clone())
        if training:
            logits.float().sum().backward()
    return memory.peak


def per_sample(model: PatchTransformer, *, bf16: bool, training: bool) -> float:
    """Return the growth with the batch: what does not belong to samples is left out."""
    small, large = (peak_bytes(model, n, bf16=bf16, training=training) for n in (64, 128))
    return (large - small) / 64


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    ("label", "shape"),
    [
        ("64x12x4x256", REFERENCE),
        ("128x2x8x512", REFERENCE),
        ("32x6x8x64", LONG),
        ("96x2x2x96", LONG),
    ],
)
def test_step_bytes_are_those_of_the_tensors(
    label: str, shape: InputShape, bf16: bool, checkpointing: bool
) -> None:
    architecture = Architecture.parse(label)
    model = PatchTransformer(
        architecture,
        shape,
        dropout=0.1,
        head_bias=0.0,
        activation_checkpointing=checkpointing,
    )
    modelled = step_bytes_per_sample(
        architecture,
        shape,
        bytes_per_value=2 if bf16 else 4,
        dropout=0.1,
        activation_checkpointing=checkpointing,
    )
    counted = per_sample(model, bf16=bf16, training=True)
    assert modelled == pytest.approx(counted, rel=0.12)


@pytest.mark.parametrize("label", ["64x12x4x256", "128x2x8x512", "32x6x8x64", "96x2x2x96"])
def test_scoring_bytes_are_those_of_the_tensors(label: str) -> None:
    architecture = Architecture.parse(label)
    model = PatchTransformer(architecture, REFERENCE, dropout=0.1, head_bias=0.0)
    counted = per_sample(model, bf16=False, training=False)
    assert scoring_bytes_per_sample(architecture, REFERENCE) == pytest.approx(counted, rel=0.15)

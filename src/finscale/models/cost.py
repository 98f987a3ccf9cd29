"""What a patch transformer costs: parameters, FLOPs and memory, in plain integer arithmetic.

The one home of these figures, and free of torch: grids of thousands of cells are counted, and
studies previewed, without building a model. Parameter counts equal those of the built model.

Symbols: ``d`` d_model, ``f`` d_ff, ``h`` n_heads, ``n`` patches, ``w`` values in a patch.
"""

from __future__ import annotations

from finscale.errors import ModelError
from finscale.models.architecture import Architecture, InputShape

_FP32_BYTES = 4
_MASK_BYTES = 2
_WEIGHT_GRADIENT_AND_MOMENTS = 4


def parameter_groups(arch: Architecture, shape: InputShape) -> dict[str, int]:
    """Count parameters by what they belong to.

    They do not depend on ``n_heads``. Per layer, attention has ``3d² + 3d`` for queries, keys and
    values and ``d² + d`` for its output; the feed-forward layer ``df + f`` and ``fd + d``; the two
    norms ``2d`` each.
    """
    d, f = arch.d_model, arch.d_ff
    return {
        "embedding": shape.patch_width * d + d,
        "positions": shape.n_patches * d,
        "attention": arch.n_layers * (4 * d * d + 4 * d),
        "feed_forward": arch.n_layers * (2 * d * f + f + d),
        "norms": (2 * arch.n_layers + 1) * 2 * d,
        "head": d + 1,
    }


def count_parameters(arch: Architecture, shape: InputShape) -> int:
    """Count the parameters of the built model, exactly."""
    return sum(parameter_groups(arch, shape).values())


def forward_flops_per_sample(arch: Architecture, shape: InputShape) -> int:
    """Floating-point operations of one window's forward pass.

    A product of an (a × b) and a (b × c) matrix counts ``2abc``; a window costs

    - embedding: ``2 n w d``
    - per layer, queries, keys and values: ``2 n (3d²)``; the output projection and the
      feed-forward layer at m patches: ``2 m (d² + 2df)``
    - per layer, attention: scores ``q kᵀ`` and their product with ``v``, ``2 m n d`` each, whatever
      the number of heads
    - head: ``2d``

    with m = n in every layer but the last, which is read at one patch: m = 1.

    Norms, activations, softmax, dropout, biases and additions are left out, as is usual (Kaplan et
    al. 2020, "Scaling Laws for Neural Language Models", table 1).
    """
    n, d, f = shape.n_patches, arch.d_model, arch.d_ff

    def layer(m: int) -> int:
        return 2 * n * 3 * d * d + 2 * m * (d * d + 2 * d * f) + 4 * m * n * d

    layers = (arch.n_layers - 1) * layer(n) + layer(1)
    return 2 * n * shape.patch_width * d + layers + 2 * d


def training_flops_per_sample(arch: Architecture, shape: InputShape) -> int:
    """Floating-point operations of one window's forward and backward pass: three times forward.

    Backward, each product ``y = x W`` takes two of the same size, one for the gradient of ``x`` and
    one for that of ``W``; likewise the two products of attention. The embedding's input needs no
    gradient, which this convention ignores.
    """
    return 3 * forward_flops_per_sample(arch, shape)


def activation_groups(
    arch: Architecture, shape: InputShape, *, bytes_per_value: int, dropout: float
) -> dict[str, int]:
    """Bytes of the tensors kept for the backward pass, per sample, by what keeps them.

    The residual stream and the norms' statistics are fp32 also under autocast; the rest has
    ``bytes_per_value``. Equal to what the built model keeps on the CPU; a GPU keeps less, for its
    fused attention keeps no weights and its masks are bytes. Per layer, read at m patches (one in
    the last layer, all n in the others):

    - norms: the residual stream before attention ``n d`` and before the feed-forward layer ``m d``,
      with mean and reciprocal deviation of each patch
    - attention: the input of the first projection ``n d``; queries, keys and values ``3 n d``; the
      weights ``h m n``; the input of the last projection ``m d``
    - feed-forward: its input ``m d``; the input and the output of the GELU, ``2 m f``
    - dropout: two masks of ``m d`` 16-bit values

    Parameters
    ----------
    arch, shape
        The model.
    bytes_per_value
        4 for fp32, 2 for autocast to bf16.
    dropout
        Drop probability; no mask is kept at zero.

    Raises
    ------
    ModelError
        If ``bytes_per_value`` is neither 2 nor 4.
    """
    if bytes_per_value not in (2, _FP32_BYTES):
        raise ModelError(
            f"bytes_per_value is {bytes_per_value}; give 4 for fp32 or 2 for autocast to bf16"
        )
    n, d, f = shape.n_patches, arch.d_model, arch.d_ff
    # Patches read, summed over the layers.
    n_read = (arch.n_layers - 1) * n + 1
    n_all = arch.n_layers * n
    n_normed = n_all + n_read + 1
    return {
        "embedding": bytes_per_value * n * shape.patch_width,
        "norms": n_normed * _FP32_BYTES * (d + 2),
        "attention": bytes_per_value * (4 * n_all * d + n_read * (d + arch.n_heads * n)),
        "feed_forward": bytes_per_value * n_read * (d + 2 * f),
        "dropout": 2 * _MASK_BYTES * n_read * d if dropout > 0 else 0,
        "head": bytes_per_value * d,
    }


def activation_bytes_per_sample(
    arch: Architecture, shape: InputShape, *, bytes_per_value: int, dropout: float
) -> int:
    """Bytes kept for the backward pass per sample: the sum of ``activation_groups``."""
    groups = activation_groups(arch, shape, bytes_per_value=bytes_per_value, dropout=dropout)
    return sum(groups.values())


def training_memory_bytes(
    arch: Architecture,
    shape: InputShape,
    micro_batch: int,
    *,
    bytes_per_value: int,
    dropout: float,
) -> int:
    """Bytes that a training step needs at its peak, at the start of the backward pass.

    - 16 bytes per parameter: weight, gradient and AdamW's two moments in fp32; under autocast also
      the cast weight
    - per sample, the activations kept for the backward pass
    - per sample, at most what a feed-forward layer's backward pass works on: the gradients of the
      GELU's output and input, ``2 n f``, and of the residual stream and its branch, ``2 n d``

    The interpreter, libraries, data and the allocator's slack are not included; the slack was
    measured at up to a fifth on the CPU with glibc, so leave that much room.
    """
    n = shape.n_patches
    per_parameter = _WEIGHT_GRADIENT_AND_MOMENTS * _FP32_BYTES
    if bytes_per_value < _FP32_BYTES:
        per_parameter += bytes_per_value
    per_sample = activation_bytes_per_sample(
        arch, shape, bytes_per_value=bytes_per_value, dropout=dropout
    )
    per_sample += n * (bytes_per_value * 2 * arch.d_ff + _FP32_BYTES * 2 * arch.d_model)
    return per_parameter * count_parameters(arch, shape) + micro_batch * per_sample

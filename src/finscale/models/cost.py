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
# Weight, two moments, and the weight of the best epoch.
_HELD_COPIES = 4
# Fitted to measured peaks (benchmarks/memory.py; glibc 2.36, PyTorch 2.13). Holes are a share of
# what is kept per sample, by bytes per value and whether gradients are accumulated.
_CPU_HOLES_FRAC = {(4, False): 0.4, (4, True): 0.95, (2, False): 0.3, (2, True): 0.4}
_CPU_HOLES_CHECKPOINTING_FRAC = 3.2
_CPU_HEAP_TOP_BYTES = 36 * 2**20


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
        "head": shape.n_outputs * (d + 1),
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
    - head: ``2 d`` for each output

    with m = n in every layer but the last, which is read at one patch: m = 1.

    Norms, activations, softmax, dropout, biases and additions are left out, as is usual (Kaplan et
    al. 2020, "Scaling Laws for Neural Language Models", table 1).
    """
    n, d, f = shape.n_patches, arch.d_model, arch.d_ff

    def layer(m: int) -> int:
        return 2 * n * 3 * d * d + 2 * m * (d * d + 2 * d * f) + 4 * m * n * d

    layers = (arch.n_layers - 1) * layer(n) + layer(1)
    return 2 * n * shape.patch_width * d + layers + 2 * d * shape.n_outputs


def training_flops_per_sample(
    arch: Architecture, shape: InputShape, *, activation_checkpointing: bool = False
) -> int:
    """Floating-point operations of one window's forward and backward pass: three times forward.

    Backward, each product ``y = x W`` takes two of the same size, one for the gradient of ``x`` and
    one for that of ``W``; likewise the two products of attention. The embedding's input needs no
    gradient, which this convention ignores.

    Activation checkpointing computes every block once more. Compute of scaling laws is counted
    without it: it is a cost of the machine and not of the model.
    """
    forward = forward_flops_per_sample(arch, shape)
    if not activation_checkpointing:
        return 3 * forward
    outside_blocks = 2 * arch.d_model * (shape.n_patches * shape.patch_width + shape.n_outputs)
    return 4 * forward - outside_blocks


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


def step_bytes_per_sample(
    arch: Architecture,
    shape: InputShape,
    *,
    bytes_per_value: int,
    dropout: float,
    activation_checkpointing: bool = False,
) -> int:
    """Bytes per sample at the peak of a backward pass: what is kept and what is worked on.

    The larger of two moments:

    - in the last block, everything being kept, the gradients of queries, keys and values: ``3 n d``
    - in the block before it, what the last one kept being free again, the gradient of the residual
      stream in fp32, that of the branch, and that of the GELU's output: ``2 n d + n f``

    Activation checkpointing keeps what enters each block, ``n d`` in fp32, and of the blocks' own
    activations only those of the one at work, computed once more.
    """
    n, d = shape.n_patches, arch.d_model

    def kept(n_layers: int) -> int:
        one = Architecture(d, n_layers, arch.n_heads, arch.d_ff)
        return activation_bytes_per_sample(
            one, shape, bytes_per_value=bytes_per_value, dropout=dropout
        )

    outside = bytes_per_value * (n * shape.patch_width + d) + _FP32_BYTES * (d + 2)
    whole_block, last_block = kept(2) - kept(1), kept(1) - outside
    # A block at work keeps what enters it either way.
    waiting = _FP32_BYTES * n * d if activation_checkpointing else whole_block
    n_before = arch.n_layers - 1
    in_last = n_before * waiting + last_block + bytes_per_value * 3 * n * d
    if n_before == 0:
        return outside + in_last
    gradients = _FP32_BYTES * n * d + bytes_per_value * n * (d + arch.d_ff)
    return outside + max(in_last, (n_before - 1) * waiting + whole_block + gradients)


def training_memory_bytes(
    arch: Architecture,
    shape: InputShape,
    micro_batch: int,
    *,
    bytes_per_value: int,
    dropout: float,
    accumulating: bool = True,
    activation_checkpointing: bool = False,
) -> int:
    """Bytes of all tensors at the peak of a training step.

    - 16 bytes per parameter: weight, AdamW's two moments and the weight of the best epoch so far,
      in fp32
    - 4 bytes per parameter for the gradient, and what the backward pass starts from: per sample
      :func:`step_bytes_per_sample`, and under autocast the cast weights. The gradients of an
      earlier micro-batch are there at the same time; those of the only one grow while the rest
      is freed, and the larger counts.

    See :func:`peak_memory_bytes` for what a process takes.
    """
    n_parameters = count_parameters(arch, shape)
    gradients = _FP32_BYTES * n_parameters
    kept = micro_batch * step_bytes_per_sample(
        arch,
        shape,
        bytes_per_value=bytes_per_value,
        dropout=dropout,
        activation_checkpointing=activation_checkpointing,
    )
    if bytes_per_value < _FP32_BYTES:
        kept += bytes_per_value * n_parameters
    held = _HELD_COPIES * _FP32_BYTES * n_parameters
    return held + (gradients + kept if accumulating else max(gradients, kept))


def peak_memory_bytes(
    arch: Architecture,
    shape: InputShape,
    micro_batch: int,
    *,
    accumulating: bool,
    bytes_per_value: int,
    dropout: float,
    activation_checkpointing: bool = False,
    device_type: str = "cpu",
) -> int:
    """Bytes that training takes of its device at the peak, beside libraries and data.

    On the CPU the allocator adds to :func:`training_memory_bytes`. glibc cannot give the hole that
    an aligned tensor leaves to the next tensor of that size, which costs a share of the
    activations; more where gradients that stay come to lie between them, and a multiple where
    checkpointing keeps one small tensor of every block. It also keeps the freed top of its heap.
    These shares are fits to peaks measured with benchmarks/memory.py, not derived.

    On other devices it is the tensors alone. No GPU was measured; one keeps fewer tensors (see
    :func:`activation_groups`), and its allocator some of them longer.

    Parameters
    ----------
    accumulating
        Whether an optimiser step takes more than one micro-batch.
    device_type
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    tensors = training_memory_bytes(
        arch,
        shape,
        micro_batch,
        bytes_per_value=bytes_per_value,
        dropout=dropout,
        accumulating=accumulating,
        activation_checkpointing=activation_checkpointing,
    )
    if device_type != "cpu":
        return tensors
    kept = micro_batch * step_bytes_per_sample(
        arch,
        shape,
        bytes_per_value=bytes_per_value,
        dropout=dropout,
        activation_checkpointing=activation_checkpointing,
    )
    if activation_checkpointing:
        holes_frac = _CPU_HOLES_CHECKPOINTING_FRAC
    else:
        holes_frac = _CPU_HOLES_FRAC[bytes_per_value, accumulating]
    return tensors + int(holes_frac * kept) + _CPU_HEAP_TOP_BYTES


def scoring_bytes_per_sample(arch: Architecture, shape: InputShape) -> int:
    """Bytes that scoring one window in fp32 works on at most, no gradient wanted.

    The window, and the largest of: its patches and their embedding; the residual stream before and
    after attention, what attention added and its norm, ``4 n d``, with input and output of the
    GELU; the stream, its norm, queries, keys and values twice and a mixture of values, ``9 n d``,
    with the scores and weights of attention.
    """
    n, d = shape.n_patches, arch.d_model
    embedding = n * (shape.patch_width + d)
    feed_forward = n * (4 * d + 2 * arch.d_ff)
    attention = n * (9 * d + 2 * arch.n_heads * n)
    window = shape.context_length * shape.n_features
    return _FP32_BYTES * (window + max(embedding, feed_forward, attention))

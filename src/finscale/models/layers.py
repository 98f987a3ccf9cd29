"""Building blocks of the patch transformer.

Shape suffixes: B batch, N patches, M patches that are read, D d_model, H heads, K head dimension.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

_DRAW_LEVELS = 2**16
_DRAWS_PER_WORD = 4
_INT64_MIN = -(2**63)
# Up to here explicit attention takes about a quarter of the time of the CPU's fused kernel in bf16
# and at most a fifth more in fp32 (forward and backward, measured on x86-64 with AVX-512).
_EXPLICIT_ATTENTION_MAX_PATCHES = 128


class Linear(nn.Linear):
    """A linear layer: first weights of variance ``gain² / (3 in_features)``, bias zero.

    That is GPT-2's deviation of 0.02 at its width of 768, and activations of the same size at every
    width.
    """

    def __init__(self, in_features: int, out_features: int, *, gain: float = 1.0) -> None:
        self._gain = gain  # before the parent's constructor, which calls reset_parameters
        super().__init__(in_features, out_features)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the first weights from PyTorch's default generator."""
        self.weight.normal_(std=self._gain * (3 * self.in_features) ** -0.5)
        self.bias.zero_()


class Dropout(nn.Module):
    """Inverted dropout whose random numbers are drawn in bulk on the CPU.

    PyTorch's CPU dropout draws one Bernoulli variable at a time. Here each 64-bit word of the
    generator is cut into four 16-bit draws, and a value is dropped when its draw lies below
    ``round(p * 65536)``. The drop probability is therefore a multiple of 1/65536, and what is kept
    is scaled by the inverse of the *actual* keep probability, so the expectation is that of the
    input. Other devices use ``torch.nn.functional.dropout``.

    On the CPU the draws of a sample come before those of the next. After :meth:`seed` a batch
    therefore gets the same masks whether it comes whole or in several calls.

    Parameters
    ----------
    p
        Probability that a value is dropped, 0 <= p < 1.

    Attributes
    ----------
    generator
        Where the CPU's draws come from; None stands for PyTorch's default.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._n_drop_levels = min(round(p * _DRAW_LEVELS), _DRAW_LEVELS - 1)
        self.generator: torch.Generator | None = None

    def seed(self, seed: int) -> None:
        """Draw from a generator of this layer's own from now on; before, from PyTorch's default."""
        if self.generator is None:
            self.generator = torch.Generator()
        self.generator.manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Drop and rescale values of ``x``, batch first, in training; else return ``x``."""
        if not self.training or self._n_drop_levels == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p, training=True)
        scale = _DRAW_LEVELS / (_DRAW_LEVELS - self._n_drop_levels)
        # The mask holds 0 and 1 and the scale is applied as a float: folded into a bf16 mask it
        # would be rounded by up to 0.4%, and evaluation would differ from training by as much.
        return (x * self._draw_keep_mask(x)).mul_(scale)

    def _draw_keep_mask(self, x: Tensor) -> Tensor:
        """Draw 1 where a value is kept and 0 where it is dropped, as int16 in the shape of x."""
        n_values = x[0].numel()
        # Whole words for every sample, so that a sample's draws do not depend on its neighbours.
        words = torch.empty((len(x), -(-n_values // _DRAWS_PER_WORD)), dtype=torch.int64)
        # Without explicit bounds random_ leaves the sign bit of every int64 at zero.
        words.random_(_INT64_MIN, None, generator=self.generator)
        # In place, because a comparison that returns bool is several times slower.
        keep = words.view(torch.int16).ge_(self._n_drop_levels - _DRAW_LEVELS // 2)
        return keep[:, :n_values].reshape(x.shape)

    def extra_repr(self) -> str:
        """Show the probability when the model is printed."""
        return f"p={self.p}"


def draw_twice(
    module: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Return contexts for a pass through ``module`` and for a later one with the same masks.

    The second leaves the generators where it found them. It covers the generators that the
    module's dropout layers own, and leaves PyTorch's default ones to the caller.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, Dropout)]
    generators = [layer.generator for layer in layers if layer.generator is not None]
    before = [generator.get_state() for generator in generators]

    @contextlib.contextmanager
    def second() -> Iterator[None]:
        now = [generator.get_state() for generator in generators]
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)
        try:
            yield
        finally:
            for generator, state in zip(generators, now, strict=True):
                generator.set_state(state)

    return contextlib.nullcontext(), second()


def attend(qkv_3BHNK: Tensor, n_read: int) -> Tensor:
    """Scaled dot-product attention of the last ``n_read`` patches to all patches.

    ``softmax(q k^T / sqrt(K)) v``: Vaswani et al. 2017, "Attention Is All You Need", equation 1.

    Parameters
    ----------
    qkv_3BHNK
        Queries, keys and values, stacked.
    n_read
        M, the patches whose outputs are read.

    Returns
    -------
    Tensor
        Shape (B, H, M, K).
    """
    _, _, _, n_patches, head_dim = qkv_3BHNK.shape
    if qkv_3BHNK.device.type != "cpu" or n_patches > _EXPLICIT_ATTENTION_MAX_PATCHES:
        q_BHNK, k_BHNK, v_BHNK = qkv_3BHNK.unbind(0)
        return functional.scaled_dot_product_attention(q_BHNK[:, :, -n_read:], k_BHNK, v_BHNK)
    # The CPU's fused kernel is slow on short sequences, and so is a softmax along a short last
    # dimension. Scores with the keys first put the softmax on a strided dimension, which PyTorch
    # vectorises.
    q_BHNK, k_BHNK, v_BHNK = qkv_3BHNK.contiguous().unbind(0)
    scores_BHNM = (k_BHNK @ q_BHNK[:, :, -n_read:].mT) * head_dim**-0.5
    weights_BHNM = scores_BHNM.softmax(-2)
    mixed_BHMK: Tensor = weights_BHNM.mT @ v_BHNK
    return mixed_BHMK


class SelfAttention(nn.Module):
    """Multi-head self-attention without a mask: a window's patches all lie in the past."""

    def __init__(self, d_model: int, n_heads: int, *, output_gain: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Linear(d_model, 3 * d_model)
        self.out = Linear(d_model, d_model, gain=output_gain)

    def forward(self, x_BND: Tensor, n_read: int) -> Tensor:
        """Mix the patches of each sample; return the last ``n_read`` of them, (B, M, D)."""
        n_batch, n_patches, d_model = x_BND.shape
        qkv = self.qkv(x_BND).view(n_batch, n_patches, 3, self.n_heads, -1)
        y_BHMK = attend(qkv.permute(2, 0, 3, 1, 4), n_read)
        out_BMD: Tensor = self.out(y_BHMK.transpose(1, 2).reshape(n_batch, n_read, d_model))
        return out_BMD


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, applied to every patch alike."""

    def __init__(self, d_model: int, d_ff: int, *, output_gain: float) -> None:
        super().__init__()
        self.up = Linear(d_model, d_ff)
        self.out = Linear(d_ff, d_model, gain=output_gain)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Transform each patch; the shape is kept."""
        out_BND: Tensor = self.out(functional.gelu(self.up(x_BND)))
        return out_BND


class Block(nn.Module):
    """A pre-norm transformer block.

    Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", figure 1b.

    Parameters
    ----------
    d_model, n_heads, d_ff
        Sizes, as in ``Architecture``.
    dropout
        Probability that a value the block adds to the residual stream is dropped.
    output_gain
        Factor on the first weights of the two layers that write to the residual stream.
    """

    def __init__(
        self, d_model: int, n_heads: int, d_ff: int, *, dropout: float, output_gain: float
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, n_heads, output_gain=output_gain)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff, output_gain=output_gain)
        # One for each branch: a shared one would mix their draws when a batch is cut.
        self.attention_dropout = Dropout(dropout)
        self.feed_forward_dropout = Dropout(dropout)

    def forward(self, x_BND: Tensor, n_read: int) -> Tensor:
        """Add what attention and the feed-forward layer make of ``x_BND`` to it.

        Only the last ``n_read`` patches are computed beyond their keys and values, and returned:
        the block before the head is read at one patch, and the rest of its work would be lost.
        """
        mixed_BMD: Tensor = self.attention(self.attention_norm(x_BND), n_read)
        x_BMD: Tensor = x_BND[:, -n_read:] + self.attention_dropout(mixed_BMD)
        branch_BMD: Tensor = self.feed_forward(self.feed_forward_norm(x_BMD))
        dropped_BMD: Tensor = self.feed_forward_dropout(branch_BMD)
        return x_BMD + dropped_BMD

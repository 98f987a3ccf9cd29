"""The patch transformer: a window of bars in, one logit out, or one per class.

Nie et al. 2023, "A Time Series is Worth 64 Words", with one departure: a patch spans all features
together instead of one channel at a time, because the features describe one market and the label
is one number.

Shape suffixes: B batch, L rows of the window, F features, N patches, D d_model, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from finscale.errors import ModelError
from finscale.models.architecture import Architecture, InputShape
from finscale.models.layers import Block, Dropout, Linear, draw_twice

_POSITIONS_STD = 0.02

# Spreads the layers' seeds over the generator's 32 bits (2^32 over the golden ratio).
_SEED_STRIDE = 0x9E3779B1


class PatchTransformer(nn.Module):
    """A pre-norm transformer encoder over patches of a window, with a head for its logits.

    The head's weight starts at zero and its bias at ``head_bias``, so the untrained model predicts
    ``head_bias`` for every window: training starts from the base rate and any skill is learned.
    The head reads the patch that ends at the most recent bar, which attends to all others:
    benchmarks/pooling.py compares it with the mean of the patches and with all of them.

    Parameters
    ----------
    architecture
        Width, depth, heads and feed-forward width.
    shape
        Features per row, how the window is cut into patches, and the number of logits.
    dropout
        Probability that a value a block adds to the residual stream is dropped, 0 <= p < 1.
    head_bias
        First values of the head's bias, one per output: the logit of the training base rate, or
        the logarithm of each class's share.
    activation_checkpointing
        Keep only what enters each block, and compute the block once more in the backward pass
        (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). The gradients are the
        same, on the CPU to the last bit.

    Raises
    ------
    ModelError
        If ``dropout`` is outside [0, 1), or ``head_bias`` is not finite or not one per output.
    """

    def __init__(
        self,
        architecture: Architecture,
        shape: InputShape,
        *,
        dropout: float,
        head_bias: float | Sequence[float],
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ModelError(f"dropout is {dropout}; give a probability of at least 0 and below 1")
        biases = (head_bias,) if isinstance(head_bias, float | int) else tuple(head_bias)
        if not all(map(math.isfinite, biases)):
            raise ModelError(
                f"head_bias is {head_bias}; give the logit of a base rate strictly between 0 and 1"
            )
        if len(biases) != shape.n_outputs:
            raise ModelError(
                f"head_bias has {len(biases)} values; give one for each of the {shape.n_outputs} "
                "outputs"
            )
        self.architecture = architecture
        self.shape = shape
        self.activation_checkpointing = activation_checkpointing
        d_model, n_layers = architecture.d_model, architecture.n_layers
        self.embedding = Linear(shape.patch_width, d_model)
        self.positions_ND = nn.Parameter(torch.empty(shape.n_patches, d_model))
        # The residual stream sums 2 n_layers branches: scaled down by the root of that number its
        # variance does not grow with depth (GPT-2, Radford et al. 2019, section 2.3), and models of
        # 180 layers and more start out stable.
        self.blocks = nn.ModuleList(
            Block(
                d_model,
                architecture.n_heads,
                architecture.d_ff,
                dropout=dropout,
                output_gain=(2 * n_layers) ** -0.5,
            )
            for _ in range(n_layers)
        )
        self.final_norm = nn.LayerNorm(d_model)
        self.head = Linear(d_model, shape.n_outputs, gain=0.0)
        nn.init.normal_(self.positions_ND, std=_POSITIONS_STD)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor(biases))

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Score windows.

        Parameters
        ----------
        x_BLF
            Windows, oldest row first.

        Returns
        -------
        Tensor
            Logits, shape (B,); with several outputs (B, K).
        """
        h_BND = self.embedding(self._patches(x_BLF)) + self.positions_ND
        *blocks, last_block = self.blocks
        for block in blocks:
            h_BND = self._run(block, h_BND, n_read=self.shape.n_patches)
        latest_BD = self.final_norm(self._run(last_block, h_BND, n_read=1)[:, -1])
        logits_BK: Tensor = self.head(latest_BD)
        return logits_BK.squeeze(-1) if self.shape.n_outputs == 1 else logits_BK

    def seed_dropout(self, seed: int) -> None:
        """Make the next dropout masks a function of ``seed``, in [0, 2^32), alone.

        Called before every optimiser step, so that a step's masks depend neither on the steps
        before it nor, on the CPU, on how its batch is cut into micro-batches. On other devices
        the masks are drawn per micro-batch from the device's generator.
        """
        if self.head.bias.device.type != "cpu":
            torch.manual_seed(seed)
            return
        layers = [module for module in self.modules() if isinstance(module, Dropout)]
        for place, layer in enumerate(layers):
            layer.seed((seed + place * _SEED_STRIDE) % 2**32)

    def _run(self, block: nn.Module, h_BND: Tensor, *, n_read: int) -> Tensor:
        if not (self.activation_checkpointing and torch.is_grad_enabled()):
            h_BMD: Tensor = block(h_BND, n_read)
            return h_BMD
        again_BMD: Tensor = checkpoint(
            block, h_BND, n_read, use_reentrant=False, context_fn=partial(draw_twice, block)
        )
        return again_BMD

    def _patches(self, x_BLF: Tensor) -> Tensor:
        """Cut windows into flattened patches, shape (B, N, patch_width), without a copy."""
        step = self.shape.patch_stride * self.shape.n_features
        return x_BLF.flatten(1).unfold(1, self.shape.patch_width, step)

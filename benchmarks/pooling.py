"""Validation skill of three ways to read one logit from the patches; test is never looked at.

python benchmarks/pooling.py
"""

from __future__ import annotations

import statistics

import torch
from common import bundled_cell, print_machine
from torch import Tensor

from finscale.evaluation.metrics import log_loss, skill
from finscale.ladder.batching import Batching
from finscale.models.architecture import Architecture, InputShape
from finscale.models.layers import Linear
from finscale.models.patch_transformer import PatchTransformer
from finscale.study import Training
from finscale.training import loop
from finscale.training.recipe import Recipe, TrainingJob

SEEDS = (0, 1, 2)


class _Pooled(PatchTransformer):
    pooling = "last"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        if self.pooling == "flattened":
            bias = self.head.bias
            self.head = Linear(self.shape.n_patches * self.architecture.d_model, 1, gain=0.0)
            self.head.bias = bias

    def forward(self, x_BLF: Tensor) -> Tensor:
        h_BND = self.embedding(self._patches(x_BLF)) + self.positions_ND
        for block in self.blocks:
            h_BND = block(h_BND, n_read=self.shape.n_patches)
        h_BND = self.final_norm(h_BND)
        pooled = {
            "mean": lambda: h_BND.mean(dim=1),
            "flattened": lambda: h_BND.flatten(1),
            "last": lambda: h_BND[:, -1],
        }[self.pooling]()
        return self.head(pooled).squeeze(-1)


def main() -> None:
    print_machine()
    device = torch.device("cpu")
    loop.PatchTransformer = _Pooled  # the engine builds the variant instead
    print(f"{'horizon':>7} {'architecture':>14} {'mean':>6} {'flattened':>9} {'last':>6}")
    for horizon in (1, 5):
        data = bundled_cell(horizon)
        windows = data.windows(60, device)
        labels = data.labels_T[data.split.validation]
        base_loss = log_loss([data.base_rate] * len(labels), labels)
        for label in ("16x1x2x32", "32x2x4x64"):
            means = []
            for pooling in ("mean", "flattened", "last"):
                _Pooled.pooling = pooling
                skills = []
                for seed in SEEDS:
                    job = TrainingJob(
                        architecture=Architecture.parse(label),
                        shape=InputShape(25, 60, 10, 5),
                        recipe=Recipe(1e-3, 1e-2, 0.2, 50, 30),
                        settings=Training(effective_batch=128, patience=8, min_delta=0.0005),
                        batching=Batching(128, 1),
                        seed=seed,
                        base_rate=data.base_rate,
                        precision="fp32",
                    )
                    result = loop.train(windows, data.split, job)
                    skills.append(skill(result.validation_loss, base_loss))
                means.append(statistics.mean(skills))
            print(f"{horizon:>7} {label:>14} {means[0]:6.3f} {means[1]:9.3f} {means[2]:6.3f}")


if __name__ == "__main__":
    main()

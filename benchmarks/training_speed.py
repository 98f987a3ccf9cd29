"""How much of the machine's matrix rate training reaches, against a plain loop.

``share`` is 6 × parameters × patches processed per second over the rate of a 2048³ bf16 matrix
product measured in the same run. «plain» is what one would write first: float32, torch's own
dropout and encoder layer, windows stacked one by one by a DataLoader. «finscale» is the training
engine as it is, evaluation left out.

    python benchmarks/training_speed.py [--quick]
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from common import bundled_cell, matrix_rate, median_s, print_machine, training_run
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from finscale.dataset.cell import CellData
from finscale.machine.device import choose_precision
from finscale.models.architecture import Architecture, InputShape
from finscale.models.cost import count_parameters

BATCH = 256
SHAPE = InputShape(25, 60, 10, 5)
ARCHITECTURES = ["64x48x2x256", "128x12x4x512", "256x3x8x1024", "512x6x8x2048"]
DROPOUT = 0.1


class _ItemByItem(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, data: CellData) -> None:
        self.features, self.labels = torch.from_numpy(data.scaled_TF), data.labels_T
        self.rows = data.split.train

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        row = self.rows[index]
        return self.features[row - 59 : row + 1], torch.tensor(self.labels[row])


class _Plain(nn.Module):
    def __init__(self, cell: Architecture) -> None:
        super().__init__()
        self.embed = nn.Linear(SHAPE.patch_width, cell.d_model)
        layer = nn.TransformerEncoderLayer(
            cell.d_model,
            cell.n_heads,
            cell.d_ff,
            DROPOUT,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, cell.n_layers, enable_nested_tensor=False)
        self.head = nn.Linear(cell.d_model, 1)

    def forward(self, x_BLF: Tensor) -> Tensor:
        patches = x_BLF.unfold(1, SHAPE.patch_length, SHAPE.patch_stride).flatten(2)
        return self.head(self.encoder(self.embed(patches))[:, -1]).squeeze(-1)


def plain_epoch(data: CellData, cell: Architecture, n_batches: int) -> Any:
    model = _Plain(cell)
    optimizer = torch.optim.AdamW(model.parameters())
    loader = DataLoader(_ItemByItem(data), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for number, (x, y) in enumerate(loader):
            if number == n_batches:
                return
            functional.binary_cross_entropy_with_logits(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def our_epoch(data: CellData, cell: Architecture, n_batches: int) -> Any:
    precision = choose_precision("auto", torch.device("cpu"), cell.d_model)
    run = training_run(data, cell.label, effective_batch=BATCH, precision=precision)

    def epoch() -> None:
        for step, batch in zip(range(n_batches), run.batches(1), strict=False):
            run.optimizer_step(batch, step)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two batches, without the largest")
    quick = parser.parse_args().quick
    n_batches, cells = (2, ARCHITECTURES[:3]) if quick else (6, ARCHITECTURES)
    print_machine()
    rate = matrix_rate(torch.bfloat16)
    print(f"bf16 2048³ product: {rate / 1e9:.0f} GFLOP/s")
    print(f"{'architecture':>14} {'parameters':>11} {'plain':>6} {'finscale':>8} {'ratio':>6}")
    data = bundled_cell(1)
    for label in cells:
        cell = Architecture.parse(label)
        n_parameters = count_parameters(cell, SHAPE)
        flops = 6 * n_parameters * SHAPE.n_patches * BATCH * n_batches
        repeats = 3
        plain = flops / median_s(plain_epoch(data, cell, n_batches), repeats=repeats) / rate
        ours = flops / median_s(our_epoch(data, cell, n_batches), repeats=repeats) / rate
        print(f"{label:>14} {n_parameters:>11,} {plain:6.2f} {ours:8.2f} {ours / plain:6.1f}")


if __name__ == "__main__":
    main()

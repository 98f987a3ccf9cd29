"""fp32 against bf16 autocast by width: where ``choose_precision`` puts its threshold on a CPU.

python benchmarks/precision.py
"""

from __future__ import annotations

from functools import partial

import torch
from common import bundled_cell, median_s, print_machine

from finscale.ladder.batching import Batching
from finscale.models.architecture import Architecture, InputShape
from finscale.study import Training
from finscale.training.loop import TrainingRun
from finscale.training.recipe import Recipe, TrainingJob

BATCH = 256


def main() -> None:
    print_machine()
    data = bundled_cell(1)
    device = torch.device("cpu")
    windows = data.windows(60, device)
    print(f"{'d_model':>7} {'fp32 ms':>8} {'bf16 ms':>8} {'fp32/bf16':>9}")
    for d_model in (16, 32, 64, 128, 256, 512):
        times = {}
        for precision in ("fp32", "bf16"):
            job = TrainingJob(
                architecture=Architecture(d_model, 4, max(1, d_model // 32), 4 * d_model),
                shape=InputShape(25, 60, 10, 5),
                recipe=Recipe(1e-4, 1e-2, 0.1, 10, 100),
                settings=Training(effective_batch=BATCH),
                batching=Batching(BATCH, 1),
                seed=0,
                base_rate=data.base_rate,
                precision=precision,
            )
            run = TrainingRun(windows, data.split, job)
            batch = next(run.batches(1))
            times[precision] = 1e3 * median_s(partial(run.optimizer_step, batch, 0))
        ratio = times["fp32"] / times["bf16"]
        print(f"{d_model:>7} {times['fp32']:8.1f} {times['bf16']:8.1f} {ratio:9.2f}")


if __name__ == "__main__":
    main()

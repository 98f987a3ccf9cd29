"""fp32 against bf16 autocast by width: where ``choose_precision`` puts its threshold on a CPU.

python benchmarks/precision.py
"""

from __future__ import annotations

from functools import partial

from common import bundled_cell, median_s, print_machine, training_run

BATCH = 256


def main() -> None:
    print_machine()
    data = bundled_cell(1)
    print(f"{'d_model':>7} {'fp32 ms':>8} {'bf16 ms':>8} {'fp32/bf16':>9}")
    for d_model in (16, 32, 64, 128, 256, 512):
        label = f"{d_model}x4x{max(1, d_model // 32)}x{4 * d_model}"
        times = {}
        for precision in ("fp32", "bf16"):
            run = training_run(data, label, effective_batch=BATCH, precision=precision)
            batch = next(run.batches(1))
            times[precision] = 1e3 * median_s(partial(run.optimizer_step, batch, 0))
        ratio = times["fp32"] / times["bf16"]
        print(f"{d_model:>7} {times['fp32']:8.1f} {times['bf16']:8.1f} {ratio:9.2f}")


if __name__ == "__main__":
    main()

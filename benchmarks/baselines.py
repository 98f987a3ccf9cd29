"""What each baseline of a cell costs, and what it scores, on the S&P 500 1999–2018.

Cells of the quickstart's split: training to 2011-12, validation 2012–14, test 2015–18; windows of
60 rows. Seconds are of one fit with its choices and of the forecasts for validation and test. CPU
seconds count both cores, and depend little on what else the machine does; wall seconds do. Nothing
is chosen on validation or test here.

    python benchmarks/baselines.py

writes docs/measured/baselines.json.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, get_args

import torch
from common import print_machine

from finscale.baselines.registry import FittedBaseline
from finscale.dataset.cell import Cell, CellData, prepare_cell
from finscale.dataset.market import load_market
from finscale.evaluation.metrics import evaluate
from finscale.files import write_json_atomic
from finscale.machine.environment import describe_environment
from finscale.study import BaselineName, BundledData, Study
from finscale.study_rows import DateSplit, Features, TierName

OUT = Path(__file__).parents[1] / "docs" / "measured" / "baselines.json"
TASK = "threshold_1pct"
HORIZONS: dict[TierName, tuple[int, ...]] = {"a25": (1, 3, 5), "a100": (1,)}
NAMES: tuple[BaselineName, ...] = get_args(BaselineName)


def cells_of(tier: TierName) -> dict[int, CellData]:
    split = {"by": "date", "train_end": "2011-12-31", "validation_end": "2014-12-31"}
    study = Study(
        name="benchmark",
        data=BundledData(),
        split=DateSplit.model_validate(split),
        features=Features(tier=tier),
    )
    market = load_market(study)
    return {h: prepare_cell(study, market, Cell(h, TASK)) for h in HORIZONS[tier]}


def measure(name: BaselineName, data: CellData) -> dict[str, Any]:
    started, started_cpu = time.perf_counter(), time.process_time()
    fitted = FittedBaseline(name, data, 0)
    parts = {part: data.split.part(part) for part in ("validation", "test")}
    forecasts = {part: fitted.predict(rows) for part, rows in parts.items()}
    cpu_s, wall_s = time.process_time() - started_cpu, time.perf_counter() - started
    skills = {
        part: round(
            evaluate(forecasts[part], data.labels_T[rows], base_rate=data.base_rate).skill, 4
        )
        for part, rows in parts.items()
    }
    return {
        "cpu_s": round(cpu_s, 2),
        "wall_s": round(wall_s, 2),
        **skills,
        "chosen": {setting: round(value, 6) for setting, value in fitted.chosen.items()},
    }


def main() -> None:
    print_machine()
    load = os.getloadavg()[0]
    found: dict[str, Any] = {}
    for tier in HORIZONS:
        for horizon, data in cells_of(tier).items():
            cell = f"{tier}_h{horizon}"
            print(f"\n{cell:<22} {'CPU s':>7} {'wall s':>7} {'validation':>11} {'test':>8}")
            scores = {}
            for name in NAMES:
                one = scores[name] = measure(name, data)
                print(
                    f"{name:<22} {one['cpu_s']:>7.2f} {one['wall_s']:>7.2f} "
                    f"{one['validation']:>+11.4f} {one['test']:>+8.4f}  {one['chosen']}",
                    flush=True,
                )
            total = {
                key: round(sum(one[key] for one in scores.values()), 1)
                for key in ("cpu_s", "wall_s")
            }
            print(f"{'all':<22} {total['cpu_s']:>7.1f} {total['wall_s']:>7.1f}")
            found[cell] = {"n_train": len(data.split.train), "baselines": scores, "total": total}
    env = describe_environment(torch.device("cpu"), "")
    machine = {key: env[key] for key in ("cpu", "n_threads", "python")}
    machine["load_at_start"] = round(load, 1)
    write_json_atomic(OUT, {"machine": machine, "task": TASK, "cells": found})


if __name__ == "__main__":
    main()

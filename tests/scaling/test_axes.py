from __future__ import annotations

import numpy as np
import pytest

from finscale.records import CurvePoint, FinalRecord, Identity, Scores
from finscale.scaling.axes import COLUMNS, compute_frontier, point_rows
from finscale.scaling.axis_laws import axis_laws
from finscale.study_rows import DataSize
from tiny import tiny_study

SETTINGS = {"n_bootstrap": 200, "confidence": 0.9, "seed": 1}
IDENTITY = Identity(settings="s", data="d", grid="g", code="c")


def final(budget, n_parameters, loss, *, seed=0, flops=100.0, cell="h1_direction", size=None):
    metrics = {"log_loss": loss, "skill": 1 - loss}
    curve = [CurvePoint(epoch=e, train_loss=1 / e, validation_loss=2 / e) for e in (1, 2)]
    return FinalRecord(
        uid=f"{budget}{seed}{cell}", experiment=f"{budget}_{cell}", budget=budget, horizon_bars=1,
        task="direction", data_size=size or DataSize(), identity=IDENTITY, code_version="0.1.0",
        created_at="2026-01-01T00:00:00+00:00", d_model=8, n_layers=1, n_heads=1, d_ff=16,
        n_parameters=n_parameters, recipe={}, effective_batch=256, micro_batch=256,
        precision="fp32", seed=seed, trial=0, best_epoch=2, curve=curve, duration_s=1.0,
        flops=flops, scores=Scores(validation=metrics, test=metrics),
    )  # fmt: skip


def described(n_rows=50, history_frac=1.0):
    return {
        "horizon_bars": 1,
        "task": "direction",
        "data_size": {"history_frac": history_frac, "n_symbols": None},
        "parts": {"train": {"n": n_rows, "n_symbols": 1}},
    }


def test_a_run_gives_a_row_per_epoch_and_one_of_its_end():
    data = {"feature_names": ["a", "b"], "cells": {"h1_direction": described()}}
    rows = point_rows(tiny_study(), [final("2M", 1000, 0.5)], data)
    assert [tuple(row) for row in rows] == [COLUMNS] * 3
    first, _, whole = rows
    assert [row["kind"] for row in rows] == ["epoch", "epoch", "final"]
    assert [row["flops"] for row in rows] == [50.0, 100.0, 100.0]
    assert [row["samples"] for row in rows] == [50, 100, 100]
    assert (first["validation_loss"], first["test_loss"]) == (2.0, None)
    assert (whole["validation_loss"], whole["train_loss"], whole["test_skill"]) == (0.5, 0.5, 0.5)
    assert {row["features"] for row in rows} == {2}


def test_the_frontier_keeps_what_no_cheaper_epoch_had_reached():
    rows = [
        {"kind": "epoch", "flops": flops, "validation_loss": loss}
        for flops, loss in [(1, 0.9), (2, 0.8), (4, 0.85), (8, 0.7), (8.1, 0.75)]
    ]
    flops, losses = compute_frontier(rows, n_bins=6)
    assert losses == [0.9, 0.8, 0.7]
    assert flops == pytest.approx([1, 2, 8])
    assert compute_frontier([]) == ([], [])


def test_a_law_in_compute_and_one_in_rows_are_found():
    compute = 10.0 ** np.arange(6)
    loss = 0.3 + 0.3 * compute**-0.4
    noise = np.random.default_rng(0).normal(0, 1e-4, 6)
    runs, cells = [], {}
    for number in range(6):
        frac = (number + 1) / 6
        cell = f"h1_direction_history{frac:.2f}"
        cells[cell] = described(int(100 * compute[number]), frac)
        runs.append(
            final(
                "2M",
                1000,
                float(loss[number] + noise[number]),
                flops=float(compute[number]),
                cell=cell,
                size=DataSize(history_frac=frac),
            )
        )
    rows = []
    for run, (cell, one) in zip(runs, cells.items(), strict=True):
        own = point_rows(
            tiny_study(), [run], {"feature_names": ["a"], "cells": {run.cell_name: one}}
        )
        rows += [{**row, "cell": cell} for row in own]
    found = {(one["axis"], one["of"]): one for one in axis_laws(rows, **SETTINGS)}
    law = found["training rows", "2M_h1_direction"]
    assert law["kind"] == "falls"
    assert law["alpha_low"] < 0.4 < law["alpha_high"]
    assert law["n_points"] == 6
    # One budget in a cell is one point of compute.
    first = next(iter(cells))
    assert found["training FLOPs", first]["kind"] == "too_few_points"

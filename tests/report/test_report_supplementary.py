from __future__ import annotations

from typing import Any

from finscale.records import CurvePoint, Identity, Record, Scores, SupplementaryRecord
from finscale.report.supplementary import supplementary_table

FIELDS: dict[str, Any] = {
    "uid": "1",
    "experiment": "2M_h1_threshold_1pct",
    "budget": "2M",
    "horizon_bars": 1,
    "task": "threshold_1pct",
    "identity": Identity(settings="s", data="d", grid="g", code="c"),
    "code_version": "0.1.0",
    "created_at": "2026-01-31T12:00:00+00:00",
    "d_model": 64,
    "n_layers": 32,
    "n_heads": 2,
    "d_ff": 256,
    "n_parameters": 1_616_449,
    "recipe": {
        "dropout": 0.1,
        "epochs": 50,
        "learning_rate": 3e-4,
        "warmup_steps": 100,
        "weight_decay": 0.001,
    },
    "effective_batch": 256,
    "micro_batch": 64,
    "precision": "fp32",
    "seed": 7,
    "run": "64x32x2x256_1a2b3c4d_seed_0",
    "asked": {},
    "state": "complete",
    "reason": "stopped by epochs",
    "validation_loss": 0.4,
    "validation_skill": -0.05,
    "train_loss": 0.5,
    "best_epoch": 1,
    "curve": (CurvePoint(epoch=1, train_loss=0.5, validation_loss=0.4),),
    "duration_s": 1.0,
    "flops": 1e12,
}
NO_LOSS = {"validation_loss": None, "validation_skill": None, "train_loss": None}


def test_every_run_has_a_row_with_what_it_was_scored_on() -> None:
    first = SupplementaryRecord(**FIELDS)
    scored = first.model_copy(
        update={
            "uid": "1/test",
            "scores": Scores(validation={"log_loss": 0.4}, test={"log_loss": 0.38}),
        }
    )
    failed = SupplementaryRecord(
        **FIELDS | NO_LOSS | {"uid": "2", "run": "other_seed_0", "state": "failed", "curve": ()}
    )
    records: list[Record] = [first, failed, scored]
    recipe = ("0.0003", "0.001", "0.1", "100", "50")
    table = supplementary_table(records)
    assert table.rows == (
        (
            *("2M_h1_threshold_1pct", "64x32x2x256", "", "1,616,449"),
            *("0.4000", "−0.050", "0.3800", *recipe, "7"),
        ),
        (
            *("2M_h1_threshold_1pct", "64x32x2x256", "failed", "1,616,449"),
            *("–", "–", "–", *recipe, "7"),
        ),
    )
    assert all(len(row) == len(table.header) for row in table.rows)
    assert supplementary_table([]).rows == ()

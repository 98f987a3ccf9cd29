"""The report's table of supplementary runs, apart from searches and winners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finscale.records import Record, supplementary_runs
from finscale.report.numbers import NOTHING, number, signed
from finscale.report.tables import Table

_SUMMARY = (
    *("uid", "experiment", "run", "state", "reason", "n_parameters", "recipe", "seed"),
    *("validation_loss", "validation_skill", "duration_s"),
)
_RECIPE = ("learning_rate", "weight_decay", "dropout", "warmup_steps", "epochs")


def supplementary_table(records: Sequence[Record]) -> Table:
    """Return every supplementary run: no search was led by it, and no law is fitted to it."""
    rows = [
        (
            one.experiment,
            one.architecture,
            "failed" if one.state == "failed" else "",
            f"{one.n_parameters:,}",
            number(one.validation_loss, digits=4),
            signed(one.validation_skill),
            NOTHING if one.scores is None else number(_loss(one.scores.test), digits=4),
            *(f"{one.recipe[name]:.3g}" for name in _RECIPE),
            str(one.seed),
        )
        for one in supplementary_runs(records)
    ]
    header = ("experiment", "d×L×heads×d_ff", "", "parameters", "validation log-loss", "skill")
    more = ("test log-loss", "learning rate", "weight decay", "dropout", "warm-up steps")
    return Table((*header, *more, "epochs", "seed"), tuple(rows), n_text=3)


def supplementary_summary(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return every supplementary run, JSON-ready; ``test`` is None where it was not scored."""
    return [
        one.model_dump(mode="json", include=set(_SUMMARY))
        | {
            "architecture": one.architecture,
            "test": None if one.scores is None else dict(one.scores.test),
        }
        for one in supplementary_runs(records)
    ]


def _loss(metrics: dict[str, float | int | bool | None]) -> float | None:
    loss = metrics["log_loss"]
    return None if loss is None else float(loss)

"""Every record says the same things of a trial, wherever it is kept and however it came about."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import Any

import pytest

from finscale.files import read_json
from finscale.records import TrialRecord
from finscale.rundir import RunDirectory
from tiny import NAMES, raw_records

# What has to be known of every training run, by the name of its column.
ASKED_FOR = {
    *("d_model", "n_layers", "n_heads", "d_ff", "n_parameters"),
    *("learning_rate", "weight_decay", "dropout", "warmup_steps", "epochs"),
    *("effective_batch", "micro_batch", "activation_checkpointing", "precision", "batch_halvings"),
    *("train_loss", "validation_loss", "validation_skill", "duration_s", "seed"),
    *("peak_memory_gib", "gpu_peak_memory_gib", "energy_kwh", "cpu_mean_frac"),
    *("max_temperature_c", "worker", "retries", "state", "reason", "forced", "trial"),
}
# No sensor of this machine may know them.
MAY_BE_EMPTY = {"gpu_peak_memory_gib", "energy_kwh", "cpu_mean_frac", "max_temperature_c"}


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its recipe and machine use spelled out, as the table has them."""
    inner = {**record["recipe"], **(record["machine"] or {})}
    return {k: v for k, v in record.items() if k not in {"recipe", "machine"}} | inner


def table(directory: RunDirectory) -> dict[str, dict[str, str]]:
    with directory.results.open(encoding="utf-8", newline="") as file:
        return {row["uid"]: row for row in csv.DictReader(file)}


def trials(directory: RunDirectory) -> list[dict[str, Any]]:
    return [one for one in raw_records(directory.ledger) if one["kind"] == "trial"]


def in_cell(value: Any) -> str:
    """Return a value as it stands in the table."""
    if isinstance(value, list):
        return "; ".join(value)
    return "" if value is None else str(value)


def test_ledger_and_files_hold_the_same_record(finished: RunDirectory) -> None:
    assert len(trials(finished)) == 4 * len(NAMES)
    for name in NAMES:
        files = finished.experiment(name)
        own = [one for one in trials(finished) if one["experiment"] == name]
        assert read_json(files.all_trials) == sorted(own, key=lambda one: one["trial"])
        assert [read_json(files.trial(one["trial"])) for one in own] == own
        assert read_json(files.best) in own


def test_the_table_holds_every_field_that_is_asked_for(finished: RunDirectory) -> None:
    rows = table(finished)
    for record in trials(finished):
        row, values = rows[record["uid"]], flat(record)
        assert set(values) >= ASKED_FOR
        assert set(row) >= ASKED_FOR
        for name in ASKED_FOR:
            assert row[name] == in_cell(values[name]), name
            if name not in MAY_BE_EMPTY | {"forced"}:
                assert row[name] != "", name


def test_forced_trials_say_as_much_as_sampled_ones(finished: RunDirectory) -> None:
    def fields(record: Mapping[str, Any]) -> set[str]:
        return set(record) | {f"recipe.{name}" for name in record["recipe"]}

    forced = [one for one in trials(finished) if one["forced"]]
    sampled = [one for one in trials(finished) if not one["forced"]]
    assert forced
    assert sampled
    assert {frozenset(fields(one)) for one in forced} == {frozenset(fields(sampled[0]))}
    rows = table(finished)

    def filled(record: Mapping[str, Any]) -> set[str]:
        row = rows[record["uid"]]
        return {name for name, text in row.items() if text} - MAY_BE_EMPTY

    assert {frozenset(filled(one) - {"forced"}) for one in forced} == {
        frozenset(filled(one)) for one in sampled
    }


@pytest.mark.parametrize(("state", "loss"), [("pruned", 0.5), ("failed", None)])
def test_what_did_not_end_well_has_the_same_fields(
    finished: RunDirectory, state: str, loss: float | None
) -> None:
    complete = trials(finished)[0]
    ended = TrialRecord.model_validate_json(
        json.dumps(complete | {"state": state, "validation_loss": loss, "reason": "why"})
    )
    assert ended.model_dump(mode="json").keys() == complete.keys()


def test_final_runs_say_what_they_took_of_the_machine(finished: RunDirectory) -> None:
    finals = [one for one in raw_records(finished.ledger) if one["kind"] == "final"]
    assert len(finals) == 3 * len(NAMES)
    rows = table(finished)
    shared = ASKED_FOR - {"retries", "state", "reason", "forced", "train_loss"}
    for one in finals:
        assert one["machine"]["peak_memory_gib"] > 0
        row = rows[one["uid"]]
        for name in shared - MAY_BE_EMPTY:
            assert row[name] != "", name

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from finscale.errors import RunDirectoryError
from finscale.files import Ledger
from finscale.records import (
    BaselineRecord,
    CurvePoint,
    EnsembleRecord,
    FinalRecord,
    Identity,
    Record,
    Scores,
    TrialRecord,
    append_record,
    read_ledger,
    read_records,
)

IDENTITY = Identity(settings="s", data="d", grid="g", code="c")
CELL: dict[str, Any] = {
    "uid": "1",
    "experiment": "2M_h1_threshold_1pct",
    "budget": "2M",
    "horizon_bars": 1,
    "task": "threshold_1pct",
    "identity": IDENTITY,
    "code_version": "0.1.0",
    "created_at": "2026-01-31T12:00:00+00:00",
}
MODEL: dict[str, Any] = {
    "d_model": 64,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 256,
    "n_parameters": 123_456,
    "recipe": {"learning_rate": 3e-4, "warmup_steps": 100, "dropout": 0.1},
    "effective_batch": 256,
    "micro_batch": 64,
    "precision": "bf16",
    "seed": 7,
}
CURVE = (CurvePoint(epoch=1, train_loss=0.5, validation_loss=0.1 + 0.2),)
SCORES = Scores(
    validation={"log_loss": 0.4, "n": 700, "beats": True, "auc": None}, test={"log_loss": 0.5}
)
TRIAL = TrialRecord(
    **{**CELL, **MODEL},
    trial=3,
    forced=("smallest d_model", "largest n_heads"),
    state="complete",
    reason="no improvement for 10 epochs",
    validation_loss=0.3,
    validation_skill=0.05,
    train_loss=0.5,
    best_epoch=1,
    curve=CURVE,
    duration_s=1.5,
)
FAILED = TRIAL.model_copy(
    update={
        "uid": "2",
        "state": "failed",
        "forced": (),
        "reason": "loss was not finite",
        "validation_loss": None,
        "validation_skill": None,
        "train_loss": None,
        "best_epoch": None,
        "curve": (),
    }
)
FINAL = FinalRecord(
    **{**CELL, **MODEL, "uid": "3"},
    trial=3,
    best_epoch=1,
    curve=CURVE,
    duration_s=2.5,
    flops=1e15,
    scores=SCORES,
)
ENSEMBLE = EnsembleRecord(
    **{**CELL, "uid": "4"}, members=("3", "5"), n_parameters=123_456, scores=SCORES
)
BASELINE = BaselineRecord(
    **{**CELL, "uid": "6", "budget": None},
    model="logistic_all",
    seed=0,
    duration_s=0.1,
    scores=SCORES,
)
ALL: list[Record] = [TRIAL, FAILED, FINAL, ENSEMBLE, BASELINE]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def test_every_kind_comes_back_as_it_went_in(ledger: Ledger) -> None:
    assert read_records(ledger) == []
    assert all(append_record(ledger, record) for record in ALL)
    again = read_records(ledger)
    assert again == ALL
    assert [type(record) for record in again] == [type(record) for record in ALL]
    final = again[2]
    assert isinstance(final, FinalRecord)
    scores = final.scores
    assert scores.validation == {"log_loss": 0.4, "n": 700, "beats": True, "auc": None}
    assert type(scores.validation["n"]) is int
    assert scores.validation["beats"] is True


def test_a_record_is_written_once(ledger: Ledger) -> None:
    assert append_record(ledger, TRIAL)
    assert not append_record(ledger, TRIAL.model_copy(update={"duration_s": 9.0}))
    assert read_records(ledger) == [TRIAL]


def test_a_record_that_is_there_twice_counts_once(ledger: Ledger) -> None:
    for record in ALL:
        append_record(ledger, record)
    with ledger.path.open("a") as stream:
        stream.write(ledger.path.read_text())
        stream.write(f"{TRIAL.model_copy(update={'duration_s': 9.0}).model_dump_json()}\n")
    assert read_records(ledger) == ALL


def test_a_torn_line_costs_only_itself(ledger: Ledger) -> None:
    append_record(ledger, TRIAL)
    with ledger.path.open("ab") as stream:
        stream.write(b'{"uid": "torn')
    append_record(ledger, FINAL)
    assert read_records(ledger) == [TRIAL, FINAL]


def test_a_line_that_is_json_and_no_record_costs_only_itself(ledger: Ledger) -> None:
    for record in ALL[:-1]:
        append_record(ledger, record)
    with ledger.path.open("a") as stream:
        stream.write(f'{{"uid": "x"}}\n{{\n{{"uid": "{ALL[-1].uid}", "kind": "trial"}}\n')
    # What it stands for is made again.
    assert append_record(ledger, ALL[-1])
    assert not append_record(ledger, ALL[-1])
    assert read_ledger(ledger) == (ALL, [5, 6, 7])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "record 1: trial.surprise: Extra inputs are not permitted"),
        ({"seed": "x"}, "record 1: trial.seed: Input should be a valid integer"),
        ({"state": "running"}, "record 1: trial.state: Input should be 'complete', 'pruned' or"),
        ({"kind": "sweep"}, "record 1: kind: Input tag 'sweep' found using 'kind' does not match"),
        ({"kind": None}, "record 1: kind: "),
        ({"uid": None}, "record None: trial.uid: Input should be a valid string"),
    ],
)
def test_a_foreign_record_is_refused_with_the_fix(
    ledger: Ledger, change: dict[str, Any], message: str
) -> None:
    append_record(ledger, FINAL)
    ledger.append({**TRIAL.model_dump(mode="json"), **change})
    with pytest.raises(RunDirectoryError) as caught:
        read_records(ledger)
    assert str(caught.value).startswith(f"{ledger.path}: {message}")
    assert str(caught.value).endswith(
        "; it was written by another version of finscale, use a new --out"
    )
    assert "\n" not in str(caught.value)


def test_a_record_that_lacks_a_field_is_refused(ledger: Ledger) -> None:
    raw = TRIAL.model_dump(mode="json")
    del raw["seed"]
    ledger.path.write_text(json.dumps(raw))
    with pytest.raises(RunDirectoryError, match=r"record 1: trial\.seed: Field required; it was"):
        read_records(ledger)


def test_identities_name_the_parts_in_which_they_differ() -> None:
    assert IDENTITY.differences(IDENTITY) == ()
    other = Identity(settings="s", data="D", grid="g", code="C")
    assert IDENTITY.differences(other) == other.differences(IDENTITY) == ("data", "code")
    assert len(IDENTITY.fingerprint) == 16
    changed = [
        IDENTITY.model_copy(update={name: "other"}).fingerprint for name in Identity.model_fields
    ]
    assert len({IDENTITY.fingerprint, *changed}) == 5
    # The parts do not run into each other.
    swapped = Identity(settings="d", data="s", grid="g", code="c")
    assert swapped.fingerprint != IDENTITY.fingerprint


def test_an_architecture_has_one_label() -> None:
    assert TRIAL.architecture == FINAL.architecture == "64x2x4x256"


def test_records_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TRIAL.seed = 8
    with pytest.raises(ValidationError, match="Extra inputs"):
        TrialRecord(**{**TRIAL.model_dump(), "note": "x"})


def test_a_loss_that_json_cannot_hold_does_not_reach_the_ledger(ledger: Ledger) -> None:
    append_record(ledger, TRIAL)
    diverged = FAILED.model_copy(
        update={"curve": (CurvePoint(epoch=1, train_loss=float("nan"), validation_loss=1.0),)}
    )
    with pytest.raises(ValueError, match="JSON"):
        append_record(ledger, diverged)
    assert read_records(ledger) == [TRIAL]

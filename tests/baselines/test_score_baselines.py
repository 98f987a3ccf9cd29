from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from finscale.baselines.strength import STRENGTHS
from finscale.errors import StopRequestedError
from finscale.pipeline.baselines import score_baselines
from finscale.pipeline.book import RecordBook
from finscale.progress import Progress
from finscale.records import BaselineRecord, read_records
from finscale.rundir import RunDirectory
from tiny import CELL, tiny_prepared


def test_a_record_says_what_its_baseline_chose(tmp_path: Path) -> None:
    prepared, directory = tiny_prepared(), RunDirectory(tmp_path)
    book = RecordBook(directory, prepared.identities)

    score_baselines(prepared, directory, book, Progress())

    records = {r.model: r for r in read_records(directory.ledger) if isinstance(r, BaselineRecord)}
    assert list(records) == ["base_rate", "logistic_volatility"]
    assert records["base_rate"].chosen == {}
    assert list(records["logistic_volatility"].chosen) == ["C"]
    assert records["logistic_volatility"].chosen["C"] in STRENGTHS
    fingerprint = prepared.identities[CELL].fingerprint
    kept = pl.read_parquet(directory.baseline_predictions(CELL, fingerprint))
    assert set(kept["model"]) == set(records)
    # Nothing is scored twice.
    score_baselines(prepared, directory, book, Progress())
    assert len(read_records(directory.ledger)) == 2


def test_a_stop_is_heeded_between_two_baselines_and_nothing_is_scored_twice(
    tmp_path: Path,
) -> None:
    prepared, directory = tiny_prepared(), RunDirectory(tmp_path)
    book = RecordBook(directory, prepared.identities)
    begun = []

    class Watching(Progress):
        def baseline_started(self, cell: str, model: str) -> None:
            begun.append((cell, model))

    with pytest.raises(StopRequestedError):
        score_baselines(prepared, directory, book, Watching(), lambda: len(begun) == 1)
    assert begun == [(CELL, "base_rate")]
    score_baselines(prepared, directory, book, Watching())
    assert [record.model for record in read_records(directory.ledger)] == [
        "base_rate",
        "logistic_volatility",
    ]
    kept = pl.read_parquet(
        directory.baseline_predictions(CELL, prepared.identities[CELL].fingerprint)
    )
    assert set(kept["model"]) == {"base_rate", "logistic_volatility"}


def test_a_record_of_before_there_were_choices_can_be_read() -> None:
    assert BaselineRecord.model_fields["chosen"].get_default() == {}

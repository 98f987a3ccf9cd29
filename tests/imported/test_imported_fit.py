from __future__ import annotations

import json
from pathlib import Path

import pytest
from past_results import NO_ARCHITECTURE, SHAPE, row, write_csv

from finscale.errors import RunDirectoryError
from finscale.files import Ledger
from finscale.imported.fit import fit_imported
from finscale.imported.reading import read_results
from finscale.imported.record import (
    ImportedBaseLoss,
    ImportedLine,
    append_imported,
    read_imported,
)
from finscale.ladder.grid import REFERENCE_GRID
from finscale.models.cost import count_parameters
from finscale.rundir import RunDirectory
from finscale.scaling.laws import PowerLaw

CELL = "h1_threshold_1pct"
PLANTED = {"A": 0.9, "alpha": 0.05}


def base(log_loss: float, cell: str = CELL, uid: str = "b") -> ImportedBaseLoss:
    return ImportedBaseLoss(uid=uid, imported_at="2026-02-01", cell=cell, log_loss=log_loss)


def records(tmp_path: Path, *rows: dict) -> list[ImportedLine]:
    return list(read_results([write_csv(tmp_path, rows)], SHAPE).records)


def sized(number: int, label: str, **changes: object) -> tuple[int, dict]:
    """Return the count of one of the reference grid's architectures, and a row that has it."""
    cell = REFERENCE_GRID.architectures()[number]
    return count_parameters(cell, SHAPE), row(
        **cell.as_dict(),
        budget=label,
        param_count="",
        experiment=f"{label}_h1_threshold_1pct",
        **changes,
    )


def test_a_planted_law_is_found_at_the_counts_and_not_at_the_labels(tmp_path: Path) -> None:
    rows, sizes = [], []
    for index, number in enumerate((0, 40, 200, 500, 900, 1200, 1400)):
        n, one = sized(number, f"{index + 1}M")
        sizes.append(n)
        rows.append(one | {"val_loss": float(PowerLaw.predict(PLANTED, n))})
        # A worse result of the same budget does not move its point.
        rows.append(one | {"val_loss": 0.69})
    fit = fit_imported(records(tmp_path, *rows))[CELL]
    assert [point["n_parameters"] for point in fit["points"]] == sorted(sizes)
    assert fit["comparison"]["chosen"] == "power_law"
    [law] = [one for one in fit["comparison"]["fits"] if one["law"] == "power_law"]
    assert law["parameters"] == pytest.approx(PLANTED, rel=1e-6)
    assert (fit["n_results"], fit["n_scored"], fit["n_uncounted"]) == (14, 14, 0)
    json.dumps(fit, allow_nan=False)


def test_skill_is_counted_against_the_base_loss_of_the_cell(tmp_path: Path) -> None:
    # The celebrated loss of the reference, above what its base rate scores.
    lines = records(
        tmp_path,
        row(val_loss=0.3756),
        row(val_loss=0.372, budget="20M"),
        row(val_loss=0.3719, budget="200M"),
        row(val_loss=0.1, status="failed"),
        row(val_loss=0.6, horizon=3),
    )
    assert fit_imported(lines)[CELL]["n_without_skill"] is None
    fits = fit_imported([*lines, base(0.9), base(0.372), base(0.1, cell="h9_direction")])
    assert list(fits) == [CELL, "h3_threshold_1pct"]
    assert fits[CELL]["base_log_loss"] == 0.372
    # A loss that equals the base rate's has no skill; a failed run has no say.
    assert (fits[CELL]["n_without_skill"], fits[CELL]["n_scored"]) == (2, 3)
    assert fits["h3_threshold_1pct"]["n_without_skill"] is None


def test_results_without_an_architecture_are_counted_and_not_fitted(tmp_path: Path) -> None:
    bare = row(**NO_ARCHITECTURE, val_loss=0.2)
    fit = fit_imported(records(tmp_path, bare, row(val_loss=0.4)))[CELL]
    assert [point["validation_loss"] for point in fit["points"]] == [0.4]
    assert (fit["n_scored"], fit["n_uncounted"], fit["error"]) == (2, 1, None)
    alone = fit_imported(records(tmp_path, bare))[CELL]
    assert alone["comparison"] is None
    assert alone["error"] == "no complete result has an architecture whose size can be counted"


# --- The ledger ---------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return RunDirectory(tmp_path / "kept").imported


def test_results_are_kept_once_and_come_back_as_they_went_in(
    ledger: Ledger, tmp_path: Path
) -> None:
    lines = [*records(tmp_path, row(), row(val_loss="nan", status="failed")), base(0.372)]
    assert append_imported(ledger, lines) == 3
    again = records(tmp_path, row(val_loss=0.5), row())
    assert append_imported(ledger, again) == 1
    assert read_imported(ledger) == [*lines, again[0]]
    assert ledger.path == tmp_path / "kept" / "imported.jsonl"


def test_a_foreign_line_is_refused_with_the_fix(ledger: Ledger) -> None:
    ledger.append({"uid": "x", "kind": "trial"})
    with pytest.raises(RunDirectoryError) as caught:
        read_imported(ledger)
    assert str(caught.value).startswith(f"{ledger.path}: x: kind: Input tag 'trial' found using")
    assert str(caught.value).endswith("move it away and import again")

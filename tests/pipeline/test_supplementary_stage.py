"""Supplementary runs as a stage of a whole run, beside everything else it makes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from finscale.errors import StudyError
from finscale.files import read_json
from finscale.pipeline.prepare import prepare
from finscale.rundir import RunDirectory
from tiny import NAMES, outcome_of, raw_records, run_tiny, tiny_study

LISTED = {
    "supplementary": [
        {"experiment": "2.5K_*", "architecture": "16x2x2x24", "recipe": {"epochs": 1}},
        {"architecture": "8x1x2x16", "score_test": True},
    ]
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_tiny(tmp_path_factory.mktemp("listed") / "run", LISTED).directory


def of_kind(directory: RunDirectory, *kinds: str) -> list[dict[str, Any]]:
    return [one for one in raw_records(directory.ledger) if one["kind"] in kinds]


def test_a_run_trains_its_list_where_it_matches(listed: RunDirectory) -> None:
    assert [
        (one["experiment"], one["run"].split("_")[0], one["scores"] is not None)
        for one in of_kind(listed, "supplementary")
    ] == [
        (NAMES[0], "8x1x2x16", False),
        (NAMES[0], "8x1x2x16", True),
        (NAMES[1], "16x2x2x24", False),
        (NAMES[1], "8x1x2x16", False),
        (NAMES[1], "8x1x2x16", True),
    ]


def test_search_winners_and_laws_are_those_of_a_run_without_a_list(
    listed: RunDirectory, finished: RunDirectory
) -> None:
    def trials(directory: RunDirectory) -> list[dict[str, Any]]:
        return [outcome_of(one) for one in of_kind(directory, "trial")]

    assert trials(listed) == trials(finished)
    assert read_json(listed.scaling) == read_json(finished.scaling)
    with_list, without = read_json(listed.summary), read_json(finished.summary)
    assert with_list["verdicts"] == without["verdicts"]
    for one, other in zip(with_list["cells"], without["cells"], strict=True):
        for label, budget in one["budgets"].items():
            assert budget["seed_average"] == other["budgets"][label]["seed_average"]
            assert budget["n_trials"] == other["budgets"][label]["n_trials"]
            # A recipe more was scored on test, and that is a look at it.
            assert budget["n_test_scorings"] == 2
            assert other["budgets"][label]["n_test_scorings"] == 1


def test_summary_and_report_show_them_as_what_they_are(listed: RunDirectory) -> None:
    shown = read_json(listed.summary)["supplementary"]
    assert [(one["experiment"], one["architecture"]) for one in shown] == [
        (NAMES[0], "8x1x2x16"),
        (NAMES[1], "16x2x2x24"),
        (NAMES[1], "8x1x2x16"),
    ]
    assert [one["test"] is None for one in shown] == [False, True, False]
    page = listed.report.read_text(encoding="utf-8")
    section = page.partition('<section id="supplementary">')[2].partition("</section>")[0]
    assert section.count("<td>16x2x2x24</td>") == 1
    assert section.count("<td>8x1x2x16</td>") == 2


def test_a_run_without_a_list_has_no_such_section(finished: RunDirectory) -> None:
    assert read_json(finished.summary)["supplementary"] == []
    page = finished.report.read_text(encoding="utf-8")
    assert 'id="supplementary"' not in page
    assert 'id="imported"' not in page


def test_the_table_of_results_marks_them(listed: RunDirectory) -> None:
    with listed.results.open(encoding="utf-8", newline="") as file:
        rows = [one for one in csv.DictReader(file) if one["kind"] == "supplementary"]
    first, _, wide, *_ = rows
    assert wide["run"].startswith("16x2x2x24_")
    assert (wide["trial"], wide["state"], wide["epochs"], wide["n_epochs"]) == (
        *("", "complete", "1", "1"),
    )
    assert (wide["d_model"], wide["n_layers"], wide["n_heads"], wide["d_ff"]) == (
        *("16", "2", "2", "24"),
    )
    assert float(wide["flops"]) > 0
    assert float(wide["peak_memory_gib"]) > 0
    assert (first["test_loss"], wide["test_loss"]) == ("", "")
    assert float(rows[1]["test_loss"]) > 0


def test_going_on_trains_none_of_them_twice(listed: RunDirectory) -> None:
    before = raw_records(listed.ledger)
    run_tiny(listed.root, LISTED)
    assert raw_records(listed.ledger) == before


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"experiment": "9K_*", "architecture": "4x1x1x8"}, "supplementary.0.experiment: got '9K"),
        ({"architecture": "16x2x3x24"}, "supplementary.0.architecture: n_heads 3 does not divide"),
    ],
)
def test_a_wrong_list_is_refused_before_anything_is_written(
    tmp_path: Path, entry: dict[str, Any], fault: str
) -> None:
    changes = {"supplementary": [entry]}
    for refused in (
        lambda: prepare(tiny_study(changes)),
        lambda: run_tiny(tmp_path / "run", changes),
    ):
        with pytest.raises(StudyError) as caught:
            refused()
        assert str(caught.value).startswith(fault)
    assert not (tmp_path / "run").exists()

"""Nothing stale enters a fit or a report, unless somebody asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from finscale.files import read_json
from finscale.pipeline import results
from finscale.report.page import render_report
from finscale.rundir import RunDirectory
from tiny import CELL, NAMES, raw_records, run_tiny

CHANGED = {"training.patience": 8}
REASON = "settings (training.patience 2 → 8)"
SHOW: Any = {"stages": ("fit", "report")}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reports are made from; drawing takes as long as all the rest."""
    contents: list[Any] = []
    monkeypatch.setattr(results, "render_report", lambda one: contents.append(one) or "<html>")
    return contents


def uids(directory: RunDirectory) -> set[str]:
    points = read_json(directory.scaling)["cells"].get(CELL, {"points": []})["points"]
    return {uid for point in points for uid in point["uids"]}


def finals(directory: RunDirectory, name: str) -> set[str]:
    records = raw_records(directory.ledger)
    return {r["uid"] for r in records if r["kind"] == "final" and r["experiment"] == name}


def test_stale_records_are_left_out(copied: RunDirectory, shown: list[Any]) -> None:
    summary = run_tiny(copied.root, CHANGED, **SHOW).summary
    assert summary is not None
    assert uids(copied) == set()
    assert (shown[0].records, shown[0].predictions) == ([], {})
    assert summary["included_stale"] == {}
    assert summary["stale"] == {name: [REASON] for name in (CELL, *NAMES)}
    assert [one["status"] for one in summary["cells"][0]["budgets"].values()] == ["stale"] * 2


def test_stale_records_are_used_with_a_caution_where_it_is_asked_for(
    copied: RunDirectory, shown: list[Any]
) -> None:
    current = run_tiny(copied.root, **SHOW).summary
    summary = run_tiny(copied.root, CHANGED, include_stale=True, **SHOW).summary
    assert summary is not None
    assert current is not None
    assert uids(copied) == finals(copied, NAMES[0]) | finals(copied, NAMES[1])
    assert summary["included_stale"] == {name: [REASON] for name in (CELL, *NAMES)}
    assert summary["stale"] == {}
    # The numbers are the old ones; the verdict says what they are.
    before, after = (one["cells"][0]["budgets"]["2.5K"] for one in (current, summary))
    assert after["seed_mean"] == before["seed_mean"]
    assert summary["verdicts"][CELL]["cautions"][:3] == [
        f"STALE: the records of {name} were made with other {REASON}" for name in (CELL, *NAMES)
    ]
    assert shown[1].predictions[CELL].equals(shown[0].predictions[CELL])
    page = " ".join(render_report(shown[1]).split())
    assert "Caution: stale records are on this page, because they were asked for." in page
    assert f"made with other {REASON}" in page
    assert "are never compared with each other on this page" not in page
    assert page.index("Caution: stale records") < page.index('id="verdicts"')
    # Whoever does not ask again gets what is current.
    run_tiny(copied.root, CHANGED, **SHOW)
    assert uids(copied) == set()


def test_only_what_has_no_current_records_is_taken_from_stale_ones(
    copied: RunDirectory, shown: list[Any]
) -> None:
    old = finals(copied, NAMES[1])
    run_tiny(copied.root, CHANGED, only=NAMES[0])
    summary = run_tiny(copied.root, CHANGED, include_stale=True, **SHOW).summary
    assert summary is not None
    assert summary["included_stale"] == {NAMES[1]: [REASON]}
    assert old <= uids(copied)
    assert len(uids(copied) & finals(copied, NAMES[0])) == 3
    made_with = {(one.experiment, one.identity.settings) for one in shown[-1].records}
    assert len(made_with) == 3
    assert len({settings for _, settings in made_with}) == 2


def test_stale_records_of_other_data_are_not_put_beside_current_ones(
    copied: RunDirectory, shown: list[Any]
) -> None:
    other = {"split": {"by": "fraction", "train_frac": 0.16, "validation_frac": 0.1}}
    # As long as nothing is current, all that is stale has the same data.
    summary = run_tiny(copied.root, other, include_stale=True, **SHOW).summary
    assert summary is not None
    assert set(summary["included_stale"]) == {CELL, *NAMES}
    run_tiny(copied.root, other, only=NAMES[0])
    summary = run_tiny(copied.root, other, include_stale=True, **SHOW).summary
    assert summary is not None
    assert (set(summary["included_stale"]), set(summary["stale"])) == (set(), {NAMES[1]})
    assert {record.experiment for record in shown[-1].records} == {CELL, NAMES[0]}

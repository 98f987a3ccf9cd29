from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from command_line import CommandLine

from finscale.files import read_json
from finscale.rundir import RunDirectory
from tiny import CELL

BUDGETS = ["1.5K", "2.5K"]


def test_the_points_of_runs_are_gathered(
    finscale: CommandLine, copied: RunDirectory, tmp_path
) -> None:
    out = tmp_path / "points.csv"
    result = finscale("points", copied.root, copied.root, "--out", out)
    assert (result.code, result.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    # Two budgets and three seeds each, twice.
    assert [row["kind"] for row in rows] == ["final"] * 12
    assert {row["run"] for row in rows} == {copied.root.name}
    assert all(0 < float(row["test_loss"]) < 1 and float(row["flops"]) > 0 for row in rows)
    assert finscale("points", copied.root).out.count("\n") == 1 + 6
    along = list(csv.DictReader(io.StringIO(finscale("points", copied.root, "--epochs").out)))
    assert {row["kind"] for row in along} == {"epoch"}
    assert len(along) == sum(int(row["epoch"]) for row in rows[:6])


def test_averages_have_a_row_per_budget_and_can_be_fitted(
    finscale: CommandLine, copied: RunDirectory, tmp_path: Path
) -> None:
    out = tmp_path / "averages.csv"
    assert finscale("points", copied.root, copied.root, "--averages", "--out", out).code == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["budget"] for row in rows] == BUDGETS * 2
    finals = list(csv.DictReader(io.StringIO(finscale("points", copied.root).out)))
    for row in rows:
        own = [one for one in finals if one["budget"] == row["budget"]]
        assert float(row["flops"]) == pytest.approx(sum(float(one["flops"]) for one in own))
        assert int(row["n_seeds"]) == len(own) == 3
    evidence = read_json(copied.evidence)[CELL]
    earned = {one["name"]: one for one in evidence["economics"]["timing"]}
    first = earned[f"{BUDGETS[0]}/threshold"]
    assert float(rows[0]["sharpe_threshold"]) == pytest.approx(first["sharpe"]["value"])
    assert float(rows[0]["max_drawdown_threshold"]) == pytest.approx(first["max_drawdown"])
    assert rows[0]["test_r2"] == ""
    fitted = finscale("fit-line", out, "--x", "params", "--y", "sharpe_threshold")
    assert fitted.code == 0
    assert "sharpe_threshold: too few sizes for a verdict; six are needed" in fitted.out
    told = json.loads(finscale("fit-line", out, "--x", "flops", "--y", "test_skill", "--json").out)
    assert (told["law"], told["n_points"]) == ("line", 4)


def test_epochs_of_averages_are_refused(finscale: CommandLine, copied: RunDirectory) -> None:
    refused = finscale("points", copied.root, "--averages", "--epochs")
    assert (refused.code, "an average has no epochs" in refused.err) == (2, True)


def test_a_run_without_points_is_refused(finscale: CommandLine, copied: RunDirectory) -> None:
    copied.points.unlink()
    result = finscale("points", copied.root)
    assert result.code == 2
    assert f"write it with: finscale fit {copied.root}" in result.err
    copied.points.write_text("a,b\n1,2\n")
    assert "another version" in finscale("points", copied.root).err

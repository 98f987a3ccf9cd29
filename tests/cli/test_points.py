from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from command_line import CommandLine

from finscale.files import read_json, write_json_atomic
from finscale.rundir import RunDirectory
from tiny import CELL

BUDGETS = ["1.5K", "2.5K"]
CELLS = {"h1": 1, "h5": -1}


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
    refused = finscale("fit-line", out, "--x", "params", "--y", "sharpe_threshold")
    assert (refused.code, "a line needs three sizes, got 2" in refused.err) == (2, True)


def test_a_line_is_fitted_to_the_rows_of_one_question(
    finscale: CommandLine, tmp_path: Path
) -> None:
    points = tmp_path / "points.csv"
    rows = [f"{cell},{10**k},{sign * k}" for k in range(1, 7) for cell, sign in CELLS.items()]
    points.write_text("\n".join(["cell,params,sharpe", *rows]))
    options = ("--x", "params", "--y", "sharpe", "--where", "cell=h5")
    fitted = finscale("fit-line", points, *options)
    assert fitted.code == 0
    assert "sharpe: falls with size; over 6 sizes spanning ×1e+05 it changes by -5" in fitted.out
    told = json.loads(finscale("fit-line", points, *options, "--json").out)
    assert (told["law"], told["n_points"], told["kind"]) == ("line", 6, "falls")
    # Both together say nothing: points of one size are averaged.
    both = json.loads(finscale("fit-line", points, *options[:4], "--json").out)
    assert (both["n_points"], both["kind"]) == (6, "no_evidence")
    for where, fault in (("h5", "write it as column=value"), ("cell=h3", "no such row")):
        refused = finscale("fit-line", points, *options[:4], "--where", where)
        assert (refused.code, fault in refused.err) == (2, True)


def test_epochs_of_averages_are_refused(finscale: CommandLine, copied: RunDirectory) -> None:
    refused = finscale("points", copied.root, "--averages", "--epochs")
    assert (refused.code, "an average has no epochs" in refused.err) == (2, True)


def test_points_of_a_run_with_a_leak_come_with_a_warning(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    data = read_json(copied.data)
    data["cells"][CELL]["canary"] |= {"leaks": ["x"], "alarm": "x knows the next return"}
    write_json_atomic(copied.data, data)
    result = finscale("points", copied.root)
    assert result.code == 0
    assert "warning" in result.err
    assert "X knows the next return" in result.err
    assert "knows" not in result.out


def test_a_run_without_points_is_refused(finscale: CommandLine, copied: RunDirectory) -> None:
    copied.points.unlink()
    result = finscale("points", copied.root)
    assert result.code == 2
    assert f"write it with: finscale fit {copied.root}" in result.err
    copied.points.write_text("a,b\n1,2\n")
    assert "another version" in finscale("points", copied.root).err

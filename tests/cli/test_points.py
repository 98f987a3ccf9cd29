from __future__ import annotations

import csv
import io

from command_line import CommandLine

from finscale.rundir import RunDirectory


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


def test_a_run_without_points_is_refused(finscale: CommandLine, copied: RunDirectory) -> None:
    copied.points.unlink()
    result = finscale("points", copied.root)
    assert result.code == 2
    assert f"write it with: finscale fit {copied.root}" in result.err
    copied.points.write_text("a,b\n1,2\n")
    assert "another version" in finscale("points", copied.root).err

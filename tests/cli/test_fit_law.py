"""The command that fits a law to anyone's points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import CommandLine, fault_of

import finscale as library
from finscale.scaling.laws import Surface

TRUTH = {"E": 1.817, "A": 482.0, "B": 2085.4, "alpha": 0.3478, "beta": 0.3658}


def planted() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    n = np.exp(rng.uniform(np.log(4e7), np.log(1.6e10), 80))
    d = n * np.exp(rng.uniform(np.log(2.0), np.log(200.0), 80))
    loss = Surface.predict(TRUTH, n, d) * np.exp(0.004 * rng.standard_normal(80))
    return pl.DataFrame({"params": n, "flops": 6 * n * d, "val loss": loss})


@pytest.fixture
def points(tmp_path: Path) -> Path:
    planted().write_csv(tmp_path / "points.csv")
    return tmp_path / "points.csv"


SURFACE = ("--law", "surface", "--n", "params", "--d", "flops/(6*params)", "--loss", "val loss")


def test_a_surface_as_json(finscale: CommandLine, points: Path) -> None:
    options = ("--huber", "1e-3", "--drop-highest", "2", "--bootstrap", "200", "--seed", "4")
    finished = finscale("fit-law", points, *SURFACE, *options, "--json")
    assert (finished.code, finished.err) == (0, "")
    told = json.loads(finished.out)
    assert list(told)[:7] == [
        "law",
        "parameters",
        "standard_errors",
        "intervals",
        "objective",
        "n_points",
        "converged",
    ]
    assert (told["law"], told["n_points"], told["converged"]) == ("surface", 78, True)
    assert len(told["dropped"]) == 2
    for name, value in TRUTH.items():
        low, high = told["intervals"][name]
        assert low < told["parameters"][name] < high
        assert abs(told["parameters"][name] - value) < 4 * told["standard_errors"][name]
    assert finscale("fit-law", points, *SURFACE, *options, "--json").out == finished.out
    columns = {"n": "params", "d": "flops/(6*params)", "loss": "val loss"}
    mirrored = library.fit_law(points, **columns, drop_highest=2, bootstrap=200, seed=4)
    assert mirrored.as_dict() == told | {"dropped": list(told["dropped"])}


def test_parquet_and_quoted_columns(finscale: CommandLine, tmp_path: Path, points: Path) -> None:
    planted().write_parquet(tmp_path / "points.parquet")
    outputs = [
        finscale("fit-law", file, *SURFACE[:-1], "`val loss`", "--bootstrap", "0", "--json").out
        for file in (points, tmp_path / "points.parquet")
    ]
    assert json.loads(outputs[0])["standard_errors"] is None
    csv, parquet = (json.loads(text)["parameters"] for text in outputs)
    assert csv == pytest.approx(parquet, rel=1e-6)


def test_a_table_for_people(finscale: CommandLine, points: Path) -> None:
    finished = finscale("fit-law", points, *SURFACE, "--bootstrap", "50", "--drop-highest", "1")
    lines = finished.out.splitlines()
    assert lines[0] == "L = E + A N^-alpha + B D^-beta"
    assert lines[1].split() == ["parameter", "value", "standard", "error", "95%", "from", "to"]
    assert [line.split()[0] for line in lines[2:7]] == ["E", "A", "B", "alpha", "beta"]
    assert lines[8].startswith("79 points, 1 of highest loss left out; objective ")
    assert ", converged, condition number " in lines[8]
    assert lines[9] == "50 bootstrap samples of points, 50 converged, seed 0"
    assert lines[10].startswith("a constant has an objective of ")
    assert len(lines) == 11


def test_a_table_without_a_bootstrap(finscale: CommandLine, tmp_path: Path) -> None:
    n = np.geomspace(1e4, 1e8, 8)
    frame = pl.DataFrame({"n": n, "loss": 5.0 * n**-0.1 - 0.2})
    frame.write_csv(tmp_path / "points.csv")
    finished = finscale(
        "fit-law", "points.csv", "--law", "power-floor", "--x", "n", "--loss", "loss",
        "--bootstrap", "0",
    )  # fmt: skip
    lines = finished.out.splitlines()
    assert lines[1].split() == ["parameter", "value"]
    assert lines[2].split() == ["E", "0", "at", "its", "bound"]
    assert lines[7].startswith("a constant has an objective of ")
    assert ", AICc gains " in lines[7]
    assert lines[8:] == ["note: E is at a bound: a limit, not a measurement"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--n", "params", "--d", "flops/(6*parms)", "--loss", "val loss"),
            "--d flops/(6*parms): no column parms; there are params, flops, `val loss`",
        ),
        (
            ("--n", "params", "--d", "flops", "--loss", "`val  loss`"),
            "--loss `val  loss`: no column val  loss; there are params, flops, `val loss`",
        ),
        (
            ("--n", "open('x')", "--d", "flops", "--loss", "val loss"),
            (
                "--n open('x'): open('x') is not understood; use numbers, columns, + - * / **, "
                "parentheses, log, exp and sqrt"
            ),
        ),
        (
            (
                *("--law", "data-constrained", "--n", "params", "--d", "flops"),
                *("--unique-d", "uniq", "--loss", "val loss"),
            ),
            "--unique-d uniq: no column uniq; there are params, flops, `val loss`",
        ),
    ],
)
def test_bad_expressions(finscale: CommandLine, points: Path, options, message: str) -> None:
    assert fault_of(finscale("fit-law", points, *options)) == f"{points}: {message}"


@pytest.mark.parametrize(
    ("command", "where", "warned"),
    [
        (("fit-law", "--law", "power", "--n", "n", "--loss", "loss"), (), True),
        (("fit-law", "--law", "power", "--n", "n", "--loss", "loss"), ("task=return",), False),
        (("fit-line", "--x", "n", "--y", "loss"), (), True),
        (("fit-line", "--x", "n", "--y", "loss"), ("task=return",), False),
    ],
)
def test_points_of_different_questions_are_fitted_with_a_warning(
    finscale: CommandLine, tmp_path: Path, command, where, warned: bool
) -> None:
    rows = [
        f"{task},1,{n},{loss + 1 / n}"
        for task, loss in (("return", 3.0), ("direction", 0.7))
        for n in (1, 10, 100, 1000)
    ]
    table = tmp_path / "points.csv"
    table.write_text("\n".join(["task,horizon_bars,n,loss", *rows]) + "\n", encoding="utf-8")
    name, *options = command
    done = finscale(name, table, *options, *(f"--where={one}" for one in where))
    assert done.code == 0, done
    expected = (
        f"finscale: warning: {table}: task is direction, return; "
        "--where task=direction fits one of them\n"
    )
    assert done.err == (expected if warned else "")


def test_more_distinct_samples_than_samples_are_refused(
    finscale: CommandLine, tmp_path: Path
) -> None:
    table = tmp_path / "points.csv"
    table.write_text("n,d,u,loss\n1,100,100,3\n2,100,200,2\n", encoding="utf-8")
    options = ("--law", "data-constrained", "--n", "n", "--d", "d", "--unique-d", "u")
    assert fault_of(finscale("fit-law", table, *options, "--loss", "loss")) == (
        f"{table}, line 3: unique_d is 200 and d 100; unique_d counts the distinct samples among "
        "d, at most as many"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": empty; give a header and one row per point"),
        ("params,flops,loss\n", ": no points; give one row per point"),
        (
            "params,flops,params,loss\n1,2,3,4\n",
            ", line 1: column 'params' appears 2 times; rename all but one",
        ),
        (
            "params,flops,loss\n1,2,3\n1,two,3\n",
            ", line 3: flops is 'two', not a number; correct that row or leave it out",
        ),
        (
            "params,flops,loss\n1,2,3\n1,2,-3\n",
            (
                ", line 3: loss is -3, and must be positive and finite; "
                "correct that row or leave it out"
            ),
        ),
        (
            "params,flops,loss\n1,2,3\n2,3,4\n5,6,7\n8,9,1\n",
            (
                ": surface has 5 parameters and needs at least as many distinct points, got 4; "
                "measure more, or fit a simpler law"
            ),
        ),
    ],
)
def test_bad_files(finscale: CommandLine, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    options = ("--n", "params", "--d", "flops", "--loss", "loss")
    assert fault_of(finscale("fit-law", "bad.csv", *options, "--json")) == f"bad.csv{message}"


def test_bad_settings(finscale: CommandLine, points: Path) -> None:
    def fault(*options: str) -> str:
        return fault_of(finscale("fit-law", points, *SURFACE, *options))

    assert fault("--law", "cubic").startswith("law cubic: no such law; choose one of constant,")
    assert fault("--huber", "0") == (
        "huber 0.0: the width must be positive and finite; 1e-3 is usual"
    )
    assert fault("--bootstrap", "1").startswith("bootstrap 1: give 0 for none")
    assert fault("--drop-highest", "80").startswith("drop-highest 80: there are 80 points")
    assert fault("--confidence", "95").startswith("confidence 95: give a share between 0 and 1")
    assert fault("--law", "power").startswith("power is a law of one variable, got n and d")
    assert fault_of(finscale("fit-law", "gone.csv", *SURFACE)) == (
        "gone.csv: no such file; give a CSV or Parquet file of points"
    )


def test_it_starts_without_torch(tmp_path: Path, points: Path) -> None:
    code = (
        "import sys; from finscale.cli.main import main\n"
        "try: main()\n"
        "finally: print({'torch', 'optuna', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "fit-law", str(points), *SURFACE, "--bootstrap", "2"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert finished.stdout.splitlines()[-1] == "set()"

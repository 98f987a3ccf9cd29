"""Every bad input: exit code 2, one message that names the fix, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, fault_of, names_in

from tiny import NAMES, write_study

ONE_CELL = {"d_model": [4], "n_layers": [1], "n_heads": [1], "ff_ratio": [2]}

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (
        {"search.n_trails": 3},
        "tiny.yaml: search.n_trails: unknown setting; did you mean 'n_trials'? allowed here: extr",
    ),
    "wrong type": ({"search.n_trials": "many"}, "tiny.yaml: search.n_trials: got 'many'; "),
    "number as text": ({"seed": "3"}, "tiny.yaml: seed: got '3'; "),
    "two at once": (
        {"seed": -1, "horizons": [0]},
        "tiny.yaml: 2 settings are wrong\n  seed: got -1; input should be greater than or equal",
    ),
    "impossible fractions": (
        {"split.train_frac": 0.9, "split.validation_frac": 0.2},
        "tiny.yaml: split: train_frac + validation_frac must leave a test part",
    ),
    "impossible dates": (
        {"split": {"by": "date", "train_end": "1990-01-01", "validation_end": "2014-12-31"}},
        "the train part holds no sample: it covers 0 rows of the data, which runs 1999-01-04 to",
    ),
    "unknown tier": (
        {"features.tier": "a7"},
        "tiny.yaml: features.tier: got 'a7'; input should be 'a25'",
    ),
    "budget without an architecture": (
        {"ladder.budgets": ["100K"], "ladder.grid": ONE_CELL},
        "budget 100K: no architecture of the grid has 75000 to 125000 parameters; the nearest",
    ),
    "warm-up that outlasts the shortest run": (
        {"search.space.warmup_steps": [1, 9]},
        "search.space.warmup_steps: got 9; the shortest run has 2 steps",
    ),
    "patches that do not fit": (
        {"patches": {"patch_length": 61, "patch_stride": 5}},
        "input shape: patch_length 61 is longer than context_length 60; give",
    ),
    "missing data file": (
        {"data": {"source": "file", "path": "no.csv"}},
        "no.csv: no such file; give the path of a .csv or .parquet file",
    ),
    "device that is not there": (
        {"machine.device": "mps"},
        "machine.device: no mps on this machine; use auto or",
    ),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
@pytest.mark.parametrize("command", ["run", "preview"])
def test_a_bad_study_is_refused(
    finscale: CommandLine, tmp_path: Path, case: str, command: str
) -> None:
    changes, message = BAD_SETTINGS[case]
    study = write_study(tmp_path, changes)
    finished = finscale(command, study)
    assert message in fault_of(finished)
    assert names_in(tmp_path) == {"tiny.yaml"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; give a study file (see studies/)"),
        ("search: [1, 2", "not valid YAML"),
        ("", "holds no settings; see studies/quickstart.yaml for an example"),
        ("- 1", "holds no settings"),
        ("a: 1\na: 2", "line 2: key 'a' stands twice; remove one"),
        (b"\xff\xfe\x00", "not a text file; give a study file"),
    ],
)
def test_a_study_file_that_is_none_is_refused(
    finscale: CommandLine, tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    study = tmp_path / "study.yaml"
    if content is not None:
        study.write_bytes(content.encode() if isinstance(content, str) else content)
    fault = fault_of(finscale("run", study))
    assert fault.startswith(f"{study}: ")
    assert message in fault
    assert "\n" not in fault
    assert names_in(tmp_path) == ({"study.yaml"} if content is not None else set())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bars.csv", "date,open\n2020-01-01,1\n", "no column high, low, close"),
        ("bars.csv", "", "damaged or not CSV"),
        ("bars.parquet", "PAR1 and then nothing", "damaged or not PARQUET"),
        (
            "bars.csv",
            "date,open,high,low,close,volume\n2020-01-01,1,0.5,1,1,1\n",
            "row 1 (2020-01-01): high is below low; correct the bar",
        ),
        (
            "bars.csv",
            "date,open,high,low,close,volume\n2020-01-01,1,1,1,1,1\n",
            "1 bars are too few",
        ),
    ],
)
def test_damaged_data_are_refused(
    finscale: CommandLine, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    study = write_study(tmp_path, {"data": {"source": "file", "path": name}})
    assert message in fault_of(finscale("run", study))
    assert names_in(tmp_path) == {"tiny.yaml", name}


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_directory_that_cannot_be_made_is_refused(
    finscale: CommandLine, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").touch()
    fault = fault_of(finscale("run", write_study(tmp_path), "--out", tmp_path / out))
    assert fault == f"{tmp_path / 'file'}: is a file, not a directory; choose another --out"
    assert names_in(tmp_path) == {"tiny.yaml", "file"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "9M_*"], f"--only 9M_*: matches no experiment; there are {NAMES[0]}, "),
        (["--from", "7"], "--from 7: the study has experiments 1 to 2"),
        (["--set", "search.n_trials=x"], "search.n_trials: got 'x'; "),
        (["--set", "search.n_trials"], "--set search.n_trials: write it as a.b=value"),
        (["--set", "search.n_trials=0"], "search.n_trials: got 0; "),
        (["--launcher", "dask"], "--launcher dask: unknown; choose local, ray, slurm"),
        (
            ["--launcher", "ray", "--launcher-option", "cpus=2"],
            "--launcher-option cpus=2: no such option; ray takes address, n_cpus, n_gpus",
        ),
        (["--order", "9M_*"], f"order 9M_*: matches no experiment; there are {NAMES[0]}, "),
        (["--set", "nonsense=1"], "nonsense: unknown setting; allowed here: "),
    ],
)
def test_bad_options_are_refused(
    finscale: CommandLine, tmp_path: Path, options: list[str], message: str
) -> None:
    assert message in fault_of(finscale("run", write_study(tmp_path), *options))
    assert names_in(tmp_path) == {"tiny.yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "s.yaml", "--from", "one"],
        ["run", "s.yaml", "--unknown"],
        ["no-such-command"],
        ["architectures", "2M", "--features", "0"],
    ],
)
def test_wrong_use_of_the_command_line_exits_with_2(
    finscale: CommandLine, tmp_path: Path, arguments: list[str]
) -> None:
    finished = finscale(*arguments)
    assert finished.code == 2
    assert finished.out == ""
    assert "Traceback" not in finished.err
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize(
    "command", ["search", "train", "evaluate", "fit", "report", "status", "stop"]
)
def test_a_directory_without_a_run_is_refused(
    finscale: CommandLine, tmp_path: Path, command: str
) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        fault = fault_of(finscale(command, place))
        assert fault == (f"{place}: no finscale run here; start one with finscale run STUDY.yaml")
    assert names_in(tmp_path) == set()


def test_a_foreign_directory_is_refused(finscale: CommandLine, tmp_path: Path) -> None:
    place = tmp_path / "thesis"
    place.mkdir()
    (place / "chapter.tex").touch()
    fault = fault_of(finscale("run", write_study(tmp_path), "--out", place))
    assert fault == f"{place}: holds files that are not a finscale run; choose another --out"
    assert names_in(place) == {"chapter.tex"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["architectures", "2X"], "2X"),
        (["architectures", "1"], "budget 1: no architecture of the grid"),
        (["features", "list", "a7"], "unknown tier 'a7'; choose one of a25"),
    ],
)
def test_unknown_names_are_refused(
    finscale: CommandLine, arguments: list[str], message: str
) -> None:
    assert message in fault_of(finscale(*arguments))

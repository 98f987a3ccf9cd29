"""Generated scripts, run: alone, and against the study that they are from."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from finscale.errors import RunDirectoryError
from finscale.experiments import plan_experiments
from finscale.market.catalog import Catalog
from finscale.market.names import bars_name
from finscale.pipeline.prepare import prepare
from finscale.pipeline.run import run_study
from finscale.rundir import RunDirectory
from finscale.scripts.generate import (
    one_experiment,
    search_scripts,
    training_scripts,
    write_scripts,
)
from finscale.study import Study
from finscale.study_file import load_study, parse_study
from finscale.training.checkpoint import load_tensors
from strategies import make_bars, to_frame
from tiny import NAMES, outcome_of, raw_records, tiny_prepared, tiny_study, write_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
NAME = NAMES[0]
PANEL = {
    "data": {"source": "bundled", "symbols": ["SP500", "NASDAQ"]},
    "data_sizes": {"n_symbols": [1, 2], "history_frac": [0.5, 1.0]},
    "ladder.budgets": ["1.5K"],
    "training.effective_batch": 128,
}


def written(scripts: dict[str, str], out: Path) -> dict[str, Path]:
    return {path.name: path for path in write_scripts(scripts, out)}


def constants_of(path: Path) -> dict[str, Any]:
    """Return what a script defines, without running it."""
    return runpy.run_path(str(path), run_name="looked_at")


@pytest.fixture
def _own_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where a catalogue holds the data sets that studies/own_data.yaml names."""
    directory = tmp_path_factory.mktemp("own_data")
    for symbol in ("SPY", "^VIX"):
        frame = to_frame(make_bars(400), symbol)
        Catalog(directory / "data").register(bars_name(symbol), frame, source="a", provenance={})
    monkeypatch.chdir(directory)


# --- Search scripts -----------------------------------------------------------------------------


def test_a_search_script_alone_gives_the_trials_of_the_study(
    finished: RunDirectory, tmp_path: Path
) -> None:
    scripts = written(search_scripts(tiny_study()), tmp_path / "scripts")
    assert list(scripts) == [f"hpo_{name}.py" for name in NAMES]
    printed = run_alone(scripts[f"hpo_{NAME}.py"], "--out", tmp_path / "alone")
    assert printed.endswith(f"best trial: {tmp_path}/alone/experiments/{NAME}/best.json\n")

    def trials(directory: RunDirectory) -> list[dict[str, Any]]:
        records = raw_records(directory.ledger)
        return [
            outcome_of(one)
            for one in records
            if one["kind"] == "trial" and one["experiment"] == NAME
        ]

    alone = trials(RunDirectory(tmp_path / "alone"))
    assert len(alone) == 4
    # Same uids, parameters, seeds and curves, to the bit.
    assert alone == trials(finished)
    assert {one["experiment"] for one in raw_records(RunDirectory(tmp_path / "alone").ledger)} == {
        NAME
    }


MY_FEATURE = """
import numpy as np

from finscale.features.registry import feature


@feature(
    family="mine", meaning="body of the bar", formula="ln C/O", reference="none",
    inputs=["open", "close"], lookback_bars=0,
)
def my_body(bars):
    return np.log(bars.close / bars.open)
"""
WALKED = {
    # As a user writes it: beside the study file.
    "features": {"modules": ["mine.py"], "extra": ["my_body"]},
    "data_sizes": {"history_frac": [0.5]},
    "split": {"by": "fraction", "train_frac": 0.5, "validation_frac": 0.1, "n_folds": 2},
    "ladder.budgets": ["2.5K"],
    "search.n_trials": 3,
    "search.extremes_first": False,
}


@pytest.mark.slow
def test_folds_data_sizes_and_features_of_ones_own_are_in_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine.py").write_text(MY_FEATURE)
    study = load_study(write_study(tmp_path / "home", WALKED))
    whole = run_study(study, tmp_path / "whole").directory
    records = raw_records(whole.ledger)
    scripts = written(
        search_scripts(study) | training_scripts(study, whole), tmp_path / "elsewhere"
    )
    name = "2.5K_h1_threshold_1pct_history0.5"
    assert set(scripts) == {f"{kind}_{name}.py" for kind in ("hpo", "train")}
    alone = RunDirectory(tmp_path / "alone")
    run_alone(scripts[f"hpo_{name}.py"], "--out", alone.root)
    trials, made = (
        [one for one in found if one["kind"] == "trial"]
        for found in (records, raw_records(alone.ledger))
    )
    assert [len(one["folds"]) for one in made] == [2, 2, 2]
    # Same parameters, seeds and losses, to the last digit.
    assert [outcome_of(one) for one in made] == [outcome_of(one) for one in trials]
    finals = [one for one in records if one["kind"] == "final"]
    assert len(finals) == 3
    assert run_alone(scripts[f"train_{name}.py"]).splitlines()[1:] == [
        f"seed {one['seed']}, epoch {one['best_epoch']}, validation: "
        f"log-loss {one['scores']['validation']['log_loss']:.6f}, "
        f"skill {one['scores']['validation']['skill']:+.6f}"
        for one in finals
    ]


def run_alone(script: Path, *arguments: str | Path) -> str:
    """Run a script in a process of its own, beside nothing but scripts; return what it printed."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("micro_batch", "cut"), [(512, (512, 1)), (200, (128, 4)), (31, (16, 32))])
def test_a_batch_that_was_halved_is_cut_into_equal_parts(
    copied: RunDirectory, tmp_path: Path, micro_batch: int, cut: tuple[int, int]
) -> None:
    lines = copied.ledger.path.read_text(encoding="utf-8")
    halved = lines.replace('"micro_batch":512', f'"micro_batch":{micro_batch}')
    copied.ledger.path.write_text(halved, encoding="utf-8")
    scripts = written(training_scripts(tiny_study(), copied), tmp_path / "scripts")
    batching = constants_of(scripts[f"train_{NAME}.py"])["BATCHING"]
    assert (batching.micro_batch, batching.accumulation_steps) == cut


@pytest.fixture
def argv(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    arguments: list[str] = ["script"]
    monkeypatch.setattr(sys, "argv", arguments)
    return arguments


def test_a_script_that_cannot_run_says_why_in_a_line(
    tmp_path: Path, argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "bars.csv"
    study = tiny_study({"data": {"source": "file", "path": str(data)}})
    scripts = written(search_scripts(study), tmp_path / "scripts")
    argv += ["--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(scripts[f"hpo_{NAME}.py"]), run_name="__main__")
    assert left.value.code == f"{data}: no such file; give the path of a .csv or .parquet file"


@pytest.mark.usefixtures("_own_data")
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_script_holds_its_experiment_whole(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    scripts = written(search_scripts(study), tmp_path)
    experiments = plan_experiments(study)
    assert len(scripts) == len(experiments)
    for experiment in experiments:
        defined = constants_of(scripts[f"hpo_{experiment.name}.py"])
        own = parse_study(defined["STUDY"])
        assert defined["EXPERIMENT"] == experiment.name
        # The same architectures, extremes and grid hash.
        assert [one for one in plan_experiments(own) if one.name == experiment.name] == [experiment]
        assert own.training_settings_hash() == study.training_settings_hash()
        assert (own.seed, own.search, own.final) == (study.seed, study.search, study.final)


def test_every_setting_is_in_sight(tmp_path: Path) -> None:
    scripts = written(search_scripts(tiny_study()), tmp_path)
    settings = constants_of(scripts[f"hpo_{NAME}.py"])["STUDY"]
    assert set(settings) == set(Study.model_fields)
    assert settings["horizons"] == [1]
    assert settings["ladder"]["budgets"] == ["1.5K"]
    assert settings["search"]["space"]["weight_decay"] == {"low": 1e-4, "high": 5e-3}


def test_a_default_grid_is_in_sight(tmp_path: Path) -> None:
    small = tiny_study({"ladder": {"budgets": ["20K", "2M"]}})
    scripts = search_scripts(small)
    assert (
        '"d_model": [64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]'
        in (scripts["hpo_2M_h1_threshold_1pct.py"])
    )
    said = " ".join(scripts["hpo_20K_h1_threshold_1pct.py"].replace("\n# ", " ").split())
    assert "The grid is that of small budgets, d_model 4, 6, 8, 10" in said
    assert "heads are at least 4 wide" in said


def test_each_data_size_is_scored_on_the_rows_of_the_study() -> None:
    whole = tiny_prepared(PANEL)
    for experiment in whole.experiments:
        own = prepare(one_experiment(whole.study, experiment))
        assert own.identities[experiment.name] == whole.identities[experiment.name]


# --- Training scripts ---------------------------------------------------------------------------


def test_a_training_script_trains_the_final_models_of_the_run(
    finished: RunDirectory, tmp_path: Path, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = written(training_scripts(tiny_study(), finished), tmp_path)
    assert list(scripts) == [f"train_{name}.py" for name in NAMES]
    argv += ["--out", str(tmp_path / "weights"), "--score-test"]
    runpy.run_path(str(scripts[f"train_{NAME}.py"]), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    finals = [
        one
        for one in raw_records(finished.ledger)
        if one["kind"] == "final" and one["experiment"] == NAME
    ]
    assert lines[1:] == [
        f"seed {one['seed']}, epoch {one['best_epoch']}, {part}: "
        f"log-loss {one['scores'][part]['log_loss']:.6f}, "
        f"skill {one['scores'][part]['skill']:+.6f}"
        for one in finals
        for part in ("validation", "test")
    ]
    models = sorted((finished.experiment(NAME).root / "models").iterdir())
    for model, final in zip(models, finals, strict=True):
        file = tmp_path / "weights" / f"{NAME}_seed_{final['seed']}.safetensors"
        made, kept = load_tensors(file)[0], load_tensors(model)[0]
        assert made.keys() == kept.keys()
        assert all(torch.equal(made[name], kept[name]) for name in made)


def test_a_training_script_leaves_the_test_part_alone_unless_asked(
    finished: RunDirectory, tmp_path: Path, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = written(training_scripts(tiny_study(), finished), tmp_path)
    runpy.run_path(str(scripts[f"train_{NAME}.py"]), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert not any("test" in line for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == set(scripts)


def test_without_a_winner_there_is_nothing_to_train(tmp_path: Path) -> None:
    assert training_scripts(tiny_study(), RunDirectory(tmp_path)) == {}


def test_stale_records_make_no_winner(finished: RunDirectory) -> None:
    assert training_scripts(tiny_study({"seed": 4}), finished) == {}


# --- As files -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_own_data")
def test_scripts_are_clean_and_formatted(finished: RunDirectory, tmp_path: Path) -> None:
    for path in STUDIES:
        write_scripts(search_scripts(load_study(path)), tmp_path / path.stem)
    odd = tmp_path / 'it\'s a "place", très loin, and its name does not end soon enough for a line'
    study = tiny_study({"data": {"source": "file", "path": str(odd / "bars.csv")}})
    write_scripts(search_scripts(study), tmp_path / "odd")
    write_scripts(training_scripts(tiny_study(), finished), tmp_path / "finals")
    rules = ["--select", "ALL", "--ignore", "COM812,CPY001,D203,D213,E501,INP001,S108,T201"]
    for command in (["format", "--check", "--diff"], ["check"], ["check", *rules]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", command[0], "--isolated", *command[1:], tmp_path],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_a_script_that_was_changed_by_hand_is_not_replaced(tmp_path: Path) -> None:
    scripts = {"a.py": "1\n", "b.py": "2\n"}
    files = write_scripts(scripts, tmp_path)
    assert write_scripts(scripts, tmp_path) == files
    files[1].write_text("mine\n")
    with pytest.raises(RunDirectoryError) as caught:
        write_scripts({"a.py": "1\n", "b.py": "3\n"}, tmp_path)
    assert str(caught.value) == (
        f"{files[1]}: is there and differs; choose another --out, or give --replace"
    )
    assert files[1].read_text() == "mine\n"
    write_scripts(scripts, tmp_path, replace=True)
    assert files[1].read_text() == "2\n"


def test_a_script_has_no_database_and_no_password() -> None:
    study = tiny_study({"storage": "postgresql://me:secret@host/db"})
    scripts = search_scripts(study)
    assert all('"storage": None' in source for source in scripts.values())
    assert not any("secret" in source for source in scripts.values())

"""Commands around a study's own runs: scripts, import-results, and options of train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, fault_of, names_in

from finscale.cli.supplementary import add_supplementary, parse_recipe
from finscale.errors import FinscaleError, StudyError
from finscale.files import Ledger
from finscale.imported.record import read_imported
from finscale.rundir import RunDirectory
from finscale.scripts.generate import search_scripts
from finscale.study_file import load_study
from tiny import NAMES, raw_records, tiny_study, write_study

HEADER = "experiment,status,val_loss,hyperparameters,d_model,n_layers,n_heads,d_ff,param_count"
GOOD = "20M_h1_threshold_1pct,success,0.3756,{},64,32,2,256,20000000"


def past(directory: Path, *rows: str) -> Path:
    path = directory / "experiment_results.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


# --- scripts ------------------------------------------------------------------------------------


def test_scripts_of_a_study(finscale: CommandLine, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    finished = finscale("scripts", study, "--out", "scripts", "--set", "search.n_trials=7")
    assert finished.code == 0
    files = [f"scripts/hpo_{name}.py" for name in NAMES]
    assert finished.out.splitlines() == [
        "2 scripts in scripts: 2 to search",
        f"run one with: python {files[0]}",
    ]
    changed = load_study(study, ["search.n_trials=7"])
    assert {
        name: (tmp_path / "scripts" / name).read_text() for name in names_in(tmp_path / "scripts")
    } == search_scripts(changed)
    as_json = finscale("scripts", study, "--out", "other", "--json")
    assert json.loads(as_json.out) == [f"other/hpo_{name}.py" for name in NAMES]


def test_scripts_of_a_run_are_those_of_its_winners_too(
    finscale: CommandLine, copied: RunDirectory, tmp_path: Path
) -> None:
    finished = finscale("scripts", copied.root, "--out", "scripts")
    assert finished.out.startswith(
        "4 scripts in scripts: 2 to search, 2 to train the winners\nrun one with: python scripts/"
    )
    assert names_in(tmp_path / "scripts") == {
        f"{kind}_{name}.py" for kind in ("hpo", "train") for name in NAMES
    }


def test_scripts_of_a_run_say_which_winners_are_missing(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    study = copied.study.read_text(encoding="utf-8")
    copied.study.write_text(study.replace("seed: 3\n", "seed: 4\n"), encoding="utf-8")
    finished = finscale("scripts", copied.root, "--out", "scripts")
    assert finished.err == (
        f"2 experiments have no winner that is current; see finscale status {copied.root}\n"
    )
    assert finished.out.startswith("2 scripts in scripts: 2 to search\n")


def test_scripts_refuse_what_they_cannot_do(
    finscale: CommandLine, copied: RunDirectory, tmp_path: Path
) -> None:
    assert fault_of(finscale("scripts", "gone.yaml", "--out", "s")) == (
        "gone.yaml: no such file; give a study file (see studies/)"
    )
    (tmp_path / "empty").mkdir()
    assert fault_of(finscale("scripts", "empty", "--out", "s")) == (
        "empty: no finscale run here; start one with finscale run STUDY.yaml"
    )
    assert fault_of(finscale("scripts", copied.root, "--out", "s", "--set", "seed=1")) == (
        "--set: a run directory has its study; give the study file instead"
    )
    study = write_study(tmp_path)
    finscale("scripts", study, "--out", "mine")
    changed = tmp_path / "mine" / f"hpo_{NAMES[1]}.py"
    changed.write_text("# mine\n")
    assert fault_of(finscale("scripts", study, "--out", "mine")) == (
        f"mine/hpo_{NAMES[1]}.py: is there and differs; choose another --out, or give --replace"
    )
    assert changed.read_text() == "# mine\n"
    assert finscale("scripts", study, "--out", "mine", "--replace").code == 0
    assert changed.read_text() != "# mine\n"


# --- import-results -----------------------------------------------------------------------------


def lines_of(ledger: Ledger) -> list[str]:
    return [line.kind for line in read_imported(ledger)]


def test_past_results_are_imported_and_shown_apart(finscale: CommandLine, tmp_path: Path) -> None:
    past(tmp_path, GOOD, GOOD, "2M_h1_threshold_1pct,success,0.36,{},,,,,")
    finished = finscale(
        *("import-results", tmp_path, "--out", "kept"),
        *("--base-loss", "h1_threshold_1pct=0.372"),
    )
    assert finished.code == 0
    for said in (
        "20M    64x32x2x256               20,000,000  1,616,449",
        "Imported results: not comparable with this run's, 1 of 2 without skill.",
        "labelled 20M, but 1.62M when counted",
        "3 results in 1 file, 1 of them repeated; 2 new in kept/imported.jsonl",
    ):
        assert said in finished.out
    assert lines_of(RunDirectory(tmp_path / "kept").imported) == [
        "imported",
        "imported",
        "base_loss",
    ]
    again = json.loads(finscale("import-results", tmp_path, "--out", "kept", "--json").out)
    assert (again["n_rows"], again["n_repeated"], again["n_new"]) == (3, 1, 0)
    assert again["cells"]["h1_threshold_1pct"]["n_without_skill"] == 1
    assert again["remarks"]["no architecture"] == 1


def test_results_of_no_run_have_a_page_of_their_own(finscale: CommandLine, tmp_path: Path) -> None:
    past(tmp_path, GOOD, GOOD.replace("20M", "<b>2M").replace("0.3756", "0.36"))
    finished = finscale("import-results", "experiment_results.csv")
    assert finished.out.endswith("page: runs/imported/imported.html\n")
    assert names_in(tmp_path / "runs" / "imported") == {"imported.html", "imported.jsonl"}
    page = (tmp_path / "runs" / "imported" / "imported.html").read_text(encoding="utf-8")
    assert "<td>64x32x2x256</td>" in page
    assert "Plotly.newPlot" in page
    assert "<b>2M_h1" not in page
    # Nothing is fetched from anywhere.
    assert "<script src" not in page


def test_features_decide_the_count(finscale: CommandLine, tmp_path: Path) -> None:
    file = past(tmp_path, GOOD)
    counts = {}
    for features in (5, 25):
        out = f"kept{features}"
        document = json.loads(
            finscale(
                "import-results", file, "--out", out, "--features", str(features), "--json"
            ).out
        )
        [point] = document["cells"]["h1_threshold_1pct"]["points"]
        counts[features] = point["n_parameters"]
    # A feature has a weight per row of the patch and unit of width.
    assert counts[25] - counts[5] == 20 * 10 * 64


def test_imported_results_leave_a_run_as_it_is(
    finscale: CommandLine, copied: RunDirectory, tmp_path: Path
) -> None:
    before = raw_records(copied.ledger)
    imported = finscale("import-results", past(tmp_path, GOOD), "--out", copied.root)
    assert imported.out.endswith(f"show them with: finscale report {copied.root}\n")
    assert not copied.imported_page.exists()
    assert raw_records(copied.ledger) == before
    assert finscale("report", copied.root).code == 0
    assert raw_records(copied.ledger) == before
    page = copied.report.read_text(encoding="utf-8")
    assert '<section id="imported">' in page
    assert "Imported results: not comparable with this run" in page


def test_results_may_be_imported_before_the_run_is_made(
    finscale: CommandLine, tmp_path: Path
) -> None:
    assert finscale("import-results", past(tmp_path, GOOD), "--out", "run").code == 0
    RunDirectory(tmp_path / "run").require_usable()


@pytest.mark.parametrize(
    ("row", "options", "fault"),
    [
        (
            GOOD.replace("0.3756", "low"),
            (),
            "experiment_results.csv: row 1: val_loss: got 'low'; write a number or leave it empty",
        ),
        (
            GOOD,
            ("--base-loss", "h1_threshold_1pct"),
            "--base-loss h1_threshold_1pct: write it as h1_threshold_1pct=0.372",
        ),
        (
            GOOD,
            ("--base-loss", "h1_threshold_1pct=0.0"),
            "--base-loss h1_threshold_1pct=0.0: write it as h1_threshold_1pct=0.372",
        ),
        (
            GOOD,
            ("--base-loss", "h3_direction=0.6"),
            (
                "--base-loss h3_direction=0.6: no imported result is of cell h3_direction; "
                "there are h1_threshold_1pct"
            ),
        ),
    ],
)
def test_a_bad_import_is_refused_and_leaves_nothing(
    finscale: CommandLine, tmp_path: Path, row: str, options: tuple[str, ...], fault: str
) -> None:
    past(tmp_path, row)
    refused = finscale("import-results", "experiment_results.csv", "--out", "kept", *options)
    assert fault_of(refused) == fault
    assert not (tmp_path / "kept").exists()


# --- train --architecture -----------------------------------------------------------------------


def test_an_architecture_is_trained_beside_the_search(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    before = raw_records(copied.ledger)
    files = {
        path: path.read_bytes()
        for name in NAMES
        for path in (copied.experiment(name).all_trials, copied.experiment(name).best)
    }
    asked = ("--architecture", "16x2x2x24", "--recipe", "epochs=1,learning_rate=0.003")
    done = finscale("train", copied.root, *asked, "--experiment", "2.5K_*", "--json")
    assert done.code == 0, done.err
    [printed] = json.loads(done.out)
    assert raw_records(copied.ledger) == [*before, printed]
    assert (printed["kind"], printed["experiment"]) == ("supplementary", NAMES[1])
    assert printed["asked"] == {"epochs": 1, "learning_rate": 0.003}
    assert all(path.read_bytes() == content for path, content in files.items())
    assert [one.architecture for one in load_study(copied.study).supplementary] == ["16x2x2x24"]
    # Asked for again, it is shown and not trained again; with a seed more, that one is.
    again = finscale("train", copied.root, *asked, "--experiment", "2.5K_*", "--seeds", "2")
    assert again.out.count(" 16x2x2x24 ") == 2
    assert len(raw_records(copied.ledger)) == len(before) + 2


def test_options_of_an_architecture_without_one_are_refused(
    finscale: CommandLine, copied: RunDirectory
) -> None:
    before = raw_records(copied.ledger)
    assert fault_of(finscale("train", copied.root, "--seeds", "2")) == BELONG
    assert fault_of(finscale("train", copied.root, "--architecture", "16x2x3x24")) == (
        "architecture: n_heads 3 does not divide d_model 16; the nearest that do are 2 and 4"
    )
    assert raw_records(copied.ledger) == before


def ask(**changes: Any) -> dict[str, Any]:
    asked = {"experiment": None, "recipe": "", "seeds": 1, "score_test": False}
    return asked | changes


def test_the_run_that_is_asked_for_is_added_to_the_study() -> None:
    study = tiny_study()
    asked = ask(experiment="2.5K_*", recipe="learning_rate=3e-4, epochs=2", seeds=2)
    supplement = add_supplementary(study, "16x2x2x24", **asked)
    assert supplement is not None
    assert supplement.only == "2.5K_*"
    [entry] = supplement.study.supplementary
    assert entry.model_dump() == {
        "experiment": "2.5K_*",
        "architecture": "16x2x2x24",
        "recipe": {
            "learning_rate": 3e-4,
            "weight_decay": None,
            "dropout": None,
            "warmup_steps": None,
            "epochs": 2,
        },
        "seeds": 2,
        "score_test": False,
    }
    assert supplement.study.training_settings_hash() == study.training_settings_hash()


def test_an_entry_is_not_listed_twice() -> None:
    study = tiny_study({"supplementary": [{"experiment": "1.5K_*", "architecture": "4x1x1x8"}]})
    for seeds in (1, 3):
        supplement = add_supplementary(study, "16x2x2x24", **ask(experiment="*", seeds=seeds))
        assert supplement is not None
        study = supplement.study
    assert [(one.architecture, one.seeds) for one in study.supplementary] == [
        ("4x1x1x8", 1),
        ("16x2x2x24", 3),
    ]


def test_a_study_of_one_experiment_needs_no_name() -> None:
    supplement = add_supplementary(
        tiny_study({"ladder.budgets": ["2.5K"]}), "16x2x2x24", **ask(score_test=True)
    )
    assert supplement is not None
    assert supplement.only == NAMES[1]
    assert supplement.study.supplementary[0].score_test


def test_without_an_architecture_nothing_is_added() -> None:
    assert add_supplementary(tiny_study(), None, **ask()) is None


BELONG = (
    "--experiment, --recipe, --seeds and --score-test belong to an --architecture; "
    "name one, such as 64x32x2x256"
)


@pytest.mark.parametrize(
    ("architecture", "options", "fault"),
    [
        (None, {"seeds": 2}, BELONG),
        (None, {"score_test": True}, BELONG),
        (None, {"recipe": "epochs=1"}, BELONG),
        ("16x2x2x24", {}, f"--experiment: missing; name one of {', '.join(NAMES)}, or a pattern"),
        (
            "16x2x2x24",
            {"experiment": "9K"},
            f"--experiment 9K: matches no experiment; there are {', '.join(NAMES)}",
        ),
        (
            "16x2x2",
            {"experiment": "*"},
            (
                "architecture '16x2x2': write d_model x n_layers x n_heads x d_ff, "
                "for example 64x2x4x256"
            ),
        ),
        (
            "16x2x3x24",
            {"experiment": "*"},
            ("architecture: n_heads 3 does not divide d_model 16; the nearest that do are 2 and 4"),
        ),
        (
            "16x2x2x24",
            {"experiment": "*", "recipe": "dropout=1"},
            "finscale train: supplementary.0.recipe.dropout: got 1; input should be less than 1",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused(
    architecture: str | None, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(FinscaleError) as caught:
        add_supplementary(tiny_study(), architecture, **ask(**options))
    assert str(caught.value) == fault


@pytest.mark.parametrize("text", ["epochs", "epochs=", "epochs=many", "speed=2"])
def test_a_bad_recipe_names_what_there_is(text: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_recipe(text)
    assert str(caught.value) == (
        f"--recipe {text}: write NAME=NUMBER, of learning_rate, weight_decay, dropout, "
        "warmup_steps, epochs"
    )


def test_a_recipe_takes_a_value_once() -> None:
    assert parse_recipe("") == {}
    assert parse_recipe(" epochs = 3 ,dropout=.5") == {"epochs": 3, "dropout": 0.5}
    with pytest.raises(StudyError, match="epochs stands twice; give it once"):
        parse_recipe("epochs=1,epochs=2")

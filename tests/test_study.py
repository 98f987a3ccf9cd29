from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from finscale.errors import StudyError
from finscale.study import Study
from finscale.study_file import load_study, parse_study


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def load(path: Path, text: str, *overrides: str) -> Study:
    path.write_text(text, encoding="utf-8")
    return load_study(path, overrides)


def refusal(path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(StudyError) as caught:
        load(path, text, *overrides)
    return str(caught.value).replace(str(path), "my.yaml")


def test_the_defaults_are_the_reference_study(study_file: Path) -> None:
    study = load(study_file, "name: reference\n")
    assert study.model_dump(mode="json") == {
        "name": "reference",
        "seed": 0,
        "data": {"source": "bundled", "symbol": "SP500"},
        "features": {"tier": "a25"},
        "tasks": ["threshold_1pct"],
        "horizons": [1, 3, 5],
        "split": {"by": "fraction", "train_frac": 0.65, "validation_frac": 0.15},
        "windows": {"context_length": 60, "clip": 5.0},
        "patches": {"patch_length": 10, "patch_stride": 5},
        "ladder": {"budgets": ["2M", "20M", "200M", "2B"], "tolerance_frac": 0.25, "grid": None},
        "training": {
            "effective_batch": 256,
            "max_grad_norm": 1.0,
            "patience": 10,
            "min_delta": 0.001,
            "precision": "auto",
        },
        "search": {
            "n_trials": 50,
            "n_startup_trials": 20,
            "extremes_first": True,
            "prune": True,
            "prune_after_epochs": 5,
            "space": {
                "learning_rate": {"low": 1e-4, "high": 1e-3},
                "weight_decay": {"low": 1e-4, "high": 5e-3},
                "dropout": [0.1, 0.2, 0.3, 0.5, 0.7],
                "warmup_steps": [100, 200, 300, 500],
                "epochs": [50, 75, 100],
            },
        },
        "final": {"n_seeds": 3},
        "baselines": [
            "base_rate",
            "logistic_volatility",
            "logistic_all",
            "random_forest",
            "gradient_boosting",
        ],
        "scaling": {"n_bootstrap": 2000, "confidence": 0.95},
        "machine": {"device": "auto", "n_threads": 0},
    }


def test_every_setting_can_be_given(study_file: Path) -> None:
    study = load(
        study_file,
        """
        name: mine
        seed: 3
        data: {source: file, path: /data/spy.csv, symbol: SPY}
        split: {by: date, train_end: 2011-12-30, validation_end: "2014-12-31"}
        ladder:
          budgets: [5K, 1.5M]
          grid: {d_model: [8, 16], n_layers: [1], n_heads: [1, 2]}
        search: {space: {learning_rate: {low: 1e-5, high: 1}, dropout: [0]}}
        machine: {device: cpu, n_threads: 2}
        """,
    )
    assert study.data.model_dump(mode="json") == {
        "source": "file",
        "path": "/data/spy.csv",
        "symbol": "SPY",
    }
    assert study.split.model_dump() == {
        "by": "date",
        "train_end": dt.date(2011, 12, 30),
        "validation_end": dt.date(2014, 12, 31),
    }
    assert study.ladder.grid is not None
    assert study.ladder.grid.ff_ratio == (2, 4)
    assert study.search.space.learning_rate.low == 1e-5
    # The settings beside those given keep their defaults.
    assert study.search.space.weight_decay.high == 5e-3


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("5E-05", 5e-5), ("1.5e+0", 1.5), (".5", 0.5), ("2", 2.0), ("+1e1", 10.0)],
)
def test_numbers_are_floats_as_people_write_them(study_file: Path, text: str, value: float) -> None:
    study = load(study_file, f"name: a\nwindows:\n  clip: {text}\n")
    assert study.windows.clip == value
    assert isinstance(study.windows.clip, float)


def test_all_bad_settings_are_named_at_once(study_file: Path) -> None:
    message = refusal(
        study_file,
        """
        name: a/b
        seed: "5"
        horizons: [1, 0, 2.0, true]
        features: {tier: a26}
        split: {by: date, train_end: 2012-01-01, validation_end: 2011-01-01}
        windows: {clip: .inf, file: x}
        ladder: {budgets: [2M, 2m, "0.5M"]}
        search: {n_trails: 5, space: {learning_rate: {low: 1, high: 0.1}, dropout: []}}
        final: {n_seeds: 2}
        """,
    )
    first, *lines = message.splitlines()
    assert first == "my.yaml: 15 settings are wrong"
    assert [line.strip() for line in lines] == [
        "name: got 'a/b'; use letters, digits, '_', '-' and '.' (it names the run directory)",
        "seed: got '5'; input should be a valid integer",
        "features.tier: got 'a26'; input should be 'a25'",
        "horizons.1: got 0; input should be greater than 0",
        "horizons.2: got 2.0; input should be a valid integer",
        "horizons.3: got True; input should be a valid integer",
        "split: train_end must be before validation_end",
        "windows.clip: got inf; input should be a finite number",
        "windows.file: unknown setting; allowed here: clip, context_length",
        "ladder.budgets.1: got '2m'; write a budget as a number with K, M or B: 5K, 1.5M, 2B",
        "ladder.budgets.2: got '0.5M'; write a budget as a number with K, M or B: 5K, 1.5M, 2B",
        (
            "search.n_trails: unknown setting; allowed here: extremes_first, n_startup_trials, "
            "n_trials, prune, prune_after_epochs, space"
        ),
        "search.space.learning_rate: low must not be above high",
        "search.space.dropout: got []; tuple should have at least 1 item after validation, not 0",
        "final.n_seeds: got 2; input should be greater than or equal to 3",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1", "my.yaml: name: missing; it must be given"),
        ("name: a\nnmae: b", "my.yaml: nmae: unknown setting; allowed here: baselines, data, feat"),
        (
            "name: a\ndata: {symbol: NASDAQ}",
            "my.yaml: data.source: missing; it must be given",
        ),
        (
            "name: a\ndata: {source: yahoo}",
            "my.yaml: data.source: got 'yahoo'; choose one of 'bundled', 'file'",
        ),
        ("name: a\ndata: {source: file}", "my.yaml: data.path: missing; it must be given"),
        (
            "name: a\ndata: {source: bundled, path: x}",
            "my.yaml: data.path: unknown setting; allowed here: path, source, symbol",
        ),
        ("name: a\nsplit: {by: week}", "my.yaml: split.by: got 'week'; choose one of 'date', 'fr"),
        (
            "name: a\nsplit: {by: fraction, train_frac: 0.8, validation_frac: 0.2}",
            "my.yaml: split: train_frac + validation_frac must leave a test part (sum below 1)",
        ),
        (
            "name: a\nsplit: {by: date, train_end: 2011-12-31, validation_end: Dec 2014}",
            "my.yaml: split.validation_end: got 'Dec 2014'; input should be a valid date",
        ),
        ("name: a\nhorizons: [1, 1]", "my.yaml: study: horizons: the same value stands twice"),
        ("name: a\nladder: {budgets: [2M, 2M]}", "my.yaml: study: ladder.budgets: the same value"),
        ("name: a\ntasks: [direction, direction]", "my.yaml: study: tasks: the same value stands"),
        (
            "name: a\nbaselines: [logistic_all]",
            "my.yaml: study: baselines: base_rate must be among them, skill is measured from it",
        ),
        ("name: a\nladder:", "my.yaml: ladder: got None; input should be an object"),
        ("name: a\ntasks: [up]", "my.yaml: tasks.0: got 'up'; input should be 'threshold_0.5pct'"),
        ("name: a\nname: b", "my.yaml: not valid YAML (line 2: key 'name' stands twice; remove"),
        (
            "name: a\nwindows:\n  clip: 1\n  clip: 1",
            "my.yaml: not valid YAML (line 4: key 'clip' stands twice; remove one)",
        ),
        ("name: a\n2018-01-01: x", "my.yaml: not valid YAML (line 2: key datetime.date(2018, 1, "),
        ("name: a\n? [a, b]\n: x", "my.yaml: not valid YAML (line 2: key ['a', 'b'] is not a nam"),
        ("name: a\ntasks: &a [*a]", "my.yaml: a YAML anchor holds itself; write the value out"),
        ("name: [a", "my.yaml: not valid YAML ("),
        ("name: !!python/object:os.system x", "my.yaml: not valid YAML (could not determine a"),
        ("", "my.yaml: holds no settings; see studies/quickstart.yaml for an example"),
        ("- a\n- b", "my.yaml: holds no settings; see studies/quickstart.yaml for an example"),
        (
            "name: a\ndata: {source: file, path: ~nobody-of-that-name/x.csv}",
            "data.path: got '~nobody-of-that-name/x.csv'; no such home directory",
        ),
    ],
)
def test_one_bad_setting_is_one_line(study_file: Path, text: str, message: str) -> None:
    found = refusal(study_file, text)
    assert found.startswith(message)
    assert "\n" not in found


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none\.yaml: no such file; give a study file"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff")
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path / "bytes.yaml")


def test_anchors_are_copied_and_merged(study_file: Path) -> None:
    text = """
        name: a
        search:
          space:
            learning_rate: &range {low: 0.1, high: 0.2}
            weight_decay: {<<: *range, high: 0.3}
        """
    study = load(study_file, text, "search.space.learning_rate.low=0.05")
    assert study.search.space.learning_rate.low == 0.05
    assert study.search.space.weight_decay.model_dump() == {"low": 0.1, "high": 0.3}
    shared = text.replace("{<<: *range, high: 0.3}", "*range")
    study = load(study_file, shared, "search.space.learning_rate.low=0.05")
    assert study.search.space.weight_decay.low == 0.1


def test_overrides_are_yaml_over_the_file(study_file: Path) -> None:
    study = load(
        study_file,
        "name: a\nsearch: {n_trials: 9}\nladder:\n",
        "search.n_trials=5",
        "search.space.learning_rate={low: 1e-5, high: 1e-3}",
        "search.space.learning_rate.low=2e-5",
        "horizons=[2, 4]",
        "ladder.budgets=[5K]",
        "ladder.grid=null",
        "name = b",
    )
    assert study.search.n_trials == 5
    assert study.search.space.learning_rate.low == 2e-5
    assert study.search.space.learning_rate.high == 1e-3
    assert study.horizons == (2, 4)
    assert study.ladder.budgets == ("5K",)
    assert study.name == "b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: write it as a.b=value, e.g. search.n_trials=5"),
        ("=5", "--set =5: write it as a.b=value, e.g. search.n_trials=5"),
        ("search..x=5", "--set search..x=5: write it as a.b=value, e.g. search.n_trials=5"),
        ("seed=[1", "--set seed=[1: the value is not valid YAML"),
        ("name.x=1", "--set name.x=1: name is a value, it has no setting below it"),
        ("seed='7'", "my.yaml: seed: got '7'; input should be a valid integer"),
        ("search.n_trial=5", "my.yaml: search.n_trial: unknown setting; allowed here: extremes_f"),
    ],
)
def test_a_bad_override_is_refused(study_file: Path, override: str, message: str) -> None:
    assert refusal(study_file, "name: a\n", override).startswith(message)


@pytest.mark.parametrize(
    ("in_file", "override", "expected"),
    [
        ("spy.csv", None, "{studies}/spy.csv"),
        ("../raw/spy.csv", None, "{studies}/../raw/spy.csv"),
        ("/data/spy.csv", None, "/data/spy.csv"),
        ("~/spy.csv", None, "{home}/spy.csv"),
        ("spy.csv", "other.csv", "{cwd}/other.csv"),
        ("spy.csv", "/data/other.csv", "/data/other.csv"),
    ],
)
def test_a_data_path_is_relative_to_where_it_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_file: str,
    override: str | None,
    expected: str,
) -> None:
    places = {name: tmp_path / name for name in ("studies", "cwd", "home")}
    for place in places.values():
        place.mkdir()
    monkeypatch.chdir(places["cwd"])
    monkeypatch.setenv("HOME", str(places["home"]))
    (places["studies"] / "s.yaml").write_text(f"name: a\ndata: {{source: file, path: {in_file}}}\n")
    overrides = [f"data.path={override}"] if override else []
    study = load_study(Path("../studies/s.yaml"), overrides)
    assert study.data.model_dump(mode="json")["path"] == expected.format(**places)


def test_a_study_is_frozen() -> None:
    study = parse_study({"name": "a"})
    with pytest.raises(ValidationError, match="frozen"):
        study.seed = 1  # type: ignore[misc] - the point of the test
    with pytest.raises(ValidationError, match="frozen"):
        study.search.n_trials = 1  # type: ignore[misc] - the point of the test
    assert isinstance(study.horizons, tuple)
    assert hash(study) == hash(parse_study({"name": "a"}))


SPLIT = {"by": "date", "train_end": "2011-12-31", "validation_end": "2014-12-31"}


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a"},
        {"name": "a", "data": {"source": "file", "path": "/x y/ü.csv"}, "split": SPLIT},
        {"name": "1.5", "search": {"space": {"learning_rate": {"low": 1e-7, "high": 1e20}}}},
        {"name": "yes", "ladder": {"grid": {"d_model": [8], "n_layers": [1], "n_heads": [1]}}},
    ],
)
def test_a_resolved_study_reads_back_as_itself(tmp_path: Path, settings: dict[str, Any]) -> None:
    study = parse_study(settings)
    path = tmp_path / "study.yaml"
    path.write_text(study.to_yaml(), encoding="utf-8")
    again = load_study(path)
    assert again == study
    assert again.to_yaml() == study.to_yaml()
    assert again.training_settings_hash() == study.training_settings_hash()


# Every setting, and another value for it. Those that matter to what a training run gives change
# the hash; the others do not. A new setting has to be put into one of the two.
GRID = {"d_model": [8], "n_layers": [1], "n_heads": [1], "ff_ratio": [2, 4]}
DATES: dict[str, Any] = {"split": SPLIT}
FILE: dict[str, Any] = {"data": {"source": "file", "path": "/a.csv"}}
MATTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seed": ({}, {"seed": 1}),
    "split.fraction.by": ({}, DATES),
    "split.fraction.train_frac": ({}, {"split": {"by": "fraction", "train_frac": 0.6}}),
    "split.fraction.validation_frac": ({}, {"split": {"by": "fraction", "validation_frac": 0.2}}),
    "split.date.by": (DATES, {}),
    "split.date.train_end": (DATES, {"split": {**SPLIT, "train_end": "2011-12-30"}}),
    "split.date.validation_end": (DATES, {"split": {**SPLIT, "validation_end": "2014-12-30"}}),
    "windows.context_length": ({}, {"windows": {"context_length": 30}}),
    "windows.clip": ({}, {"windows": {"clip": 4.0}}),
    "patches.patch_length": ({}, {"patches": {"patch_length": 5}}),
    "patches.patch_stride": ({}, {"patches": {"patch_stride": 10}}),
    "training.effective_batch": ({}, {"training": {"effective_batch": 128}}),
    "training.max_grad_norm": ({}, {"training": {"max_grad_norm": 0.5}}),
    "training.patience": ({}, {"training": {"patience": 5}}),
    "training.min_delta": ({}, {"training": {"min_delta": 0.0}}),
    "training.precision": ({}, {"training": {"precision": "fp32"}}),
    "search.space.learning_rate.low": (
        {},
        {"search": {"space": {"learning_rate": {"low": 1e-5, "high": 1e-3}}}},
    ),
    "search.space.learning_rate.high": (
        {},
        {"search": {"space": {"learning_rate": {"low": 1e-4, "high": 1e-2}}}},
    ),
    "search.space.weight_decay.low": (
        {},
        {"search": {"space": {"weight_decay": {"low": 1e-5, "high": 5e-3}}}},
    ),
    "search.space.weight_decay.high": (
        {},
        {"search": {"space": {"weight_decay": {"low": 1e-4, "high": 5e-2}}}},
    ),
    "search.space.dropout": ({}, {"search": {"space": {"dropout": [0.1]}}}),
    "search.space.warmup_steps": ({}, {"search": {"space": {"warmup_steps": [10]}}}),
    "search.space.epochs": ({}, {"search": {"space": {"epochs": [10]}}}),
}
# The tier has but one value yet; it is checked below.
MATTERS_UNTESTED = {"features.tier"}
NEUTRAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "name": ({}, {"name": "b"}),
    # The bars have a hash of their own.
    "data.bundled.source": ({}, FILE),
    "data.bundled.symbol": ({}, {"data": {"source": "bundled", "symbol": "NASDAQ"}}),
    "data.file.source": (FILE, {}),
    "data.file.path": (FILE, {"data": {"source": "file", "path": "/b.csv"}}),
    "data.file.symbol": (FILE, {"data": {"source": "file", "path": "/a.csv", "symbol": "S"}}),
    # Part of an experiment's name.
    "tasks": ({}, {"tasks": ["direction"]}),
    "horizons": ({}, {"horizons": [1]}),
    "ladder.budgets": ({}, {"ladder": {"budgets": ["5K"]}}),
    # The grid has a hash of its own.
    "ladder.tolerance_frac": ({}, {"ladder": {"tolerance_frac": 0.1}}),
    **{
        f"ladder.grid.{name}": (
            {"ladder": {"grid": GRID}},
            {"ladder": {"grid": {**GRID, name: [16]}}},
        )
        for name in GRID
    },
    # How many runs, which of them, and what is made of them.
    "search.n_trials": ({}, {"search": {"n_trials": 60}}),
    "search.n_startup_trials": ({}, {"search": {"n_startup_trials": 5}}),
    "search.extremes_first": ({}, {"search": {"extremes_first": False}}),
    "search.prune": ({}, {"search": {"prune": False}}),
    "search.prune_after_epochs": ({}, {"search": {"prune_after_epochs": 2}}),
    "final.n_seeds": ({}, {"final": {"n_seeds": 5}}),
    "baselines": ({}, {"baselines": ["base_rate"]}),
    "scaling.n_bootstrap": ({}, {"scaling": {"n_bootstrap": 500}}),
    "scaling.confidence": ({}, {"scaling": {"confidence": 0.9}}),
    # Every record says which precision it ran in.
    "machine.device": ({}, {"machine": {"device": "cpu"}}),
    "machine.n_threads": ({}, {"machine": {"n_threads": 2}}),
}


def leaf_settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every setting; one of several sections goes by its tag."""
    for name, field in model.model_fields.items():
        sections = [one for one in _members(field.annotation) if issubclass(one, BaseModel)]
        for section in sections:
            tag = ""
            if field.discriminator is not None:
                [choice] = get_args(section.model_fields[str(field.discriminator)].annotation)
                tag = f"{choice}."
            yield from leaf_settings(section, f"{prefix}{name}.{tag}")
        if not sections:
            yield f"{prefix}{name}"


def _members(annotation: Any) -> list[type]:
    parts = [one for part in get_args(annotation) for one in _members(part)]
    return [annotation] if isinstance(annotation, type) and not parts else parts


def test_every_setting_is_declared_as_mattering_or_not() -> None:
    settings = list(leaf_settings(Study))
    assert len(settings) > 40
    assert sorted(settings) == sorted([*MATTERS, *MATTERS_UNTESTED, *NEUTRAL])


def hash_of(settings: dict[str, Any]) -> str:
    return parse_study({"name": "a", **settings}).training_settings_hash()


@pytest.mark.parametrize("setting", list(MATTERS))
def test_a_setting_that_matters_changes_the_hash(setting: str) -> None:
    before, after = MATTERS[setting]
    assert hash_of(before) != hash_of(after)


@pytest.mark.parametrize("setting", list(NEUTRAL))
def test_a_setting_that_does_not_matter_leaves_the_hash(setting: str) -> None:
    before, after = NEUTRAL[setting]
    assert parse_study({"name": "a", **before}) != parse_study({"name": "a", **after})
    assert hash_of(before) == hash_of(after)


def test_the_tier_matters() -> None:
    study = parse_study({"name": "a"})
    features = study.features.model_copy(update={"tier": "another"})
    other = study.model_copy(update={"features": features})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other tier is not one a study may name
        assert other.training_settings_hash() != study.training_settings_hash()

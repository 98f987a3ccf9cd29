from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from finscale.errors import StudyError
from finscale.study import Study
from finscale.study_file import load_study, parse_study


def test_the_defaults_are_the_reference_study() -> None:
    study = parse_study({"name": "reference"})
    assert study.model_dump(mode="json") == {
        "name": "reference",
        "seed": 0,
        "data": {
            "time_scale": "daily",
            "context": [],
            "null": "none",
            "source": "bundled",
            "symbols": ["SP500"],
        },
        "data_sizes": {"history_frac": [1.0], "n_symbols": None},
        "features": {"tier": "a25", "modules": [], "extra": []},
        "tasks": ["threshold_1pct"],
        "horizons": [1, 3, 5],
        "split": {"by": "fraction", "train_frac": 0.65, "validation_frac": 0.15, "n_folds": 1},
        "windows": {"context_length": 60, "clip": 5.0, "scaling": "pooled"},
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
            "sampler": "tpe",
            "n_startup_trials": 20,
            "random_share": 0.2,
            "extremes_first": True,
            "pruner": "median",
            "prune_after_frac": 0.3,
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
            "logistic_window",
            "random_forest",
            "gradient_boosting",
            "garch",
            "har_range",
            "linear_window",
            "mlp_window",
        ],
        "scaling": {"n_bootstrap": 2000, "confidence": 0.95},
        "evidence": {
            "n_bootstrap": 1000,
            "walk_forward_blocks": 0,
            "cost_bps": 5.0,
            "lag_bars": 0,
        },
        "machine": {
            "device": "auto",
            "n_threads": 0,
            "sample_every_s": 10.0,
            "accept_c": 70.0,
            "resume_c": 75.0,
            "pause_c": 85.0,
            "stop_c": 95.0,
        },
        "storage": None,
        "supplementary": [],
    }


def test_every_setting_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
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
        """
    )
    study = load_study(path)
    assert study.data.model_dump(mode="json") == {
        "source": "file",
        "path": "/data/spy.csv",
        "symbols": ["SPY"],
        "prices": "as_given",
        "layout": "auto",
        "date_format": None,
        "calendar": "auto",
        "repairs": [],
        "time_scale": "daily",
        "context": [],
        "null": "none",
    }
    assert study.split.model_dump() == {
        "by": "date",
        "train_end": dt.date(2011, 12, 30),
        "validation_end": dt.date(2014, 12, 31),
        "n_folds": 1,
    }
    assert study.ladder.grid is not None
    assert study.ladder.grid.ff_ratio == (2, 4)
    assert study.search.space.learning_rate.low == 1e-5
    # The settings beside those given keep their defaults.
    assert study.search.space.weight_decay.high == 5e-3


def test_a_study_is_frozen() -> None:
    study = parse_study({"name": "a"})
    with pytest.raises(ValidationError, match="frozen"):
        study.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        study.search.n_trials = 1
    assert isinstance(study.horizons, tuple)
    assert hash(study) == hash(parse_study({"name": "a"}))


SERIES: dict[str, Any] = {
    "name": "vix",
    "kind": "volatility_index",
    "source": "file",
    "path": "/v.csv",
    "symbol": "V",
}
SPLIT = {"by": "date", "train_end": "2011-12-31", "validation_end": "2014-12-31"}


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a"},
        {"name": "a", "data": {"source": "file", "path": "/x y/ü.csv"}, "split": SPLIT},
        {"name": "1.5", "search": {"space": {"learning_rate": {"low": 1e-7, "high": 1e20}}}},
        {"name": "c", "data": {"source": "catalog", "symbols": ["^DJI"], "context": [SERIES]}},
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
CATALOG: dict[str, Any] = {"data": {"source": "catalog", "catalog": "/c", "symbols": ["S"]}}
SIMULATED: dict[str, Any] = {
    "data": {"source": "simulated", "market": "interactions", "memory_bars": 8}
}
TEACHER: dict[str, Any] = {"data": {"source": "simulated", "market": "teacher"}}
SOURCES = {
    "bundled": {"data": {"source": "bundled"}},
    "file": FILE,
    "catalog": CATALOG,
    "simulated": SIMULATED,
}
OTHER_SERIES: dict[str, dict[str, Any]] = {
    "name": {"name": "vxn"},
    "kind": {"kind": "price"},
    "source": {"source": "catalog"},
    "path": {"path": "/w.csv"},
    "catalog": {"catalog": "/c"},
    "symbol": {"symbol": "W"},
    "version": {"version": 2},
    "max_staleness_days": {"max_staleness_days": 3},
    "lag_sessions": {"lag_sessions": 1},
    "prices": {"prices": "adjusted"},
    "layout": {"layout": "stooq"},
    "date_format": {"date_format": "%d/%m/%y"},
    "calendar": {"calendar": "none"},
    "repairs": {"repairs": ["sort"]},
}
EXTRA: dict[str, Any] = {"architecture": "64x2x2x256"}
OTHER_EXTRA: dict[str, dict[str, Any]] = {
    "experiment": {"experiment": "2M_*"},
    "architecture": {"architecture": "64x2x4x256"},
    "recipe.learning_rate": {"recipe": {"learning_rate": 0.001}},
    "recipe.weight_decay": {"recipe": {"weight_decay": 0}},
    "recipe.dropout": {"recipe": {"dropout": 0.2}},
    "recipe.warmup_steps": {"recipe": {"warmup_steps": 10}},
    "recipe.epochs": {"recipe": {"epochs": 5}},
    "seeds": {"seeds": 2},
    "score_test": {"score_test": True},
}
MATTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seed": ({}, {"seed": 1}),
    "features.tier": ({}, {"features": {"tier": "a50"}}),
    "features.extra": ({}, {"features": {"extra": ["rsi_7"]}}),
    "split.fraction.by": ({}, DATES),
    "split.fraction.train_frac": ({}, {"split": {"by": "fraction", "train_frac": 0.6}}),
    "split.fraction.validation_frac": ({}, {"split": {"by": "fraction", "validation_frac": 0.2}}),
    "split.fraction.n_folds": ({}, {"split": {"by": "fraction", "n_folds": 2}}),
    "split.date.by": (DATES, {}),
    "split.date.n_folds": (DATES, {"split": {**SPLIT, "n_folds": 2}}),
    "split.date.train_end": (DATES, {"split": {**SPLIT, "train_end": "2011-12-30"}}),
    "split.date.validation_end": (DATES, {"split": {**SPLIT, "validation_end": "2014-12-30"}}),
    "windows.context_length": ({}, {"windows": {"context_length": 30}}),
    "windows.scaling": ({}, {"windows": {"scaling": "per_symbol"}}),
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
NEUTRAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "name": ({}, {"name": "b"}),
    # The bars have a hash of their own.
    "data.bundled.source": ({}, FILE),
    "data.bundled.symbols": ({}, {"data": {"symbol": "NASDAQ"}}),
    "data.file.source": (FILE, {}),
    "data.file.path": (FILE, {"data": {"source": "file", "path": "/b.csv"}}),
    "data.file.symbols": (FILE, {"data": {"source": "file", "path": "/a.csv", "symbol": "S"}}),
    "data.file.prices": (FILE, {"data": {**FILE["data"], "prices": "adjusted"}}),
    "data.file.layout": (FILE, {"data": {**FILE["data"], "layout": "stooq"}}),
    "data.file.date_format": (FILE, {"data": {**FILE["data"], "date_format": "%d/%m/%y"}}),
    "data.file.calendar": (FILE, {"data": {**FILE["data"], "calendar": None}}),
    "data.file.repairs": (FILE, {"data": {**FILE["data"], "repairs": ["sort"]}}),
    "data.catalog.source": (CATALOG, {}),
    "data.catalog.catalog": (CATALOG, {"data": {**CATALOG["data"], "catalog": "/d"}}),
    "data.catalog.symbols": (CATALOG, {"data": {**CATALOG["data"], "symbols": ["T"]}}),
    "data.catalog.versions": (CATALOG, {"data": {**CATALOG["data"], "versions": {"S": 2}}}),
    "data.simulated.source": (SIMULATED, {}),
    "data.simulated.market": (SIMULATED, TEACHER),
    **{
        f"data.simulated.{name}": (SIMULATED, {"data": {**SIMULATED["data"], name: value}})
        for name, value in {
            "n_bars": 5000,
            "n_symbols": 2,
            "seed": 2,
            "volatility": 0.02,
            "strength": 0.3,
            "memory_bars": 9,
            "order": 3,
            "n_terms": 2,
        }.items()
    },
    "data.simulated.width": (TEACHER, {"data": {**TEACHER["data"], "width": 8}}),
    # Labels have a hash of their own too.
    **{
        f"data.{source}.null": (base, {"data": {**base["data"], "null": "shuffled_labels"}})
        for source, base in SOURCES.items()
    },
    **{
        f"data.{source}.time_scale": (base, {"data": {**base["data"], "time_scale": "weekly"}})
        for source, base in SOURCES.items()
    },
    **{
        f"data.{source}.context.{name}": (
            {"data": {**base["data"], "context": [SERIES]}},
            {"data": {**base["data"], "context": [SERIES | changes]}},
        )
        for source, base in SOURCES.items()
        for name, changes in OTHER_SERIES.items()
    },
    # The place of the code; the features it makes have a hash.
    "features.modules": ({}, {"features": {"modules": ["/my.py"]}}),
    "data_sizes.history_frac": ({}, {"data_sizes": {"history_frac": [0.5]}}),
    "data_sizes.n_symbols": ({}, {"data_sizes": {"n_symbols": [1]}}),
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
    "search.sampler": ({}, {"search": {"sampler": "random"}}),
    "search.random_share": ({}, {"search": {"random_share": 0.5}}),
    "search.pruner": ({}, {"search": {"pruner": "none"}}),
    "search.prune_after_frac": ({}, {"search": {"prune_after_frac": 0.5}}),
    "search.prune_after_epochs": ({}, {"search": {"prune_after_epochs": 2}}),
    "final.n_seeds": ({}, {"final": {"n_seeds": 5}}),
    "baselines": ({}, {"baselines": ["base_rate"]}),
    "scaling.n_bootstrap": ({}, {"scaling": {"n_bootstrap": 500}}),
    "scaling.confidence": ({}, {"scaling": {"confidence": 0.9}}),
    "evidence.n_bootstrap": ({}, {"evidence": {"n_bootstrap": 500}}),
    "evidence.walk_forward_blocks": ({}, {"evidence": {"walk_forward_blocks": 3}}),
    "evidence.cost_bps": ({}, {"evidence": {"cost_bps": 0}}),
    "evidence.lag_bars": ({}, {"evidence": {"lag_bars": 1}}),
    # Every record says which precision it ran in.
    "machine.device": ({}, {"machine": {"device": "cpu"}}),
    "storage": ({}, {"storage": "postgresql+psycopg://h/d"}),
    "machine.n_threads": ({}, {"machine": {"n_threads": 2}}),
    # How the machine is looked after.
    "machine.sample_every_s": ({}, {"machine": {"sample_every_s": 5}}),
    "machine.accept_c": ({}, {"machine": {"accept_c": 60}}),
    "machine.resume_c": ({}, {"machine": {"resume_c": 70}}),
    "machine.pause_c": ({}, {"machine": {"pause_c": 80}}),
    "machine.stop_c": ({}, {"machine": {"stop_c": 90}}),
    # Trained beside the searches; every record says what it is.
    **{
        f"supplementary.{name}": (
            {"supplementary": [EXTRA]},
            {"supplementary": [EXTRA | changes]},
        )
        for name, changes in OTHER_EXTRA.items()
    },
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
    assert sorted(settings) == sorted([*MATTERS, *NEUTRAL])


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


@pytest.mark.parametrize(
    "wrong",
    [{"accept_c": 85}, {"resume_c": 85}, {"stop_c": 85}, {"pause_c": 60}, {"pause_c": 96}],
)
def test_temperatures_out_of_order_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StudyError) as refusal:
        parse_study({"name": "a", "machine": wrong})
    assert str(refusal.value) == (
        "study: machine: accept_c and resume_c must be below pause_c, and pause_c below stop_c"
    )


def test_a_supplementary_run_says_only_what_differs_from_the_best_trial() -> None:
    entry = {"architecture": "64x32x2x256", "recipe": {"learning_rate": 3e-4, "epochs": 5}}
    [one] = parse_study({"name": "a", "supplementary": [entry]}).supplementary
    assert (one.experiment, one.seeds, one.score_test) == ("*", 1, False)
    assert one.recipe.given() == {"learning_rate": 3e-4, "epochs": 5}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"architecture": "64x32x2"},
            (
                "supplementary.0.architecture: got '64x32x2'; write an architecture as d_model x "
                "n_layers x n_heads x d_ff, 64x2x4x256"
            ),
        ),
        ({}, "supplementary.0.architecture: missing; it must be given"),
        (
            {**EXTRA, "recipe": {"speed": 1}},
            (
                "supplementary.0.recipe.speed: unknown setting; allowed here: dropout, epochs, "
                "learning_rate, warmup_steps, weight_decay"
            ),
        ),
        ({**EXTRA, "seeds": 0}, "supplementary.0.seeds: got 0; input should be greater than 0"),
    ],
)
def test_a_bad_supplementary_run_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study({"name": "a", "supplementary": [entry]})
    assert str(caught.value) == f"study: {message}"

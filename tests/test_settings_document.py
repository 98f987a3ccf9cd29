"""docs/settings.md names every setting of a study, with its default and its meaning."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from finscale.study import LogRange, Study
from finscale.study_file import parse_study

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def make_settings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs/make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def rows() -> list[list[str]]:
    """Return the cells of every row, split as GitHub does: at pipes that are not escaped."""
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    return [[one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def paths_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the paths of a model's settings, found without the generator."""
    found = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        models = [one for one in parts(field.annotation) if one is not LogRange]
        many = "tuple" in str(field.annotation)
        for one in models:
            found |= paths_of(one, f"{path}.*." if many else f"{path}.")
        if not models or many:
            found.add(path)
    return found


def parts(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in parts(part)]


def test_the_document_is_current(make_settings: ModuleType) -> None:
    assert make_settings.settings_markdown() == DOCUMENT, f"run: {make_settings.GENERATING_COMMAND}"


def test_every_setting_has_a_row() -> None:
    listed = {row[0].strip("`") for row in rows()}
    # A grid may be left out as a whole.
    assert listed == paths_of(Study) | {"ladder.grid"}


def test_every_setting_has_a_meaning() -> None:
    for row in rows():
        assert len(row) == 4, row
        assert all(row), f"{row[0]}: say what it means, as description of its field"


def test_a_setting_that_nobody_explains_has_no_meaning(make_settings: ModuleType) -> None:
    class Own(BaseModel):
        unsaid: int = 1

    [setting], _ = make_settings._split("own", Own, None)
    assert (setting.path, setting.default, setting.meaning) == ("own.unsaid", "`1`", "")


def test_meanings_beside_the_models_are_of_settings_without_one(make_settings: ModuleType) -> None:
    every = [row for one in make_settings.sections() for row in one.settings]
    assert {row.path for row in every if not row.described} == set(make_settings.MEANINGS)


def test_defaults_are_those_that_a_study_has() -> None:
    whole = parse_study({"name": "plain"}).model_dump(mode="json")
    checked = 0
    for path, _, default, _ in rows():
        value: Any = whole
        for part in path.strip("`").split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None or path in {"`name`", "`data.symbols`"}:
            continue
        assert yaml.safe_load(default.strip("`")) == value, path
        checked += 1
    assert checked > 50

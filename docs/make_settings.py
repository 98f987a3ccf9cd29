"""Write docs/settings.md anew, from the models of a study.

python docs/make_settings.py

Types, defaults and meanings are those of `finscale.study`, `finscale.study_rows` and
`finscale.study_data`; a meaning that a model leaves to its section's docstring stands here.
"""

from __future__ import annotations

import datetime as dt
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from finscale.files import write_text_atomic
from finscale.study import ArchitectureLabel, BudgetLabel, LogRange, Study, StudyName
from finscale.study_data import SeriesName

DOCS = Path(__file__).parent
GENERATING_COMMAND = "python docs/make_settings.py"

_INTRODUCTION = f"""\
# Settings of a study

<!-- Generated from the models of a study by `{GENERATING_COMMAND}`; a test keeps it current. -->

Every setting of a study file, by its path: `search.n_trials` is `n_trials` in the section `search`,
and `--set search.n_trials=5` sets it on the command line. `*` stands for an entry of a list. A
setting that is not listed here is refused, and all mistakes are reported at once.

In `data`, `symbol: SPY` is short for `symbols: [SPY]`; without `source`, a `path` means `file` and
a `catalog` means `catalog`. A relative path in the file is relative to the file, one on the command
line to the working directory. `study.yaml` in a run directory holds the study with every default
written out.
"""

MEANINGS = {
    "data.source": "where the bars come from",
    "data.context.*.source": "where the series comes from",
    "split.by": "whether the parts are cut at dates or at shares of the rows",
    "tasks": "whether the highest high (`_close`: close) of the next bars reaches today's close "
    "plus so many percent; `direction`: whether the close ends higher; `return`: the log return",
    "ladder.grid.d_model": "width of the model",
    "ladder.grid.n_layers": "layers",
    "ladder.grid.n_heads": "attention heads; those that do not divide d_model are left out",
    "search.space.learning_rate": "peak learning rate, sampled in the logarithm, limits included",
    "search.space.weight_decay": "weight decay, sampled in the logarithm, limits included",
    "search.space.warmup_steps": "steps of warm-up of the learning rate, choices",
    "search.space.epochs": "epochs at most, choices",
    "baselines": "simple models fitted and scored on the same rows",
    "supplementary.*.recipe.learning_rate": "peak learning rate",
    "supplementary.*.recipe.weight_decay": "weight decay",
    "supplementary.*.recipe.dropout": "dropout rate",
    "supplementary.*.recipe.warmup_steps": "steps of warm-up of the learning rate",
    "supplementary.*.recipe.epochs": "epochs at most",
}
"""Meanings of settings whose field has no description, by path."""

_FORMS = {
    BudgetLabel: "budget such as 5K, 1.5M, 2B or 1500",
    StudyName: "name of letters, digits, `_`, `-`, `.`",
    ArchitectureLabel: "text such as 64x2x4x256",
    SeriesName: "name of lower case letters, digits, `_`",
}
_PLAIN = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    dt.date: "date, YYYY-MM-DD",
    type(None): "null",
}
_NOT_EMPTY = "not empty"
_SIGNS = {Gt: ("gt", ">"), Ge: ("ge", "≥"), Lt: ("lt", "<"), Le: ("le", "≤")}


@dataclass(frozen=True)
class Setting:
    """A row of the document.

    Attributes
    ----------
    path : str
        As on the command line, with `*` for an entry of a list.
    allowed : str
        Type, or the values to choose from.
    default : str
        In YAML, or that there is none.
    meaning : str
        Empty if nobody has said it.
    described : bool
        Whether the meaning is that of the model.
    """

    path: str
    allowed: str
    default: str
    meaning: str
    described: bool


@dataclass(frozen=True)
class Section:
    """A chapter of the document: a model, under its path."""

    title: str
    about: str
    settings: tuple[Setting, ...]


def sections() -> list[Section]:
    """Return every section of a study with all of its settings."""
    return list(_sections("", "The study", Study, None))


def settings_markdown() -> str:
    """Return the document."""
    parts = [_INTRODUCTION]
    for one in sections():
        rows = [
            f"| `{row.path}` | {_cell(row.allowed)} | {_cell(row.default)} | {_cell(row.meaning)} |"
            for row in one.settings
        ]
        table = ["| setting | allowed | default | meaning |", "| --- | --- | --- | --- |", *rows]
        parts.append("\n\n".join([f"## {one.title}", one.about, "\n".join(table)]) + "\n")
    return "\n".join(parts)


def _sections(path: str, title: str, model: type[BaseModel], given: Any) -> Iterator[Section]:
    """Yield a model as a section, and after it the sections within it."""
    own, inner = _split(path, model, given)
    if own:
        yield Section(title, _about(model), tuple(own))
    for place, field, default in inner:
        yield from _variants(place, field, default)


def _split(
    path: str, model: type[BaseModel], given: Any, skipped: frozenset[str] = frozenset()
) -> tuple[list[Setting], list[tuple[str, FieldInfo, Any]]]:
    """Return the settings of a model, and those of its fields that are sections."""
    own, inner = [], []
    for name, field in model.model_fields.items():
        if name in skipped:
            continue
        place = f"{path}.{name}" if path else name
        default = _default(field) if given is None else getattr(given, name)
        models = _models_in(field.annotation)
        # A range is two numbers, and one setting.
        is_section = bool(models) and models != [LogRange]
        if is_section:
            inner.append((place, field, default))
        if not is_section or default is None or _is_list(field.annotation):
            own.append(_setting(place, field, default))
    return own, inner


def _variants(path: str, field: FieldInfo, default: Any) -> Iterator[Section]:
    """Yield the section of a field, or one for each of its models and one for what they share."""
    models = _models_in(field.annotation)
    if _is_list(field.annotation):
        path, default = f"{path}.*", None
    if len(models) == 1:
        given = default if isinstance(default, models[0]) else None
        yield from _sections(path, f"`{path}`", models[0], given)
        return
    tag = str(field.discriminator)
    tags = [str(get_args(one.model_fields[tag].annotation)[0]) for one in models]
    common = _common(models) - {tag}
    shared, inner = _split(path, models[0], None, frozenset(models[0].model_fields) - common)
    meaning, described = _meaning(f"{path}.{tag}", models[0].model_fields[tag])
    choice = Setting(
        f"{path}.{tag}", _choices(tags), _yaml(getattr(default, tag)), meaning, described
    )
    about = "Settings of every kind; those of one kind stand below."
    yield Section(f"`{path}`", about, (choice, *shared))
    for kind, one in zip(tags, models, strict=True):
        own, _ = _split(path, one, None, frozenset(common | {tag}))
        # Under its own heading «file: …» need not say so.
        rows = [replace(row, meaning=row.meaning.removeprefix(f"{kind}: ")) for row in own]
        yield Section(f"`{path}` with `{tag}: {kind}`", _about(one), tuple(rows))
    for place, each, value in inner:
        yield from _variants(place, each, value)


def _common(models: list[type[BaseModel]]) -> set[str]:
    """Return the fields that all models have alike."""
    first, *others = models
    return {
        name
        for name, field in first.model_fields.items()
        if all(
            name in one.model_fields and repr(one.model_fields[name]) == repr(field)
            for one in others
        )
    }


def _setting(path: str, field: FieldInfo, default: Any) -> Setting:
    meaning, described = _meaning(path, field)
    allowed = _allowed(field.annotation, field.metadata)
    return Setting(path, allowed, _yaml(default), meaning, described)


def _meaning(path: str, field: FieldInfo) -> tuple[str, bool]:
    """Return what a setting means, and whether the model says it itself."""
    if field.description:
        return field.description, True
    models = _models_in(field.annotation)
    if path not in MEANINGS and len(models) == 1:
        return _about(models[0]), True
    return MEANINGS.get(path, ""), False


def _default(field: FieldInfo) -> Any:
    if field.default_factory is None:
        return field.default
    found = field.get_default(call_default_factory=True, validated_data={})
    return found.relative_to(Path.cwd()) if isinstance(found, Path) else found


def _yaml(value: Any) -> str:
    """Write a default as it would stand in a study file."""
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Path):
        return f"`{value}/` in the working directory"
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def _allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Say in words which values a type allows."""
    limits, form = _read_metadata(metadata)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _allowed(inner[0], (*inner[1:], *metadata))
    if origin in {Union, types.UnionType} and not form:
        return ", or ".join(_allowed(one, metadata if one in inner[:1] else ()) for one in inner)
    said = " and ".join(one for one in limits if one != _NOT_EMPTY)
    words = f"{form or _type_in_words(annotation)} {said}".rstrip()
    return f"{words}, {_NOT_EMPTY}" if _NOT_EMPTY in limits else words


def _type_in_words(annotation: Any) -> str:
    """Name a type that is no union of others."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _choices([str(one) for one in inner])
    if origin is tuple:
        return "list of " + re.sub(
            r"\b(number|text|path|section|budget)\b", r"\1s", _allowed(inner[0])
        )
    if origin is dict:
        return f"{_allowed(inner[1])}, by name"
    if annotation is LogRange:
        return "{low, high}, numbers > 0"
    return _PLAIN.get(annotation, "section")


def _read_metadata(metadata: Sequence[Any]) -> tuple[list[str], str]:
    """Return the limits that a value keeps, and the form of a text where one is prescribed."""
    limits, form = [], ""
    for one in metadata:
        if isinstance(one, FieldInfo):
            more, _ = _read_metadata(one.metadata)
            limits += more
        elif isinstance(one, AfterValidator):
            form = next(text for label, text in _FORMS.items() if one in get_args(label))
        elif isinstance(one, MinLen):
            limits.append(_NOT_EMPTY)
        elif type(one) in _SIGNS:
            attribute, sign = _SIGNS[type(one)]
            limits.append(f"{sign} {getattr(one, attribute)}")
    return limits, form


def _choices(values: list[str]) -> str:
    return ", ".join(f"`{one}`" for one in values)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _about(model: type[BaseModel]) -> str:
    """Return what a model's docstring says, its paragraphs each on one line."""
    paragraphs = (model.__doc__ or "").replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def _cell(text: str) -> str:
    return text.replace("\n\n", " ").replace("|", "\\|")


def main() -> None:
    """Generate the document."""
    write_text_atomic(DOCS / "settings.md", settings_markdown())


if __name__ == "__main__":
    main()

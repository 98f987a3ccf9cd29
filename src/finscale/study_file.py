"""Reading a study file: YAML, overrides, and every bad setting named at once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from finscale.errors import StudyError
from finscale.study import Study


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        Settings such as ``"search.n_trials=5"``, applied over the file; values are YAML. A data
        path in an override is relative to the working directory, one in the file to the file.

    Raises
    ------
    StudyError
        Naming every bad setting at once: its path, its value and what is allowed.
    """
    path = Path(path)
    settings = _read_yaml(path)
    _anchor_paths(settings, path.resolve().parent)
    faults = []
    for override in overrides:
        try:
            _apply_override(settings, override)
        except StudyError as error:
            faults.append(str(error))
    _anchor_paths(settings, Path.cwd())
    return _validate(settings, str(path), faults)


def parse_study(settings: Mapping[str, Any], *, source: str = "study") -> Study:
    """Validate settings that are already in memory (see :func:`load_study`).

    In ``data``, ``symbol: SPY`` is short for ``symbols: [SPY]``, and a source that is not named
    is the one that ``path`` or ``catalog`` belongs to, or the bundled data. In ``search``,
    ``prune: false`` is ``pruner: none``, and ``prune: true`` says nothing.
    """
    return _validate(settings, source, ())


def _validate(settings: Mapping[str, Any], source: str, bad_overrides: Sequence[str]) -> Study:
    """Return the study, or say all that is wrong with it and with what was to change it."""
    lines = list(bad_overrides)
    try:
        # Through JSON, strictly: lists become tuples and texts dates, but "5" is no number.
        text = json.dumps(_spell_out_search(_spell_out_data(settings)), default=str)
        study = Study.model_validate_json(text, strict=True)
    except ValidationError as error:
        lines += [_explain(detail) for detail in _root_causes(error.errors(include_url=False))]
    if not lines:
        return study
    if len(lines) > 1:
        raise StudyError("\n  ".join([f"{source}: {len(lines)} settings are wrong", *lines]))
    raise StudyError(lines[0] if bad_overrides else f"{source}: {lines[0]}")


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.2's idea of a float (1e-4 is one), and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.YAMLError(f"line {line}: key {key!r} is not a name; see studies/")
            if key in seen:
                raise yaml.YAMLError(f"line {line}: key {key!r} stands twice; remove one")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _parse_yaml(text: str) -> Any:
    """Parse YAML; an error is one line that begins with where it is, as «line 3: …»."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader subclass
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise yaml.YAMLError(f"line {line}: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        if error.problem_mark is None:
            raise
        place, said = f"line {error.problem_mark.line + 1}", str(error.problem)
        if error.context_mark is not None:
            said += f", {error.context} that begins in line {error.context_mark.line + 1}"
        raise yaml.YAMLError(f"{place}: {said}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        settings = _parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file; give a study file (see studies/)") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not a text file; give a study file (see studies/)") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(settings, dict):
        raise StudyError(f"{path}: holds no settings; see studies/quickstart.yaml for an example")
    try:
        # Through JSON, so that two places that share a YAML anchor are not one object.
        copied: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    except ValueError as error:
        raise StudyError(f"{path}: a YAML anchor holds itself; write the value out") from error
    return copied


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise StudyError(f"--set {override}: write it as a.b=value, e.g. search.n_trials=5")
    try:
        value = _parse_yaml(text)
    except yaml.YAMLError as error:
        raise StudyError(f"--set {override}: the value is not valid YAML") from error
    place = settings
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if inner is None:
            inner = place[part] = {}
        if not isinstance(inner, dict):
            raise StudyError(f"--set {override}: {part} is a value, it has no setting below it")
        place = inner
    place[parts[-1]] = value


def _spell_out_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write the short forms of the data section out."""
    data = settings.get("data")
    if not isinstance(data, dict):
        return dict(settings)
    full = dict(data)
    if "source" not in full:
        full["source"] = next((n for n in ("file", "catalog") if _KEY_OF[n] in full), "bundled")
    if "symbol" in full and "symbols" not in full:
        symbol = full.pop("symbol")
        full |= {} if symbol is None else {"symbols": [symbol]}
    return dict(settings) | {"data": full}


def _spell_out_search(settings: dict[str, Any]) -> dict[str, Any]:
    """Read the search section of files written before there was a choice of pruners."""
    search = settings.get("search")
    if not isinstance(search, dict) or not isinstance(search.get("prune"), bool):
        return settings
    if "pruner" in search:
        # Both together may contradict each other: ``prune`` is refused as unknown.
        return settings
    kept = {name: value for name, value in search.items() if name != "prune"}
    return settings | {"search": kept if search["prune"] else kept | {"pruner": "none"}}


_KEY_OF = {"file": "path", "catalog": "catalog"}


def _anchor_paths(settings: dict[str, Any], directory: Path) -> None:
    """Make the paths among the settings absolute."""
    data, features = settings.get("data"), settings.get("features")
    if isinstance(data, dict):
        series = data.get("context")
        places = {"data": data} | {
            f"data.context.{number}": one
            for number, one in enumerate(series if isinstance(series, list) else [])
        }
        for name, place in places.items():
            for key in _KEY_OF.values():
                if isinstance(place, dict) and isinstance(place.get(key), str):
                    place[key] = _absolute(place[key], directory, f"{name}.{key}")
    if isinstance(features, dict) and isinstance(features.get("modules"), list):
        features["modules"] = [
            _absolute(one, directory, "features.modules") if isinstance(one, str) else one
            for one in features["modules"]
        ]


def _absolute(text: str, directory: Path, setting: str) -> str:
    try:
        return str(directory / Path(text).expanduser())
    except RuntimeError as error:
        raise StudyError(f"{setting}: got {text!r}; no such home directory") from error


def _root_causes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out «too few items» where the items are missing because each was refused."""

    def is_echo(detail: ErrorDetails) -> bool:
        return detail["type"] == "too_short" and any(
            other["loc"][:-1] == detail["loc"] for other in details
        )

    return [detail for detail in details if not is_echo(detail)]


def _explain(detail: ErrorDetails) -> str:
    """Return one validation error as «path: what is wrong»."""
    # A discriminated union puts its tag into the location; the user did not write it there.
    tagged = detail["loc"][:1] in {("data",), ("split",)}
    place = [part for i, part in enumerate(detail["loc"]) if not (i == 1 and tagged)]
    path = ".".join(map(str, place)) or "study"
    if detail["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        context = detail["ctx"]
        path = f"{path}.{context['discriminator'].strip(chr(39))}"
        if detail["type"] == "union_tag_not_found":
            return f"{path}: missing; it must be given"
        return f"{path}: got {context['tag']!r}; choose one of {context['expected_tags']}"
    if detail["type"] == "extra_forbidden":
        allowed = _allowed_keys(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), allowed, n=1)
        # Of a name that another source or split knows, it is the name that was meant.
        hint = f"did you mean {near[0]!r}? " if near and place[-1] not in allowed else ""
        return f"{path}: unknown setting; {hint}allowed here: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"{path}: missing; it must be given"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = detail["input"]
    if isinstance(value, dict):
        return f"{path}: {message}"
    return f"{path}: got {value!r}; {message}"


def _allowed_keys(place: Sequence[int | str]) -> list[str]:
    """Return the settings a section knows, for the message about one it does not."""
    models: list[type[BaseModel]] = [Study]
    for part in (one for one in place if isinstance(one, str)):
        inner: list[type[BaseModel]] = []
        for model in models:
            if part in model.model_fields:
                inner += _models_in(model.model_fields[part].annotation)
        models = inner
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]

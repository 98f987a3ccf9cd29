"""Past results from files of the reference layout: ``experiment_results.csv``, trial lists in JSON.

Such files are dirty: columns that came later are missing above, forced trials have lost their
architecture, a loss is NaN, a row stands twice, a budget is a label. What can be understood is
kept, with a remark on what is odd; what cannot is refused with file, row and fix.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finscale.errors import DataError
from finscale.files import utc_now
from finscale.imported.count import count_imported
from finscale.imported.record import ImportedRecord, content_uid
from finscale.imported.values import (
    Place,
    parse_horizon,
    parse_status,
    parts_of_name,
)
from finscale.models.architecture import InputShape

RESULTS_NAME = "experiment_results.csv"
TRIALS_SUFFIX = "all_trials.json"
_DIMENSIONS = ("d_model", "n_layers", "n_heads", "d_ff")
_NATIVE = "is a file of a finscale run, whose records are in its ledger.jsonl; leave it out"
_RECIPE_KEYS = ("learning_rate", "weight_decay", "dropout", "warmup_steps", "epochs", "batch_size")


@dataclass(frozen=True)
class Reading:
    """What a set of files holds.

    Attributes
    ----------
    records
        Each result once.
    n_rows
        Rows and trials read.
    files
        The files, in the order in which they were read.
    """

    records: tuple[ImportedRecord, ...]
    n_rows: int
    files: tuple[Path, ...]

    @property
    def n_repeated(self) -> int:
        """Rows that say what another one says."""
        return self.n_rows - len(self.records)


def read_results(paths: Sequence[Path], shape: InputShape) -> Reading:
    """Read files, and those of the reference layout under directories.

    The same result in two rows or files is one record: the one that says most.

    Parameters
    ----------
    shape
        Input of the models, for counting their parameters.

    Raises
    ------
    DataError
        Naming file, row and fix.
    """
    files = tuple(find_files(paths))
    now = utc_now()
    read = [record for file in files for record in _read_file(file, shape, now)]
    kept: dict[str, ImportedRecord] = {}
    for record in read:
        known = kept.get(record.uid)
        if known is None or _n_known(record) > _n_known(known):
            kept[record.uid] = record
    return Reading(tuple(kept.values()), len(read), files)


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are named, and those of the reference layout under directories.

    Raises
    ------
    DataError
        If a path is not there, or a directory holds none.
    """
    for path in paths:
        if path.is_dir():
            found = sorted({*path.rglob(RESULTS_NAME), *path.rglob(f"*{TRIALS_SUFFIX}")})
            if not found:
                raise DataError(
                    f"{path}: holds no {RESULTS_NAME} or *{TRIALS_SUFFIX}; name the files"
                )
            yield from found
        elif not path.is_file():
            raise DataError(f"{path}: no such file; give past results as .csv or .json")
        else:
            yield path


def _read_file(file: Path, shape: InputShape, now: str) -> list[ImportedRecord]:
    readers = {".csv": _csv_places, ".json": _json_places}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"{file}: cannot tell the format; give a .csv or .json file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 text; save it as UTF-8") from error
    try:
        return [_record(place, file.name, shape, now) for place in reader(file, text)]
    except RecursionError as error:
        raise DataError(
            f"{file}: damaged: brackets in brackets without end; repair or remove it"
        ) from error


def _csv_places(file: Path, text: str) -> list[Place]:
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        rows = list(lines)
    except csv.Error as error:
        raise DataError(
            f"{file}: line {lines.line_num}: damaged or not CSV ({error}); repair or remove it"
        ) from error
    if not any(map(any, rows)):
        raise DataError(f"{file}: is empty; leave it out")
    header = [name.strip() for name in rows[0]]
    if {"uid", "fingerprint"} <= set(header):
        raise DataError(f"{file}: {_NATIVE}")
    missing = [name for name in ("experiment", "val_loss") if name not in header]
    if missing:
        raise DataError(
            f"{file}: header: no column {' or '.join(missing)} in the header; "
            "name the columns as the reference layout does"
        )
    places = []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) > len(header):
            raise DataError(
                f"{file}: row {number}: {len(row)} cells under {len(header)} columns; add the "
                "missing columns to the header, or put text with commas in quotes"
            )
        if any(row):
            short = len(row) < len(header)
            remarks = (f"{len(row)} cells under {len(header)} columns",) if short else ()
            cells = dict(zip(header, row, strict=False))
            places.append(Place(str(file), "row", number, cells, remarks))
    return places


def _json_places(file: Path, text: str) -> list[Place]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file}: damaged or not JSON ({error}); repair or remove it") from error
    shared: dict[str, Any] = {}
    if isinstance(content, dict) and "trials" in content:
        shared = {k: content.get(k) for k in ("experiment", "budget", "timestamp")}
        content = content["trials"]
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise DataError(f"{file}: holds no list of trials; give a *{TRIALS_SUFFIX} file")
    if any("identity" in one for one in content):
        raise DataError(f"{file}: {_NATIVE}")
    if not shared.get("experiment"):
        shared["experiment"] = file.name.removesuffix(TRIALS_SUFFIX).rstrip("_") or None
    places = []
    for number, one in enumerate(content, start=1):
        place = Place(str(file), "trial", number, one)
        attributes = place.mapping("user_attrs") if one.get("user_attrs") else {}
        architecture = one.get("architecture") or attributes.get("architecture") or {}
        cells = shared | (architecture if isinstance(architecture, dict) else {}) | one
        places.append(replace(place, cells=cells))
    return places


def _record(place: Place, source: str, shape: InputShape, now: str) -> ImportedRecord:
    experiment = place.text("experiment")
    if experiment is None:
        raise place.fault("experiment", "", "name the experiment, such as 2M_h1_threshold_1pct")
    named_budget, named_horizon, named_task = parts_of_name(experiment)
    hyperparameters = place.mapping("hyperparameters", "params")
    inner = replace(place, cells=hyperparameters)
    dimensions = tuple(place.count(name) or inner.count(name) for name in _DIMENSIONS)
    d_model, n_layers, n_heads, d_ff = dimensions
    stated = place.count("param_count") or inner.count("param_count")
    budget = place.text("budget") or named_budget
    counted = count_imported((d_model, n_layers, n_heads, d_ff), stated, budget, shape)
    loss, remarks = place.number("val_loss", "value"), [*place.remarks, *counted.remarks]
    status_text = place.text("status", "state")
    status = parse_status(status_text, has_loss=loss is not None)
    if loss is not None and not (math.isfinite(loss) and loss > 0):
        remarks.append(f"the loss is {loss}")
        loss = None
    if status == "complete" and loss is None:
        status = "failed"
        remarks.append("said to be complete, but has no loss")
    if status == "unknown":
        remarks.append(f"status {status_text!r} is not known" if status_text else "no status")
    fields: dict[str, Any] = {
        "made_at": place.text("timestamp"),
        "experiment": experiment,
        "phase": place.text("phase"),
        "run_type": place.text("run_type"),
        "script": place.text("script_path"),
        "budget": budget,
        "horizon_bars": parse_horizon(place) or named_horizon,
        "task": place.text("task") or named_task,
        "timescale": place.text("timescale") or "daily",
        "trial": _trial_number(place),
        "status": status,
        "reason": place.text("error_message") or status_text,
        "validation_loss": loss,
        "test_accuracy": place.finite("test_accuracy"),
        "duration_s": place.finite("duration_seconds"),
        "max_temperature_c": place.finite("thermal_max_temp"),
        "data_md5": place.text("data_md5"),
        "hyperparameters": hyperparameters,
        **dict(zip(_DIMENSIONS, (d_model, n_layers, n_heads, counted.d_ff), strict=True)),
        "n_parameters_stated": stated,
        "n_parameters": counted.n_parameters,
        "remarks": tuple(remarks),
    }
    return ImportedRecord(
        uid=content_uid(_content(fields)),
        source=source,
        row=place.number_in_file,
        imported_at=now,
        **fields,
    )


def _trial_number(place: Place) -> int | None:
    number = place.finite("trial_number", "number")
    return None if number is None else int(number)


def _content(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what makes two rows the same result.

    The best trial of an experiment stands in its trial file and in the table of experiments; one
    tells its number, the other its ``d_ff`` and when. What has no loss is told apart by all of it.
    """
    if fields["validation_loss"] is None:
        return {name: value for name, value in fields.items() if name != "remarks"}
    recipe = {k: v for k, v in fields["hyperparameters"].items() if k in _RECIPE_KEYS}
    names = ("experiment", "status", "validation_loss", "d_model", "n_layers", "n_heads")
    return {name: fields[name] for name in names} | {"recipe": recipe}


def _n_known(record: ImportedRecord) -> int:
    return sum(value is not None for value in record.model_dump().values())

"""What the hashes of an identity stand for, kept in the run directory by content.

A record carries hashes alone. What they were made from is written once per hash when a run starts,
so that of a stale record it can be said why: which setting, which symbol, which source file. Kept
with it is what the data hash came from, so that it need not be made anew to see that it holds.
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finscale.errors import FinscaleError, RunDirectoryError
from finscale.experiments import Experiment, code_files, code_hash
from finscale.files import hash_bytes, read_json, write_json_atomic
from finscale.market.catalog import Catalog
from finscale.market.names import bars_name
from finscale.pipeline.changes import Change, Content, describe_change
from finscale.records import Identity
from finscale.rundir import RunDirectory
from finscale.study import Study
from finscale.study_data import CatalogData, FileData

# Part and hash, to what the hash was made from.
Basis = Mapping[tuple[str, str], Content]


def plan_basis(study: Study, experiments: Sequence[Experiment]) -> Basis:
    """Return what the current settings, grids and code are; needs no data."""
    grids = {
        ("grid", one.grid_hash): {
            "shape": one.shape.as_dict(),
            "architectures": [architecture.label for architecture in one.architectures],
        }
        for one in experiments
    }
    settings = ("settings", study.training_settings_hash())
    return {settings: study.training_settings(), ("code", code_hash()): code_files(), **grids}


def data_basis(study: Study, described: Mapping[str, Any]) -> Basis:
    """Return what the data of every cell are.

    Parameters
    ----------
    described
        As in data.json.
    """
    versions = study.data.versions if isinstance(study.data, CatalogData) else {}
    pinned = {one.name: one.version for one in study.data.context}
    shared = {
        "source": described["name"],
        "time_scale": described["time_scale"],
        "symbols": {
            one["symbol"]: _bars(one, versions.get(one["symbol"])) for one in described["symbols"]
        },
        "context": {
            one["name"]: _bars(one, pinned.get(one["name"]))
            | {name: one[name] for name in ("kind", "max_staleness_days", "lag_sessions")}
            for one in described["context_series"]
        },
        "features": described["feature_hashes"],
    }
    return {
        ("data", cell["data_hash"]): {
            **shared,
            "labels_hash": cell["labels_hash"],
            "parts": {
                name: {key: part[key] for key in ("n", "first_date", "last_date")}
                for name, part in cell["parts"].items()
            },
        }
        for cell in described["cells"].values()
    }


def keep_basis(directory: RunDirectory, basis: Basis) -> None:
    """Write down what is not yet."""
    for (part, digest), content in basis.items():
        path = directory.identity_part(part, digest)
        if not path.exists():
            write_json_atomic(path, {"hash": digest, "content": content})


def explain(
    directory: RunDirectory, old: Identity, new: Identity, current: Basis
) -> tuple[Change, ...]:
    """Say in which parts two identities differ, and in what.

    Parameters
    ----------
    current
        What need not be read from the run directory.
    """

    def content(part: str, digest: str) -> Content | None:
        return current.get((part, digest)) or kept_content(directory, part, digest)

    return tuple(
        describe_change(part, content(part, getattr(old, part)), content(part, getattr(new, part)))
        for part in old.differences(new)
    )


def kept_content(directory: RunDirectory, part: str, digest: str) -> Content | None:
    """Return what a hash stands for, or None if nobody wrote it down."""
    try:
        kept = read_json(directory.identity_part(part, digest))
        content: Content | None = kept["content"] if kept["hash"] == digest else None
    except (RunDirectoryError, KeyError, TypeError):
        return None
    return content


def keep_data_inputs(directory: RunDirectory, study: Study, data_hashes: Mapping[str, str]) -> None:
    """Write down what the data of every cell came from."""
    files = {str(path): _file_state(path, _hash) for path in _data_files(study)}
    write_json_atomic(
        directory.data_inputs,
        {"made_by": _data_makers(study), "files": files, "data": dict(data_hashes)},
    )


def kept_data_hashes(directory: RunDirectory, study: Study) -> tuple[dict[str, str], bool]:
    """Return the data hash of every cell when the run was last started, and whether it still holds.

    It does where settings, code and files are what they were; a file's content is looked at only
    if its size or time is another. Nothing is known of a run that wrote none of it down.
    """
    try:
        kept = read_json(directory.data_inputs)
        hashes: dict[str, str] = dict(kept["data"])
        files = {str(path) for path in _data_files(study)}
        same = (
            kept["made_by"] == _data_makers(study)
            and kept["files"].keys() == files
            and all(_is_same(Path(path), state) for path, state in kept["files"].items())
        )
    except (FinscaleError, AttributeError, KeyError, TypeError, ValueError):  # gone, or damaged
        return {}, False
    return hashes, same


def data_file_times(study: Study) -> tuple[tuple[str, int, int] | None, ...]:
    """Return path, size and time of every file of the data; None for one that is not there."""
    try:
        return tuple(_times(path) for path in _data_files(study))
    except FinscaleError:
        return (None,)


def _times(path: Path) -> tuple[str, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_size, found.st_mtime_ns


def _bars(one: Mapping[str, Any], pinned: int | None) -> dict[str, Any]:
    kept = {name: one[name] for name in ("n_bars", "first_date", "last_date", "bars_hash")}
    return kept | {"version": pinned}


def _data_makers(study: Study) -> dict[str, Any]:
    """Return what decides a data hash beside the files."""
    parts = {"data", "data_sizes", "features", "tasks", "horizons", "split", "windows"}
    return {
        "settings": study.model_dump(mode="json", include=parts),
        "code": code_hash(),
        # The bundled series are arch's.
        "libraries": {name: version(name) for name in ("arch", "numpy", "polars", "ta-lib")},
    }


def _data_files(study: Study) -> list[Path]:
    """Return the files that a study's data are read from, and its own features' modules."""
    data = study.data
    files = [data.path] if isinstance(data, FileData) else []
    if isinstance(data, CatalogData):
        files += _catalogue_files(
            data.catalog, [(symbol, data.versions.get(symbol)) for symbol in data.symbols]
        )
    for series in data.context:
        if series.path is not None:
            files.append(series.path)
        elif series.source == "catalog" and series.symbol is not None:
            files += _catalogue_files(series.catalog, [(series.symbol, series.version)])
    return sorted({*files, *study.features.modules})


def _catalogue_files(root: Path, wanted: Iterable[tuple[str, int | None]]) -> list[Path]:
    catalog = Catalog(root)
    return [root / catalog.entry(bars_name(symbol), number).file for symbol, number in wanted]


def _hash(path: Path) -> str:
    return hash_bytes(path.read_bytes())


def _file_state(path: Path, content: Callable[[Path], str]) -> dict[str, Any]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": content(path)}


def _is_same(path: Path, state: Mapping[str, Any]) -> bool:
    try:
        now = _file_state(path, lambda _: state["sha256"])
        return now == state or (now["size"] == state["size"] and _hash(path) == state["sha256"])
    except OSError:
        return False

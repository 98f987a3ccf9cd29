"""Commands for data sets; those that bring some in are in :mod:`finscale.cli.data_import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from finscale.cli.data_import import CATALOG, check_file, download, import_files, spelled
from finscale.cli.options import JSON
from finscale.cli.output import print_json, print_table
from finscale.errors import DataError
from finscale.features.code import feature_code_hash
from finscale.market.catalog import Catalog
from finscale.market.findings import describe_findings
from finscale.market.manifest import Entry, Problem

NAME = typer.Argument(help="A data set, such as SPY.OHLCV.daily.", show_default=False)
VERSION = typer.Option(None, "--version", min=1, help="Which version.", show_default="latest")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    data = typer.Typer(help="Data sets: import, download, list, verify.", no_args_is_help=True)
    data.command(name="list")(list_data)
    data.command()(describe)
    data.command()(verify)
    data.command(name="import")(import_files)
    data.command()(download)
    data.command(name="check")(check_file)
    app.add_typer(data, name="data")


def list_data(catalog: Path = CATALOG, as_json: bool = JSON) -> None:
    """List the data sets of a catalogue, with the latest version of each."""
    found = Catalog(catalog).scan()
    if as_json:
        print_json([one.as_dict() for one in found.entries])
    else:
        versions: dict[str, list[Entry]] = {}
        for one in found.entries:
            versions.setdefault(one.name, []).append(one)
        header = ("data set", "source", "version", "rows", "columns", "from", "to", "warnings")
        print_table(header, [_row(known[-1]) for known in versions.values()], n_left=2)
    if found.problems:
        typer.echo(
            f"{len(found.problems)} more cannot be listed; see: finscale data verify "
            f"--catalog {catalog}",
            err=True,
        )


def describe(
    name: str = NAME,
    version: int | None = VERSION,
    catalog: Path = CATALOG,
    as_json: bool = JSON,
) -> None:
    """Show all that is known about a data set: origin, treatment, lineage, warnings."""
    data = Catalog(catalog)
    entry = data.entry(name, version)
    if as_json:
        print_json(entry.as_dict())
        return
    known = ", ".join(str(one.version) for one in data.versions(name))
    for label, value in _facts(entry, known):
        typer.echo(f"{label:<13} {value}")
    if entry.warnings:
        typer.echo(f"\n{describe_findings(entry.warnings)}")


def verify(catalog: Path = CATALOG, as_json: bool = JSON) -> None:
    """Check that every version is as it was registered, and that nothing lies around."""
    if not catalog.is_dir():
        there = "a file, not a directory" if catalog.exists() else "no such directory"
        raise DataError(f"{catalog}: {there}; give that of a catalogue (--catalog)")
    data = Catalog(catalog)
    problems = data.verify(code_hash=feature_code_hash())
    faults = [one for one in problems if one.severity == "error"]
    if as_json:
        print_json([one.as_dict() for one in problems])
    else:
        for one in problems:
            typer.echo(_problem_line(one))
    if faults:
        n = len(faults)
        raise DataError(
            f"{catalog}: {n} problem{'' if n == 1 else 's'}, see above; nothing was changed"
        )
    if not as_json:
        typer.echo(f"{catalog}: {len(data.entries())} versions, all as registered")


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.name,
        entry.source.partition(" sha256:")[0],
        str(entry.version),
        f"{entry.n_rows:,}",
        str(entry.n_columns),
        entry.first_date or "",
        entry.last_date or "",
        str(len(entry.warnings)),
    )


def _facts(entry: Entry, versions: str) -> list[tuple[str, str]]:
    dates = f", {entry.first_date} to {entry.last_date}" if entry.first_date else ""
    facts: list[tuple[str, str]] = [
        ("data set", entry.label),
        ("versions", versions),
        ("kind", entry.kind + (f", tier {entry.tier}" if entry.tier else "")),
        ("rows", f"{entry.n_rows:,} × {entry.n_columns} columns{dates}"),
        ("source", entry.source),
        ("registered", entry.created_at),
        ("file", entry.file),
        ("checksum", entry.checksum),
        ("content hash", entry.content_hash),
    ]
    if entry.snapshot is not None:
        facts.append(("snapshot", f"{entry.snapshot} ({entry.snapshot_checksum})"))
    if entry.code_hash is not None:
        facts.append(("code hash", entry.code_hash))
    facts += [
        ("computed from", f"{one['name']} version {one['version']} ({one['checksum']})")
        for one in entry.lineage
    ]
    return facts + [(key, _text(value)) for key, value in _treatment(entry)]


def _treatment(entry: Entry) -> list[tuple[str, Any]]:
    """Return the provenance less what is said already, and less what is empty."""
    said = ("source", "file", "sha256", "symbol")
    return [
        (key.replace("_", " "), spelled(value) if key == "prices" else value)
        for key, value in entry.provenance.items()
        if key not in said and value not in (None, [], {})
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _problem_line(one: Problem) -> str:
    label = one.name if one.version is None else f"{one.name} version {one.version}"
    severity = "note: " if one.severity == "note" else ""
    return f"{severity}{label}: {one.kind}: {one.message}; {one.fix}"

"""What the architecture test knows of imports: who imports whom, and in which direction.

Sources are a mapping from a file's path below ``src`` (``finscale/market/bars.py``) to its text, so
that a test can plant a violation.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PACKAGE = "finscale"


@dataclass(frozen=True)
class Import:
    """One imported module: ``source`` imports ``name`` from ``target`` at ``place``."""

    source: str
    target: str
    name: str | None
    place: str


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def read_imports(sources: Mapping[str, str]) -> list[Import]:
    """Return every import, wherever in a file it stands; ``from x import y`` is of x.y if that is
    a module."""
    modules = {module_name(path) for path in sources}
    found = []
    for path, text in sources.items():
        source = module_name(path)
        parents = source.split(".")
        package = parents if path.endswith("/__init__.py") else parents[:-1]
        for line, target, name in _raw_imports(ast.parse(text), package):
            place = f"{path}:{line}"
            if name is not None and f"{target}.{name}" in modules and target != PACKAGE:
                found.append(Import(source, f"{target}.{name}", None, place))
            else:
                found.append(Import(source, target, name, place))
    return found


def _raw_imports(tree: ast.Module, package: list[str]) -> Iterator[tuple[int, str, str | None]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, target, alias.name
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value, None


def find_import_faults(sources: Mapping[str, str], street: Sequence[str]) -> list[str]:
    """Return every arrow that runs back, every circle within a row, every module off the street."""
    rows = {name: number for number, name in enumerate(street)}
    faults = [
        f"{path}:1: {module_name(path)} is not on the street; give it a row"
        for path in sources
        if path != f"{PACKAGE}/__init__.py" and _row(module_name(path)) not in rows
    ]
    inside: dict[str, dict[str, str]] = {}
    for one in read_imports(sources):
        if one.target.split(".")[0] != PACKAGE or one.source == PACKAGE:
            continue
        if one.target == PACKAGE:
            # The facade is the last row. Its version is a plain constant, set before its imports.
            if one.name != "__version__":
                faults.append(f"{one.place}: imports from the facade; name the module itself")
            continue
        source, target = _row(one.source), _row(one.target)
        if source == target:
            inside.setdefault(one.source, {})[one.target] = one.place
        elif source in rows and rows.get(target, len(rows)) > rows[source]:
            faults.append(f"{one.place}: {one.source} imports {one.target}, a row below its own")
    # «from x import a, b» is one arrow.
    return list(dict.fromkeys(faults)) + _circles(inside)


def _row(module: str) -> str:
    return [*module.split("."), ""][1]


def _circles(edges: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a description of the first circle through each module that is on one."""
    faults = []
    reported: set[str] = set()
    for start in edges:
        path = _way_back(edges, start) if start not in reported else None
        if path is not None:
            reported.update(path)
            steps = zip(path, [*path[1:], start], strict=True)
            places = ", ".join(edges[one][other] for one, other in steps)
            faults.append(f"{places}: circle {' -> '.join([*path, start])}")
    return faults


def _way_back(edges: Mapping[str, Mapping[str, str]], start: str) -> list[str] | None:
    """Return the modules of a shortest way from ``start`` to itself."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for target in edges.get(way[-1], {}):
            if target == start:
                return way
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return None


def find_ways_to(sources: Mapping[str, str], packages: Sequence[str], library: str) -> list[str]:
    """Return the imports of ``library`` that the packages' modules can reach, lazily or not."""
    imports = read_imports(sources)
    reached = {name for name in map(module_name, sources) if name.startswith(tuple(packages))}
    while True:
        further = {one.target for one in imports if one.source in reached} - reached
        further = {name for name in further if name.startswith(f"{PACKAGE}.")}
        if not further:
            break
        reached |= further
    return [
        f"{one.place}: {one.source} imports {one.target}"
        for one in imports
        if one.source in reached and library in one.target.split(".")
    ]

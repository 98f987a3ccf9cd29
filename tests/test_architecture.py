from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from import_rules import find_import_faults, find_ways_to, module_name, read_imports
from writing_rules import find_writes

ROOT = Path(__file__).parents[1]
SOURCES = {
    file.relative_to(ROOT / "src").as_posix(): file.read_text(encoding="utf-8")
    for file in sorted((ROOT / "src" / "finscale").rglob("*.py"))
}

# A module imports from the rows above its own, and within its row as long as there is no circle.
# The facade, finscale itself, is the last row: it may import everything, and nobody imports it.
STREET = (
    "errors",
    "files",
    "units",
    "seeds",
    "interrupts",
    "study_data",
    "study_rows",
    "study",
    "study_file",
    "records",
    "progress",
    "rundir",
    "market",
    "features",
    "tasks",
    "return_bins",
    "splits",
    "windows",
    "dataset",
    "blocks",
    "models",
    "ladder",
    "training",
    "baselines",
    "evaluation",
    "machine",
    "experiments",
    "preview",
    "search",
    "launch",
    "scaling",
    "imported",
    "report",
    "pipeline",
    "scripts",
    "cli",
)

MAY_WRITE = {
    "finscale/files.py": "the one place that writes",
    "finscale/cli/main.py: os.open": "the null device, when the reader of a pipe went away",
    "finscale/machine/doctor.py: tempfile.TemporaryDirectory": "a probe, gone at once",
}


def test_imports_run_down_the_street() -> None:
    assert find_import_faults(SOURCES, STREET) == []


def test_the_sources_are_found() -> None:
    # Guards the tests above and below against passing because they looked at nothing.
    found = {(one.source, one.target) for one in read_imports(SOURCES)}
    assert ("finscale.features.build", "finscale.files") in found
    assert ("finscale.features.tiers", "finscale.features.price") in found
    assert ("finscale.market.sources.file", "polars") in found


PLAIN = {
    "finscale/__init__.py": "__version__ = '1'\nfrom finscale.b import two\n",
    "finscale/a.py": "from finscale import __version__\n",
    "finscale/b/__init__.py": "",
    "finscale/b/one.py": "import finscale.a\n",
    "finscale/b/two.py": "from finscale.b.one import x\nfrom finscale.a import y\n",
    "finscale/c.py": "from finscale.b import two\n",
}
ROWS = ("a", "b", "c")


def test_a_clean_street_has_no_faults() -> None:
    assert find_import_faults(PLAIN, ROWS) == []


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        (
            "finscale/a.py",
            "import os\nimport finscale.c\n",
            "finscale/a.py:2: finscale.a imports finscale.c, a row below its own",
        ),
        (
            "finscale/a.py",
            "def f():\n    from finscale.b.two import x\n",
            "finscale/a.py:2: finscale.a imports finscale.b.two, a row below its own",
        ),
        (
            "finscale/b/one.py",
            "from .. import c\n",
            "finscale/b/one.py:1: imports from the facade; name the module itself",
        ),
        (
            "finscale/b/one.py",
            "from ..c import x\n",
            "finscale/b/one.py:1: finscale.b.one imports finscale.c, a row below its own",
        ),
        (
            "finscale/b/one.py",
            "import importlib\nimportlib.import_module('finscale.c')\n",
            "finscale/b/one.py:2: finscale.b.one imports finscale.c, a row below its own",
        ),
        (
            "finscale/b/one.py",
            "\n\nfrom . import two\n",
            (
                "finscale/b/one.py:3, finscale/b/two.py:1: "
                "circle finscale.b.one -> finscale.b.two -> finscale.b.one"
            ),
        ),
        (
            "finscale/b/__init__.py",
            "from finscale.b.two import x\n",
            None,
        ),
        (
            "finscale/b/one.py",
            "if True:\n    from finscale.b import one\n",
            "finscale/b/one.py:2: circle finscale.b.one -> finscale.b.one",
        ),
        (
            "finscale/a.py",
            "from finscale import two\n",
            "finscale/a.py:1: imports from the facade; name the module itself",
        ),
        (
            "finscale/c.py",
            "import finscale\n",
            "finscale/c.py:1: imports from the facade; name the module itself",
        ),
        (
            "finscale/d/new.py",
            "",
            "finscale/d/new.py:1: finscale.d.new is not on the street; give it a row",
        ),
        (
            "finscale/c.py",
            "import finscale.nowhere\n",
            "finscale/c.py:1: finscale.c imports finscale.nowhere, a row below its own",
        ),
    ],
)
def test_a_planted_fault_is_named_with_file_and_line(
    path: str, text: str, fault: str | None
) -> None:
    assert find_import_faults({**PLAIN, path: text}, ROWS) == ([fault] if fault else [])


def test_a_longer_circle_is_reported_once() -> None:
    ring = {f"finscale/b/m{i}.py": f"from finscale.b import m{(i + 1) % 3}\n" for i in range(3)}
    [fault] = find_import_faults(ring, ROWS)
    assert fault == (
        "finscale/b/m0.py:1, finscale/b/m1.py:1, finscale/b/m2.py:1: "
        "circle finscale.b.m0 -> finscale.b.m1 -> finscale.b.m2 -> finscale.b.m0"
    )


def test_the_version_is_set_before_the_facade_imports() -> None:
    # Else a module that records the version could not be imported from the facade.
    body = ast.parse(SOURCES["finscale/__init__.py"]).body
    version = next(
        i
        for i, node in enumerate(body)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    own = [i for i, node in enumerate(body) if "finscale" in _imported(node)]
    assert all(i > version for i in own)


def _imported(node: ast.stmt) -> str:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "finscale").split(".")[0]
    return ",".join(alias.name for alias in node.names) if isinstance(node, ast.Import) else ""


def street_in(text: str) -> tuple[str, ...]:
    """Return the names in the fenced block that follows ``<!-- street -->``, one to a line."""
    block = re.search(r"^<!-- street -->\n+```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block is not None, "no fenced block after a line <!-- street -->"
    return tuple(line.split()[0] for line in block[1].splitlines() if line.strip())


def test_the_street_is_read_from_its_fenced_block() -> None:
    text = "# A\n```\nno\n```\n\n<!-- street -->\n\n```text\nerrors   the errors\nfiles\n```\nend\n"
    assert street_in(text) == ("errors", "files")


def test_the_documented_street_is_the_tested_one() -> None:
    document = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert street_in(document) == STREET


def test_the_reading_side_cannot_reach_torch() -> None:
    packages = ("finscale.evaluation", "finscale.scaling", "finscale.report")
    assert find_ways_to(SOURCES, packages, "torch") == []
    assert find_ways_to(SOURCES, ("finscale.models",), "torch") != []


def test_a_way_to_torch_is_found_through_other_modules() -> None:
    sources = {
        "finscale/scaling/fit.py": "from finscale import __version__\nimport finscale.a\n",
        "finscale/a.py": "def f():\n    from finscale.b import x\n",
        "finscale/b.py": "from torch import nn\n",
        "finscale/c.py": "import torch\n",
    }
    assert find_ways_to(sources, ("finscale.scaling",), "torch") == [
        "finscale/b.py:1: finscale.b imports torch"
    ]


def test_importing_scaling_and_report_loads_no_torch() -> None:
    modules = [
        module_name(path)
        for path in SOURCES
        if path.startswith(("finscale/scaling/", "finscale/report/"))
    ]
    assert "finscale.scaling.verdict" in modules
    assert "finscale.report.page" in modules
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_only_the_study_file_is_read_as_yaml() -> None:
    readers = {one.source for one in read_imports(SOURCES) if one.target.split(".")[0] == "yaml"}
    assert readers == {"finscale.study", "finscale.study_file"}
    used = set(re.findall(r"\byaml\.(\w+)", SOURCES["finscale/study.py"]))
    assert used == {"safe_dump"}


def test_only_files_writes() -> None:
    assert find_writes(SOURCES, MAY_WRITE) == []
    # Every exemption is needed.
    for one in MAY_WRITE:
        others = {name: why for name, why in MAY_WRITE.items() if name != one}
        assert find_writes(SOURCES, others) != [], one


@pytest.mark.parametrize(
    "statement",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "open(path, mode)",
        "path.open('r+')",
        "os.fdopen(number, 'wb')",
        "path.write_text(text)",
        "Path('x').write_bytes(b'')",
        "os.replace(one, other)",
        "temporary.replace(path)",
        "shutil.copy(one, other)",
        "shutil.rmtree(path)",
        "frame.write_parquet(path)",
        "frame.write_csv(file=path)",
        "frame.lazy().sink_parquet(path)",
        "frame.to_csv('x.csv')",
        "np.save(path, values)",
        "torch.save(state, path)",
        "json.dump(value, stream)",
        "yaml.safe_dump(value, stream)",
        "figure.write_html(path)",
        "save_file(tensors, path)",
        "tempfile.NamedTemporaryFile()",
    ],
)
def test_a_planted_write_is_named_with_file_and_line(statement: str) -> None:
    sources = {"finscale/a.py": f"import os\n\n\ndef f():\n    {statement}\n"}
    [fault] = find_writes(sources, {})
    assert fault.startswith("finscale/a.py:5: ")
    call = fault.split(" ")[1].removesuffix("(...)")
    assert find_writes(sources, {"finscale/a.py": "planted"}) == []
    assert find_writes(sources, {f"finscale/a.py: {call}": "planted"}) == []
    assert find_writes(sources, {"finscale/b.py": "another", "finscale/a.py: f": "no"}) == [fault]


@pytest.mark.parametrize(
    "statement",
    [
        "open(path)",
        "open(path, 'rb')",
        "path.open(encoding='utf-8')",
        "text.replace('a', 'b')",
        "date.replace(day=1)",
        "dataclasses.replace(one, x=2)",
        "frame.write_csv()",
        "frame.write_parquet(buffer)",
        "yaml.safe_dump(value, sort_keys=False)",
        "json.dumps(value)",
        "shutil.disk_usage(path)",
    ],
)
def test_what_does_not_write_is_let_through(statement: str) -> None:
    assert find_writes({"finscale/a.py": f"buffer = io.BytesIO()\n{statement}\n"}, {}) == []

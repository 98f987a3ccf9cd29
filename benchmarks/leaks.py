"""Leaks of tomorrow, planted one by one, and what became of each.

python benchmarks/leaks.py            to docs/measured/leaks.json; about a minute

Every leak goes in where a user's would, through a study file or a file that it names, and meets
what it would: ``finscale features check``, then ``finscale run``. Shown are what each said, and the
first line of the report where there is one. A study without a leak is run for comparison.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from finscale.files import read_json, write_text_atomic
from finscale.market.sources.bundled import load_bundled

OUT = Path(__file__).parents[1] / "docs" / "measured" / "leaks.json"

SETTINGS: dict[str, Any] = {
    "name": "leak",
    "data": {"source": "bundled", "symbols": ["SP500"]},
    "horizons": [1],
    "split": {"by": "fraction", "train_frac": 0.5, "validation_frac": 0.2},
    "windows": {"context_length": 20},
    "patches": {"patch_length": 4, "patch_stride": 4},
    "ladder": {
        "budgets": ["1K", "2K"],
        "grid": {"d_model": [4, 6, 8, 10, 12], "n_layers": [1], "n_heads": [1], "ff_ratio": [2]},
        "tolerance_frac": 0.4,
    },
    "training": {"effective_batch": 512, "precision": "fp32"},
    "search": {
        "n_trials": 1,
        "extremes_first": False,
        "space": {
            "warmup_steps": [3],
            "epochs": [2],
            "learning_rate": {"low": 0.005, "high": 0.01},
        },
    },
    "baselines": ["base_rate", "logistic_volatility"],
    "scaling": {"n_bootstrap": 200},
    "machine": {"device": "cpu", "n_threads": 1},
}

FEATURE = """\
import numpy as np
from finscale.features.registry import feature
{before}
@feature(family="mine", meaning="a signal", formula="see below", reference="mine (2026)",
         inputs={inputs!r}, lookback_bars=0)
def signal(bars):
    {value}
"""


def no_leak(_: Path) -> dict[str, Any]:
    return {}


def tomorrow_in_code(folder: Path) -> dict[str, Any]:
    value = "return np.append(np.diff(np.log(bars.close)), 0.0)"
    return _own_feature(folder, ["close"], "", value)


def tomorrow_in_a_table(folder: Path) -> dict[str, Any]:
    bars = load_bundled("SP500").bars
    table = folder / "table.npz"
    ahead = bars["close"].log().diff().shift(-1).fill_null(0.0).to_numpy()
    np.savez(table, date=bars["date"].to_numpy(), value=ahead)
    before = f"with np.load({str(table)!r}) as file:\n    TABLE = dict(file)\n"
    value = (
        'at = np.searchsorted(TABLE["date"], bars.date).clip(max=len(TABLE["date"]) - 1)\n'
        '    return TABLE["value"][at]'
    )
    return _own_feature(folder, ["date"], before, value)


def context_a_day_early(folder: Path) -> dict[str, Any]:
    bars = load_bundled("NASDAQ").bars
    path = folder / "nasdaq.csv"
    bars.with_columns(pl.col("date").shift(1)).drop_nulls().write_csv(path)
    series = {
        "name": "nasdaq",
        "kind": "price",
        "source": "file",
        "path": str(path),
        "max_staleness_days": 9,
    }
    return {"data": {**SETTINGS["data"], "context": [series]}}


def column_a_row_ahead(folder: Path) -> dict[str, Any]:
    return _shifted_file(folder, pl.col("high").shift(-1))


def column_a_row_ahead_made_to_fit(folder: Path) -> dict[str, Any]:
    return _shifted_file(folder, pl.max_horizontal(pl.col("high").shift(-1), "open", "close"))


def _own_feature(folder: Path, inputs: list[str], before: str, value: str) -> dict[str, Any]:
    module = folder / "mine.py"
    module.write_text(FEATURE.format(inputs=inputs, before=before, value=value), encoding="utf-8")
    return {"features": {"modules": [str(module)], "extra": ["signal"]}}


def _shifted_file(folder: Path, high: pl.Expr) -> dict[str, Any]:
    path = folder / "sp500.csv"
    load_bundled("SP500").bars.with_columns(high=high).drop_nulls().write_csv(path)
    return {"data": {"source": "file", "path": str(path)}}


LEAKS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "no_leak": (
        "Nothing is planted",
        no_leak,
    ),
    "tomorrow_in_code": (
        "A user's feature whose code reads the next bar's return",
        tomorrow_in_code,
    ),
    "tomorrow_in_a_table": (
        "A user's feature that looks up, by date, a table made in hindsight",
        tomorrow_in_a_table,
    ),
    "context_a_day_early": (
        "A context series (NASDAQ beside S&P 500) whose rows carry the date of the session before",
        context_a_day_early,
    ),
    "column_a_row_ahead": (
        "A file whose column of highs stands one row too early",
        column_a_row_ahead,
    ),
    "column_a_row_ahead_made_to_fit": (
        "The same, raised where it would lie below the bar's open or close, so that bars are valid",
        column_a_row_ahead_made_to_fit,
    ),
}


def try_leak(name: str) -> dict[str, Any]:
    """Plant one leak and return what was said about it."""
    description, plant = LEAKS[name]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        changes = plant(folder)
        study = folder / "study.yaml"
        study.write_text(json.dumps(SETTINGS | changes), encoding="utf-8")
        check = None
        if "features" in changes:
            module = changes["features"]["modules"][0]
            done = _finscale("features", "check", "--module", module)
            check = {"exit_code": done.returncode, "said": _clean(done, folder)}
        done = _finscale("run", str(study), "--out", str(folder / "run"))
        report = folder / "run" / "report.html"
        result: dict[str, Any] = {
            "leak": description,
            "features_check": check,
            "exit_code": done.returncode,
            "said": _clean(done, folder) if done.returncode else "",
            "top_of_report": "",
            "verdict": "",
        }
        if report.exists():
            alarm = re.search(r'role="alert"><strong>(.*?)</strong>', report.read_text("utf-8"))
            result["top_of_report"] = html.unescape(alarm.group(1)) if alarm else ""
            [cell] = read_json(folder / "run" / "summary.json")["verdicts"].values()
            result["verdict"] = cell["kind"]
    return result | {"outcome": outcome(result)}


def outcome(result: Mapping[str, Any]) -> str:
    """Return ``refused``, ``caught`` (the report opens with it) or ``nothing said``."""
    if result["exit_code"]:
        return "refused"
    return "caught" if result["top_of_report"] else "nothing said"


def _finscale(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "400"}
    command = [sys.executable, "-m", "finscale.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _clean(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return the last line that was said, without the path of the temporary folder."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip().replace(f"{folder}/", "") if lines else ""


def main() -> None:
    """Try every leak."""
    found = {}
    for name in LEAKS:
        result = found[name] = try_leak(name)
        print(f"{name}: {result['outcome']}")
        for line in (result["said"], result["top_of_report"]):
            if line:
                print(f"    {line}", flush=True)
    document = {"command": "python benchmarks/leaks.py", "settings": SETTINGS, "leaks": found}
    write_text_atomic(OUT, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

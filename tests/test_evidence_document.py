"""The figures of docs/evidence.md are those of docs/measured."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scipy.stats import beta

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured"
DOCUMENT = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


def measured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def make_evidence() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_evidence", ROOT / "docs/make_evidence.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(title: str) -> str:
    return DOCUMENT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_figures_are_those_measured(make_evidence: ModuleType) -> None:
    assert make_evidence.fill(DOCUMENT) == DOCUMENT, "run python docs/make_evidence.py"


def test_every_block_stands_in_the_document_once(make_evidence: ModuleType) -> None:
    names = re.findall(r"<!-- figures: (\w+) -->", DOCUMENT)
    assert sorted(names) == sorted(make_evidence.BLOCKS)


def test_another_measurement_is_noticed(make_evidence: ModuleType, tmp_path: Path) -> None:
    copies = tmp_path / "measured"
    shutil.copytree(MEASURED, copies)
    changed = measured("nulls")
    changed["rates"]["both"]["falls_on_test"]["high"] += 0.1
    (copies / "nulls.json").write_text(json.dumps(changed), encoding="utf-8")
    assert make_evidence.fill(DOCUMENT, copies) != DOCUMENT


def test_the_commands_are_those_that_measured() -> None:
    for name in (
        *("coverage", "comparisons", "nulls", "leaks"),
        *("recovery_planted", "recovery_simulated"),
    ):
        assert f"\n{measured(name)['command']}\n" in DOCUMENT


def test_the_rates_of_the_nulls_are_counted_from_their_lines() -> None:
    lines = [json.loads(line) for line in (MEASURED / "nulls.jsonl").read_text().splitlines()]
    rates = measured("nulls")["rates"]
    counts = {
        "falls_on_test": sum(one["kind"]["test"] == "falls" for one in lines),
        "beats_the_baseline": sum(all(one["beats"].values()) for one in lines),
    }
    n = len(lines)
    assert rates["both"]["n_repetitions"] == n
    assert len({one["uid"] for one in lines}) == n
    for claim, k in counts.items():
        found = rates["both"][claim]
        assert found["n"] == k
        # Clopper and Pearson (1934) by quantiles of the beta distribution.
        assert found["high"] == pytest.approx(beta.ppf(0.975, k + 1, n - k), abs=1e-4)
        low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
        assert found["low"] == pytest.approx(low, abs=1e-4)


def test_a_budget_beats_a_rival_only_where_its_interval_lies_below_0() -> None:
    for line in (MEASURED / "nulls.jsonl").read_text().splitlines():
        one = json.loads(line)
        assert set(one["beats"]) == {"base_rate", one["best_baseline"]}
        for rival, (_, _, high, _) in one["against"].items():
            assert one["beats"][rival] == (high < 0.0)


def test_intervals_cover_as_the_text_says() -> None:
    shares = [
        share
        for design in measured("coverage")["designs"].values()
        for share in design["coverage"].values()
    ]
    assert 0.92 <= min(shares) <= max(shares) <= 0.98


def test_paired_intervals_keep_their_rate_as_the_text_says() -> None:
    equal = [one for one in measured("comparisons")["designs"].values() if not one["is_better"]]
    assert {one["horizon_bars"] for one in equal} == {1, 5}
    for one in equal:
        assert one["n_repetitions"] >= 200
        assert one["rates"]["pair_says_better"]["low"] <= 0.025
        assert one["rates"]["pair_excludes_zero"]["low"] <= 0.05


def test_the_planted_law_was_found() -> None:
    found = measured("recovery_planted")
    assert (found["on_labels"]["kind"], found["by_truth"]["kind"]) == ("falls", "falls")
    assert found["agreement"] == "agrees"
    assert all(found["alpha_of_truth_in_interval"].values())
    assert found["canary_alarm"] == ""
    sizes = list(found["n_parameters"].values())
    assert len(sizes) >= 6
    assert max(sizes) >= 10 * min(sizes)


def test_no_leak_went_by_and_what_is_clean_raised_no_alarm() -> None:
    outcomes = {name: one["outcome"] for name, one in measured("leaks")["leaks"].items()}
    assert outcomes.pop("no_leak") == "nothing said"
    assert set(outcomes.values()) == {"refused", "caught"}
    text = section("Are leaks of tomorrow detected?")
    assert text.count("No conclusion may be drawn: ") == list(outcomes.values()).count("caught")

"""The README's Python, run as it stands."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

import finscale
from finscale.features.modules import load_feature_modules
from finscale.features.proof import find_price_unit, prove, rows_to_try
from finscale.features.registry import REGISTRY
from finscale.market.bars import OHLCV
from finscale.study import Study
from tiny import tiny_study

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[-1]
    read: list[tuple[str, list[str]]] = []

    def small_study(path: str, overrides: list[str]) -> Study:
        """Stand in for the quickstart, which takes minutes."""
        read.append((path, overrides))
        return tiny_study()

    monkeypatch.setattr(finscale, "load_study", small_study, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})  # noqa: S102 - our own README
    assert read == [("studies/quickstart.yaml", ["horizons=[1]"])]
    assert (tmp_path / "runs/mine/report.html").is_file()
    printed = capsys.readouterr().out
    assert "Too few points" in printed
    assert "constant" in printed or "power law" in printed


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.usefixtures("registry")
def test_the_feature_of_the_readme_passes_the_proof(tmp_path: Path, sp500: OHLCV) -> None:
    [snippet] = re.findall(r"```python\n(.*?@feature.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "my_features.py"
    path.write_text(snippet, encoding="utf-8")
    assert load_feature_modules([path]) == {path: ("gap_in_ranges",)}

    own = REGISTRY["gap_in_ranges"]
    assert own.formula == "(O_t - C_{t-1}) / (H_{t-1} - L_{t-1})"
    rng = np.random.default_rng(0)
    assert prove(own, sp500, rows_to_try(len(sp500), 5, rng), rng) == []
    assert find_price_unit(own, sp500) is None
    expected = (sp500.open[7] - sp500.close[6]) / (sp500.high[6] - sp500.low[6])
    assert own.function(sp500)[7] == pytest.approx(expected)


def test_the_readme_names_all_that_bars_offer() -> None:
    offered = {one.name for one in dataclasses.fields(OHLCV)} - {"context"}
    offered |= {name for name, one in vars(OHLCV).items() if isinstance(one, cached_property)}
    [sentence] = re.findall(r"`bars` offers (.*?)NumPy", README, flags=re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == offered
